"""Units of the engine's data path, each alone in the arc JIT, against the integers they stand for."""

import random

import numpy as np
import pytest

from lutllm.interpreter import requantize
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.signal import Fields
from lutllm.lowering.hardware.linear.accumulate import accumulator
from lutllm.lowering.hardware.linear.psum import psum_lane
from lutllm.lowering.hardware.linear.records import accumulator_fields
from lutllm.lowering.hardware.linear.requantize import requantizer_lane
from lutllm.lowering.hardware.linear.rows import row_builder
from lutllm.lowering.hardware.linear.words import beats_to_words
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import bits_for, round_shift
from lutllm.simulate import ArcSimulator, run_streams

PORTS = {"w": 512, "c": 32, "q": 64}


def config(**changes: int) -> EngineConfig:
    values = dict(pairs=2, lanes=4, requant_lanes=4, centroids=4, chains=1, tokens=2, acc_words=4) | changes
    return EngineConfig(port_bits=PORTS, **values)  # type: ignore[arg-type]


def compiled(design: Design, name: str) -> ArcSimulator:
    simulator = ArcSimulator(hw_to_arc(design, name), optimize=0)
    simulator.randomize(4)
    if any(port.name == "rst" for port in simulator.layout.ports):
        simulator.reset()
    return simulator


def joined(values: list[int], bits: int) -> int:
    """Values packed at `bits` each, the first lowest."""
    return sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(values))


def split(word: int, bits: int, count: int) -> list[int]:
    """Signed values of `bits` bits out of a word."""
    raw = [(word >> i * bits) & ((1 << bits) - 1) for i in range(count)]
    return [v - (1 << bits) if v >> (bits - 1) else v for v in raw]


def packed(record: Fields, values: dict[str, int]) -> int:
    word, low = 0, 0
    for name, width in record.widths.items():
        word |= values.get(name, 0) << low
        low += width
    return word


@pytest.mark.parametrize("entries", [1, 4, 16])
def test_psum_lane_adds_the_entry_its_code_selects(entries: int) -> None:
    c, design = config(term_bits=9, row_writes=entries), Design("arc")
    top, draw = compiled(design, psum_lane(design, c)), random.Random(1)
    for step in range(100):
        row = [draw.choice([-256, 255, 0, draw.randrange(-256, 256)]) for _ in range(entries)]
        code, partial = step % entries, draw.randrange(-512, 257)
        for name, value in (("row", joined(row, 9)), ("code", code), ("partial", partial)):
            if name != "code" or entries > 1:
                top.poke(name, value)
        top.cycle()
        bits = c.chain_bits
        assert split(top.peek("sum"), bits, 1) == split(partial + row[code], bits, 1)


@pytest.mark.parametrize("weight_bits", [8, 2])
def test_row_builder_rounds_halves_up(weight_bits: int) -> None:
    """A new operand every cycle; every shift from 0 to 31, values of both signs and the extremes."""
    c = config(pairs=4, weight_bits=weight_bits, term_bits=31)
    design, draw = Design("arc"), random.Random(2)
    top = compiled(design, row_builder(design, c))
    high, wide = 1 << (c.operand_bits - 1), 1 << (weight_bits - 1)
    sent: list[tuple[list[int], list[int], int]] = []
    for step in range(32 * 6):
        operand = [draw.choice([-high, high - 1, 1, -1, draw.randrange(-high, high)]) for _ in range(2)]
        book = [draw.choice([-wide, wide - 1, draw.randrange(-wide, wide)]) for _ in range(32)]
        sent.append((operand, book, step % 32))
    negative_half = 0
    for step in range(len(sent) + 2):
        if step < len(sent):
            top.poke("operand", joined(sent[step][0], c.operand_bits))
            top.poke("codebook", joined(sent[step][1], weight_bits))
        if 0 < step <= len(sent):
            top.poke("right", sent[step - 1][2])  # a cycle after its operand
        top.evaluate()
        if step >= 2:
            (a, b), book, right = sent[step - 2]
            dots = np.array([a * book[2 * i] + b * book[2 * i + 1] for i in range(16)])
            assert split(top.peek("row"), 31, 16) == round_shift(dots, right).tolist(), (dots, right)
            negative_half += int(((dots < 0) & (right > 0) & (dots % (1 << right) == 1 << right >> 1)).sum())
        top.cycle()
    assert negative_half > 5  # -0.5 became 0, not -1


def test_accumulator_adds_to_the_same_word_in_consecutive_cycles() -> None:
    """Random beats on few words of both banks, while the bank that no beat touches is read out."""
    c, design = config(term_bits=12), Design("arc")
    top, record = compiled(design, accumulator(design, c)), accumulator_fields(c)
    draw, words = random.Random(3), {(b, a): [0] * 4 for b in range(2) for a in range(4)}
    repeats, checked, before = 0, 0, None
    now: dict[str, int] = {"valid": 0}  # the beat whose sums come in this cycle
    bank = 0
    written: set[tuple[int, int]] = set()
    for step in range(2000):
        if step % 60 == 0:
            bank ^= 1
        busy = step % 60 >= 4 and draw.random() < 0.8  # the first beats of a bank wait for the last of the other
        address = draw.choice([0, 0, 1, draw.randrange(4)])
        first = int((bank, address) not in written or draw.random() < 0.1)
        beat = dict(valid=int(busy), address=address, first_step=first, acc_bank=bank, round_last=step % 7 == 0)
        place = (bank ^ 1, draw.randrange(4))
        top.poke("control", packed(record, beat))
        top.poke("drain", 1)
        top.poke("drain_address", place[1] | place[0] << bits_for(4))
        sums = [draw.randrange(-(1 << 12), 1 << 12) for _ in range(4)]
        top.poke("sums", joined(sums, c.psum_bits))
        if now["valid"]:
            key = (now["acc_bank"], now["address"])
            base = [0] * 4 if now["first_step"] else words[key]
            words[key] = [b + s for b, s in zip(base, sums, strict=True)]
        top.cycle()
        assert top.peek("round_done") == int(now["valid"] and now["round_last"])
        if step % 60 >= 4 and place in written:
            assert split(top.peek("drain_data"), c.acc_bits, 4) == words[place]
            checked += 1
        repeats += int(busy and before == (bank, address))
        before = (bank, address) if busy else None
        if busy:
            written.add((bank, address))
        now = beat
    assert repeats > 200 and checked > 500


@pytest.mark.parametrize("out_bits", [8, 24, 32])
def test_requantizer_lane(out_bits: int) -> None:
    """A result every cycle for each shift from 0 to 47: rounding, both saturations, the extremes of the accumulator."""
    c, design = config(out_bits=out_bits), Design("arc")
    lane, draw = requantizer_lane(design, c), random.Random(4)
    top, late = compiled(design, lane), design.modules[lane].cycles  # the multiplier comes a cycle after acc
    limit, saturated = 1 << 31, set()
    for shift in range(48):
        top.poke("shift", shift)
        size = min(31, max(1, shift + out_bits - 15))
        cases = [(limit - 1, limit - 1, 32767), (-limit, -limit, 32767), (limit - 1, -limit, 1), (0, 0, 1), (-1, 0, 1)]
        cases += [
            (draw.randrange(-(1 << size), 1 << size), draw.randrange(-(1 << size), 1 << size), draw.randrange(1, 32768))
            for _ in range(20)
        ]
        for step in range(len(cases) + 4):
            for i, name in enumerate(("acc", "bias", "multiplier")):
                if 0 <= step - late[name] < len(cases):
                    top.poke(name, cases[step - late[name]][i])
            top.evaluate()
            if step >= late["result"]:
                acc, bias, multiplier = (np.array([v]) for v in cases[step - 4])
                (expected,) = requantize(acc, multiplier, bias, shift, out_bits)
                assert split(top.peek("result"), out_bits, 1) == [expected], (cases[step - 4], shift)
                saturated.add((int(expected), shift < 40))
            top.cycle()
    assert {((1 << (out_bits - 1)) - 1, True), (-(1 << (out_bits - 1)), True)} <= saturated


@pytest.mark.parametrize(("port", "word"), [(32, 32), (32, 40), (32, 100), (64, 64), (64, 300)])
@pytest.mark.parametrize("stalls", [0, 120])
def test_words_from_beats(port: int, word: int, stalls: int) -> None:
    """The low bits come first, what pads the last beat is ignored."""
    beats = -(-word // port)
    rng = np.random.default_rng(port + word)
    data = rng.integers(0, 256, (20, -(-word // 8)), np.uint8)
    data[:, -1] &= 0xFF >> (-word % 8)
    padded = np.full((20, beats * port // 8), 255, np.uint8)
    padded[:, : data.shape[1]] = data
    design = Design("arc")
    top = compiled(design, beats_to_words(design, port, word))
    cut = as_words(padded.reshape(20 * beats, -1), port)
    result = run_streams(top, {"in": cut}, {"out": 20}, stalls=stalls, seed=8).check()
    assert np.array_equal(result.outputs["out"], as_words(data, word))
    if not stalls:
        assert set(np.diff(result.stream_cycles["out"]).tolist()) == {beats}


def as_words(rows: np.ndarray, bits: int) -> np.ndarray:
    """As `run_streams` takes words: integers up to 64 bits, bytes above."""
    if bits > 64:
        return rows
    wide = np.zeros((len(rows), 8), np.uint8)
    wide[:, : rows.shape[1]] = rows
    return wide.view("<u8").reshape(-1)
