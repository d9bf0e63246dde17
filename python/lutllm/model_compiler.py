"""The main job on a whole model: an accelerator that runs all of it, as SystemVerilog, image, bench and reports.

    quantized decoder -> lut program -> tasks, buffers, memory map -> SystemVerilog + image -> tokens, compared

Everything is written to the output directory. The same input gives the same bytes, except `reports/timing.json`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import resolve, store
from lutllm.dialect import module_text
from lutllm.errors import InputError
from lutllm.hardware import SIMULATORS, Answer, Hardware, build, check_prompt, greedy
from lutllm.job import Job
from lutllm.lowering import PASSES
from lutllm.lowering.accelerator_hw.register_page import register_page
from lutllm.lowering.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.decoder_spec import read_decoder_spec
from lutllm.lowering.decoder_to_lut import decoder_to_lut
from lutllm.lowering.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.image.whole import IMAGE, manifest, whole_image
from lutllm.lowering.levels import check_level
from lutllm.lowering.pipelines import to_whole_accelerator
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.ir import read_plan
from lutllm.lowering.targets import find_target
from lutllm.lowering.testbench import write_testbench
from lutllm.passes import run_pipeline
from lutllm.pretrained import QuantizedModel
from lutllm.schedule_page import schedule_json, schedule_page
from lutllm.scheme import EXACT, Scheme
from lutllm.simulate.occupancy import occupancies, registers
from lutllm.transactions.passes import run_passes
from lutllm.transactions.predicted import predicted
from lutllm.transactions.records import TaskRecord, named_records

PROMPT = "The capital of France is"
CONTEXT = 256  # of the accelerator, where nothing else is asked for


@dataclass
class ModelOptions:
    """What the job does.

    `prompt`: text to go on with, by default PROMPT; `tokens` to make. `scheme` and calibration `text`: for a float
    model, which is quantized into the cache first. `simulator`: arc, verilator, or None to simulate nothing.
    `resources`: ask Yosys for an estimate.
    """

    target: str = "small"
    context: int = CONTEXT
    prompt: str = PROMPT
    tokens: int = 4
    scheme: Scheme = EXACT
    text: str | None = None
    calibration: int | None = None
    seed: int = 0
    simulator: str | None = "arc"
    resources: bool = False
    quiet: bool = False


@dataclass
class ModelResult:
    """`answer` is None where nothing was simulated."""

    directory: Path
    answer: Answer | None = None
    predicted_cycles: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return self.answer is None or self.answer.equal


def compile_model(spec: str | Path, directory: str | Path, options: ModelOptions | None = None) -> ModelResult:
    """Run the job on `spec`: a directory of `lutllm quantize`, or a float model as `models.load` takes it."""
    options = options or ModelOptions()
    if options.simulator not in (None, *SIMULATORS):
        raise InputError(f"expected a simulator among {', '.join(SIMULATORS)}, got '{options.simulator}'")
    find_target(options.target)
    job = _ModelJob(Path(directory), options)
    with job.stage("model", str(spec)):
        model = resolve.quantized_model(
            spec,
            scheme=options.scheme,
            text=options.text,
            tokens=options.calibration,
            seed=options.seed,
            quiet=options.quiet,
        )
    return job.run(str(spec), model)


class _ModelJob(Job):
    def __init__(self, directory: Path, options: ModelOptions) -> None:
        super().__init__(directory, quiet=options.quiet)
        self.options = options
        self.result = ModelResult(directory, seconds=self.seconds)

    def run(self, name: str, model: QuantizedModel) -> ModelResult:
        decoder, prompt = model.decoder, prompt_ids(model, self.options.prompt, self.options.seed)
        check_prompt(prompt, min(self.options.context, len(decoder.cosines)))
        hardware = self.hardware(model)
        with self.stage("golden model", f"{self.options.tokens} tokens after a prompt of {len(prompt)}"):
            golden = greedy(decoder, hardware.plan.context, prompt, self.options.tokens)
        self.bench(hardware, prompt, golden)
        if self.options.simulator is not None:
            self.simulate(hardware, prompt)
        self.reports(name, hardware, len(prompt), len(golden))
        options = asdict(self.options) | {"scheme": self.options.scheme.to_dict()}
        self.manifest(model={"name": name, **model.about}, options=options)
        return self.result

    def hardware(self, model: QuantizedModel) -> Hardware:
        """Plan, image and SystemVerilog."""
        options, decoder = self.options, model.decoder
        with self.stage("schedule", f"{len(decoder.decoder.layers)} layers for target {options.target}"):
            plan = self.plan(str(model.directory))
            config = plan.config
        with self.stage("memory image", f"{plan.memory_bytes / 1e6:.1f} MB"):
            image = whole_image(plan, decoder)
            self.write(f"mem/{IMAGE}", image.tobytes())
            self.write("mem/manifest.json", json.dumps(manifest(plan, image), indent=1) + "\n")
        with self.stage("hardware", f"{config.engine.pairs} pairs x {config.engine.lanes} lanes to SystemVerilog"):
            design = accelerator_to_hw(config, "sv")
            self.note_files(hw_to_sv(design, ACCELERATOR_TOP, self.out / "rtl"))
            self.ports = hw_ports(design, ACCELERATOR_TOP)
            self.write("reports/registers.md", register_page(config))
        return Hardware(decoder, plan, image)

    def plan(self, quantization: str) -> Plan:
        """Through the levels, each written and checked."""
        spec = read_decoder_spec(quantization)
        context = min(self.options.context, spec.positions)
        module = decoder_to_lut(spec, context)
        self.write("ir/model.lut.mlir", module_text(module))
        run_pipeline(module, to_whole_accelerator(quantization, self.options.target), passes=PASSES)
        check_level(module, "accelerator")
        self.write("ir/model.accelerator.mlir", module_text(module))
        return read_plan(module)

    def bench(self, hardware: Hardware, prompt: list[int], golden: list[int]) -> None:
        """The bench that needs Verilator alone."""
        self.note_files(
            write_testbench(
                hardware.plan.config, self.ports, self.out / "tb", prompt, golden, hardware.model, f"../mem/{IMAGE}"
            )
        )

    def simulate(self, hardware: Hardware, prompt: list[int]) -> None:
        kind = self.options.simulator or ""
        with self.stage("build simulator", kind):
            simulator = build(hardware.plan.config, kind, self.out / "rtl")
        with self.stage("simulate", f"{len(prompt)} tokens in, {self.options.tokens} out"):
            probes = registers(hardware.plan.config) if kind == "arc" else ()  # Verilator shows ports alone
            self.result.answer = hardware.answer(
                simulator, prompt, self.options.tokens, quiet=self.quiet, probes=probes
            )

    def reports(self, name: str, hardware: Hardware, length: int, made: int) -> None:
        plan, answer = hardware.plan, self.result.answer
        passes = run_passes(length, made, plan.config.tokens)
        records = predicted(plan, passes)
        self.result.predicted_cycles = max(record.end for record in records)
        how, streams, full = "predicted", {}, []
        if answer is not None and answer.error == "none":
            records, how = simulated_records(plan, answer, length), "simulated"
            streams = {port: traffic.beats for port, traffic in answer.run.result.ports.items()}
            if answer.simulator == "arc":
                full = occupancies(plan.config, answer.run.result.peaks)
                self.write("reports/streams.json", json.dumps([row.to_dict() for row in full], indent=1) + "\n")
            self.write("reports/tokens.json", json.dumps(answer.to_dict(), indent=1) + "\n")
            store.write_json(self.out / "reports" / "timing.json", self.timing(answer))
        title = f"{name} on target {self.options.target}: {length} tokens in, {made} out"
        self.write("reports/schedule.html", schedule_page(title, records, how=how, streams=streams, occupancy=full))
        data = schedule_json(records, how=how, streams=streams)
        self.write("reports/schedule.json", json.dumps(data, indent=1) + "\n")
        if self.options.resources:
            from lutllm.resources import write_resources

            with self.stage("resources", "Yosys, an estimate"):
                self.note_files(
                    write_resources(self.out / "rtl", ACCELERATOR_TOP, self.out / "reports", quiet=self.quiet)
                )

    def timing(self, answer: Answer) -> dict[str, Any]:
        """What differs from run to run; it has no place in reports/tokens.json."""
        return {"seconds": self.seconds, "simulated_cycles_per_second": answer.cycles_per_second}


def simulated_records(plan: Plan, answer: Answer, length: int) -> list[TaskRecord]:
    """What hardware did, with names; cycle 0 is the start of the run."""
    passes = run_passes(length, len(answer.tokens), plan.config.tokens)
    spans = [(span.engine, span.dispatched, span.done) for span in answer.run.spans]
    return named_records(plan, passes, spans, answer.run.result.cycles - answer.cycles)


def prompt_ids(model: QuantizedModel, prompt: str, seed: int) -> list[int]:
    """The prompt's tokens; of a model without tokenizer as many random ones as the prompt has words."""
    if model.tokenizer is None:
        count = max(1, len(prompt.split()))
        return [int(i) for i in np.random.default_rng(seed).integers(0, model.decoder.decoder.vocabulary, count)]
    from lutllm import generate

    return generate.prompt_ids(model.tokenizer, prompt, raw=True)
