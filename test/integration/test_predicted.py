"""Predicted cycles are those of hardware: every task begins and ends in the cycle the simulation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from lutllm import dialect, interpreter
from lutllm.accelerator.hardware import PASSES, Hardware, build, copy_of
from lutllm.bindings import ir
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.dialect.machines import builders
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.machine.form import machine_op
from lutllm.passes import run_pipeline
from lutllm.passes.walk import ops_in
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.records import named_records

CONTEXT = 40
LLAMA: dict[str, Any] = dict(layers=1)
QWEN3: dict[str, Any] = dict(layers=1, qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36)
SEARCHED = ADDITIVE.with_(table_bits=10, G=24)
# FIFOs that cost cycles; codes too.
SHRUNK = dict(read_w=16, read_p=32, read_q=16, read_c=16, read_k=16, read_d=16, codebooks=1, x=2, results=3, roots=3)
SHRUNK |= dict(kv=3, e=2, n=2, rows=1, p_commands=1, p_orders=2, y_orders=1, write_kv=16, responses=1)


def mixed(name: str) -> Scheme:
    return ADDITIVE if "mlp" in name else EXACT if "self_attn" in name else EXACT.with_(R=1)


@dataclass(frozen=True)
class Kind:
    """A model on a machine, whose FIFOs may be `shrunk`, or as deep as the files of the units say (`usual`), with
    attention in `units` of `ways` that take `rows` at a time, and have `ports` of `kv_bits`."""

    scheme: Scheme | Callable[[str], Scheme] = EXACT
    source: str = ""
    qwen3: bool = False
    depths: str = ""
    clocks: tuple[int, int, int] | None = None
    units: int = 1
    ways: int = 1
    kv_bits: int = 64
    rows: int = 1
    ports: int = 1
    shape: dict[str, Any] = field(default_factory=dict, hash=False)


CASES = {
    "llama": Kind(),
    "qwen3": Kind(EXACT.with_(R=1), qwen3=True),
    "usual depths": Kind(qwen3=True, depths="usual"),
    "shrunk": Kind(qwen3=True, depths="shrunk"),
    "built rows": Kind(SEARCHED, "built_row"),
    "built tables": Kind(SEARCHED, "built_table"),
    "built tables, shrunk": Kind(SEARCHED, "built_table", depths="shrunk"),
    "stored tables": Kind(SEARCHED, "stored_table"),
    "mixed": Kind(mixed),
    "two clocks": Kind(qwen3=True, clocks=(250, 400, 32)),
    "two clocks, shrunk": Kind(qwen3=True, depths="shrunk", clocks=(250, 400, 64)),
    "odd clocks": Kind(EXACT.with_(R=1), clocks=(237, 300, 32)),
    "narrow ports": Kind(kv_bits=32, depths="shrunk"),
    "2 units": Kind(units=2, kv_bits=32, shape=dict(heads=8, kv_heads=4)),
    "2 units of one head": Kind(units=2, shape=dict(heads=2, kv_heads=2, head_dim=20)),
    "4 units": Kind(units=4, shape=dict(heads=8, kv_heads=4, head_dim=12), depths="shrunk"),
    "2 units of 2 ways": Kind(units=2, ways=2, shape=dict(heads=8, kv_heads=4)),
    "2 rows": Kind(rows=2, ports=2, qwen3=True),
    "4 rows, 2 ways, two clocks": Kind(
        ways=2, rows=4, ports=4, clocks=(250, 400, 32), qwen3=True, shape=dict(heads=4, kv_heads=2)
    ),
    "4 rows, narrow ports, shrunk": Kind(rows=4, ports=4, kv_bits=32, depths="shrunk", shape=dict(head_dim=12)),
    "2 rows, ports of half a word": Kind(units=2, rows=2, ports=4, kv_bits=32, shape=dict(heads=4, kv_heads=4)),
    "windows": Kind(shape=dict(window=4)),
    "windows, 4 rows, 2 ways, two clocks": Kind(
        ways=2, rows=4, ports=4, clocks=(250, 400, 32), qwen3=True, shape=dict(heads=4, kv_heads=2, window=3)
    ),
    "norms after": Kind(kv_bits=32, shape=dict(norms_after=True)),
    "norms after, shrunk, two clocks": Kind(depths="shrunk", clocks=(250, 400, 64), shape=dict(norms_after=True)),
    "4 ways": Kind(ways=4, kv_bits=32, shape=dict(heads=8, kv_heads=1, head_dim=12), depths="shrunk"),
}


@cache
def made(case: str, target: str) -> tuple[Hardware, Simulator]:
    kind = CASES[case]
    shape = (QWEN3 if kind.qwen3 else LLAMA) | kind.shape
    model = random_model(float_decoder(**shape), kind.scheme, positions=CONTEXT)
    if kind.source == "stored_table":
        for linear in model.linears.values():
            linear.tables = interpreter.make_tables(linear)
    program = model.lut(CONTEXT)
    module = copy_of(program)
    run_pipeline(module, pipelines.to_scheduled(target, kind.source), passes=PASSES)
    with module.context, ir.Location.unknown():
        _change(module, kind.depths)
        if kind.clocks is not None:
            machine = machine_op(module.operation)
            assert machine is not None
            with ir.InsertionPoint(machine.operation.regions[0].blocks[0]):
                builders.clocks(**dict(zip(("core_mhz", "memory_mhz", "bus_bits"), kind.clocks, strict=True)))
    hardware = Hardware(program, module, model.tensors, whole_image(module, model.tensors))
    return hardware, build(hardware.plan.config, "arc")


def _change(module: ir.Module, depths: str) -> None:
    for fifo in list(ops_in(module.operation, dialect.FifoOp)):
        if depths == "usual":
            fifo.operation.erase()
        elif depths == "shrunk" and fifo.sym_name.value in SHRUNK:
            fifo.attributes["depth"] = dialect.i64(SHRUNK[fifo.sym_name.value])
    if depths == "shrunk":
        (engine,) = ops_in(module.operation, dialect.LinearEngineOp)
        engine.attributes["codes_depth"] = dialect.i64(2)


@pytest.mark.parametrize(("latency", "prompt", "tokens"), [(1, 9, 1), (64, 5, 2), (200, 6, 1)])
@pytest.mark.parametrize("case", CASES)
def test_every_task_of_a_decoder(
    case: str, latency: int, prompt: int, tokens: int, attention_target: Callable[..., str]
) -> None:
    kind = CASES[case]
    hardware, simulator = made(case, attention_target(kind.units, kind.ways, kind.kv_bits, kind.rows, kind.ports))
    plan = hardware.plan
    timing = AxiTiming(latency=latency, outstanding=256)  # never refuses
    accelerator = Accelerator(plan.config, simulator, hardware.image, timing=timing)
    run = accelerator.generate([i * 7 % plan.vocabulary for i in range(prompt)], tokens).check()
    passes = run_passes(prompt, tokens, plan.config.tokens)
    spans = [(span.engine, span.dispatched, span.done) for span in run.spans]
    begin = run.result.cycles - run.cycles
    wanted = predicted(plan, passes, latency, begin)
    assert wanted == named_records(plan, passes, spans, begin)
    assert run_cycles(wanted) == run.cycles
