"""The attention engine in the arc JIT, its units alone and the whole of it, against the integers of lut.attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lutllm.functions import exp2_negative as golden_exp2
from lutllm.functions import reciprocal as golden_reciprocal
from lutllm.functions import tanh as golden_tanh
from lutllm.interpreter.decoder import attention as golden
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.attention.attention import attention
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.arithmetic import round_shift_staged
from lutllm.lowering.hardware.lib.axi import axi_read_stream
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import (
    EXP2_LATENCY,
    RECIPROCAL_LATENCY,
    TANH_LATENCY,
    exp2_negative,
    reciprocal,
    tanh,
)
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal, const
from lutllm.lowering.hardware.linear.words import beats_to_words
from lutllm.lowering.machine.accelerator import LEFT, AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import round_shift
from lutllm.simulate import ArcSimulator, AxiTiming, Memory, RunResult, TestBench

PORTS = {"w": 512, "c": 32, "q": 64}


def config(lanes: int = 4, head_lanes: int = 8, tokens: int = 4, kv_bits: int = 0, **changes: Any) -> AcceleratorConfig:
    engine = EngineConfig(
        pairs=2, lanes=4 * lanes, requant_lanes=lanes, centroids=4, chains=1, tokens=tokens, acc_words=tokens,
        port_bits=PORTS,
    )  # fmt: skip
    words = dict(context=64, q_words=256, x_words=256, score_words=512, head_words=6)
    words |= dict(item_words=288 // head_lanes) | changes  # 12 heads of 24 channels: the most of `SHAPES`
    return AcceleratorConfig(engine=engine, head_lanes=head_lanes, kv_bits=kv_bits or 8 * head_lanes, **words)  # type: ignore[arg-type]


def compiled(design: Design, name: str, *, optimize: int = 0) -> ArcSimulator:
    simulator = ArcSimulator(hw_to_arc(design, name), optimize=optimize)
    simulator.randomize(4)
    return simulator


# Units: a value a cycle in, a result a fixed number of cycles later.


def through(top: ArcSimulator, inputs: list[dict[str, int]], latency: int, outputs: list[str]) -> list[tuple[int, ...]]:
    results = []
    for step in range(len(inputs) + latency):
        for name, value in inputs[min(step, len(inputs) - 1)].items():
            top.poke(name, value)
        top.evaluate()
        if step >= latency:
            results.append(tuple(top.peek(name) for name in outputs))
        top.cycle()
    return results


def test_exp2_negative_at_every_table_entry_and_octave() -> None:
    bits, rng = 48, np.random.default_rng(1)
    octaves = np.arange(19) << 16
    edges = (octaves[:, None] + np.array([0, 1, 511, 512, 1023, 1024, 65535])).reshape(-1)
    entries = (rng.integers(0, 4, 64) << 16) + (np.arange(64) << 10) + rng.integers(0, 1024, 64)
    t = np.concatenate([edges, entries, rng.integers(0, 17 << 16, 200), [(1 << 48) - 1, 1 << 47, 1 << 21]])
    design = Design("arc")
    top = compiled(design, exp2_negative(design, bits))
    got = through(top, [dict(t=int(v)) for v in t], EXP2_LATENCY, ["power"])
    assert [power for (power,) in got] == golden_exp2(t).tolist()


def test_tanh_of_either_sign_and_beyond_its_table() -> None:
    size = np.concatenate([np.arange(0, 1 << 16, 13), 65535 + np.arange(-3, 4), [1 << 19, (1 << 20) - 1]])
    values = np.concatenate([size, -size])
    design = Design("arc")
    top = compiled(design, tanh(design, 20))
    got = through(top, [dict(size=int(abs(v)), negative=int(v < 0)) for v in values], TANH_LATENCY, ["u"])
    assert [u for (u,) in got] == (golden_tanh(values) & 0xFFFF).tolist()


@pytest.mark.parametrize("bits", [27, 18, 9])
def test_reciprocal_at_every_length_and_table_entry(bits: int) -> None:
    rng = np.random.default_rng(2)
    powers = 1 << np.arange(bits)
    entries = ((np.arange(128) + 128) << (bits - 8)) + rng.integers(0, 1 << (bits - 8), 128)
    p = np.concatenate([powers, 2 * powers - 1, entries, rng.integers(1, 1 << bits, 200)])
    design = Design("arc")
    top = compiled(design, reciprocal(design, bits))
    got = through(top, [dict(p=int(v)) for v in p], RECIPROCAL_LATENCY, ["r", "length"])
    assert got == list(zip(*(v.tolist() for v in golden_reciprocal(p)), strict=True))


def test_round_shift_in_two_steps_rounds_once() -> None:
    rng, bits = np.random.default_rng(3), 20
    value = np.concatenate([rng.integers(-(1 << 19), 1 << 19, 60), [-1, 0, 1, -(1 << 19), (1 << 19) - 1]])
    cases = [(int(v), shift) for v in value for shift in (0, 1, 3, 7, 8, 9, 15, 16, 19, 20, 21, 40, 63)]

    def body(m: Module) -> dict[str, Signal]:
        return dict(result=round_shift_staged(m, m["value"], m["shift"], bits))

    design = Design("arc")
    name = design.module("shifter", {"value": bits, "shift": 6}, {"result": bits}, body, reset=False)
    got = through(compiled(design, name), [dict(value=v, shift=s) for v, s in cases], 2, ["result"])
    expected = [int(round_shift(np.array(v), s)) & ((1 << bits) - 1) for v, s in cases]
    assert [result for (result,) in got] == expected


# The engine, with its readers, its memories, and every beat observed as a stream.


def bench_module(design: Design, c: AcceleratorConfig) -> str:
    """Streams load (memories q, from 0 on; its last word lets tasks in), task and p; AXI masters k0, v0 ..

    Streams out: x (writes of memory x), qk0, av0 .. (a word a useful beat), done.
    """
    engine = design.loose(attention(design, c))
    reader = design.loose(axi_read_stream(design, c.kv_bits, outstanding=8))
    joined, masters = design.loose(beats_to_words(design, c.kv_bits, c.part_bits)), masters_of(c)
    store = ram(design, c.q_words, c.word_bits("q"))
    record = task_record(c, "attention").width

    def body(m: Module) -> dict[str, Signal]:
        address = m.state(c.address_bits("q"), "load_address", reset=0)
        address.set(address.signal + 1, m["load_valid"])
        loaded = m.state(1, "loaded", reset=0)
        loaded.set(const(1, 1), m["load_valid"] & m["load_last"])
        outputs = design.modules[engine].gives
        back = {port: Wire(width) for port, width in outputs.items()}
        q = {
            f"q{u}_read_data": m.output_of(
                store, f"q{u}", we=m["load_valid"], wa=address.signal, wd=m["load_word"], re=back[f"q{u}_read"].signal,
                ra=back[f"q{u}_read_address"].signal,
            )
            for u in range(c.attention_cores)
        }  # fmt: skip
        rows, streams = {}, {}
        for n in masters:
            axi = {port: m[f"{n}_{port}"] for port in ("arready", "rvalid", "rdata", "rresp", "rlast")}
            axi |= dict(clear=m.rst, rid=const(0, 1))
            command = {
                port: back[f"{n}_{port}"].signal for port in ("command_valid", "command_address", "command_beats")
            }
            ready = Wire(1)
            rows[n] = m.instance(reader, f"{n}_reader", data_ready=ready.signal, **axi, **command)
            words = m.instance(
                joined, f"{n}_words", in_valid=rows[n]["data_valid"], in_data=rows[n]["data_data"],
                out_ready=back[f"{n}_ready"].signal,
            )  # fmt: skip
            ready.assign(words["in_ready"])
            streams |= {f"{n}_valid": words["out_valid"], f"{n}_data": words["out_data"]}
            streams[f"{n}_command_ready"] = rows[n]["command_ready"]
        out = m.instance(
            engine, "attention", task_valid=m["task_valid"] & loaded.signal, task_data=m["task_data"],
            p_valid=m["p_valid"], p_data=m["p_data"], **q, **streams,
        )  # fmt: skip
        for port, wire in back.items():
            wire.assign(out[port])
        result = dict(
            load_ready=const(1, 1), task_ready=out["task_ready"] & loaded.signal, p_ready=out["p_ready"],
            x_valid=out["x_write"], x_address=out["x_write_address"], x_word=out["x_write_data"],
            done_valid=out["done"], done_data=const(1, 1),
        )  # fmt: skip
        for u in range(c.attention_cores):
            result |= {f"{n}{u}_valid": out[f"{n}_busy"][u] for n in ("qk", "av")}
            result |= {f"{n}{u}_data": const(1, 1) for n in ("qk", "av")}
        axi = ("arvalid", "araddr", "arlen", "arsize", "arburst", "rready")
        return result | {f"{n}_{port}": rows[n][port] for n in masters for port in axi}

    inputs = {"load_valid": 1, "load_last": 1, "load_word": c.word_bits("q"), "task_valid": 1, "task_data": record}
    inputs |= {"p_valid": 1, "p_data": c.p_bits, "x_ready": 1, "done_ready": 1}
    stages = [f"{n}{u}" for n in ("qk", "av") for u in range(c.attention_cores)]
    inputs |= {f"{n}_ready": 1 for n in stages}
    outputs = {"load_ready": 1, "task_ready": 1, "p_ready": 1, "x_valid": 1, "x_address": c.address_bits("x")}
    outputs |= {"x_word": c.word_bits("x")} | {f"{n}_{s}": 1 for n in (*stages, "done") for s in ("valid", "data")}
    for n in masters:
        inputs |= {f"{n}_arready": 1, f"{n}_rvalid": 1, f"{n}_rdata": c.kv_bits, f"{n}_rresp": 2, f"{n}_rlast": 1}
        outputs |= {f"{n}_arvalid": 1, f"{n}_araddr": 64, f"{n}_arlen": 8, f"{n}_arsize": 3, f"{n}_arburst": 2}
        outputs |= {f"{n}_rready": 1}
    return design.module("bench", inputs, outputs, body)


def masters_of(c: AcceleratorConfig) -> list[str]:
    return [f"{n}{u}" for n in "kv" for u in range(c.attention_units * c.attention_ports)]


@dataclass(frozen=True)
class Shape:
    kv_heads: int
    group: int
    reps: int
    channels: int
    tokens: int
    position: int


class Case:
    """A task with random integers: memory images, stream words, and what memory x shall hold."""

    def __init__(self, c: AcceleratorConfig, shape: Shape, q: int, base: int, address: int, seed: int) -> None:
        self.c, self.s, rng = c, shape, np.random.default_rng(seed)
        s, lanes = shape, c.head_lanes
        self.heads, self.rows = s.kv_heads * s.group, s.position + s.tokens
        self.beats = -(-s.channels // lanes)
        self.physical = self.beats * lanes
        query = rng.integers(-(1 << 15), 1 << 15, (s.tokens, self.heads, s.channels))
        keys, values = rng.integers(-128, 128, (2, c.context, s.kv_heads, s.channels))
        query[:, 0] *= seed % 4 > 0  # all weights alike
        if seed % 4 < 2:  # the largest scores and sums
            query, keys = np.where(query < 0, -(1 << 15), query), np.where(keys < 0, -128, 127)
            values[:, 0] = -128
        size = int(np.abs(query).max() * 128 * s.channels)
        shift = 20
        multiplier = rng.integers(1, max(2, min(1 << 15, (20 << 36) // size)), self.heads)
        value_exponents = rng.integers(-9, -5, s.kv_heads * s.channels // 2)
        low, high = (-36, 13) if seed % 4 == 1 else (-12, -3)  # of all left and right shifts, or of unsaturated results
        exponents = rng.integers(low, high, self.heads * s.channels // 2)
        bits = 16 - seed % 3
        softcap = 0
        if "softcap" in c.modes and seed % 3:  # of arguments up to 20, beyond which tanh is 1
            softcap = int(rng.integers(1, 1 << (31 if seed % 3 == 1 else 18)))
            multiplier = rng.integers(1, max(2, min(1 << 15, (20 << 33) // size)), self.heads)
        reach = (5 * seed + s.position) % 12 if "window" in c.modes else c.context
        self.skipped, window = max(0, s.position - reach) // c.attention_rows, reach + 1
        self.expected = golden(
            query.reshape(s.tokens, -1), keys.reshape(c.context, -1), values.reshape(c.context, -1),
            np.array([s.position]), heads=self.heads, kv_heads=s.kv_heads, multiplier=multiplier, shift=shift,
            value_exponents=value_exponents, exponents=exponents, bits=bits, window=window,
            softcap=softcap or None,
        ).reshape(s.tokens, self.heads, s.channels)  # fmt: skip
        pad = ((0, 0), (0, 0), (0, self.physical - s.channels))
        self.query = np.pad(query, pad).transpose(1, 0, 2).reshape(-1, lanes)  # head, token, beat
        self.images = [np.pad(cache, pad).transpose(1, 0, 2).astype(np.int8) for cache in (keys, values)]
        self.stride = c.cache_stride(c.context, self.physical // c.lanes) + 64 * c.attention_ports
        self.addresses = [address, address + s.kv_heads * self.stride]
        of_value = np.repeat(np.repeat(value_exponents, 2).reshape(s.kv_heads, -1), s.group, axis=0)
        right = LEFT + 15 + np.repeat(exponents, 2).reshape(self.heads, -1) - of_value
        self.parameters = self._parameters(multiplier, np.pad(right, pad[1:]))
        self.base = base
        self.task = dict(
            kv_heads=s.kv_heads // c.attention_units, items=s.group // s.reps // c.attention_ways,
            reps=s.reps, beats=self.beats,
            shift=shift, bits=bits, q=q, base=base, head_stride=self.stride, keys=self.addresses[0],
            values=self.addresses[1], tokens=s.tokens, position=s.position,
        ) | (dict(reach=reach) if "window" in c.modes else {})  # fmt: skip
        self.task |= dict(softcap=softcap) if "softcap" in c.modes else {}

    def _parameters(self, multiplier: np.ndarray, right: np.ndarray) -> np.ndarray:
        v, words, s, units, ways = self.c.lanes, [], self.s, self.c.attention_units, self.c.attention_ways
        items = s.group // s.reps
        order = [
            (kv_head + unit) * items + item + way
            for kv_head in range(0, s.kv_heads, units)
            for item in range(0, items, ways)
            for unit in range(units)
            for way in range(ways)
        ]
        for first in order:
            heads = range(first * s.reps, (first + 1) * s.reps)
            words += [[int(multiplier[h])] + [0] * (v - 1) for h in heads]
            words += [[int(r) << 24 for r in word] for h in heads for word in right[h].reshape(-1, v)]
        return np.array(words, np.int64).astype("<u4")

    def work(self, rows: int = 1) -> int:
        """Beats of each of the two multiplications, of `rows` rows at a time."""
        seen = sum(-(-(self.s.position + t + 1) // rows) - self.skipped for t in range(self.s.tokens))
        return seen * self.heads * self.beats

    def write(self, memory: Memory) -> None:
        for image, address in zip(self.images, self.addresses, strict=True):
            at = self.c.row_places(np.arange(self.c.context), self.physical // self.c.lanes, self.stride)
            for head, rows in enumerate(image):
                for places, row in zip(at, rows, strict=True):
                    for place, part in zip(places.tolist(), np.split(row, len(places)), strict=True):
                        memory.write(address + head * self.stride + place, part)

    def check(self, x: dict[int, np.ndarray]) -> None:
        """Memory x (address -> word) against the golden model, padding included."""
        v = self.c.lanes
        words = self.physical // v
        for head in range(self.heads):
            for w in range(words):
                for t in range(self.s.tokens):
                    got = x[self.base + (head * words + w) * self.s.tokens + t]
                    row = np.pad(self.expected[t, head], (0, self.physical - self.s.channels))
                    assert got.tolist() == row[w * v : (w + 1) * v].tolist(), (head, w, t)


def as_words(rows: np.ndarray, bits: int) -> np.ndarray:
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    return raw if bits > 64 else np.pad(raw, ((0, 0), (0, 8 - raw.shape[1]))).view("<u8").reshape(-1)


def cases_of(c: AcceleratorConfig, shapes: list[Shape], seed: int) -> tuple[list[Case], Memory]:
    """Tasks one behind the other in the memories."""
    cases, q, base, address = [], 0, 3, 0
    for i, shape in enumerate(shapes):
        case = Case(c, shape, q, base, address, seed + i)
        cases.append(case)
        q, base = q + len(case.query), base + case.heads * case.physical // c.lanes * shape.tokens
        address = case.addresses[1] + shape.kv_heads * case.stride
    memory = Memory(-(-address // 4096) * 4096)
    for case in cases:
        case.write(memory)
    return cases, memory


def bench_of(
    top: ArcSimulator,
    c: AcceleratorConfig,
    cases: list[Case],
    memory: Memory,
    timing: AxiTiming | dict[str, AxiTiming],
    stalls: int,
) -> TestBench:
    record, tasks = task_record(c, "attention"), []
    for case in cases:
        word, low = 0, 0
        for name, width in record.widths.items():
            word |= case.task[name] << low
            low += width
        tasks.append(np.frombuffer(word.to_bytes(-(-record.width // 8), "little"), np.uint8))
    query = np.concatenate([case.query for case in cases]).astype("<i2")
    last = np.arange(len(query)) == len(query) - 1
    work = sum(case.work(c.attention_rows) for case in cases) // c.attention_cores
    stages = {f"{n}{u}": work for n in ("qk", "av") for u in range(c.attention_cores)}
    return TestBench(
        top,
        memory=memory,
        timing=timing,
        inputs={
            "load": {"last": last.astype(np.int64), "word": as_words(query, c.word_bits("q"))},
            "task": np.stack(tasks),
            "p": as_words(np.concatenate([case.parameters for case in cases]), c.p_bits),
        },
        outputs={"x": sum(len(case.query) for case in cases) * c.head_lanes // c.lanes, **stages,
                 "done": len(cases)},
        stalls={"p": stalls},
        seed=stalls + 1,
    )  # fmt: skip


def check(c: AcceleratorConfig, cases: list[Case], result: RunResult) -> None:
    result.check()
    written = result.outputs["x"]
    assert isinstance(written, dict)
    words = np.ascontiguousarray(written["word"]).view("<i2").reshape(len(written["address"]), -1)[:, : c.lanes]
    x = {int(a): w for a, w in zip(written["address"], words, strict=True)}
    assert len(x) == len(words)  # each word once
    for case in cases:
        case.check(x)


CONFIGS = {
    "V4 L4": config(head_lanes=4),
    "V4 L8": config(head_lanes=8),
    "V4 L8, ports of a word": config(head_lanes=8, kv_bits=32),
    "2 units": config(head_lanes=8, kv_bits=32, attention_units=2),
    "4 units": config(head_lanes=4, attention_units=4),
    "2 ways": config(head_lanes=8, attention_ways=2),
    "2 units, 4 ways": config(head_lanes=4, attention_units=2, attention_ways=4),
    "2 rows": config(head_lanes=8, attention_rows=2, attention_ports=2),
    "2 rows, ports of half a row": config(head_lanes=8, kv_bits=32, attention_rows=2, attention_ports=4),
    "4 rows, 2 ways": config(head_lanes=4, attention_rows=4, attention_ports=4, attention_ways=2),
    "8 rows, 2 units, 2 ways, ports of a word": config(
        head_lanes=8, kv_bits=32, attention_rows=8, attention_ports=8, attention_units=2, attention_ways=2
    ),
    "windows": config(head_lanes=8, modes=("window",)),
    "windows, 4 rows, 2 ways": config(
        head_lanes=4, attention_rows=4, attention_ports=4, attention_ways=2, modes=("window",)
    ),
    "soft-caps": config(head_lanes=8, modes=("softcap",)),
    "soft-caps, windows, 4 rows, 2 ways": config(
        head_lanes=4, attention_rows=4, attention_ports=4, attention_ways=2, modes=("window", "softcap")
    ),
    "windows, 2 rows, 2 units, ports of half a row": config(
        head_lanes=8, kv_bits=32, attention_rows=2, attention_ports=4, attention_units=2, modes=("window",)
    ),
}
_tops: dict[str, ArcSimulator] = {}


def top_of(name: str) -> ArcSimulator:
    if name not in _tops:
        design = Design("arc")
        _tops[name] = compiled(design, bench_module(design, CONFIGS[name]))
    return _tops[name]


SHAPES = {
    "one token": Shape(kv_heads=2, group=1, reps=1, channels=8, tokens=1, position=0),
    "decode": Shape(kv_heads=2, group=3, reps=3, channels=12, tokens=1, position=9),
    "prefill": Shape(kv_heads=1, group=2, reps=2, channels=12, tokens=3, position=0),
    "parts of a group": Shape(kv_heads=1, group=8, reps=2, channels=12, tokens=3, position=5),
    "a long row of one word": Shape(kv_heads=2, group=1, reps=1, channels=4, tokens=1, position=40),
    "more shifts than fit": Shape(kv_heads=2, group=12, reps=12, channels=24, tokens=1, position=3),
    "division takes longest": Shape(kv_heads=8, group=1, reps=1, channels=24, tokens=1, position=0),
    "full": Shape(kv_heads=1, group=2, reps=2, channels=12, tokens=4, position=60),
    "heads alone": Shape(kv_heads=2, group=2, reps=1, channels=4, tokens=4, position=7),
    "several kv heads a unit": Shape(kv_heads=4, group=4, reps=1, channels=12, tokens=2, position=5),
    "a group in ways": Shape(kv_heads=2, group=8, reps=1, channels=12, tokens=3, position=4),
    "items in ways": Shape(kv_heads=4, group=8, reps=2, channels=8, tokens=1, position=11),
    "items of two heads": Shape(kv_heads=4, group=4, reps=2, channels=12, tokens=3, position=2),
}


def fits(c: AcceleratorConfig, s: Shape) -> bool:
    return not s.kv_heads % c.attention_units and not s.group % (s.reps * c.attention_ways)


@pytest.mark.parametrize("stalls", [0, 100])
@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name, c in CONFIGS.items() for shape, s in SHAPES.items() if fits(c, s)],
)
def test_attention_equals_the_golden_model(name: str, shape: str, stalls: int) -> None:
    c = CONFIGS[name]
    cases, memory = cases_of(c, [SHAPES[shape]], seed=len(shape) + stalls)
    timing = AxiTiming(latency=1 + stalls // 4, stall_address=stalls, stall_data=stalls)
    check(c, cases, finished(bench_of(top_of(name), c, cases, memory, timing, stalls)))


def finished(bench: TestBench) -> RunResult:
    bench.reset()
    return bench.run(200_000)


def test_tasks_one_behind_the_other() -> None:
    """Of different shapes, without a gap; banks go on from task to task."""
    c = CONFIGS["V4 L8"]
    shapes = [SHAPES[name] for name in ("one token", "prefill", "decode")]
    cases, memory = cases_of(c, shapes, seed=30)
    check(c, cases, finished(bench_of(top_of("V4 L8"), c, cases, memory, AxiTiming(latency=20), 30)))


@pytest.mark.parametrize("slow", ["k0", "v0"])
def test_one_reader_far_behind_the_other(slow: str) -> None:
    """Stages wait for each other: neither overtakes the banks."""
    c = CONFIGS["V4 L8"]
    cases, memory = cases_of(c, [SHAPES["parts of a group"]], seed=61)
    timing = {"k0": AxiTiming(latency=2), "v0": AxiTiming(latency=2)} | {slow: AxiTiming(latency=90, stall_data=230)}
    check(c, cases, finished(bench_of(top_of("V4 L8"), c, cases, memory, timing, 0)))


def test_reset_in_mid_run() -> None:
    """Wherever a reset falls, what follows it is right."""
    c = CONFIGS["V4 L8"]
    cases, memory = cases_of(c, [SHAPES["parts of a group"]], seed=40)
    bench = bench_of(top_of("V4 L8"), c, cases, memory, AxiTiming(latency=10), 0)
    for cycles in (60, 95, 130, 201, 340):
        bench.reset()
        assert not bench.run(cycles).ok
    check(c, cases, finished(bench))


def test_multipliers_are_busy_in_prefill() -> None:
    """64 tokens in passes of 16, memory 64 cycles away: at least 80 % of the cycles from the first beat of a stage to
    its last carry one. Printed, with the share of all cycles of the engine's tasks."""
    words = dict(q_words=256, x_words=1024, score_words=2048, item_words=16, head_words=4)
    c = config(lanes=16, head_lanes=64, tokens=16, **words)
    design = Design("arc")
    top = compiled(design, bench_module(design, c))
    used = {"qk": 0, "av": 0, "all": 0}
    spent = dict(used)
    for position in range(0, 64, 16):
        shape = Shape(kv_heads=3, group=3, reps=1, channels=64, tokens=16, position=position)
        cases, memory = cases_of(c, [shape], seed=50 + position)
        result = finished(bench_of(top, c, cases, memory, AxiTiming(latency=64), 0))
        check(c, cases, result)
        cycles = result.stream_cycles
        for stage in ("qk", "av"):
            used[stage] += cases[0].work()
            spent[stage] += int(cycles[f"{stage}0"][-1] - cycles[f"{stage}0"][0]) + 1
        used["all"] += cases[0].work()
        spent["all"] += int(cycles["done"][0] - cycles["task"][0]) + 1
    share = {name: used[name] / spent[name] for name in used}
    print(f"beats of useful multiplications: QK^T {share['qk']:.1%}, AV {share['av']:.1%} of a stage's cycles; "
          f"{share['all']:.1%} of the cycles from task to done")  # fmt: skip
    assert min(share["qk"], share["av"]) >= 0.8
