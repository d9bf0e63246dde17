"""The sequencer alone in the arc JIT: lists of tasks in a model of memory, engines that are only counters here."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.control.sequencer import PROBLEMS, sequencer
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.machine.accelerator import (
    ENGINE_NUMBERS,
    ENGINES,
    ERRORS,
    HEADER_BITS,
    IMAGE_HEADER,
    IMAGE_MAGIC,
    LISTS,
    NO_WAIT,
    TASK_BITS,
    WAIT_SLOTS,
    AcceleratorConfig,
)
from lutllm.lowering.machine.targets import find_target
from lutllm.simulate import ArcSimulator

MODEL = 0x1234567890ABCDEF
CONFIG = AcceleratorConfig(engine=find_target("tiny").engine, head_lanes=4, kv_bits=32, context=16, head_words=4)


PLACES = ((0, 8), (32, 32), (64, 64), (128, 64))  # of the fields of a task that verifies
LINEARS = replace(CONFIG, engines=("linear", "feed", "load", "save"))


@cache
def simulator(engines: tuple[str, ...]) -> ArcSimulator:
    design = Design("arc")
    return ArcSimulator(hw_to_arc(design, sequencer(design, replace(CONFIG, engines=engines))), optimize=0)


def descriptor(
    engine: str,
    waits: tuple[tuple[str, int], ...] = (),
    *,
    single: bool = False,
    per_token: bool = False,
    parameters: tuple[int, int, int] = (0, 0, 0),
    **fields: int,
) -> list[int]:
    """The 64-bit words of a task; parameters are address, beats, stride."""
    size = CONFIG.task_words(engine)
    slots = [*((ENGINES.index(name), pending) for name, pending in waits), *[(0, NO_WAIT)] * WAIT_SLOTS][:WAIT_SLOTS]
    packed = sum((name | pending << 4) << 8 * i for i, (name, pending) in enumerate(slots))
    values = dict(check=0, engine=ENGINE_NUMBERS[engine], single=single, per_token=per_token, words=size, waits=packed)
    words = [_pack(HEADER_BITS, values), parameters[0], parameters[1] | parameters[2] << 32]
    payload = _pack(TASK_BITS[engine], fields)
    words += [payload >> 64 * i & (1 << 64) - 1 for i in range(size - 3)]
    return words


def crc(words: list[int], start: int = 0) -> int:
    return crc_hqx(b"".join(word.to_bytes(8, "little") for word in words), start)


def checked(words: list[int], start: int) -> list[int]:
    """A list with its checks: each field `check`, the lowest 16 bits of a descriptor, is that of all up to its end."""
    words, first = list(words), 0
    while first < len(words) and (size := words[first] >> 24 & 0xFF):
        start = crc(words[first : first + size], start)
        words[first] |= start
        first += size
    return words


def _pack(bits: dict[str, int], values: dict[str, int]) -> int:
    word, low = 0, 0
    for name, width in bits.items():
        word |= int(values.get(name, 0)) << low
        low += width
    return word


@dataclass
class Machine:
    """The sequencer, its memory, and engines that end a task `latency` cycles after it was given."""

    lists: dict[str, list[int]]
    latency: dict[str, int] = field(default_factory=dict)
    picks: Callable[[int], int] = lambda count: 100 + count
    header: dict[str, int] = field(default_factory=dict)
    log: list[tuple] = field(default_factory=list)
    appended: dict[int, int] = field(default_factory=dict)
    config: AcceleratorConfig = CONFIG
    # Inputs that are 1 in a cycle; `checking` until then.
    signals: dict[str, int] = field(default_factory=dict)
    verified: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words: dict[int, int] = {}
        values = dict(magic=IMAGE_MAGIC, model=MODEL, config=self.config.identity, sizes=CONFIG.context, bytes=1 << 20)
        for i, name in enumerate(LISTS):
            values[name] = 0x1000 * (i + 1) | len(self.lists.get(name, ())) << 40
        values |= self.header
        header = [values[name] for name in IMAGE_HEADER[:-1]]
        seal = int.from_bytes(crc(header).to_bytes(2, "big"), "little")
        self.words |= {8 * i: word for i, word in enumerate([*header, seal])}
        for i, name in enumerate(LISTS):
            words = checked(self.lists.get(name, []), crc(header))
            self.words |= {0x1000 * (i + 1) + 8 * j: word for j, word in enumerate(words)}
        self.top = simulator(self.config.engines)
        self.top.reset()
        self.top.poke("hard", 1)
        self.top.cycle()
        self.top.poke("hard", 0)

    def run(
        self, position: int = 0, length: int = 1, tokens: int = 1, stop: int = 0, cycles: int = 5000, **given: int
    ) -> str:
        """One run; returns the error's name."""
        top, engines = self.top, self.config.engines
        asked = dict(position=position, length=length, tokens=tokens, stops=stop, model=MODEL, verifies=0) | given
        for name, value in asked.items():
            top.poke(name, value)
        for name, value in dict(start=1, ready=(1 << len(engines)) - 1, parameters_ready=1, y_idle=1).items():
            top.poke(name, value)
        stream: list[int] = []
        ends: list[tuple[int, int]] = []
        for cycle in range(cycles):
            for name in ("rst", "over"):
                top.poke(name, top.peek("halt"))
            for name, when in self.signals.items():
                top.poke(name, cycle < when if name == "checking" else cycle == when)
            top.poke("d_command_ready", cycle % 3 == 0)
            top.poke("d_valid", bool(stream) and cycle % 2 == 0)
            top.poke("d_data", stream[0] if stream else 0)
            due = [engine for when, engine in ends if when == cycle]
            top.poke("done", sum(1 << engine for engine in due))
            picked = "pick" in engines and engines.index("pick") in due
            top.poke("token_valid", picked)
            if picked:
                top.poke("token", self.picks(sum(entry[1] == "pick" for entry in self.log)))
            top.poke("clk", 0)
            top.evaluate()
            if top.peek("d_command_valid") and cycle % 3 == 0:
                first = top.peek("d_command_address")
                stream += [self.words[first + 8 * i] for i in range(top.peek("d_command_beats"))]
            if top.peek("d_ready") and stream and cycle % 2 == 0:
                stream.pop(0)
            self._note(cycle, ends)
            if top.peek("verify"):
                fields = top.peek("fields")
                self.verified.append(tuple(fields >> low & (1 << bits) - 1 for low, bits in PLACES))
            if top.peek("append"):
                self.appended[top.peek("append_address")] = top.peek("append_data")
            top.poke("clk", 1)
            top.evaluate()
            top.poke("start", 0)
            if top.peek("finished"):
                return ERRORS[top.peek("error")]
        raise AssertionError("the sequencer does not end")

    def _note(self, cycle: int, ends: list[tuple[int, int]]) -> None:
        given = self.top.peek("dispatch")
        assert given & (given - 1) == 0
        for i, name in enumerate(self.config.engines):
            if given >> i & 1:
                transfer = (self.top.peek("parameters_address"), self.top.peek("parameters_beats"))
                entry = (cycle, name, self.top.peek("task_tokens"), self.top.peek("pass_position"))
                self.log.append((*entry, transfer if self.top.peek("parameters_valid") else None))
                start = max([cycle, *(when for when, engine in ends if engine == i)])
                ends.append((start + self.latency.get(name, 5), i))

    def tasks(self) -> list[tuple]:
        return [entry[1:] for entry in self.log]


def lists(prefill: str = "norm", decode: str = "store", head: str = "pick") -> dict[str, list[int]]:
    return {name: descriptor(engine) for name, engine in dict(prefill=prefill, decode=decode, head=head).items()}


def test_passes_cut_the_prompt_and_tokens_follow() -> None:
    machine = Machine(lists())
    assert machine.run(length=10, tokens=3) == "none"  # passes of at most 4 tokens
    names = [(name, tokens, position) for name, tokens, position, _ in machine.tasks()]
    assert names[:4] == [("norm", 4, 0), ("norm", 4, 4), ("norm", 2, 8), ("pick", 2, 10)]
    assert names[4:] == [("store", 1, 10), ("pick", 1, 11), ("store", 1, 11), ("pick", 1, 12)]
    assert machine.appended == {10: 101, 11: 102, 12: 103}
    assert (machine.top.peek("made"), machine.top.peek("last")) == (3, 103)


def test_a_pass_of_one_token_is_a_decode() -> None:
    machine = Machine(lists())
    assert machine.run(length=5, tokens=0) == "none"
    assert [(name, tokens) for name, tokens, *_ in machine.tasks()] == [("norm", 4), ("store", 1)]


def test_without_tokens_to_make_the_head_is_not_run_and_one_list_serves_both() -> None:
    made = lists()
    machine = Machine(made | {"decode": [], "head": []}, header={"decode": 0x1000 | len(made["prefill"]) << 40})
    assert machine.run(length=9, tokens=0) == "none"
    assert [task[:3] for task in machine.tasks()] == [("norm", 4, 0), ("norm", 4, 4), ("norm", 1, 8)]
    assert machine.top.peek("made") == 0 and machine.appended == {}
    assert machine.run(position=9, length=10, tokens=0) == "none"  # and once more, from there on


def test_an_accelerator_of_some_engines_takes_their_tasks_alone() -> None:
    waits = (("norm", 0), ("load", 0))  # what is not there is never pending
    tasks = descriptor("load") + descriptor("feed", waits) + descriptor("save", (("load", 0), ("feed", 0)))
    machine = Machine(lists() | {"prefill": tasks}, config=LINEARS, latency={"load": 50, "feed": 40})
    assert machine.run(length=4, tokens=0) == "none"
    (loaded, _), (fed, _), (saved, _) = ((cycle, name) for cycle, name, *_ in machine.log)
    assert [name for _, name, *_ in machine.log] == ["load", "feed", "save"]
    assert loaded + 50 < fed and fed + 40 < saved
    for engine in ("norm", "pick"):
        machine = Machine(lists() | {"prefill": descriptor(engine)}, config=LINEARS)
        assert machine.run(length=4, tokens=0) == "task" and machine.log == []


def test_a_run_goes_on_where_the_host_says() -> None:
    machine = Machine(lists())
    assert machine.run(position=6, length=9, tokens=1) == "none"
    assert machine.tasks()[0][:3] == ("norm", 3, 6)


def test_the_stop_token_ends_a_run() -> None:
    machine = Machine(lists())
    for i in range(8):  # in any of the registers, others beside it; not where the register does not say so
        stops = sum((1 << 31 | 500 + j) << 32 * j for j in range(8) if j != i) | (1 << 31 | 102) << 32 * i
        assert machine.run(length=2, tokens=9, stop=stops) == "none"
        assert (machine.top.peek("made"), machine.top.peek("last")) == (2, 102)
        machine.log = []
    assert machine.run(length=2, tokens=3, stop=102) == "none" and machine.top.peek("made") == 3


def test_waits_hold_a_task_until_few_enough_are_pending() -> None:
    tasks = descriptor("store") + descriptor("store") + descriptor("heads", (("store", 1),))
    tasks += descriptor("norm", (("store", 0), ("heads", 0)))
    machine = Machine(lists() | {"prefill": tasks}, latency={"store": 40, "heads": 30})
    assert machine.run(length=4, tokens=0) == "none"
    at = {name: cycle for cycle, name, *_ in machine.log}
    first = machine.log[0][0]
    assert at["heads"] > first + 40 and at["heads"] < first + 80
    assert at["norm"] > max(at["heads"] + 30, first + 80)


def test_the_head_works_on_one_token_and_parameters_follow_the_position() -> None:
    head = descriptor("norm") + descriptor("pick", single=True)
    turn = descriptor("heads", parameters=(0x500, 3, 32), per_token=True)
    turn += descriptor("heads", parameters=(0x900, 7, 0))
    machine = Machine(lists() | {"prefill": turn, "head": head})
    assert machine.run(position=2, length=5, tokens=1) == "none"
    assert machine.tasks() == [
        ("heads", 3, 2, (0x500 + 2 * 32, 9)), ("heads", 3, 2, (0x900, 7)), ("norm", 3, 5, None), ("pick", 1, 5, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (dict(length=0), "prompt"),
        (dict(length=17), "prompt"),
        (dict(position=3, length=3), "prompt"),
        (dict(length=15, tokens=9), "context"),
        (dict(length=2, in_page=8), "alignment"),
    ],
)
def test_what_the_host_asks_is_checked(asked: dict[str, int], error: str) -> None:
    machine = Machine(lists())
    assert machine.run(**asked) == error
    machine.top.poke("in_page", 0)
    assert machine.top.peek("made") == (2 if error == "context" else 0)
    assert machine.run(length=2, tokens=1) == "none" and machine.top.peek("made") == 1


@pytest.mark.parametrize(
    ("changed", "error"),
    [({"magic": 1}, "image"), ({"model": MODEL ^ 1}, "model"), ({"config": 7}, "config"), ({"sizes": 17}, "config")],
)
def test_an_image_of_something_else_is_refused(changed: dict[str, int], error: str) -> None:
    machine = Machine(lists(), header=changed)
    assert machine.run() == error
    assert machine.log == []


def test_the_context_is_that_of_the_image() -> None:
    assert Machine(lists(), header={"sizes": 8}).run(length=9) == "prompt"
    machine = Machine(lists(), header={"sizes": 8})
    assert (machine.run(length=8), machine.top.peek("made")) == ("none", 1)
    assert Machine(lists(), header={"sizes": 8}).run(length=8, tokens=2) == "context"


def test_every_flipped_bit_of_a_descriptor_is_an_error() -> None:
    machine = Machine(lists() | {"prefill": descriptor("norm", base=3, words=5, epsilon=77)})
    for bit in range(0, 64 * len(machine.lists["prefill"]), 7):
        machine.words[0x1000 + bit // 64 * 8] ^= 1 << bit % 64
        assert machine.run(length=4, tokens=0, cycles=500) == "task", bit
        assert machine.log == []
        machine.words[0x1000 + bit // 64 * 8] ^= 1 << bit % 64
    assert machine.run(length=4, tokens=0) == "none"


def test_every_flipped_bit_of_the_header_is_an_error() -> None:
    machine = Machine(lists())
    for bit in range(64 * len(IMAGE_HEADER)):
        machine.words[bit // 64 * 8] ^= 1 << bit % 64
        assert machine.run(length=4, tokens=0) == "image", bit
        machine.words[bit // 64 * 8] ^= 1 << bit % 64


def test_what_changed_places_is_an_error() -> None:
    """Words of a descriptor, 16-bit parts of a word, whole tasks, and lists that are each right."""
    norm, store = descriptor("norm", base=3, words=5, epsilon=77), descriptor("store", base=9, start=1, words=2)
    made = lists() | {"prefill": [*norm, *store], "decode": [*store, *norm]}
    good = Machine(made)
    assert good.run(length=4, tokens=0) == "none"

    def prefill(change: Callable[[list[int]], list[int]]) -> str:
        machine = Machine(made)
        words = [machine.words[0x1000 + 8 * i] for i in range(len(made["prefill"]))]
        machine.words |= {0x1000 + 8 * i: word for i, word in enumerate(change(words))}
        return machine.run(length=4, tokens=0)

    decode = [good.words[0x2000 + 8 * i] for i in range(len(made["decode"]))]
    swapped = {
        "nothing": (lambda w: w, "none"),
        "words": (lambda w: [*w[:3], w[4], w[3], *w[5:]], "task"),
        "parts": (lambda w: [*w[:3], w[3] & ~0xFFFFFFFF | w[3] >> 16 & 0xFFFF | (w[3] & 0xFFFF) << 16, *w[4:]], "task"),
        "tasks": (lambda w: w[len(norm) :] + w[: len(norm)], "task"),
        "one task twice": (lambda w: [*w[: len(norm)], *w[: len(norm)]][: len(w)], "task"),
    }
    assert {name: prefill(change) for name, (change, _) in swapped.items()} == {n: e for n, (_, e) in swapped.items()}
    other = Machine(made, header={"sizes": 15})  # a list of another image
    other.words |= {0x1000 + 8 * i: word for i, word in enumerate(decode)}
    assert other.run(length=4, tokens=0) == "task" and other.log == []


@pytest.mark.parametrize("when", [1, 60, 140])
@pytest.mark.parametrize("cause", ["abort", *(f"{name}_error" for name in PROBLEMS)])
def test_a_run_ended_from_outside_leaves_nothing_behind(cause: str, when: int) -> None:
    tasks = descriptor("store") + descriptor("norm", (("store", 0),)) + descriptor("heads")
    machine = Machine(lists() | {"prefill": tasks}, latency={"store": 60}, signals={cause: when})
    assert machine.run(length=4, tokens=1) == cause.removesuffix("_error")
    machine.signals, machine.log = {}, []
    assert machine.run(length=4, tokens=1) == "none"
    assert [name for _, name, *_ in machine.log] == ["store", "norm", "heads", "pick"]


def test_a_run_that_verifies_gives_its_tasks_to_ports_and_waits_for_them() -> None:
    tasks = [descriptor("verify", port=port, beats=5, address=64, signature=9) for port in (1, 2)]
    machine = Machine({"verify": tasks[0] + tasks[1]} | lists())
    machine.signals = {"checking": 300}
    assert machine.run(length=0, tokens=7, verifies=1, verify_ready=1) == "none"
    assert machine.verified == [(1, 5, 64, 9), (2, 5, 64, 9)] and machine.log == []
    assert machine.top.peek("cycles") > 300 and machine.top.peek("made") == 0


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_list_that_ends_inside_a_descriptor(cut: int) -> None:
    machine = Machine(lists() | {"prefill": descriptor("store") + descriptor("norm")[:-cut]})
    assert machine.run(length=4) == "task"


def test_an_empty_list() -> None:
    assert Machine(lists() | {"prefill": []}).run(length=4) == "task"
