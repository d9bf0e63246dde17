"""The rate of linears in clock cycles, which are exact: the head of the chain issues a beat in nearly every cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lutllm.lowering.machine.choice import engine_for
from lutllm.lowering.machine.engine import MODES
from lutllm.lowering.machine.targets import find_target
from lutllm.scheme import EXACT, PAPER
from lutllm.simulate import AxiTiming

TINY = find_target("tiny").engine
# Seven linears in the proportions of a decoder layer: (inputs, outputs).
LAYER = [(192, 576), (192, 192), (192, 192), (192, 576), (192, 1536), (192, 1536), (512, 576)]


def test_prefill_reaches_nine_tenths_of_the_peak(case: Callable[..., Any], arc: Callable[..., Any]) -> None:
    """4 pairs x 64 lanes, 16 tokens, a memory that answers after 64 cycles and gives a beat a cycle."""
    engine = engine_for([PAPER, EXACT], find_target("small").engine)
    lookups = sum(k // 2 * n * 16 for k, n in LAYER)
    for source in MODES:
        made = case(engine, [dict(pairs=k // 2, outputs=n, row_source=source, G=512) for k, n in LAYER], 16)
        found = made.run(arc(made, optimize=0), timing=AxiTiming(latency=64))
        assert lookups / found.run.cycles >= 0.90 * engine.pairs * engine.lanes, source
        assert sum(found.cycles().values()) == found.run.cycles


def test_one_beat_a_cycle_inside_a_round(case: Callable[..., Any], arc: Callable[..., Any]) -> None:
    """Twice the groups take exactly as many cycles more as they have steps: nothing waits between groups, inputs
    are loaded meanwhile."""
    cycles = []
    for pairs in (40, 80, 120):
        made = case(TINY, [dict(pairs=pairs, outputs=64, row_source="exact_row", G=64)], 4)
        (round_,) = made.activations.plan.rounds.values()
        run = made.run(arc(made), timing=AxiTiming(latency=2)).run
        cycles.append(run.cycles - 4 * round_.groups * round_.chunks)
    assert cycles[0] == cycles[1] == cycles[2] < 250
