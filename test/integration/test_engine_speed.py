"""The engine's rate in clock cycles, which are exact: the head of the chain issues a beat in nearly every cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lutllm.lowering.schedule import engine_for
from lutllm.lowering.targets import TARGETS
from lutllm.scheme import EXACT, PAPER
from lutllm.simulate import AxiTiming

TINY = TARGETS["tiny"].engine
# Seven linears in the proportions of a decoder layer: (inputs, outputs).
LAYER = [(192, 576), (192, 192), (192, 192), (192, 576), (192, 1536), (192, 1536), (512, 576)]


@pytest.mark.parametrize("source", ["built_row", "exact_row", "built_table", "stored_table"])
def test_prefill_rounds_reach_nine_tenths_of_the_peak(
    source: str, case: Callable[..., Any], arc_engine: Callable[..., Any]
) -> None:
    """4 pairs x 64 lanes, 16 tokens, a memory that answers after 64 cycles and gives a beat a cycle."""
    engine = engine_for([PAPER, EXACT], TARGETS["small"].engine)
    assert engine.pairs * engine.lanes == 256
    jobs = [dict(pairs=k // 2, outputs=n, tokens=16, row_source=source, G=512) for k, n in LAYER]
    run = case(engine, jobs, memory=1 << 30).run(arc_engine(engine), timing=AxiTiming(latency=64))
    lookups = sum(run.lookups().values())
    assert lookups == sum(k // 2 * n * 16 for k, n in LAYER)
    assert lookups / run.result.cycles >= 0.90 * 256, lookups / run.result.cycles
    assert sum(run.cycles().values()) == run.result.cycles


def test_one_beat_a_cycle_inside_a_round(case: Callable[..., Any], arc_engine: Callable[..., Any]) -> None:
    """Twice the groups take exactly as many cycles more as they have steps: nothing waits between groups."""
    cycles = []
    for pairs in (40, 80, 120):
        made = case(TINY, [dict(pairs=pairs, outputs=64, tokens=4, row_source="exact_row", G=64)])
        run = made.run(arc_engine(TINY), timing=AxiTiming(latency=2))
        cycles.append(run.result.cycles - sum(round_.steps for round_ in made.program.rounds))
    assert cycles[0] == cycles[1] == cycles[2] < 250
