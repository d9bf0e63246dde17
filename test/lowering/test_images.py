"""Memory images: what lies where, to the bit, and everything that does not fit refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lutllm.errors import CapacityError, InputError, NumericsError
from lutllm.lowering.engine import ROUND_MAGIC, EngineConfig
from lutllm.lowering.image.linear import (
    descriptor_image,
    input_image,
    load_memory,
    output_address,
    output_values,
    pack_bits,
    place,
    static_image,
)
from lutllm.lowering.program import Program
from lutllm.lowering.schedule import Layer, schedule
from lutllm.lowering.targets import TARGETS
from lutllm.quantize.random import random_linear
from lutllm.scheme import EXACT, QuantizedLinear, Scheme

TINY = TARGETS["tiny"].engine
SCHEME = Scheme(c_a=11, R=2, G=12, c_w=13)


def example(
    source: str = "stored_table", engine: EngineConfig = TINY, scheme: Scheme = SCHEME, outputs: int = 20
) -> tuple[Program, QuantizedLinear, np.ndarray]:
    """5 pairs on 2 at a time, 20 outputs in blocks of 12 on 8 lanes, 3 tokens."""
    linear = random_linear(10, outputs, scheme, 1, name="q", tables=source == "stored_table")
    x = np.random.default_rng(1).integers(-(1 << 15), 1 << 15, (3, 10))
    program = schedule([Layer("q", 5, outputs, 3, scheme, source, linear.shift)], engine, 1 << 24)
    return program, linear, x


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


def test_input_words_hold_a_group_of_pairs_for_each_token() -> None:
    program, _, x = example("built_row")
    (round_,) = program.rounds
    image = input_image(program, round_, x)
    words = image.view("<i2").reshape(3, 3, 4)  # groups, tokens, 2 pairs of 2 channels
    assert np.array_equal(words[:, :, :].transpose(1, 0, 2).reshape(3, 12)[:, :10], x)
    assert not words[2, :, 2:].any()  # the pair past the end


def test_group_stream_holds_shifts_and_centroids_in_shifting_order() -> None:
    program, linear, _ = example("built_row")
    (round_,) = program.rounds
    image = static_image(program, round_, linear)[round_.c]
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
    program, linear, _ = example("exact_row", scheme=EXACT.with_(R=2, G=12))
    (round_,) = program.rounds
    assert static_image(program, round_, linear)[round_.c].size == 3 * 16


@pytest.mark.parametrize("source", ["built_row", "stored_table"])
def test_weight_stream_is_rows_then_codes_of_each_block(source: str) -> None:
    """Group, stage, block; a beat of 64 bits holds 32 for each of the two pairs."""
    program, linear, _ = example(source)
    (round_,) = program.rounds
    beats = static_image(program, round_, linear)[round_.w[0]].reshape(-1, 2, 4)  # beats, pairs, unit bytes
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
    program, linear, _ = example("built_row", wide)
    (round_,) = program.rounds
    one = static_image(program, round_, linear)[round_.w[0]].reshape(-1, 2, 8)
    program, _, _ = example("built_row", narrow)
    (round_,) = program.rounds
    images = static_image(program, round_, linear)
    for port, name in enumerate(round_.w):
        assert np.array_equal(images[name].reshape(-1, 8), one[:, port])


def test_requantizer_words_and_result_words() -> None:
    program, linear, _ = example("built_row")
    (round_,) = program.rounds
    words = static_image(program, round_, linear)[round_.q].view("<i4").reshape(24, 2)  # 3 chunks of 8 lanes
    places = [*range(12), *range(16, 24)]  # the second block starts a chunk of its own
    assert np.array_equal(words[places, 0], linear.bias) and np.array_equal(words[places, 1], linear.multiplier)
    assert not words[12:16].any()

    region = program.regions[round_.y]
    expected = np.random.default_rng(2).integers(-(1 << 23), 1 << 23, (3, 20))
    image = np.zeros(region.size, np.uint8)
    for token in range(3):
        for output in range(20):
            at = output_address(program, round_, token, output) - region.address
            assert not image[at : at + 4].any()  # no two results in one place
            image[at : at + 4] = np.array([expected[token, output]], "<i4").view(np.uint8)
    assert np.array_equal(output_values(program, round_, image), expected)


def test_descriptors_say_shapes_and_places() -> None:
    program, _, _ = example("built_table")
    words = descriptor_image(program).view("<u8")
    (round_,) = program.rounds
    assert len(words) == TINY.descriptor_words
    places = ((0, 16), (16, 8), (24, 8), (32, 8), (40, 8), (48, 16))
    head = [int(words[0]) >> low & ((1 << bits) - 1) for low, bits in places]
    assert head == [ROUND_MAGIC, 2, 2, round_.shift, 0, 3]
    assert [int(words[1]) >> low & 0xFFFF for low in (0, 16, 32, 48)] == [3, 2, 2, 1]
    for i, name in enumerate((round_.x, round_.c, round_.q, round_.y, round_.w[0])):
        region = program.regions[name]
        assert words[2 + 2 * i] == region.address
        assert words[3 + 2 * i] * TINY.port_bits[region.kind] // 8 == region.size


def test_a_field_that_does_not_fit_its_descriptor() -> None:
    program, _, _ = example("built_row")
    (round_,) = program.rounds
    wrong = replace(program, rounds=(replace(round_, shift=256),))
    with pytest.raises(CapacityError, match=r"round q.0.0: expected shift to fit 8 bits, got 256"):
        descriptor_image(wrong)


@pytest.mark.parametrize("source", ["built_row", "built_table", "stored_table"])
def test_every_image_fills_its_region_exactly(source: str) -> None:
    program, linear, x = example(source)
    (round_,) = program.rounds
    images = static_image(program, round_, linear) | {round_.x: input_image(program, round_, x)}
    assert set(images) | {round_.y, "program"} == set(program.regions)
    for name, image in images.items():
        assert image.size == program.regions[name].size
    memory = load_memory(program, {"q": linear}, {"q": x})
    assert memory.size == program.memory_bytes
    for name, image in images.items():
        region = program.regions[name]
        assert np.array_equal(memory[region.address : region.address + region.size], image)
    y = program.regions[round_.y]
    assert not memory[y.address : y.address + y.size].any()


def test_an_image_of_another_size_is_refused() -> None:
    program, _, _ = example("built_row")
    region = program.regions["q.c"]
    memory = np.zeros(program.memory_bytes, np.uint8)
    for image, space in (
        (np.zeros(region.size - 1, np.uint8), memory),
        (np.zeros(region.size, np.uint8), memory[:4200]),
    ):
        message = f"region q.c: expected an image of {region.size} bytes at 0x1000 .* got {image.size}"
        with pytest.raises(CapacityError, match=message):
            place(program, space, region, image)


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
    program, linear, _ = example("built_row")
    with pytest.raises(NumericsError, match=message):
        static_image(program, program.rounds[0], changed(linear, name, value))


def test_table_entries_that_are_too_wide_are_refused() -> None:
    program, linear, _ = example("stored_table")
    with pytest.raises(NumericsError, match=r"expected signed integers of 8 bits, got .*200"):
        static_image(program, program.rounds[0], changed(linear, "tables", 200))


def test_inputs_that_are_too_wide_or_of_another_shape_are_refused() -> None:
    program, _, x = example("built_row")
    (round_,) = program.rounds
    with pytest.raises(NumericsError, match=r"expected signed integers of 16 bits, got .*32768"):
        input_image(program, round_, np.maximum(x, 1 << 15))
    for wrong in (x[:2], x[:, :8]):
        message = f"round q.0.0: expected inputs [3, 10], got {list(wrong.shape)}"
        with pytest.raises(InputError, match=re.escape(message)):
            input_image(program, round_, wrong)


def test_stored_tables_must_be_there() -> None:
    program, linear, _ = example("stored_table")
    with pytest.raises(InputError, match="q: row source stored_table needs tables; make them with"):
        static_image(program, program.rounds[0], replace(linear, tables=None))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dict(inputs=8), "expected a linear with pairs = 5, outputs = 20, R = 2, .* got other with pairs = 4"),
        (dict(outputs=19), "expected a linear with .* outputs = 20, .* got other with pairs = 5, outputs = 19"),
        (dict(scheme=SCHEME.with_(R=1)), "expected a linear with .* R = 2, .* got other with .* R = 1"),
    ],
)
def test_another_linear_than_the_scheduled_one_is_refused(other: dict, message: str) -> None:
    program, linear, _ = example("built_row")
    values = dict(inputs=10, outputs=20, scheme=SCHEME, seed=1) | other
    with pytest.raises(InputError, match=f"round q.0.0: {message}"):
        static_image(program, program.rounds[0], random_linear(name="other", **values))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"shift = {linear.shift}, got q with .* shift = 3; schedule again"):
        static_image(program, program.rounds[0], replace(linear, shift=3))
