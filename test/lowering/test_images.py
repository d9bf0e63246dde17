"""Memory images: what lies where, to the bit, and everything that does not fit refused."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.machines import builders as build
from lutllm.errors import InputError, NumericsError
from lutllm.lowering.export.image.linear import pack_bits, static_image
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.place.clusters import Linear
from lutllm.lowering.place.layouts import Layout, relaid
from lutllm.lowering.place.rounds import Round, round_of, stream_bytes
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import EXACT, QuantizedLinear, Scheme

TINY = replace(find_target("tiny").engine, port_bits={"w": 64, "c": 128, "q": 64})
SCHEME = Scheme(c_a=11, R=2, G=12, c_w=13)
INPUTS, OUTPUTS = Layout(10, 1, 1, 0, 10, 4), Layout(20, 1, 1, 0, 12, 8)
PLACES = [*range(12), *range(16, 24)]  # of the outputs: the second block starts a chunk of its own


def example(
    source: str = "stored_table", engine: EngineConfig = TINY, scheme: Scheme = SCHEME
) -> tuple[Round, QuantizedLinear, QuantizedLinear]:
    """5 pairs on 2 at a time, 20 outputs in blocks of 12 on 8 lanes: a round, its linear, and that relaid."""
    linear = random_linear(10, 20, scheme, 1, name="q", tables=source == "stored_table")
    x: Any = None
    widths = linear.shift, scheme.out_bits, -9
    read = Linear("q", scheme, source, 5, 20, *widths, "x.exponents", x, None, True, 20, range(20))
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            w = [f"q.w{port}" for port in range(engine.weight_ports)]
            op: Any = build.round_("q.0", first=0, outputs=24, c="q.c", q="q.q", w=w)
        round_ = round_of(op, read, INPUTS, OUTPUTS, engine)
    return round_, linear, relaid(linear, INPUTS, OUTPUTS)


def bits_of(image: np.ndarray) -> np.ndarray:
    return np.unpackbits(image, bitorder="little")


def integer(image: np.ndarray, low: int, bits: int, *, signed: bool = True) -> int:
    """The integer at bit `low` of an image."""
    value = int("".join(str(bit) for bit in bits_of(image)[low : low + bits][::-1]), 2)
    return value - (1 << bits) if signed and value >> (bits - 1) else value


@pytest.mark.parametrize(("bits", "signed"), [(4, False), (4, True), (7, True), (16, True), (24, True), (32, True)])
def test_pack_bits_round_trip(bits: int, signed: bool) -> None:
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    values = np.random.default_rng(bits).integers(low, high, (3, 5))
    values[0, :2] = low, high - 1
    packed = pack_bits(values, bits, 256, signed=signed)
    assert packed.shape == (3, 32) and packed.dtype == np.uint8
    for row, image in zip(values, packed, strict=True):
        assert [integer(image, i * bits, bits, signed=signed) for i in range(5)] == row.tolist()
        assert not bits_of(image)[5 * bits :].any()  # zero above


@pytest.mark.parametrize(
    ("values", "bits", "signed", "message"),
    [
        ([127, 128], 8, True, "memory image: expected signed integers of 8 bits, got 127..128"),
        ([-129, 0], 8, True, "expected signed integers of 8 bits, got -129..0"),
        ([0, 40000], 16, True, "expected signed integers of 16 bits, got 0..40000"),  # not taken for -25536
        ([-1, 3], 4, False, "expected unsigned integers of 4 bits, got -1..3"),
        ([16], 4, False, "expected unsigned integers of 4 bits, got 16..16"),
        ([1, 2, 3], 16, True, "expected at most 40 bits in a word, got 48"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: list[int], bits: int, signed: bool, message: str) -> None:
    with pytest.raises(NumericsError, match=re.escape(message)):
        pack_bits(np.array(values), bits, 40, signed=signed)


def test_group_stream_holds_shifts_and_centroids_in_shifting_order() -> None:
    round_, linear, physical = example("built_row")
    image = static_image(TINY, round_, physical)[round_.c]
    words = image.reshape(3, 1 + TINY.chain_length, 16)  # groups, words of a 128-bit beat
    shifts = words[:, 0, :4].reshape(6, 2)
    assert np.array_equal(shifts[:5], linear.shifts) and not shifts[5].any()
    centroids = words[:, 1:].copy().view("<i2").reshape(3, 8, 2, 2, 2)  # groups, words, pairs, chains, values
    assert linear.codebook is not None
    for pair in range(5):
        for chain in range(2):
            for column in range(8):
                index = chain * 8 + column
                wanted = linear.codebook[pair, 0, index if index < 11 else 0]  # 11 centroids; the rest repeat the first
                got = centroids[pair // 2, 7 - column, pair % 2, chain]
                assert got.tolist() == wanted.tolist()


def test_exact_rounds_have_no_centroids() -> None:
    round_, _, physical = example("exact_row", scheme=EXACT.with_(R=2, G=12))
    assert static_image(TINY, round_, physical)[round_.c].size == 3 * 16


@pytest.mark.parametrize("source", ["built_row", "stored_table"])
def test_weight_stream_is_rows_then_codes_of_each_block(source: str) -> None:
    """Group, stage, block; a beat of 64 bits holds 32 for each of the two pairs."""
    round_, linear, physical = example(source)
    beats = static_image(TINY, round_, physical)[round_.w[0]].reshape(-1, 2, 4)  # beats, pairs, unit bytes
    lane = {0: list(range(8)), 1: list(range(8, 12)), 2: list(range(12, 20))}  # outputs of each chunk
    at = 0
    for group in range(3):
        for stage in range(2):
            for block, chunks in ((0, (0, 1)), (1, (2,))):
                count = 16 * 4 if source == "stored_table" else 8
                for half in range(2):
                    pair = 2 * group + half
                    if pair >= 5:
                        assert not beats[at : at + count, half].any()
                    elif source == "stored_table":
                        assert linear.tables is not None
                        got = beats[at : at + count, half].copy().view(np.int8).reshape(16, 16)
                        wanted = linear.tables[pair, block, stage, 0]
                        assert np.array_equal(got[:11, :13], wanted) and not got[11:].any() and not got[:, 13:].any()
                    else:
                        got = beats[at : at + count, half].copy().view(np.int8).reshape(16, 2)
                        assert np.array_equal(got[:13], linear.weight_codebook[pair, block, stage])
                        assert not got[13:].any()
                at += count
                for chunk in chunks:
                    for half in range(2):
                        pair, unit = 2 * group + half, beats[at, half]
                        codes = [integer(unit, 4 * i, 4, signed=False) for i in range(8)]
                        outputs = lane[chunk]
                        wanted = linear.codes[pair, stage, outputs].tolist() if pair < 5 else [0] * len(outputs)
                        assert codes == wanted + [0] * (8 - len(outputs))
                    at += 1
    assert at == len(beats)


def test_weight_ports_share_the_pairs() -> None:
    """The streams of two ports together are the stream of one port of twice the width."""
    wide = replace(TINY, pairs=4, port_bits=TINY.port_bits | {"w": 128})
    narrow = replace(TINY, pairs=4, weight_ports=2)
    round_, _, physical = example("built_row", wide)
    one = static_image(wide, round_, physical)[round_.w[0]].reshape(-1, 2, 8)
    round_, _, physical = example("built_row", narrow)
    images = static_image(narrow, round_, physical)
    for port, name in enumerate(round_.w):
        assert np.array_equal(images[name].reshape(-1, 8), one[:, port])


def test_requantizer_words() -> None:
    round_, linear, physical = example("built_row")
    words = static_image(TINY, round_, physical)[round_.q].view("<i4").reshape(24, 2)  # 3 chunks of 8 lanes
    assert np.array_equal(words[PLACES, 0], linear.bias) and np.array_equal(words[PLACES, 1], linear.multiplier)
    assert not words[12:16].any()


@pytest.mark.parametrize("source", ["built_row", "built_table", "stored_table"])
@pytest.mark.parametrize("ports", [1, 2])
def test_every_image_fills_its_region_exactly(source: str, ports: int) -> None:
    engine = replace(TINY, pairs=4, weight_ports=ports)
    round_, _, physical = example(source, engine)
    sizes = stream_bytes(round_, engine)
    found = {name: image.size for name, image in static_image(engine, round_, physical).items()}
    assert found == {"q.c": sizes["c"], "q.q": sizes["q"]} | dict.fromkeys(round_.w, sizes["w"])


def test_a_part_of_a_linear_has_its_own_blocks() -> None:
    """The second round is what the second block of the whole would be."""
    round_, _, physical = example("built_row")
    whole = static_image(TINY, round_, physical)
    second = replace(round_, first=16, outputs=8, blocks=1, chunks=1, block_chunks=1)
    part = static_image(TINY, second, physical)
    assert np.array_equal(part["q.c"], whole["q.c"])
    assert np.array_equal(part["q.q"], whole["q.q"].reshape(3, -1)[2])
    beats = whole["q.w0"].reshape(3, 2, -1, 8)  # groups, stages, beats: codebook and 2 chunks, codebook and 1 chunk
    assert np.array_equal(part["q.w0"].reshape(3, 2, -1, 8), beats[:, :, 10:])


def changed(linear: QuantizedLinear, name: str, value: int) -> QuantizedLinear:
    array = getattr(linear, name).astype(np.int64)
    array.reshape(-1)[0] = value
    return replace(linear, **{name: array})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("shifts", 32, "q.shifts: expected unsigned integers of 5 bits"),
        ("shifts", -1, "q.shifts: expected unsigned integers of 5 bits"),
        ("multiplier", 1 << 15, "q.multiplier: expected signed integers of 16 bits"),
        ("bias", 1 << 31, "memory image: expected signed integers of 32 bits"),
        ("codes", 16, "memory image: expected unsigned integers of 4 bits"),
        ("weight_codebook", 128, "memory image: expected signed integers of 8 bits"),
        ("codebook", 1 << 15, "memory image: expected signed integers of 16 bits"),
    ],
)
def test_parameters_that_are_too_wide_are_refused(name: str, value: int, message: str) -> None:
    round_, _, physical = example("built_row")
    with pytest.raises(NumericsError, match=message):
        static_image(TINY, round_, changed(physical, name, value))


def test_table_entries_that_are_too_wide_are_refused() -> None:
    round_, _, physical = example("stored_table")
    with pytest.raises(NumericsError, match=r"expected signed integers of 8 bits, got .*200"):
        static_image(TINY, round_, changed(physical, "tables", 200))


def test_stored_tables_must_be_there() -> None:
    round_, _, physical = example("stored_table")
    with pytest.raises(InputError, match="q: row source stored_table needs tables; make them with"):
        static_image(TINY, round_, replace(physical, tables=None))
