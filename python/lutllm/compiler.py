"""The main job: a model's decoder layers in, verified SystemVerilog, memory images and reports out.

    PyTorch -> torch IR -> lut IR -> search, lookup, sum -> engine, map, rounds -> SystemVerilog, simulated and compared

Every level is written to the output directory. The same input gives the same bytes, except `reports/timing.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, interpreter, store
from lutllm.bindings import ir, load_torch_dialects
from lutllm.errors import InputError
from lutllm.job import Job
from lutllm.lowering import PASSES as LOWERING_PASSES
from lutllm.lowering import pipelines
from lutllm.lowering.accelerator_to_hw import ENGINE_TOP, engine_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.hw_to_sv import hw_to_sv
from lutllm.lowering.image.linear import load_memory
from lutllm.lowering.levels import check_level
from lutllm.lowering.lut_to_accelerator import write_engine
from lutllm.lowering.program import Program, read_program
from lutllm.lowering.schedule import engine_for
from lutllm.lowering.targets import find_target
from lutllm.lowering.torch_ir.extract_linears import extract_linears
from lutllm.page import page
from lutllm.passes import PASSES, run_pipeline
from lutllm.scheme import NAMED_SCHEMES, QuantizedLinear, Scheme
from lutllm.simulate import Simulator
from lutllm.simulate.program import Mismatch, ProgramRun, compare, engine_simulator, run_image

ALL_PASSES = (*PASSES, *LOWERING_PASSES)
SIMULATORS = ("arc", "verilator")
DEFAULT_SCHEMES = ("paper", "exact")


@dataclass
class Options:
    """What the main job does.

    `layers`: decoder layers, None for all. `schemes`: names, optionally `name:R` for R weight stages. `tokens`: of each
    linear to simulate. `calibration`: tokens the quantizer sees.
    """

    layers: Sequence[int] | None = None
    schemes: Sequence[str] = DEFAULT_SCHEMES
    target: str = "small"
    tokens: int = 16
    text: str | None = None
    calibration: int = 16384
    seed: int = 0
    simulator: str = "arc"
    quiet: bool = False


@dataclass
class Result:
    """`rows` is `reports/equality.json`: one entry for each linear, scheme and row source."""

    directory: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cycles_per_second: list[float] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return bool(self.rows) and not self.mismatches


def parse_schemes(names: Sequence[str], stages: int | None = None) -> dict[str, Scheme]:
    """`paper`, `additive`, `exact`, each optionally `:R`; `stages` sets R for those without. Raises `InputError`."""
    schemes = {}
    for text in names:
        name, colon, given = text.partition(":")
        if name not in NAMED_SCHEMES or (colon and not given.isdigit()):
            known = ", ".join(NAMED_SCHEMES)
            raise InputError(f"expected schemes among {known}, each with an optional :R, got '{text}'")
        scheme = NAMED_SCHEMES[name]
        r = int(given) if colon else stages
        schemes[text if colon or stages is None else f"{name}:{stages}"] = scheme if r is None else scheme.with_(R=r)
    return schemes


def compile(spec: str | Path, directory: str | Path, options: Options | None = None) -> Result:
    """Run the main job on `spec` (model directory, GGUF file or built-in name). See `Options` and `Result`."""
    job = _Job(str(spec), Path(directory), options or Options())
    job.run()
    return job.result


class _Job(Job):
    def __init__(self, spec: str, directory: Path, options: Options) -> None:
        super().__init__(directory, quiet=options.quiet)
        if options.simulator not in SIMULATORS:
            raise InputError(f"expected a simulator among {', '.join(SIMULATORS)}, got '{options.simulator}'")
        self.spec, self.options = spec, options
        self.schemes = parse_schemes(options.schemes)
        self.target = find_target(options.target)
        self.result = Result(directory, seconds=self.seconds)

    def run(self) -> None:
        from lutllm import models

        with self.stage("load", f"model {self.spec}"):
            wanted = None if self.options.layers is None else max(self.options.layers) + 1
            model = models.load(self.spec, self.options.seed, layers=wanted)
            layers = range(model.config.num_hidden_layers) if self.options.layers is None else self.options.layers
        quantized = {name: self.quantize(model, name, scheme, layers) for name, scheme in self.schemes.items()}
        imported = {layer: self.import_layer(model, layer) for layer in layers}
        engine = engine_for(list(self.schemes.values()), self.target.engine)
        with self.stage("hardware", f"{engine.pairs} pairs x {engine.lanes} lanes to SystemVerilog"):
            self.note_files(hw_to_sv(engine_to_hw(engine, "sv"), ENGINE_TOP, self.out / "rtl"))
        simulator = self.simulator(engine)
        work = [(n, s, layer) for n, s in self.schemes.items() for layer in layers]
        for name, scheme, layer in work:
            module = self.convert(imported[layer], name, layer)
            for source in scheme.row_sources:
                self.check(module, name, source, layer, quantized[name], engine, simulator)
        self.reports(model, layers, engine)

    def quantize(self, model: Any, name: str, scheme: Scheme, layers: Sequence[int]) -> Any:
        from lutllm.quantize import quantize

        options = self.options
        with self.stage("quantize", f"scheme {name}, layers {', '.join(map(str, layers))}"):
            found = quantize(
                model,
                layers=layers,
                scheme=scheme,
                text=options.text,
                tokens=options.calibration,
                seed=options.seed,
                out_dir=self.out / "quantized" / _plain(name),
                sample_tokens=max(32, options.tokens),
                progress=not options.quiet,
            )
            for linear in found.linears.values():
                linear.tables = interpreter.make_tables(linear) if scheme.kind == "vq" else None
            self.files[f"parameters/{_plain(name)}"] = store.save_linears(self.parameters(name), found.linears)
        return found

    def parameters(self, scheme: str) -> Path:
        """Where the store of `scheme` lies: what the quantizer found, and the tables made from it."""
        return self.out / "parameters" / _plain(scheme)

    def import_layer(self, model: Any, layer: int) -> str:
        from lutllm.importer import import_module
        from lutllm.models.wrappers import decoder_layer

        with self.stage("import", f"decoder layer {layer} through torch-mlir"):
            wrapped, arguments = decoder_layer(model.module, layer, self.options.tokens)
            imported = import_module(wrapped, arguments)
            check_level(imported.module, "torch")
            self.write(f"ir/layer{layer}.torch.mlir", imported.text())
        return imported.text()

    def convert(self, text: str, scheme: str, layer: int) -> ir.Module:
        with self.stage("convert", f"layer {layer} to scheme {scheme}"):
            module = _parse(text)
            run_pipeline(module, pipelines.to_lut(str(self.parameters(scheme))), passes=ALL_PASSES)
            check_level(module, "mixed")
            stem = f"ir/layer{layer}.{_plain(scheme)}"
            self.write(f"{stem}.mixed.mlir", dialect.module_text(module))
            linears = extract_linears(module, self.options.tokens)
            check_level(linears, "lut")
            self.write(f"{stem}.lut.mlir", dialect.module_text(linears))
        return linears

    def simulator(self, engine: EngineConfig) -> Simulator:
        with self.stage("build simulator", self.options.simulator):
            return engine_simulator(engine, self.options.simulator, self.out / "rtl")

    def check(
        self,
        linears: ir.Module,
        scheme: str,
        source: str,
        layer: int,
        quantized: Any,
        engine: EngineConfig,
        simulator: Simulator,
    ) -> None:
        """One scheme, row source and layer: golden model, schedule, images, simulation, comparison."""
        stem = f"layer{layer}.{_plain(scheme)}.{source}"
        steps = _parse(dialect.module_text(linears), linears.context)
        run_pipeline(steps, pipelines.to_steps(source), passes=ALL_PASSES)
        check_level(steps, "steps")
        self.write(f"ir/{stem}.steps.mlir", dialect.module_text(steps))
        names = _function_names(steps)
        data = {name: quantized.linears[name] for name in names}
        inputs = {name: quantized.samples[name][: self.options.tokens].astype(np.int64) for name in names}
        with self.stage("golden model", f"layer {layer}, {scheme}, {source}"):
            golden = {name: golden_results(steps, name, data[name], inputs[name]) for name in names}

        program = self.schedule(steps, engine, stem)
        with self.stage("simulate", f"layer {layer}, {scheme}, {source}: {len(names)} linears"):
            image = load_memory(program, data, inputs)
            self.write(f"mem/{stem}.bin", image.tobytes())
            self.write(f"mem/{stem}.expected.safetensors", store.to_bytes(golden))
            run = run_image(program, image, simulator)
        found = compare(run, golden)
        self.result.mismatches += found
        self.result.cycles_per_second.append(run.result.cycles_per_second)
        self.result.rows += rows_of(run, data, scheme, source, found, quantized.errors)

    def schedule(self, steps: ir.Module, engine: EngineConfig, stem: str) -> Program:
        with steps.context, ir.InsertionPoint.at_block_begin(steps.body), ir.Location.unknown():
            write_engine(engine)
        run_pipeline(steps, pipelines.to_accelerator(self.options.target, self.options.tokens), passes=ALL_PASSES)
        check_level(steps, "accelerator")
        self.write(f"ir/{stem}.accelerator.mlir", dialect.module_text(steps))
        return read_program(steps)

    def reports(self, model: Any, layers: Sequence[int], engine: EngineConfig) -> None:
        self.write("reports/equality.json", json.dumps(self.result.rows, indent=1) + "\n")
        title = f"{model.name}, decoder layers {', '.join(map(str, layers))}"
        self.write("reports/report.html", page(title, self.result.rows, engine.pairs * engine.lanes))
        timing = {"seconds": self.result.seconds, "simulated_cycles_per_second": self.result.cycles_per_second}
        store.write_json(self.out / "reports" / "timing.json", timing)
        options = asdict(self.options) | {"layers": list(layers)}
        schemes = {name: scheme.to_dict() for name, scheme in self.schemes.items()}
        about = {"name": model.name, "fingerprint": model.fingerprint, **model.origin}
        self.manifest(model=about, options=options, schemes=schemes)


def golden_results(steps: ir.Module, name: str, linear: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """The reference interpreter on the decomposed linear `name`: int64 [tokens, outputs]."""
    (y,) = interpreter.run(steps, [x], linear.tensors(), function=name)
    return y.reshape(x.shape[0], -1)


def rows_of(
    run: ProgramRun,
    linears: Mapping[str, QuantizedLinear],
    scheme: str,
    source: str,
    mismatches: Sequence[Mismatch],
    errors: Mapping[str, float],
) -> list[dict[str, Any]]:
    """The entries of `reports/equality.json` for one run."""
    cycles, lookups = run.cycles(), run.lookups()
    wrong = {m.linear: m for m in mismatches}
    rows = []
    for name, linear in linears.items():
        code, effective = linear.bits_per_weight(source)
        rows.append(
            {
                "linear": name,
                "shape": [linear.outputs, 2 * linear.pairs],
                "scheme": scheme,
                "row_source": source,
                "tokens": int(run.outputs[name].shape[0]),
                "equal": name not in wrong,
                "mismatches": wrong[name].count if name in wrong else 0,
                "first_mismatch": str(wrong[name]) if name in wrong else None,
                "cycles": cycles[name],
                "lookups_per_cycle": round(lookups[name] / cycles[name], 2),
                "bits_code": round(code, 4),
                "bits_effective": round(effective, 4),
                "output_error": round(errors[name], 6),
            }
        )
    return rows


def _plain(scheme: str) -> str:
    """A scheme's name in file names."""
    return scheme.replace(":", "-r")


def _parse(text: str, context: ir.Context | None = None) -> ir.Module:
    context = context or dialect.context()
    if "torch." in text:
        load_torch_dialects(context)
    with context, ir.Location.unknown():
        return ir.Module.parse(text)


def _function_names(module: ir.Module) -> list[str]:
    return [op.name.value for op in module.body.operations if op.operation.name == "func.func"]
