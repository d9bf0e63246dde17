"""The main job on the linears of some decoder layers: each scheme and row source on one accelerator, compared.

A layer's linears are one program: its inputs are loaded from memory, its outputs saved there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, interpreter, store
from lutllm.accelerator.activations import Activations, Computed
from lutllm.bindings import ir
from lutllm.compiler.job import Job
from lutllm.compiler.levels import PASSES, Levels, copy_of, parsed
from lutllm.compiler.options import LAYER_CALIBRATION, LAYER_SCHEMES, LAYER_TOKENS, Options, Result
from lutllm.dialect.linears.schemes import after
from lutllm.errors import InputError
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.levels import check_level
from lutllm.lowering.machine.choice import engine_for
from lutllm.lowering.machine.form import Machine, read_machine, write_machine
from lutllm.lowering.machine.targets import find_target
from lutllm.passes import run_pipeline
from lutllm.report.linears_page import linears_page
from lutllm.scheme import QuantizedLinear, parse_schemes


@dataclass
class _Program:
    """The linears of one layer, scheme and row source, down to the steps level."""

    layer: int
    scheme: str
    source: str
    steps: ir.Module
    linears: Mapping[str, QuantizedLinear]
    inputs: list[np.ndarray]
    errors: Mapping[str, float]

    @property
    def stem(self) -> str:
        return f"layer{self.layer}.{plain(self.scheme)}.{self.source}"


class LinearsJob(Job):
    def __init__(self, spec: str, directory: Path, options: Options, *, quiet: bool = True) -> None:
        super().__init__(directory, quiet=quiet)
        self.spec, self.options = spec, options.checked()
        if options.simulator is None:
            raise InputError("expected --simulator arc or verilator with --layers, got none; leave --layers out")
        self.schemes = parse_schemes(options.schemes or LAYER_SCHEMES)
        self.tokens = options.tokens or LAYER_TOKENS
        self.result = Result(directory, seconds=self.seconds)

    def run(self) -> Result:
        from lutllm import models

        assert self.options.layers is not None
        with self.stage("load", f"model {self.spec}"):
            model = models.load(self.spec, self.options.seed, layers=max(self.options.layers) + 1)
        quantized = {name: self.quantize(model, name) for name in self.schemes}
        programs = []
        for layer in self.options.layers:
            imported = self.import_layer(model, layer)
            for name in self.schemes:
                programs += self.convert(imported, name, layer, quantized[name])
        with self.stage("schedule", f"{len(programs)} programs for target {self.options.target}"):
            machine = self.machine(programs)
            scheduled = [self.schedule(program, machine) for program in programs]
        config = read_machine(scheduled[0].operation).config
        self.rtl(config, "linears")
        simulator = self.simulator(config)
        for program, module in zip(programs, scheduled, strict=True):
            self.check(program, module, simulator)
        self.reports(model, config.engine.pairs * config.engine.lanes)
        return self.result

    def quantize(self, model: Any, name: str) -> Any:
        from lutllm.quantizer import quantize

        options, scheme = self.options, self.schemes[name]
        assert options.layers is not None
        with self.stage("quantize", f"scheme {name}, layers {', '.join(map(str, options.layers))}"):
            found = quantize(
                model,
                layers=options.layers,
                scheme=scheme,
                text=options.text,
                tokens=options.calibration or LAYER_CALIBRATION,
                seed=options.seed,
                out_dir=self.out / "quantized" / plain(name),
                sample_tokens=max(32, self.tokens),
                progress=not self.quiet,
            )
            for linear in found.linears.values():
                linear.tables = interpreter.make_tables(linear) if scheme.kind == "vq" else None
            self.files[f"parameters/{plain(name)}"] = store.save_linears(self.parameters(name), found.linears)
        return found

    def parameters(self, scheme: str) -> Path:
        """Where the store of `scheme` lies: what the quantizer found, and the tables made from it."""
        return self.out / "parameters" / plain(scheme)

    def import_layer(self, model: Any, layer: int) -> str:
        from lutllm.importer import import_module
        from lutllm.models.wrappers import decoder_layer

        with self.stage("import", f"decoder layer {layer} through torch-mlir"):
            wrapped, arguments = decoder_layer(model.module, layer, self.tokens)
            imported = import_module(wrapped, arguments)
            check_level(imported.module, "torch")
            self.write(f"ir/layer{layer}.torch.mlir", imported.text())
        return imported.text()

    def convert(self, text: str, name: str, layer: int, quantized: Any) -> list[_Program]:
        """The programs of one layer and scheme: one for each row source."""
        with self.stage("convert", f"layer {layer} to scheme {name}"):
            levels = Levels(self, f"layer{layer}.{plain(name)}")
            mixed = levels.lower(parsed(text), pipelines.to_lut(str(self.parameters(name))), "mixed")
            lut = levels.lower(mixed, pipelines.to_linears(), "lut")
            found = []
            for source in self.schemes[name].row_sources:
                own = Levels(self, f"layer{layer}.{plain(name)}.{source}")
                steps = own.lower(lut, pipelines.to_steps(source), "steps")
                names, inputs = _ends(lut)
                linears = {n: quantized.linears[n] for n in names}
                samples = {linear.input_name: quantized.samples[n] for n, linear in linears.items()}
                given = [samples[i][: self.tokens].astype(np.int64) for i in inputs]
                found.append(_Program(layer, name, source, steps, linears, given, quantized.errors))
        return found

    def machine(self, programs: Sequence[_Program]) -> Machine:
        """One machine for all programs: each needs one, this is as large as the largest of everything."""
        machines = []
        for program in programs:
            module = copy_of(program.steps)
            run_pipeline(module, pipelines.to_placed(self.options.target), passes=PASSES)
            machines.append(read_machine(module.operation))
        configs = [machine.config for machine in machines]
        engine = engine_for(list(self.schemes.values()), find_target(self.options.target).engine)
        engine = replace(engine, acc_words=max(config.engine.acc_words for config in configs))
        words, context = max(config.x_words for config in configs), max(self.tokens, engine.tokens)
        return replace(machines[0], config=replace(configs[0], engine=engine, x_words=words, context=context))

    def schedule(self, program: _Program, machine: Machine) -> ir.Module:
        levels, module = Levels(self, program.stem), copy_of(program.steps)
        with module.context, ir.Location.unknown(), after(module.body, "lut.scheme"):
            write_machine(machine, memories=("x",))
        placed = levels.lower(module, pipelines.to_placed(self.options.target), "placed")
        return levels.lower(placed, pipelines.to_schedule(), "scheduled")

    def check(self, program: _Program, module: ir.Module, simulator: Any) -> None:
        """One program: image, golden results, simulation, comparison."""
        tensors = {name: array for linear in program.linears.values() for name, array in linear.tensors().items()}
        with self.stage("golden model", f"layer {program.layer}, {program.scheme}, {program.source}"):
            activations = Activations(module, tensors, whole_image(module, tensors))
            golden = activations.golden(program.inputs)
        with self.stage(
            "simulate", f"layer {program.layer}, {program.scheme}, {program.source}: {len(golden)} linears"
        ):
            image = activations.inputs_image(program.inputs)
            self.write(f"mem/{program.stem}.bin", image.tobytes())
            self.write(f"mem/{program.stem}.expected.safetensors", store.to_bytes(golden))
            found = activations.run_image(simulator, image, self.tokens, golden)
        self.result.mismatches += found.mismatches
        self.result.cycles_per_second.append(found.run.result.cycles_per_second)
        self.result.rows += rows_of(program, found)

    def reports(self, model: Any, peak: int) -> None:
        assert self.options.layers is not None
        self.write("reports/equality.json", json.dumps(self.result.rows, indent=1) + "\n")
        title = f"{model.name}, decoder layers {', '.join(map(str, self.options.layers))}"
        self.write("reports/report.html", linears_page(title, self.result.rows, peak))
        timing = {"seconds": self.seconds, "simulated_cycles_per_second": self.result.cycles_per_second}
        store.write_json(self.out / "reports" / "timing.json", timing)
        options = asdict(self.options) | {"layers": list(self.options.layers)}
        schemes = {name: scheme.to_dict() for name, scheme in self.schemes.items()}
        about = {"name": model.name, "fingerprint": model.fingerprint, **model.origin}
        self.manifest(model=about, options=options, schemes=schemes)


def rows_of(program: _Program, found: Computed) -> list[dict[str, Any]]:
    """The entries of `reports/equality.json` for one run."""
    cycles, wrong = found.cycles(), {m.label: m for m in found.mismatches}
    rows = []
    for name, linear in program.linears.items():
        code, effective = linear.bits_per_weight(program.source)
        tokens = len(found.outputs[name])
        lookups = linear.pairs * linear.scheme.R * linear.outputs * tokens
        rows.append(
            {
                "linear": name,
                "shape": [linear.outputs, 2 * linear.pairs],
                "scheme": program.scheme,
                "row_source": program.source,
                "tokens": tokens,
                "equal": name not in wrong,
                "mismatches": wrong[name].count if name in wrong else 0,
                "first_mismatch": str(wrong[name]) if name in wrong else None,
                "cycles": cycles[name],
                "lookups_per_cycle": round(lookups / cycles[name], 2),
                "bits_code": round(code, 4),
                "bits_effective": round(effective, 4),
                "output_error": round(program.errors[name], 6),
            }
        )
    return rows


def _ends(lut: ir.Module) -> tuple[list[str], list[str]]:
    """(names of the linears, names of the inputs) in the order of results and arguments."""
    function = next(op for op in lut.body.operations if op.operation.name == "func.func")
    results = list(function.entry_block.operations)[-1].operation.operands
    inputs = [str((dialect.fixed_of(a.type) or (0, ""))[1]).removesuffix(".exponents") for a in function.arguments]
    return [value.owner.opview.weights.value for value in results], inputs


def plain(scheme: str) -> str:
    """A scheme's name in file names."""
    return scheme.replace(":", "-r")
