"""Points of a search in simulation: a point in; cycles and tokens of its hardware, beside those expected, out."""

from __future__ import annotations

from typing import Any

from lutllm import interpreter
from lutllm.accelerator.hardware import PASSES, Hardware, build, copy_of
from lutllm.compiler.levels import parsed
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.explore.evaluate import Job
from lutllm.explore.search import Found
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.machine.targets import Choices, find_target
from lutllm.passes import run_pipeline
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained
from lutllm.quantizer.random.model import random_model
from lutllm.simulate.transactions.passes import run_passes

MOST_WEIGHTS, MOST_CYCLES = 2_000_000, 1_000_000  # of what is simulated in minutes
MADE = 2  # tokens


def small_enough(found: Found, weights: int) -> bool:
    cycles = found.estimate["prefill_cycles"] + found.estimate["decode_cycles"]
    return weights <= MOST_WEIGHTS and cycles <= MOST_CYCLES


def simulated(found: Found, job: Job) -> dict[str, Any]:
    """A prompt of `job.prefill` tokens and two tokens made, by the point's hardware: `cycles` in all and by token,
    `predicted_cycles`, and whether the tokens are the golden model's (`equal`). Weights of a float model are random."""
    context = max(job.kv + 2, job.prefill + MADE)
    model = _weighted(job, context, find_target(str(found.path)).model)
    program = model.lut(context)
    module = copy_of(program)
    run_pipeline(module, pipelines.to_scheduled(str(found.path)), passes=PASSES)
    hardware = Hardware(program, module, model.tensors, whole_image(module, model.tensors))
    config = hardware.plan.config
    prompt = [i % hardware.plan.vocabulary for i in range(1, job.prefill + 1)]
    answer = hardware.answer(build(config, "arc"), prompt, MADE)
    run = predicted(hardware.plan, run_passes(len(prompt), MADE, config.tokens))
    return {
        "prompt": len(prompt),
        "cycles": answer.cycles,
        "token_cycles": list(answer.token_cycles),
        "predicted_cycles": run_cycles(run),
        "equal": answer.equal,
    }


def _weighted(job: Job, context: int, choices: Choices) -> QuantizedModel:
    if job.scheme is None:
        return from_pretrained(job.model)
    scheme = job.scheme.with_(G=choices.block or job.scheme.G)
    model = random_model(parsed(job.model), scheme, positions=context)
    if choices.row_source == "stored_table":
        for linear in model.linears.values():
            linear.tables = interpreter.make_tables(linear)
    return model
