"""A difference between hardware and golden model is named: op, element, cycle, expected, got."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lutllm.lowering.image.linear import load_memory
from lutllm.lowering.targets import TARGETS
from lutllm.simulate.program import compare, run_image, simulate_program

TINY = TARGETS["tiny"].engine
MakeCase = Callable[..., Any]
MakeEngine = Callable[..., Any]


def test_one_wrong_golden_value_is_named(case: MakeCase, arc_engine: MakeEngine) -> None:
    jobs = [
        dict(pairs=3, outputs=150, tokens=9, G=24, row_source="built_row"),
        dict(pairs=2, outputs=5, tokens=1, row_source="exact_row"),
    ]
    made = case(TINY, jobs, seed=2)
    run = simulate_program(made.program, made.linears, made.inputs, arc_engine(TINY))
    golden = {name: values.copy() for name, values in made.golden.items()}
    right = int(golden["layer0"][6, 123])
    golden["layer0"][6, 123] += 5
    golden["layer0"][8, 149] -= 1  # later in order: counted, not named
    (wrong,) = compare(run, golden)
    assert (wrong.linear, wrong.row_source, wrong.element) == ("layer0", "built_row", (6, 123))
    assert (wrong.expected, wrong.got, wrong.count) == (right + 5, right, 2)
    assert wrong.cycle is not None and 0 < wrong.cycle <= run.result.cycles
    assert str(wrong) == (
        f"'lut.requantize' of layer0 (built_row): element [6, 123], written at cycle {wrong.cycle}: "
        f"expected {right + 5}, got {right}; 2 elements differ"
    )
    # The cycle is that of the beat which holds the element: later tokens and outputs of the round come later.
    golden["layer0"][6, 123] -= 5
    golden["layer0"][8, 149] += 1
    cycles = []
    for element in ((0, 0), (1, 0), (0, 149)):
        golden["layer0"][element] += 1
        cycles.append(compare(run, golden)[0].cycle)
        golden["layer0"][element] -= 1
    assert cycles == sorted(set(cycles))


@pytest.mark.parametrize("kind", ["x", "q", "w"])
def test_one_wrong_image_byte_is_found(kind: str, case: MakeCase, arc_engine: MakeEngine) -> None:
    """A bit flipped in an input, a bias or a code changes what the flip can reach, and nothing else."""
    made = case(TINY, [dict(pairs=3, outputs=8, tokens=2, row_source="exact_row", bias=False)], seed=6)
    (round_,) = made.program.rounds
    image = load_memory(made.program, made.linears, made.inputs)
    region = made.program.regions[{"x": round_.x, "q": round_.q, "w": round_.w[0]}[kind]]
    # x: channel 1 of token 1, group 0; q: bias of output 0; w: the first code, behind a codebook of 8 beats
    place, flip = {"x": (8 + 3, 64), "q": (3, 32), "w": (8 * 8, 8)}[kind]
    image[region.address + place] ^= flip
    found = compare(run_image(made.program, image, arc_engine(TINY)), made.golden)
    assert [mismatch.linear for mismatch in found] == ["layer0"]
    token, output = found[0].element
    assert token == 1 if kind == "x" else output == 0
    assert found[0].count <= {"x": 8, "q": 2, "w": 2}[kind]
