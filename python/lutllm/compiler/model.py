"""The main job on a whole model: an accelerator that runs all of it, as SystemVerilog, image, bench and reports."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import store
from lutllm.accelerator.hardware import Hardware, check_prompt, greedy
from lutllm.bindings import ir
from lutllm.compiler.job import Job
from lutllm.compiler.levels import Levels
from lutllm.compiler.options import CONTEXT, PROMPT, TOKENS, Options, Result
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_sv import hw_ports
from lutllm.lowering.export.image.whole import IMAGE, MANIFEST, manifest, write_image
from lutllm.lowering.export.testbench import write_testbench
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP
from lutllm.lowering.hardware.control.register_page import register_page
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.schedule.data import Plan
from lutllm.quantized import resolve
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.report.schedule_page import schedule_json, schedule_page
from lutllm.scheme import parse_schemes
from lutllm.simulate.occupancy import occupancies, registers
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.records import TaskRecord, named_records

TARGET = "target.toml"  # where it is not one of those that ship
STEM = MODEL = "model"  # of files; the folder with the quantized model


class ModelJob(Job):
    def __init__(self, spec: str, directory: Path, options: Options, *, quiet: bool = True) -> None:
        super().__init__(directory, quiet=quiet)
        self.spec, self.options = spec, options.checked()
        self.scheme = next(iter(parse_schemes(options.schemes).values()), None)
        self.tokens = options.tokens or TOKENS
        self.result = Result(directory, seconds=self.seconds)

    def run(self) -> Result:
        model = self.model()
        assert model.directory is not None
        self.keep(model.directory, MODEL)
        context = min(self.options.context or CONTEXT, model.positions)
        prompt = prompt_ids(model, self.options.prompt or PROMPT, self.options.seed)
        check_prompt(prompt, context)
        hardware = self.hardware(model, context)
        with self.stage("golden model", f"{self.tokens} tokens after a prompt of {len(prompt)}"):
            golden = greedy(hardware.program, hardware.tensors, prompt, self.tokens).tokens
        files = write_testbench(
            hardware.plan.config, self.ports, self.out / "tb", prompt, golden, hardware.model, f"../mem/{IMAGE}",
            latency=hardware.plan.latency,
        )  # fmt: skip
        self.note_files(files)
        if self.options.simulator is not None:
            self.simulate(hardware, prompt)
        self.reports(hardware, len(prompt), len(golden))
        options = asdict(self.options) | {"scheme": self.scheme and self.scheme.to_dict()}
        self.manifest(model={"name": self.spec, "sha256": model.sha256, **model.about}, options=options)
        return self.result

    def model(self) -> QuantizedModel:
        with self.stage("model", self.spec):
            model = resolve.quantized_model(
                self.spec,
                scheme=self.scheme,
                text=self.options.text,
                tokens=self.options.calibration,
                seed=self.options.seed,
                quiet=self.quiet,
            )
        resolve.check_block(model, self.options.target)
        return model

    def hardware(self, model: QuantizedModel, context: int) -> Hardware:
        """Every level, image and SystemVerilog."""
        target, levels, tensors = self.options.target, Levels(self, STEM), model.tensors
        if target.endswith(".toml"):
            self.write(TARGET, Path(target).read_bytes())
        with self.stage("schedule", f"for target {target}"):
            program, scheduled = self.levels(levels, model, context)
        with self.stage("memory image", ""):
            write_image(self.out / "mem" / IMAGE, scheduled, tensors)
            self.note_files([self.out / "mem" / IMAGE])
        image = np.memmap(self.out / "mem" / IMAGE, np.uint8, "r")
        hardware = Hardware(program, scheduled, tensors, image)
        self.write(f"mem/{MANIFEST}", json.dumps(manifest(hardware.plan, image), indent=1) + "\n")
        config = hardware.plan.config
        self.ports = hw_ports(self.rtl(config, STEM), ACCELERATOR_TOP)
        self.write("reports/registers.md", register_page(config))
        return hardware

    def levels(self, levels: Levels, model: QuantizedModel, context: int) -> tuple[ir.Module, ir.Module]:
        """(lut program, scheduled module), each level written and checked on the way."""
        if model.torch:
            self.write(f"ir/{STEM}.torch.mlir", model.torch)
        levels.reached(model.module, "float")
        program = levels.reached(model.lut(context), "lut")
        steps = levels.lower(program, pipelines.to_steps(find_target(self.options.target).model.row_source), "steps")
        placed = levels.lower(steps, pipelines.to_placed(self.options.target), "placed")
        return program, levels.lower(placed, pipelines.to_schedule(), "scheduled")

    def simulate(self, hardware: Hardware, prompt: list[int]) -> None:
        config = hardware.plan.config
        simulator = self.simulator(config)
        with self.stage("simulate", f"{len(prompt)} tokens in, {self.tokens} out"):
            probes = registers(config) if self.options.simulator == "arc" else ()  # Verilator shows ports alone
            self.result.answer = hardware.answer(simulator, prompt, self.tokens, quiet=self.quiet, probes=probes)

    def reports(self, hardware: Hardware, length: int, made: int) -> None:
        plan, answer = hardware.plan, self.result.answer
        passes = run_passes(length, made, plan.config.tokens)
        records = predicted(plan, passes)
        self.result.predicted_cycles = run_cycles(records)
        how, streams, full = "predicted", {}, []
        if answer is not None and answer.error == "none":
            records, how = simulated_records(plan, answer, length), "simulated"
            streams = {port: traffic.beats for port, traffic in answer.run.result.ports.items()}
            if answer.simulator == "arc":
                full = occupancies(plan.config, answer.run.result.peaks, plan.latency)
                self.write("reports/streams.json", json.dumps([row.to_dict() for row in full], indent=1) + "\n")
            self.write("reports/tokens.json", json.dumps(answer.to_dict(), indent=1) + "\n")
            timing = {"seconds": self.seconds, "simulated_cycles_per_second": answer.cycles_per_second}
            store.write_json(self.out / "reports" / "timing.json", timing)
        self.result.tasks = records
        title = f"{self.spec} on target {self.options.target}: {length} tokens in, {made} out"
        self.write("reports/schedule.html", schedule_page(title, records, how=how, streams=streams, occupancy=full))
        data = schedule_json(records, how=how, streams=streams, passes=passes)
        self.write("reports/schedule.json", json.dumps(data, indent=1) + "\n")
        if self.options.resources:
            from lutllm.cost.resources import write_resources

            device = find_target(self.options.target).device
            with self.stage("resources", "Yosys, an estimate"):
                self.note_files(
                    write_resources(self.out / "rtl", ACCELERATOR_TOP, device, self.out / "reports", quiet=self.quiet)
                )


def simulated_records(plan: Plan, answer: Any, length: int) -> list[TaskRecord]:
    """What hardware did, with names; cycle 0 is the start of the run."""
    passes = run_passes(length, len(answer.tokens), plan.config.tokens)
    spans = [(span.engine, span.dispatched, span.done) for span in answer.run.spans]
    return named_records(plan, passes, spans, answer.run.result.cycles - answer.cycles)


def prompt_ids(model: QuantizedModel, prompt: str, seed: int) -> list[int]:
    """The prompt's tokens; of a model without tokenizer as many random ones as the prompt has words."""
    if model.tokenizer is None:
        vocabulary = next(len(array) for name, array in model.tensors.items() if name.endswith(".rows"))
        return [int(i) for i in np.random.default_rng(seed).integers(0, vocabulary, len(prompt.split()) or 1)]
    from lutllm.run import prompts

    return prompts.prompt_ids(model.tokenizer, prompt, raw=True)
