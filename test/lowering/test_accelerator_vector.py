"""The vector engines, each alone in the arc JIT with its memories, against the integers of the decoder's ops.

Every engine runs tasks back to back, of 1, 3 and the most tokens, without and with random stalls on every stream, and
again after a reset in mid-run. A monitor sees writes at or after `done`; a read port gives noise but for one cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutllm.interpreter import decoder
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal, any_of, const, mux
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.vector.embed import embed
from lutllm.lowering.hardware.vector.feed import feed
from lutllm.lowering.hardware.vector.load import load
from lutllm.lowering.hardware.vector.norm import norm
from lutllm.lowering.hardware.vector.pick import pick
from lutllm.lowering.hardware.vector.residual import READ_AFTER, residual
from lutllm.lowering.hardware.vector.save import save
from lutllm.lowering.hardware.vector.store import store
from lutllm.lowering.hardware.vector.swiglu import swiglu
from lutllm.lowering.machine.accelerator import LEFT, AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import rescale, saturate
from lutllm.simulate import ArcSimulator, RunResult, TestBench

PORTS = {"w": 512, "c": 32, "q": 64}
TOKENS = (1, 3, 5, 1)  # of the tasks of a run; 5 is the most
ENGINES: dict[str, Callable[[Design, AcceleratorConfig], str]] = dict(
    feed=feed, norm=norm, residual=residual, store=store, swiglu=swiglu, embed=embed, pick=pick, load=load, save=save
)


def config(pairs: int = 2, lanes: int = 4, out_bits: int = 24, modes: tuple[str, ...] = ()) -> AcceleratorConfig:
    engine = EngineConfig(
        pairs=pairs, lanes=4 * lanes, requant_lanes=lanes, centroids=4, chains=1, tokens=5, acc_words=8,
        out_bits=out_bits, port_bits=PORTS,
    )  # fmt: skip
    words = dict(context=60, r_words=60, x_words=200, y_words=180)
    return AcceleratorConfig(engine=engine, head_lanes=8, kv_bits=64, head_words=8, modes=modes, **words)  # type: ignore[arg-type]


class Bench:
    """An engine, the memories at its ports, and a stream `finished` with a word for each `done`."""

    def __init__(self, name: str, c: AcceleratorConfig) -> None:
        self.name, self.config = name, c
        design = Design("arc")
        self.top = ArcSimulator(hw_to_arc(design, _with_memories(design, ENGINES[name](design, c), c)), optimize=0)
        self.top.randomize(7)
        self.top.reset()  # or the first clock would still write what power-up left in the write port
        self.lanes = c.lanes

    def load(self, memory: str, values: np.ndarray, bits: int) -> None:
        """Words of lanes into a memory, from word 0 on."""
        state = self.top.layout.state(f"memory_{memory}/mem")
        for address, row in enumerate(values.reshape(len(values), -1)):
            start = state.offset + address * state.stride
            raw = joined(row, bits).to_bytes(state.bytes, "little")
            self.top.state[start : start + state.bytes] = np.frombuffer(raw, np.uint8)

    def words(self, memory: str, bits: int) -> np.ndarray:
        """All of a memory, as signed lanes."""
        state = self.top.layout.state(f"memory_{memory}/mem")
        return np.array([split(self.top.peek_state(state.name, i), bits, self.lanes) for i in range(state.depth)])

    def run(
        self, tasks: list[dict[str, int]], inputs: dict[str, np.ndarray], outputs: dict[str, int], stalls: int
    ) -> RunResult:
        """Run the tasks to the end, after a run that a reset cuts off. Many `stalls` are those of the outputs alone, so
        that queues fill."""
        record = task_record(self.config, self.name)
        packed = [sum(task.get(n, 0) << low for n, low in _offsets(record.widths)) for task in tasks]
        given = {"task": as_words(packed, record.width)} | inputs
        wanted = outputs | {"finished": len(tasks)}
        pauses = stalls if stalls < 100 else {name: stalls + 50 for name in wanted}
        bench = TestBench(self.top, inputs=given, outputs=wanted, stalls=pauses, seed=3 + stalls)
        bench.reset()
        if stalls:
            bench.run(40 + stalls % 50)
            bench.reset()
        result = bench.run(100_000).check()
        assert self.top.peek("wrote_late") == 0
        return result


def _offsets(widths: dict[str, int]) -> list[tuple[str, int]]:
    return list(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))


def _with_memories(design: Design, name: str, c: AcceleratorConfig) -> str:
    made = design.modules[name]
    memories = [n for n in ("r", "x", "y") if {f"{n}_read", f"{n}_write"} & set(made.gives)]
    rams = {n: ram(design, getattr(c, f"{n}_words"), c.word_bits(n)) for n in memories}
    if "ids_read" in made.gives:
        memories, rams = ["ids"], {"ids": ram(design, c.context + 1, 32)}
    sums = ram(design, c.tokens, 64, read_latency=0) if "squares_read_data" in made.takes else None
    accesses = [f"{n}_{kind}" for n in memories for kind in ("read", "write")] + ["squares_read"] * bool(sums)
    own = {access + part for access in accesses for part in ("", "_address", "_data")}
    inputs = {n: w for n, w in made.takes.items() if n not in own} | {"finished_ready": 1}
    outputs = {n: w for n, w in made.gives.items() if n not in own}
    outputs |= {"finished_valid": 1, "finished_data": 1, "wrote_late": 1}
    unread = [n for n in ("x", "y") if n in memories and f"{n}_read" not in made.gives]
    outputs |= {f"{n}_unread": c.word_bits(n) for n in unread}  # a memory that is never read would be left out
    if "written" in made.takes:  # a pulse, made of a stream
        del inputs["written"]
        inputs, outputs = inputs | {"written_valid": 1, "written_data": 1}, outputs | {"written_ready": 1}
    if "token" in made.gives:  # a pulse, made a stream
        inputs, outputs = inputs | {"token_ready": 1}, outputs | {"token_data": 32}
        del outputs["token"]

    def body(m: Module) -> dict[str, Signal]:
        wires = {n: Wire(w) for n, w in made.takes.items() if n in own}
        given = {n: m["written_valid" if n == "written" else n] for n in made.takes if n not in wires}
        out = m.instance(design.loose(name), "engine", **given, **{n: wire.signal for n, wire in wires.items()})
        for n in memories:
            data = _memory(m, rams[n], n, out)
            if n in unread:
                out[f"{n}_unread"] = data
            else:
                wires[f"{n}_read_data"].assign(data)
        if sums:
            idle = dict(we=const(0, 1), wa=const(0, c.token_bits), wd=const(0, 64))
            wires["squares_read_data"].assign(m.output_of(sums, "memory_sums", **idle, ra=out["squares_read_address"]))
        late = m.state(1, "wrote_late_q", reset=0)
        write = any_of([const(0, 1), *(signal for n, signal in out.items() if n.endswith("_write"))])
        late.set(late.signal | (write & (out["done"] | out["task_ready"])))
        there = Wire(1)
        there.assign(credit(m, "finished", 15, give=out["done"], take=there.signal & m["finished_ready"]))
        if "token" in out:
            tokens = Stream(out["token_valid"], data=out["token"]).fifo(m, "tokens", 32)
            tokens.drive(ready=m["token_ready"])
            out |= dict(token_valid=tokens.valid, token_data=tokens.data)
        out |= dict(written_ready=const(1, 1))
        made_here = dict(finished_valid=there.signal, finished_data=const(0, 1), wrote_late=late.signal)
        return {n: signal for n, signal in out.items() if n in outputs} | made_here

    return design.module("bench", inputs, outputs, body)


def _memory(m: Module, leaf: str, name: str, out: dict[str, Signal]) -> Signal:
    """A RAM at the engine's ports; what it reads is inverted in every cycle but the one after the read."""
    sizes = m.design.modules[leaf].takes
    zero = {"we": "write", "wa": "write_address", "wd": "write_data", "re": "read", "ra": "read_address"}
    ports = {port: out.get(f"{name}_{n}") or const(0, sizes[port]) for port, n in zero.items()}
    data = m.output_of(leaf, f"memory_{name}", **ports)
    return mux(m.reg(ports["re"], f"{name}_read_q", reset=0), data, ~data)


def joined(values: Any, bits: int) -> int:
    """Values packed at `bits` each, the first lowest."""
    return sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(values))


def split(word: int, bits: int, count: int) -> list[int]:
    raw = [(word >> i * bits) & ((1 << bits) - 1) for i in range(count)]
    return [v - (1 << bits) if v >> (bits - 1) else v for v in raw]


def as_words(values: list[int], bits: int) -> np.ndarray:
    """As streams take words: integers up to 64 bits, bytes above."""
    if bits <= 64:
        return np.array(values, np.uint64)
    return np.array([list(v.to_bytes(-(-bits // 8), "little")) for v in values], np.uint8)


def stream(lanes: np.ndarray, bits: int) -> np.ndarray:
    """Words of lanes [..., V] as a stream takes them."""
    rows = lanes.reshape(-1, lanes.shape[-1])
    return as_words([joined(row, bits) for row in rows], bits * lanes.shape[-1])


def unpacked(words: Any, bits: int, count: int) -> np.ndarray:
    whole = [int.from_bytes(bytes(w), "little") if words.ndim == 2 else int(w) for w in words]
    return np.array([split(w, bits, count) for w in whole])


def spread(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Signed integers of every size, among them the extremes and 0."""
    size = rng.integers(0, bits, shape)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape) >> size
    picked = rng.integers(0, 16, shape)
    values = np.where(picked == 0, -(1 << (bits - 1)), values)
    return np.where(picked == 1, (1 << (bits - 1)) - 1, np.where(picked == 2, 0, values))


def rescaled(values: np.ndarray, right: np.ndarray, bits: int) -> np.ndarray:
    """What `right` means: beyond the golden model's largest shift only 0 is left."""
    return np.where(right > 78, 0, saturate(rescale(values, LEFT - np.minimum(right, 78)), bits))


@pytest.mark.parametrize("stalls", [0, 60, 150])
def test_store(stalls: int) -> None:
    c, rng = config(), np.random.default_rng(stalls)
    bench, tasks, given = Bench("store", c), [], []
    expected = bench.words("y", c.y_bits)
    for i, t in enumerate(TOKENS):
        words, start, base = 4 + i, 3 * i, (5, 17, 40, 150)[i]
        y = spread(rng, c.y_bits, (words, t, c.lanes))
        tasks.append(dict(base=base, start=start, words=words, tokens=t))
        given.append(stream(y, c.y_bits))
        at = base + start * t
        expected[at : at + words * t] = y.reshape(-1, c.lanes)
    result = bench.run(tasks, {"y": np.concatenate(given)}, {}, stalls)
    assert np.array_equal(bench.words("y", c.y_bits), expected)
    if not stalls:
        assert result.cycles < len(np.concatenate(given)) + 8 * len(tasks) + 20


@pytest.mark.parametrize("stalls", [0, 60, 150])
@pytest.mark.parametrize("lanes", [4, 8])
def test_load(lanes: int, stalls: int) -> None:
    """Passes follow each other in memory; what a transfer brings lies in memory x in the same order."""
    c, rng = config(lanes=lanes), np.random.default_rng(stalls)
    bench, tasks, beats, commands = Bench("load", c), [], [], []
    expected, size = bench.words("x", 16), 2 * lanes
    for i, (t, position) in enumerate(zip(TOKENS, (0, 7, 55, 59), strict=True)):
        words, base, address = 3 + i, (5, 17, 60, 150)[i], (1 << 40) + 4096 * i
        x = spread(rng, 16, (words * t, lanes))
        tasks.append(dict(base=base, words=words, address=address, position=position, tokens=t))
        commands.append((address + position * words * size, words * t))
        beats.append(stream(x, 16))
        expected[base : base + words * t] = x
    result = bench.run(tasks, {"in": np.concatenate(beats)}, {"command": len(commands)}, stalls)
    assert np.array_equal(bench.words("x", 16), expected)
    found = result.outputs["command"]
    assert list(zip(found["address"].tolist(), found["beats"].tolist(), strict=True)) == commands
    if not stalls:
        assert result.cycles < len(np.concatenate(beats)) + 8 * len(tasks) + 20


@pytest.mark.parametrize("stalls", [0, 60, 150])
@pytest.mark.parametrize("out_bits", [9, 24, 32])
def test_save(out_bits: int, stalls: int) -> None:
    """Rounds of a row follow each other, passes too; a transfer takes what comes while its command still waits."""
    c, rng = config(out_bits=out_bits), np.random.default_rng(stalls)
    bench, tasks, given, golden, commands = Bench("save", c), [], [], [], []
    size, row = 4 * c.lanes, 9
    for i, (t, position) in enumerate(zip(TOKENS, (0, 7, 55, 59), strict=True)):
        for start, words in ((0, 2), (2, 4), (6, 1 + i)):
            y, address = spread(rng, c.y_bits, (words * t, c.lanes)), (1 << 40) + 4096 * i
            task = dict(start=start, words=words, row_words=row, address=address, position=position, tokens=t)
            tasks.append(task)
            commands.append((address + (position * row + start * t) * size, words * t))
            given.append(stream(y, c.y_bits))
            golden.append(y)
    written = np.zeros(len(tasks), np.uint64)  # a word of this stream is a pulse
    outputs = {"out": sum(map(len, golden)), "command": len(tasks)}
    result = bench.run(tasks, {"y": np.concatenate(given), "written": written}, outputs, stalls)
    assert np.array_equal(unpacked(result.outputs["out"], 32, c.lanes), np.concatenate(golden))
    found = result.outputs["command"]
    assert list(zip(found["address"].tolist(), found["beats"].tolist(), strict=True)) == commands
    if not stalls:
        assert result.cycles < len(np.concatenate(given)) + 6 * len(tasks) + 20


@pytest.mark.parametrize("stalls", [0, 60, 150])
@pytest.mark.parametrize(("pairs", "lanes"), [(2, 4), (1, 8), (2, 8), (8, 4)])
def test_feed(pairs: int, lanes: int, stalls: int) -> None:
    """Groups equal to a word, parts of one, and joined of several; numbers of groups that end within a word."""
    c, rng = config(pairs, lanes), np.random.default_rng(stalls)
    bench, tasks, expected = Bench("feed", c), [], []
    x = rng.integers(-(1 << 15), 1 << 15, (c.x_words, lanes))
    bench.load("x", x, 16)
    for i, t in enumerate((*TOKENS, 5)):
        groups, base = (3, 2, 1, 7, 4)[i], (7, 100, 0, 20, 50)[i]
        words = -(-groups * 2 * pairs // lanes)
        rows = x[base : base + words * t].reshape(words, t, lanes).transpose(1, 0, 2).reshape(t, -1, 2 * pairs)
        expected.append(rows[:, :groups].transpose(1, 0, 2).reshape(-1, 2 * pairs))
        tasks.append(dict(base=base, groups=groups, tokens=t))
    golden = np.concatenate(expected)
    result = bench.run(tasks, {}, {"out": len(golden)}, stalls)
    assert np.array_equal(unpacked(result.outputs["out"], 16, 2 * pairs), golden)
    if not stalls:
        steps = np.diff(result.stream_cycles["out"][-20:])
        assert set(steps.tolist()) == {max(1, 2 * pairs // lanes)}  # a read every cycle


@pytest.mark.parametrize(("pairs", "lanes", "takes"), [(2, 4, 1), (2, 8, 1), (4, 4, 2), (4, 4, 1), (8, 4, 3)])
def test_feed_follows_who_writes(pairs: int, lanes: int, takes: int) -> None:
    """Of two tasks that take what is written, groups come out as far as words of all tokens went in, and no further;
    the last group of a task wants `takes` words."""
    c, t, groups = config(pairs, lanes), 3, 4
    bench, record = Bench("feed", c), task_record(c, "feed")
    tasks = [dict(base=0, groups=groups, tokens=t, takes=takes)] * 2
    packed = [sum(task.get(n, 0) << low for n, low in _offsets(record.widths)) for task in tasks]
    parts, joined = max(1, lanes // (2 * pairs)), max(1, 2 * pairs // lanes)
    wants = np.cumsum(([joined * t] * (groups // parts - 1) + [takes * t]) * 2)
    for words in range(0, wants[-1] + 1):
        given = {"task": as_words(packed, record.width), "written": np.zeros(words, np.uint64)}
        run = TestBench(bench.top, inputs=given, outputs={"out": 2 * groups * t, "finished": 2})
        run.reset()
        assert len(run.run(200).outputs["out"]) == (wants <= words).sum() * parts * t, words


@pytest.mark.parametrize(("stalls", "out_bits"), [(0, 24), (60, 24), (150, 24), (0, 32), (0, 9)])
def test_residual(stalls: int, out_bits: int) -> None:
    """Embeddings loaded, then sums of several rounds with rescales of both terms; the sums of squares at the end."""
    c, rng = config(out_bits=out_bits), np.random.default_rng(stalls)
    bench, v = Bench("residual", c), c.lanes
    words, shifts = 6, ((16, 16), (0, 16), (20, 3), (78, 14), (14, 78), (16, 16))
    for t in (1, 3, 5):
        e = spread(rng, 26, (t, words, v))
        row, given = e.transpose(1, 0, 2).copy(), []
        tasks = [dict(load=1, words=words, tokens=t)]
        for right, y_right in shifts:
            for start, count in ((0, 2), (2, 1), (3, 3)):
                y = spread(rng, c.y_bits, (count, t, v))
                tasks.append(dict(start=start, words=count, residual_right=right, y_right=y_right, tokens=t))
                part = slice(start, start + count)
                row[part] = decoder.add(row[part], y, LEFT - right, LEFT - y_right, 26)
                given.append(stream(y, c.y_bits))
        expected = bench.words("r", 26)
        expected[: words * t] = row.reshape(-1, v)
        result = bench.run(tasks, {"e": stream(e, 26), "y": np.concatenate(given)}, {}, stalls)
        assert np.array_equal(bench.words("r", 26), expected)
        squares = (row**2).sum(axis=(0, 2))
        for token in range(t):
            bench.top.poke("squares_read_address", token)
            bench.top.evaluate()
            assert bench.top.peek("squares_read_data") == squares[token]
        if not stalls:
            assert result.cycles < words * t * 7 + 16 * len(tasks) + 20


def test_sums_of_squares_are_there_soon_after_done() -> None:
    c = config()
    top, record = Bench("residual", c).top, task_record(c, "residual")
    top.reset()
    task = dict(load=1, words=1, tokens=1)
    top.poke("task_data", sum(task.get(n, 0) << low for n, low in _offsets(record.widths)))
    top.poke("e_data", joined([-(1 << 25), (1 << 25) - 1, 3, 0], 26))
    for name in ("task_valid", "e_valid"):
        top.poke(name, 1)
    while not top.peek("done"):
        top.cycle()
        top.poke("task_valid", 0)
    for _ in range(READ_AFTER):
        top.cycle()
    assert top.peek("squares_read_data") == (1 << 50) + ((1 << 25) - 1) ** 2 + 9


@pytest.mark.parametrize("stalls", [0, 60, 150])
def test_norm(stalls: int) -> None:
    c, rng = config(), np.random.default_rng(stalls)
    bench, v = Bench("norm", c), c.lanes
    largest = (1 << 23) - 1
    cases = [  # bits of x, epsilon, gain shift, bits of the result, last token only
        (26, 0, 20, 16, 0), (26, 1 << 40, 24, 8, 0), (3, 0, 0, 16, 0), (12, (1 << 62) - 1, 47, 16, 1),
        (26, 5, 18, 12, 1), (1, 0, 22, 16, 0),
    ]  # fmt: skip
    for t in (1, 3, 5):
        words = 5
        for case, (x_bits, epsilon, shift, bits, last) in enumerate(cases):
            x = spread(rng, x_bits, (words, t, v))
            x[:, 0] *= case % 2  # a token of zeros
            gain = np.clip(spread(rng, 24, (words, v)), -largest, largest)
            right = rng.integers(0, 40, (words, v))
            right[0, :3] = 78, 127, 255
            bench.load("r", x.reshape(-1, v), 26)
            bench.load("sums", (x**2).sum(axis=(0, 2)).reshape(-1, 1), 64)
            rows = x.transpose(1, 0, 2).reshape(t, -1)
            n = decoder.rms_norm(rows, gain.reshape(-1), 1, epsilon, shift, 28)
            y = rescaled(n, right.reshape(-1), bits).reshape(t, words, v).transpose(1, 0, 2)
            y = decoder.last_token(y.transpose(1, 0, 2)).transpose(1, 0, 2) if last else y
            base = 11 * case
            task = dict(base=base, words=words, shift=shift, bits=bits, last=last, epsilon=epsilon, tokens=t)
            expected = bench.words("x", 16)
            for at in (base, base + 70):
                expected[at : at + words * y.shape[1]] = y.reshape(-1, v)
            p = stream(gain & 0xFFFFFF | right << 24, 32)
            bench.run([task, task | {"base": base + 70}], {"p": np.concatenate([p, p])}, {}, stalls)
            assert np.array_equal(bench.words("x", 16), expected), (t, case)


@pytest.mark.parametrize("modes", [(), ("gelu_tanh",), ("silu", "gelu", "relu")])
@pytest.mark.parametrize("stalls", [0, 60, 150])
def test_swiglu(stalls: int, modes: tuple[str, ...]) -> None:
    c, rng = config(modes=modes), np.random.default_rng(stalls)
    bench, v = Bench("swiglu", c), c.lanes
    gates = spread(rng, c.y_bits, (c.y_words, v))
    bench.load("y", gates, c.y_bits)
    expected, given, parameters, tasks = bench.words("x", 16), [], [], []
    # Exponents: of gate and up, then of the result from .. to. With values of all sizes nothing is shifted left.
    cases = [(-12, 0, -12, 40, 16), (4, 0, 4, 60, 16), (-62, -10, -10, -10, 16), (-20, 3, -17, 20, 8)]
    for i, (t, (g, u, low, high, bits)) in enumerate(zip(TOKENS, cases, strict=True)):
        words, start, base, gate = 5, 2 * i, (3, 40, 100, 170)[i], (10, 30, 70, 120)[i]
        up = spread(rng, c.y_bits, (words, t, v))
        exponents = rng.integers(low, high + 1, (words, v // 2))
        at = gate + start * t
        row = gates[at : at + words * t].reshape(words, t, v)
        golden = decoder.swiglu(
            row.transpose(1, 0, 2).reshape(t, -1), up.transpose(1, 0, 2).reshape(t, -1), g, u,
            exponents.reshape(-1), bits, c.activations[i % len(c.activations)],
        )  # fmt: skip
        right = LEFT - (g + u - np.repeat(exponents, 2, axis=1))
        at = base + start * t
        expected[at : at + words * t] = golden.reshape(t, words, v).transpose(1, 0, 2).reshape(-1, v)
        task = dict(gate=gate, base=base, start=start, words=words, bits=bits, tokens=t)
        task |= dict(activation=i % len(modes)) if len(modes) > 1 else {}
        tasks.append(task | dict(sigmoid_right=max(0, LEFT - (g + 12))))
        given.append(stream(up, c.y_bits))
        parameters.append(stream(right << 24 | rng.integers(0, 1 << 24, right.shape), 32))
    streams = {"y": np.concatenate(given), "p": np.concatenate(parameters)}
    result = bench.run(tasks, streams, {}, stalls)
    assert np.array_equal(bench.words("x", 16), expected)
    if not stalls:
        assert result.cycles < len(streams["y"]) + 24 * len(tasks) + 20


@pytest.mark.parametrize("stalls", [0, 60, 150])
def test_embed(stalls: int) -> None:
    """Rows in the order of the tokens; an id beyond the vocabulary counts as 0, and is reported."""
    c, rng = config(), np.random.default_rng(stalls)
    bench, v, vocabulary, words, address = Bench("embed", c), c.lanes, 50, 3, (1 << 40) + 64
    ids = rng.integers(0, vocabulary, c.context + 1)
    ids[[0, 30, 31]] = vocabulary - 1, vocabulary, (1 << 32) - 1
    bench.load("ids", ids, 32)
    read = np.where(ids < vocabulary, ids, 0)
    rows = spread(rng, 8, (vocabulary, words * v))
    multiplier = rng.integers(1, 1 << 15, vocabulary)
    multiplier[:3] = 32767, 1, 32767
    tasks, beats, e, commands = [], [], [], []
    for t, position, shift in ((1, 0, 0), (3, 28, 9), (5, 55, 22), (1, 31, 100)):
        chosen = read[position : position + t]
        task = dict(words=words, shift=shift, vocabulary=vocabulary, address=address, position=position, tokens=t)
        tasks.append(task)
        golden = decoder.embedding(chosen, rows, multiplier, min(shift, 62), 26)
        e.append(golden.reshape(-1, v))
        for i in chosen:
            commands.append(address + int(i) * (1 + words) * v)
            first = np.array([[multiplier[i] & 255, multiplier[i] >> 8] + [77] * (v - 2)])
            beats.append(np.concatenate([first, rows[i].reshape(words, v)]))
    golden = np.concatenate(e)
    row = stream(np.concatenate(beats), 8)
    result = bench.run(tasks, {"row": row}, {"e": len(golden), "command": len(commands)}, stalls)
    assert np.array_equal(unpacked(result.outputs["e"], 26, v), golden)
    assert result.outputs["command"]["address"].tolist() == commands
    assert set(result.outputs["command"]["beats"].tolist()) == {1 + words}


def test_embed_reports_a_bad_token_once() -> None:
    c = config()
    bench = Bench("embed", c)
    bench.load("ids", np.array([49, 50, 3]), 32)
    top, record, pulses = bench.top, task_record(c, "embed"), []
    top.reset()
    task = dict(words=1, vocabulary=50, tokens=3)
    top.poke("task_data", sum(task.get(n, 0) << low for n, low in _offsets(record.widths)))
    top.poke("task_valid", 1)
    for _ in range(20):
        pulses.append(top.peek("bad_token"))
        top.cycle()
        top.poke("task_valid", 0)
    assert sum(pulses) == 1


@pytest.mark.parametrize("stalls", [0, 60, 150])
@pytest.mark.parametrize("lanes", [4, 8])
def test_pick(lanes: int, stalls: int) -> None:
    """Equal logits within a word, in other words, in other tasks; all of them the least; negative ones only."""
    c, rng = config(lanes=lanes), np.random.default_rng(stalls)
    bench, least = Bench("pick", c), -(1 << (c.y_bits - 1))
    tasks, given, expected = [], [], []
    for case in range(30):
        sizes = rng.integers(1, 6, rng.integers(1, 4)).tolist()
        logits = rng.integers(-3, 3, (sum(sizes), lanes)) if case % 2 else spread(rng, c.y_bits, (sum(sizes), lanes))
        logits = np.full_like(logits, least) if case == 4 else logits - 3 if case == 5 else logits
        offset = int(rng.integers(0, 1 << 20)) if case % 3 == 0 else 0
        expected.append(offset + int(decoder.argmax(logits.reshape(1, -1))[0]))
        for i, size in enumerate(sizes):
            place = offset + sum(sizes[:i]) * lanes
            task = dict(words=size, first=i == 0, last=i == len(sizes) - 1, offset=place, tokens=1)
            tasks.append({name: int(value) for name, value in task.items()})
        given.append(stream(logits, c.y_bits))
    words = np.concatenate(given)
    result = bench.run(tasks, {"y": words}, {"token": len(expected)}, stalls)
    assert result.outputs["token"].tolist() == expected
