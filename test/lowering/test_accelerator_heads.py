"""Engine heads alone in the arc JIT, integer for integer against rms_norm, rope and rescale_channels."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest

from lutllm.interpreter import decoder as golden
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.functions import H_OFFSET, ROPE_LATENCY, rope_pair
from lutllm.lowering.hardware.vector.head_norm import head_norm_lane
from lutllm.lowering.hardware.vector.heads import heads
from lutllm.lowering.machine.accelerator import HEAD_MODES, LEFT, X_BITS, AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import rescale, round_shift, saturate
from lutllm.quantization import CACHE_BITS, NORM_BITS
from lutllm.simulate import ArcSimulator

CONTEXT = 40
GARBAGE = 0xEE


@cache
def config(lanes: int, head_lanes: int, head_words: int, kv_bits: int) -> AcceleratorConfig:
    ports = {"w": 512, "c": 64, "q": 64}
    engine = EngineConfig(
        pairs=2, lanes=max(8, lanes), requant_lanes=lanes, centroids=4, chains=1, tokens=4, acc_words=8, port_bits=ports
    )
    return AcceleratorConfig(
        engine=engine, head_lanes=head_lanes, head_words=head_words, kv_bits=kv_bits, context=CONTEXT, y_words=1024,
        q_words=256,
    )  # fmt: skip


@cache
def compiled(lanes: int, head_lanes: int, head_words: int, kv_bits: int) -> ArcSimulator:
    design = Design("arc")
    return ArcSimulator(hw_to_arc(design, heads(design, config(lanes, head_lanes, head_words, kv_bits))), optimize=0)


def joined(values: np.ndarray | list[int], bits: int) -> int:
    """Values packed at `bits` each, the first lowest."""
    return sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(values))


@dataclass
class Job:
    """A task, the stream p it takes, and what it leaves: words of memory q by address, bytes of the cache."""

    fields: dict[str, int]
    p: list[int]
    q: dict[int, int] = field(default_factory=dict)
    cache: dict[int, int] = field(default_factory=dict)

    @property
    def word(self) -> int:
        word, low = 0, 0
        for name, width in task_record(AcceleratorConfig(), "heads").widths.items():
            word |= (self.fields.get(name, 0) & ((1 << width) - 1)) << low
            low += width
        return word


class Model:
    """Tensors of a pass: makes jobs, with their results by the golden functions, and fills memory y."""

    def __init__(self, c: AcceleratorConfig, head_dim: int, tokens: int, position: int, seed: int) -> None:
        self.c, self.head_dim, self.tokens, self.position = c, head_dim, tokens, position
        self.rng = np.random.default_rng(seed)
        self.physical = -(-head_dim // c.head_lanes) * c.head_lanes
        self.words = self.physical // c.lanes
        angles = self.rng.uniform(0, 7, (CONTEXT, head_dim // 2))
        self.cosines, self.sines = (np.rint(f(angles) * (1 << 14)).astype(np.int64) for f in (np.cos, np.sin))
        self.y: dict[int, int] = {}
        self.free = {"source": 3, "base": 2, "address": 1 << 40}

    def rows(self, channels: np.ndarray, *, rotated: bool) -> np.ndarray:
        """[..., head_dim] in logical order -> [..., physical]; pads with 0."""
        out = np.zeros((*channels.shape[:-1], self.physical), np.int64)
        halves = np.split(channels, 2, axis=-1)
        out[..., : self.head_dim] = np.stack(halves, axis=-1).reshape(channels.shape) if rotated else channels
        return out

    def rotations(self) -> Job:
        """The table of this pass: what the padding's pairs turn by does not matter."""
        p: list[int] = []
        for t in range(self.tokens):
            pairs = self.rng.integers(-(1 << 15), 1 << 15, (self.physical // 2, 2))
            pairs[: self.head_dim // 2, 0] = self.cosines[self.position + t]
            pairs[: self.head_dim // 2, 1] = self.sines[self.position + t]
            words = pairs.reshape(self.words, self.c.lanes)
            p += [joined(word, 16) | GARBAGE << self.c.lanes * 16 for word in words]
        fields = dict(mode=HEAD_MODES.index("rotations"), heads=7, norm=1, head_words=self.words)
        return Job(fields | dict(tokens=self.tokens, position=self.position), p)

    def job(self, mode: str, count: int, *, norm: bool = False, rotate: bool = True, extreme: bool = False) -> Job:
        bits = X_BITS if mode == "query" else CACHE_BITS
        limit = 1 << (self.c.y_bits - 1)
        x = self.rng.integers(-limit, limit, (self.tokens, count, self.head_dim))
        x >>= self.rng.integers(0, 20, (count, 1))
        if extreme:
            x = self.rng.choice([-limit, limit - 1, 0], x.shape)
            x[0, 0] = 0
        rope = mode != "value" and rotate
        fields = dict(mode=HEAD_MODES.index(mode), norm=int(norm), rotate=int(rope), heads=count, head_words=self.words)
        fields |= dict(tokens=self.tokens, position=self.position, wide=NORM_BITS if norm else self.c.y_bits)
        gain = self.rng.integers(-(1 << 23) + 1, 1 << 23, self.head_dim)
        fields |= dict(epsilon=int(self.rng.choice([0, 1, 12345678])), shift=int(self.rng.integers(4, 24)))
        value = x.reshape(self.tokens, -1)
        if norm:
            value = golden.rms_norm(value, gain, count, fields["epsilon"], fields["shift"], NORM_BITS)
        if rope:
            where = np.array([self.position])
            value = golden.rope(value, where, count, self.cosines, self.sines, fields["wide"])
        steps = self.rng.integers(-20, 6, (count, self.head_dim // 2))
        steps.reshape(-1)[::3] = self.rng.choice([0, 30, -46], len(steps.reshape(-1)[::3]))
        value = golden.rescale_channels(value, 0, -steps.reshape(-1), bits).reshape(x.shape)
        paired = mode != "value"
        job = Job(fields, self._parameters(gain, np.repeat(steps, 2, axis=-1), paired))
        self._place(job, self.rows(x, rotated=paired), self.rows(value, rotated=paired), bits)
        return job

    def _parameters(self, gain: np.ndarray, steps: np.ndarray, paired: bool) -> list[int]:
        """A word's lanes are {gain, right}. `steps` come for logical channels 0, 0, 1, 1, ...: those of a head."""
        right = self.rows(np.clip(LEFT - steps, 0, 255), rotated=paired)
        gain = self.rows(np.broadcast_to(gain, steps.shape), rotated=paired)
        lanes = (gain & 0xFFFFFF) | right << 24
        return [joined(word, 32) for word in lanes.reshape(-1, self.c.lanes)]

    def _place(self, job: Job, x: np.ndarray, value: np.ndarray, bits: int) -> None:
        """Put the operand [tokens, heads, physical] into memory y, and the result where it belongs."""
        lanes, wide, source = self.c.lanes, self.c.head_lanes, self.free["source"]
        for (t, h, w), word in self._words(x, lanes):
            self.y[source + (h * self.words + w) * self.tokens + t] = joined(word, self.c.y_bits)
        self.free["source"] += x.size // lanes
        job.fields |= dict(source=source, base=self.free["base"], address=self.free["address"])
        if bits == X_BITS:
            beats = self.physical // wide
            for (t, h, b), word in self._words(value, wide):
                job.q[self.free["base"] + (h * self.tokens + t) * beats + b] = joined(word, bits)
            self.free["base"] += len(job.q)
            return
        stride = CONTEXT * self.physical + 64
        job.fields["head_stride"] = stride
        for (t, h, c), (byte,) in self._words(value, 1):
            address = self.free["address"] + h * stride + (self.position + t) * self.physical + c
            job.cache[address] = int(byte) & 0xFF
        self.free["address"] += x.shape[1] * stride

    @staticmethod
    def _words(rows: np.ndarray, lanes: int):  # type: ignore[no-untyped-def]
        cut = rows.reshape(*rows.shape[:2], -1, lanes)
        return [(index, cut[index]) for index in np.ndindex(cut.shape[:3])]


class Bench:
    """What stands around the engine: memories y and q, stream p, the cache behind its writer."""

    def __init__(self, c: AcceleratorConfig, top: ArcSimulator, y: dict[int, int], stall: float, seed: int) -> None:
        self.c, self.top, self.y, self.stall, self.draw = c, top, y, stall, random.Random(seed)
        self.q: dict[int, int] = {}
        self.cache: dict[int, int] = {}
        self.commands: deque[tuple[int, int]] = deque()  # address, beats
        self.beats: deque[int] = deque()  # not yet written
        self.responses: deque[tuple[int, dict[int, int]]] = deque()  # cycle, and what is in memory by then
        self.p: deque[int] = deque()
        self.y_data, self.cycles = GARBAGE, 0
        self.held = {"p": 0, "kv": 0}  # cycles until a stream begins to move
        self.reads: list[int] = []  # cycles
        top.reset()

    def moves(self, stream: str = "") -> int:
        return int(self.draw.random() >= self.stall and self.cycles >= self.held.get(stream, 0))

    def run(self, jobs: list[Job], limit: int = 4000) -> None:
        """Offer the jobs one after the other, and check each at its `done`."""
        waiting, running = deque(jobs), deque(jobs)
        for job in jobs:
            self.p += job.p
        while running:
            assert limit, "the engine hangs"
            limit -= 1
            offered = bool(waiting) and self.moves()
            if self.cycle(waiting[0].word if offered else None):
                waiting.popleft()
            if self.done:
                self.check(running.popleft())
        assert not waiting and not self.p
        for _ in range(30):
            self.cycle(None)
            assert not self.done

    def check(self, job: Job) -> None:
        for place, memory, wanted in (("q", self.q, job.q), ("cache", self.cache, job.cache)):
            assert memory == wanted, (place, job.fields)
            memory.clear()
        assert not self.commands and not self.responses and not self.beats

    def cycle(self, task: int | None) -> bool:
        """One clock; returns whether the task was taken."""
        top, written = self.top, bool(self.responses) and self.responses[0][0] <= self.cycles
        if written:
            self.cache |= self.responses.popleft()[1]
        p_valid, task_valid = bool(self.p) and self.moves("p"), task is not None
        inputs = dict(task_valid=int(task_valid), task_data=task or 0, kv_written=int(written))
        inputs |= dict(p_valid=int(p_valid), p_data=self.p[0] if p_valid else GARBAGE, y_read_data=self.y_data)
        inputs |= dict(kv_ready=self.moves("kv"), kv_command_ready=self.moves())
        for name, value in inputs.items():
            top.poke(name, value)
        top.evaluate()
        self.done = bool(top.peek("done"))
        if p_valid and top.peek("p_ready"):
            self.p.popleft()
        self._memories()
        if inputs["kv_command_ready"] and top.peek("kv_command_valid"):
            self.commands.append((top.peek("kv_command_address"), top.peek("kv_command_beats")))
        if inputs["kv_ready"] and top.peek("kv_valid"):
            self.beats.append(top.peek("kv_data"))
        self._write_rows()
        taken = task_valid and bool(top.peek("task_ready"))
        top.cycle()
        self.cycles += 1
        return taken

    def _memories(self) -> None:
        top, read = self.top, self.top.peek("y_read")
        self.y_data = self.y[top.peek("y_read_address")] if read else GARBAGE
        self.reads += [self.cycles] * read
        if top.peek("q_write"):
            address = top.peek("q_write_address")
            assert address not in self.q
            self.q[address] = top.peek("q_write_data")

    def _write_rows(self) -> None:
        """The writer: a command's response comes some time after its last beat."""
        while self.commands and len(self.beats) >= self.commands[0][1]:
            address, beats = self.commands.popleft()
            size = self.c.kv_bits // 8
            data = b"".join(self.beats.popleft().to_bytes(size, "little") for _ in range(beats))
            wait = self.draw.randrange(60) if self.stall else 1
            due = max([self.cycles + 1 + wait, *(cycle + 1 for cycle, _ in self.responses)])
            self.responses.append((due, {address + i: byte for i, byte in enumerate(data)}))


SHAPES = [  # lanes, head_lanes, head_words, kv_bits, head_dim
    (4, 4, 6, 32, 12), (4, 8, 6, 64, 12), (16, 64, 4, 512, 64), (4, 4, 1, 32, 4), (4, 8, 6, 32, 12),
    (16, 64, 4, 256, 64),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("tokens", "position", "stall"), [(1, 37, 0.0), (3, 0, 0.4), (4, 9, 0.1)])
def test_all_modes_back_to_back(
    shape: tuple[int, int, int, int, int], tokens: int, position: int, stall: float
) -> None:
    *hardware, head_dim = shape
    c, top = config(*hardware), compiled(*hardware)
    top.randomize(tokens)
    model = Model(c, head_dim, tokens, position, seed=tokens + sum(shape))
    jobs = [model.job("value", 1), model.rotations()]
    for norm in (False, True):
        for extreme in (False, True):
            jobs.append(model.job("query", 2, norm=norm, extreme=extreme))
            jobs.append(model.job("key", 1, norm=norm, extreme=extreme))
        jobs.append(model.job("value", 2, norm=norm, extreme=norm))
    jobs.append(model.job("key", 2, norm=True, rotate=False))
    Bench(c, top, model.y, stall, seed=tokens).run(jobs)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("mode", ["query", "key"])
def test_a_word_a_cycle_or_two_with_a_norm(mode: str, norm: bool) -> None:
    """Between a task's first and last read of memory y nothing waits but a norm's first root."""
    hardware = (4, 8, 6, 64)
    c, top = config(*hardware), compiled(*hardware)
    model = Model(c, 12, tokens=4, position=5, seed=1)
    jobs = [model.rotations(), model.job(mode, 6, norm=norm)]
    bench = Bench(c, top, model.y, stall=0.0, seed=1)
    bench.run(jobs)
    words = 6 * 4 * model.words
    assert len(bench.reads) == words * (1 + norm)
    assert bench.reads[-1] - bench.reads[0] + 1 <= len(bench.reads) + (30 if norm else 0)


@pytest.mark.parametrize("held", ["p", "kv"])
@pytest.mark.parametrize("norm", [False, True])
def test_a_stream_that_stands_still_for_long(held: str, norm: bool) -> None:
    """More rows and beats than are under way at once wait for parameters, or for the cache."""
    hardware = (4, 8, 6, 64)
    c, top = config(*hardware), compiled(*hardware)
    model = Model(c, 12, tokens=4, position=5, seed=8)
    jobs = [model.job("value", 6, norm=norm)]
    bench = Bench(c, top, model.y, stall=0.0, seed=1)
    bench.held[held] = 400
    bench.run(jobs)
    assert bench.cycles > 400


@pytest.mark.parametrize("mode", ["query", "key", "rotations"])
def test_reset_in_mid_run(mode: str) -> None:
    """Wherever a run is cut off, after the reset everything works as at power-up."""
    hardware = (4, 8, 6, 64)
    c, top = config(*hardware), compiled(*hardware)
    model = Model(c, 12, tokens=3, position=2, seed=3)
    table = model.rotations()
    cut = table if mode == "rotations" else model.job(mode, 2, norm=True)
    again = model.job("key", 2), model.job("query", 2, norm=True)
    for cycles in (2, 9, 17, 30, 47, 70):
        bench = Bench(c, top, model.y, stall=0.2, seed=cycles)
        bench.p += cut.p
        taken = False
        for _ in range(cycles):
            taken = bench.cycle(None if taken else cut.word) or taken
        Bench(c, top, model.y, stall=0.2, seed=cycles).run([table, *again])


def test_norm_lane_extremes() -> None:
    """Every h and shift, largest x, r and gain, halves of both signs; a channel every cycle."""
    c, design = config(4, 8, 6, 64), Design("arc")
    top, draw = ArcSimulator(hw_to_arc(design, head_norm_lane(design, c)), optimize=0), random.Random(6)
    cases, cycles = [], design.modules["head_norm_lane"].cycles
    for step in range(400):
        h = step % 32 - H_OFFSET
        # x * r / 2**(9 + h) must not exceed 1 in 22 fraction bits, as x is no larger than its row's root.
        most = min((1 << 23) - 1, (1 << (31 + h)) // (1 << 15))
        x = draw.choice([most, -most, draw.randint(-most, most), draw.randint(-most, most)])
        r = min((1 << 16) - 1, (1 << (31 + h)) // max(1, abs(x)))
        gain = draw.choice([(1 << 23) - 1, 1 - (1 << 23), draw.randrange(-(1 << 23) + 1, 1 << 23), 1])
        cases.append((x, max(r, 1 << 15), h, gain))
    seen: set[int] = set()
    for shift in (0, 17, 20, 47):
        top.poke("shift", shift)
        top.poke("normed", 1)
        for step in range(len(cases) + cycles["value"]):
            now = {name: (step - cycles[name], part) for part, name in enumerate(("x", "r", "h", "gain"))}
            for name, (index, part) in now.items():
                if 0 <= index < len(cases):
                    top.poke(name, cases[index][part] + (H_OFFSET if name == "h" else 0))
            top.evaluate()
            if step >= cycles["value"]:
                x, r, h, gain = cases[step - cycles["value"]]
                z = rescale(np.array(x * r), -(9 + h))
                expected = int(saturate(round_shift(z * gain, shift), NORM_BITS))
                assert top.peek("value") == expected & ((1 << NORM_BITS) - 1), (cases[step - cycles["value"]], shift)
                seen.add(expected)
            top.cycle()
    assert {(1 << 27) - 1, -(1 << 27), 0} <= seen


@pytest.mark.parametrize("rotate", [0, 1])
def test_rope_pair_extremes(rotate: int) -> None:
    """The corners of all four operands, beyond what a table holds, clamped to several widths."""
    bits, design = 28, Design("arc")
    top = ArcSimulator(hw_to_arc(design, rope_pair(design, bits)), optimize=0)
    top.poke("rotate", rotate)
    channels, factors = [-(1 << 27), (1 << 27) - 1, 0, -77777], [-(1 << 15), (1 << 15) - 1, 1 << 14, -5]
    cases = list(itertools.product(channels, channels, factors, factors))
    for wide in (8, 24, 28):
        top.poke("limit", (1 << (wide - 1)) - 1)
        for step in range(len(cases) + ROPE_LATENCY):
            if step < len(cases):
                for name, value in zip(("low", "high", "cosine", "sine"), cases[step], strict=True):
                    top.poke(name, value)
            top.evaluate()
            if step >= ROPE_LATENCY:
                low, high, cos, sin = cases[step - ROPE_LATENCY]
                turned = np.array([low * cos - high * sin, high * cos + low * sin])
                wanted = saturate(round_shift(turned, 14), wide) if rotate else np.array([low, high])
                got = [top.peek(name) for name in ("low_out", "high_out")]
                assert got == [int(v) & ((1 << bits) - 1) for v in wanted], (cases[step - ROPE_LATENCY], wide)
            top.cycle()
