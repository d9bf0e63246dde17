"""Layouts beside a straightforward loop; a linear relaid computes the same integers elsewhere."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from lutllm import dialect, interpreter
from lutllm.bindings import ir
from lutllm.lowering.place.layouts import PAD, Layout, relaid, taken
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import EXACT, QuantizedLinear, Scheme

VQ = Scheme(c_a=8, R=2)
SCHEMES = st.sampled_from([EXACT.with_(R=1), VQ])


def plain(channels: int, pad: int = 1, block: int = 0, repeat: int = 0) -> Layout:
    """Channels one by one."""
    return Layout(channels, 1, 1, 0, block or channels, pad, repeat)


def heads(count: int, channels: int, size: int, interleaved: int = 0, block: int = 0, pad: int = 1) -> Layout:
    return Layout(count * channels, channels, size, interleaved, block or count * channels, pad)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any that the verifier lets through."""
    unit = draw(st.integers(1, 6))
    interleaved = 2 * draw(st.integers(0, unit // 2))
    units = draw(st.integers(1, 8))
    return Layout(
        channels=units * unit,
        unit=unit,
        unit_size=unit + draw(st.integers(0, 4)),
        interleaved=interleaved,
        block=unit * draw(st.integers(1, units)),
        pad=draw(st.integers(1, 9)),
        repeat=draw(st.integers(0, 1)) if unit == 1 else 0,
    )


def by_loop(layout: Layout) -> list[int]:
    """Where the channels lie, said once more."""
    found: list[int] = []
    for first in range(0, layout.channels, layout.block):
        start = len(found)
        for unit in range(first, min(first + layout.block, layout.channels), layout.unit):
            for i in range(layout.unit):
                half = layout.interleaved // 2
                found.append(unit + (i // 2 + half * (i % 2) if i < layout.interleaved else i))
            found += [PAD] * (layout.unit_size - layout.unit)
        while (len(found) - start) % layout.pad:
            found.append(layout.channels - 1 if layout.repeat else PAD)
    return found


@settings(max_examples=200)
@given(layouts())
def test_places_are_those_of_a_loop(layout: Layout) -> None:
    wanted = by_loop(layout)
    assert layout.places.tolist() == wanted and layout.size == len(wanted)
    first = by_loop(replace(layout, channels=layout.block))
    assert layout.block_size == len(first)
    torn = [
        (a, b)
        for a, b in zip(wanted[::2], [*wanted[1::2], PAD], strict=False)
        if not (a == b == PAD or (a % 2 == 0 and b == a + 1 and a != PAD))
    ]
    assert (layout.torn is None) == (not torn) or len(wanted) % 2


@settings(max_examples=100)
@given(layouts(), st.integers(0, 9))
def test_what_is_placed_is_picked_again(layout: Layout, seed: int) -> None:
    values = np.random.default_rng(seed).integers(1, 1000, (3, layout.channels))
    there = layout.place(values)
    for place, channel in enumerate(by_loop(layout)):
        assert (there[:, place] == (0 if channel == PAD else values[:, channel])).all()
    assert np.array_equal(layout.pick(there), values)
    assert np.array_equal(layout.place(values.T, axis=0), there.T)


@settings(max_examples=50)
@given(layouts(), layouts())
def test_a_layout_is_the_same_after_a_trip_through_ir(one: Layout, other: Layout) -> None:
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            one.write("a")
        assert Layout.of(ir.Module.parse(str(module)).body.operations[0]) == one
    assert (one.name == other.name) == (one == other) or one.places.tolist() == other.places.tolist()


def run(linear: QuantizedLinear, x: np.ndarray, source: str | None = None) -> np.ndarray:
    """The interpreter's outputs; it has no multipliers of 0, which padding has."""
    padding = (linear.multiplier == 0) & (linear.bias == 0)
    y = interpreter.linear(replace(linear, multiplier=np.maximum(linear.multiplier, 1)), x, source)
    return np.where(padding, 0, y)


def inputs_of(linear: QuantizedLinear, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(1 << 15), 1 << 15, (3, 2 * linear.pairs))


@settings(max_examples=30)
@given(SCHEMES, st.booleans(), st.permutations(range(5)), st.integers(1, 4), st.integers(0, 99))
def test_some_outputs_of_a_linear(scheme: Scheme, blocks: bool, order: list[int], count: int, seed: int) -> None:
    """Of the only block any, else whole blocks."""
    linear = random_linear(12, 40, scheme.with_(G=8 if blocks else 40), seed)
    size = 8 if blocks else 3
    channels = np.concatenate([np.arange(first * size, (first + 1) * size) for first in order[:count]])
    x = inputs_of(linear, seed)
    assert np.array_equal(interpreter.linear(taken(linear, channels), x), interpreter.linear(linear, x)[:, channels])


@settings(max_examples=30)
@given(SCHEMES, st.integers(1, 4), st.integers(1, 6), st.sampled_from([4, 8]), st.integers(0, 99))
def test_relaid_heads_put_out_the_same(scheme: Scheme, count: int, half: int, head_lanes: int, seed: int) -> None:
    linear = random_linear(12, count * 2 * half, scheme, seed)
    size = -(-2 * half // head_lanes) * head_lanes
    outputs = heads(count, 2 * half, size, interleaved=2 * half, pad=8)
    residual = plain(12, 8, block=6)  # inputs with padding between pairs
    physical = relaid(linear, residual, outputs)
    x = inputs_of(linear, seed)
    y = run(physical, residual.place(x))
    assert physical.outputs % 8 == 0 and physical.pairs == 8
    assert np.array_equal(outputs.pick(y), interpreter.linear(linear, x))
    assert not y[:, outputs.places == PAD].any()


@settings(max_examples=30)
@given(SCHEMES, st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_relaid_blocks_put_out_the_same(scheme: Scheme, outputs: int, block: int, seed: int) -> None:
    linear = random_linear(8, outputs, scheme.with_(G=block), seed)
    layout = plain(outputs, 4, block=min(block, outputs))
    physical = relaid(linear, plain(8), layout)
    assert physical.blocks == linear.blocks and physical.scheme.G % 4 == 0
    x = inputs_of(linear, seed)
    y = run(physical, x)
    assert np.array_equal(layout.pick(y), interpreter.linear(linear, x))
    assert not y[:, layout.places == PAD].any()


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 99))
def test_padded_logits_never_win(outputs: int, seed: int) -> None:
    linear = random_linear(8, outputs, EXACT, seed)
    linear.bias = np.full(outputs, -(1 << 20), np.int32)  # all logits below zero
    layout = plain(outputs, 16, repeat=1)
    x = inputs_of(linear, seed)
    y = interpreter.linear(relaid(linear, plain(8), layout), x)
    assert y.shape[1] % 16 == 0
    assert np.array_equal(y.argmax(axis=1), interpreter.linear(linear, x).argmax(axis=1))
    assert np.array_equal(layout.pick(y), interpreter.linear(linear, x))


@pytest.mark.parametrize("source", VQ.row_sources)
def test_tables_and_codebooks_move_with_their_pairs(source: str) -> None:
    linear = random_linear(8, 10, VQ.with_(G=4), tables=True)
    inputs, outputs = plain(8, 4, block=2), plain(10, 8, block=4)
    x = inputs_of(linear, 1)
    y = run(relaid(linear, inputs, outputs), inputs.place(x), source)
    assert np.array_equal(outputs.pick(y), interpreter.linear(linear, x))


def test_nothing_moves_nothing_is_copied() -> None:
    linear = random_linear(8, 16, EXACT)
    same = relaid(linear, plain(8), plain(16, 8))
    assert same.codes is linear.codes and same.weight_codebook is linear.weight_codebook


def test_pairs_that_are_torn() -> None:
    assert plain(14, 8, block=7).torn == 6
    assert heads(2, 8, 8, interleaved=8).torn == 0
    assert heads(2, 8, 12).torn is None and plain(14, 8).torn is None
