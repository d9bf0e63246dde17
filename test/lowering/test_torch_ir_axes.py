"""Axes: what a reshape, a broadcast and a repeat leave of tokens, heads and channels."""

import pytest

from lutllm.lowering.raising.axes import Axes, Axis, axis, broadcast, fits_in, flat, reshaped, size_of

ROWS: Axes = ((), axis("tokens", 6), axis("channel", 24))
TOKENS = axis("tokens", 6)


def test_heads_are_steps_along_the_channels() -> None:
    heads = reshaped(ROWS, [1, 6, 3, 8])
    assert heads == ((), TOKENS, (Axis("channel", 3, 8),), (Axis("channel", 8),))
    assert heads is not None
    assert reshaped(heads, [6, 24]) == ROWS[1:]


def test_one_head_has_no_axis() -> None:
    assert reshaped(ROWS, [1, 6, 1, 24]) == ((), TOKENS, (), axis("channel", 24))


def test_repeated_heads_are_told_from_heads() -> None:
    groups: Axes = ((), (Axis("channel", 3, 8),), (), TOKENS, axis("channel", 8))
    repeated = broadcast(groups, [1, 3, 2, 6, 8])
    assert repeated is not None
    merged = reshaped(repeated, [1, 6, 6, 8])
    assert merged is not None
    assert merged[1] == (Axis("channel", 3, 8), Axis("repeat", 2))
    assert (size_of(merged, "channel"), size_of(merged, "repeat")) == (24, 2)


def test_order_counts() -> None:
    """Channels of one token are not tokens of one channel, though the sizes may be equal."""
    turned: Axes = (axis("channel", 24), TOKENS)
    assert flat((turned[1], turned[0])) != flat(turned)
    assert not fits_in((TOKENS,), (TOKENS, axis("keys", 6)))


@pytest.mark.parametrize("sizes", [[5, 24], [6, 5, 5], [6]])
def test_reshapes_that_cut_an_axis(sizes: list[int]) -> None:
    assert reshaped(ROWS, sizes) is None


def test_broadcast_of_a_size_that_is_not_one() -> None:
    assert broadcast(ROWS, [1, 12, 24]) is None
    assert fits_in(((), axis("channel", 24)), ROWS)
