"""Predicted cycles are those of hardware: every task begins and ends in the cycle the simulation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.accelerator.hardware import build
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.decoder import QuantizedDecoder
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.records import TaskRecord, named_records

CONTEXT = 40
QWEN3: dict[str, Any] = dict(qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36)
SEARCHED = ADDITIVE.with_(table_bits=10, G=24)
Change = Callable[[AcceleratorConfig], AcceleratorConfig]


def mixed(name: str) -> Scheme:
    return ADDITIVE if "mlp" in name else EXACT if "self_attn" in name else EXACT.with_(R=1)


@cache
def decoder(scheme: Scheme | Callable[[str], Scheme], qwen3: bool) -> QuantizedDecoder:
    return random_decoder(decoder_like(**(QWEN3 if qwen3 else {}), layers=1), scheme, positions=CONTEXT)


def records(plan: Plan, image: np.ndarray, prompt: int, made: int, latency: int) -> tuple[list[TaskRecord], int]:
    """What hardware does, and how many cycles it takes."""
    accelerator = Accelerator(plan.config, simulators(plan.config), image, timing=AxiTiming(latency=latency))
    run = accelerator.generate([i * 7 % plan.vocabulary for i in range(prompt)], made).check()
    spans = [(span.engine, span.dispatched, span.done) for span in run.spans]
    passes = run_passes(prompt, made, plan.config.tokens)
    return named_records(plan, passes, spans, run.result.cycles - run.cycles), run.cycles


_BUILT: dict[int, Simulator] = {}


def simulators(config: AcceleratorConfig) -> Simulator:
    if config.identity not in _BUILT:
        _BUILT[config.identity] = build(config, "arc")
    return _BUILT[config.identity]


def shrunk(config: AcceleratorConfig) -> AcceleratorConfig:
    """FIFOs that cost cycles."""
    depths = config.depths | dict(read_w=16, read_p=32, read_q=16, read_c=16, read_k=16, read_d=16, codebooks=1)
    depths |= dict(x=2, results=3, roots=3, kv=3, e=2, rows=1, p_commands=1, p_orders=2, y_orders=1)
    return replace(config, engine=replace(config.engine, codes_depth=2), depths=depths)


def usual(config: AcceleratorConfig) -> AcceleratorConfig:
    return replace(config, depths={})


def as_chosen(config: AcceleratorConfig) -> AcceleratorConfig:
    return config


CASES: dict[str, tuple[Any, str | None, bool, Change]] = {
    "llama": (EXACT, None, False, as_chosen),
    "qwen3": (EXACT.with_(R=1), None, True, as_chosen),
    "usual depths": (EXACT, None, True, usual),
    "shrunk": (EXACT, None, True, shrunk),
    "built rows": (SEARCHED, "built_row", False, as_chosen),
    "built tables": (SEARCHED, "built_table", False, as_chosen),
    "built tables, shrunk": (SEARCHED, "built_table", False, shrunk),
    "stored tables": (SEARCHED, "stored_table", False, as_chosen),
    "mixed": (mixed, None, False, as_chosen),
}


@pytest.mark.parametrize(("latency", "prompt", "made"), [(1, 9, 1), (64, 5, 2), (200, 6, 1)])
@pytest.mark.parametrize("case", CASES)
def test_every_task_of_a_decoder(case: str, latency: int, prompt: int, made: int) -> None:
    scheme, source, qwen3, change = CASES[case]
    model = decoder(scheme, qwen3)
    if source == "stored_table":
        for linear in model.linears.values():
            linear.tables = interpreter.make_tables(linear)
    spec = DecoderSpec.of(model)
    plan = plan_decoder(spec, change(config_for(spec, find_target("tiny"), CONTEXT)), row_source=source)
    found, cycles = records(plan, whole_image(plan, model), prompt, made, latency)
    wanted = predicted(plan, run_passes(prompt, made, plan.config.tokens), latency)
    assert wanted == found
    assert run_cycles(wanted) == cycles
