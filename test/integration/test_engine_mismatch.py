"""A difference between hardware and golden model is named: op, element, cycle, expected, got."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.lowering.machine.targets import find_target

TINY = find_target("tiny").engine
MakeCase = Callable[..., Any]
Arc = Callable[..., Any]


def changed(golden: dict[str, np.ndarray], name: str, *changes: tuple[tuple[int, int], int]) -> dict[str, np.ndarray]:
    """`golden` with something added to elements of one result."""
    values = golden[name].copy()
    for element, added in changes:
        values[element] += added
    return golden | {name: values}


def test_one_wrong_golden_value_is_named(case: MakeCase, arc: Arc) -> None:
    jobs = [dict(pairs=3, outputs=150, G=24, row_source="built_row"), dict(pairs=2, outputs=5, row_source="exact_row")]
    made = case(TINY, jobs, 9, seed=2)

    def wrong(*changes: tuple[tuple[int, int], int]) -> Any:
        golden = changed(made.golden, "layer0", *changes)
        found = made.activations.run_image(arc(made), made.image, 9, golden)
        (mismatch,) = found.mismatches
        assert not found.equal and mismatch.cycle is not None and 0 < mismatch.cycle <= found.run.result.cycles
        return mismatch

    first = wrong(((6, 123), 5), ((8, 149), -1))  # later in order: counted, not named
    right = int(made.golden["layer0"][6, 123])
    assert (first.label, first.row_source, first.element) == ("layer0", "built_row", (6, 123))
    assert (first.expected, first.got, first.count) == (right + 5, right, 2)
    assert str(first) == (
        f"'lut.requantize' of layer0 (built_row): element [6, 123], written at cycle {first.cycle}: "
        f"expected {right + 5}, got {right}; 2 elements differ"
    )
    # The cycle is that of the beat which holds the element: later tokens and outputs come later.
    cycles = [wrong((element, 1)).cycle for element in ((0, 0), (1, 0), (0, 23), (0, 149), (4, 0), (8, 149))]
    assert cycles == sorted(set(cycles))


@pytest.mark.parametrize("kind", ["x", "q", "w"])
def test_one_wrong_image_byte_is_found(kind: str, case: MakeCase, arc: Arc) -> None:
    """A bit flipped in an input, a bias or a code changes what the flip can reach, and nothing else."""
    made = case(TINY, [dict(pairs=3, outputs=8, row_source="exact_row", bias=False)], 2, seed=6)
    (region,) = made.activations.plan.regions_of(kind)
    # x: channel 1 of token 1, word 0; q: bias of output 0; w: the first code, behind a codebook of 8 beats
    place, flip = {"x": (8 + 3, 64), "q": (3, 32), "w": (8 * 8, 8)}[kind]
    image = made.image
    image[region.address + place] ^= flip
    (wrong,) = made.activations.run_image(arc(made), image, 2, made.golden).mismatches
    assert wrong.label == "layer0"
    assert wrong.element[0] == 1 if kind == "x" else wrong.element[1] == 0
    assert wrong.count <= {"x": 8, "q": 2, "w": 2}[kind]


def test_images_and_golden_results_of_another_shape_are_refused(case: MakeCase, arc: Arc) -> None:
    made = case(TINY, [dict(pairs=5, outputs=20, row_source="built_row")], 3)
    size = made.image.size
    with pytest.raises(InputError, match=f"expected an image of {size} bytes as the memory map says, got {size - 1}"):
        made.activations.run_image(arc(made), made.image[:-1], 3, made.golden)
    golden = {"layer0": made.golden["layer0"][:2]}
    with pytest.raises(InputError, match=r"layer0: expected golden results of shape \[3, 20\], got \[2, 20\]"):
        made.activations.run_image(arc(made), made.image, 3, golden)
    with pytest.raises(InputError, match="expected at most 40 tokens, the context, got 41"):
        made.activations.inputs_image([np.zeros((41, 10), np.int64)])
