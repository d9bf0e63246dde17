"""The sequencer: runs a sequence of tokens as passes, and each pass as a list of tasks from memory.

A run reads the image's header, then passes of up to `tokens` tokens until the prompt is read, then for each token to
make the head's list and a pass of one token. Tasks go out in order: each when its waits hold and its engine has room.
Between lists everything drains; only then is the token that the head picked looked at. A run that verifies has one
list, of tasks that check regions of memory.

With an error, or where the host aborts it, a run ends when the bus is quiet (`halt`); the next one begins afresh.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.control.register_map import STOPS
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.checks import crc
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, any_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Fsm, first_of, up_down
from lutllm.lowering.hardware.lib.stream import Stream, Write
from lutllm.lowering.machine.accelerator import (
    ENGINE_NUMBERS,
    ENGINES,
    ERRORS,
    HEADER_BITS,
    IMAGE_ALIGNMENT,
    IMAGE_HEADER,
    IMAGE_MAGIC,
    LIST_BITS,
    LISTS,
    PARAMETER_WORDS,
    SIZES_BITS,
    TASK_BITS,
    VERIFY,
    WAIT_BITS,
    WAIT_SLOTS,
    AcceleratorConfig,
)
from lutllm.lowering.machine.checks import CRC_BITS
from lutllm.lowering.machine.engine import DESCRIPTOR_PORT_BITS as WORD
from lutllm.numerics import bits_for

HEADER = Fields(**HEADER_BITS)
WAIT = Fields(**WAIT_BITS)
PENDING_BITS = WAIT_BITS["pending"]
MOST_PENDING = (1 << PENDING_BITS) - 2
STATES = ("idle", "header", "plan", "fetch", "run", "drain", "next", "halt")
SETTLE = 3  # cycles a descriptor stands before it is judged: its check and its products are then in registers
DISPATCH = SETTLE + 1  # cycles from its last word until it goes out at the earliest
MODE_CHANGE = 2  # cycles from when LutLinear is through until a round of another row source may go out
# Cycles from the last `done` of a list until the next list, or the head's after it, is asked for; from there to its end
# of a run; from the last word of the header to the first list.
NEXT_LIST, HEAD_LIST, END, PLANNED = 4, 3, 3, 3
FIRST = 1 + PARAMETER_WORDS  # word of a descriptor that a task's fields begin at
PAGE_BITS = IMAGE_ALIGNMENT.bit_length() - 1
# Errors that others see and that end a run, the first first.
PROBLEMS = ("memory_read", "memory_write", "bounds", "checksum", "token", "watchdog")


def sequencer(design: Design, config: AcceleratorConfig) -> str:
    """Host side as `registers` has it. Streams: `d_command` out, `d` in. `ready` says which of the engines that are
    built have room, `done` which have finished a task (pulses). Out: `dispatch` (one bit an engine), before it
    `chosen`, with `fields` (the descriptor from its fields on), `task_tokens` and `pass_position`; stream `parameters`
    of transfers; `append` of a token to the sequence. `flush` resets LutLinear's datapath; `verify` gives a task to the
    port that `verify_ready` is about, and `checking` is 1 while any port has one. `limit` is the size of the image,
    `in_page` the place of its beginning in a page; `torn`: a reset broke off a write.

    The reset ends a run; only the `hard` one clears what the last run says of itself. It comes with `halt`, which
    stands until `over`."""
    most = max(config.task_words(engine) for engine in (*config.engines, VERIFY))
    count = len(config.engines)
    inputs: dict[str, Any] = {"hard": 1, "start": 1, "verifies": 1, "position": 32, "length": 32, "tokens": 32}
    inputs |= {"stops": 32 * STOPS, "model": 64, "in_page": PAGE_BITS, "abort": 1, "over": 1, "torn": 1}
    inputs |= {"d": Stream.of(WORD), "ready": count, "done": count}
    inputs |= {"token_valid": 1, "token": 32, "y_idle": 1, "verify_ready": 1, "checking": 1}
    inputs |= {f"{name}_error": 1 for name in PROBLEMS}
    outputs: dict[str, Any] = {"busy": 1, "finished": 1, "halt": 1, "error": 8, "made": 32, "last": 32, "cycles": 64}
    outputs |= {"d_command": commands(), "parameters": commands(), "append": Write.of(32, 32)}
    outputs |= {
        "dispatch": count,
        "chosen": count,
        "fields": (most - FIRST) * WORD,
        "pass_position": 32,
        "task_tokens": 16,
    }
    outputs |= {"flush": 1, "pending": count, "limit": 64, "verify": 1}
    return design.module("task_sequencer", inputs, outputs, lambda m: _Sequencer(m, config, most).outputs)


class _Sequencer:
    """Builds the module's body; methods are its sections."""

    def __init__(self, m: Module, config: AcceleratorConfig, most: int) -> None:
        self.m, self.config, self.most = m, config, most
        self.hard = m["hard"]
        self.state = Fsm(m, "state", STATES, by=self.hard)
        self.at = self.state.at
        self.error = m.state(8, "error_q", reset=0, by=self.hard)
        self.problems: list[tuple[Signal, str]] = []
        self.take = Wire(1)
        self.outputs: dict[str, Any] = {}
        self.list_left = m.state(32, "list_left", reset=0)
        self._run_registers()
        self._collect()
        self._header()
        self._tasks()
        self._finish()

    def _run_registers(self) -> None:
        """What the host asked for, and how far the run is."""
        m = self.m
        self.start = m["start"] & self.at("idle")
        self.position = m.state(32, "position_q", reset=0)
        self.length = m.state(32, "length_q", reset=0)
        self.made = m.state(32, "made_q", reset=0, by=self.hard)
        self.program = m.state(bits_for(len(LISTS)), "program", reset=0)
        self.verifies = m.reg(m["verifies"], "verifies_q", enable=self.start)
        self.wanted = m.reg(m["tokens"], "wanted", enable=self.start)
        self.stops = m.reg(m["stops"], "stops_q", enable=self.start)
        self.model = m.reg(m["model"], "model_q", enable=self.start)
        left = (self.length.signal - self.position.signal).named("left")
        whole = const(self.config.tokens, 32)
        self.next_tokens = mux(whole.ult(left), whole, left)[0:16].named("next_tokens")
        self.pass_tokens = m.state(16, "pass_tokens_q", reset=0)
        empty = all_of([~m["position"].ult(m["length"]), ~m["verifies"]])
        found = ((m["torn"], "reset"), (m["in_page"].ne(0), "alignment"), (empty, "prompt"))
        self.problems += [(self.start & problem, name) for problem, name in found]

    def _collect(self) -> None:
        """Words of the header or of a descriptor, each to its register; their CRC along the way."""
        m, take = self.m, self.take.signal
        size = max(self.most, len(IMAGE_HEADER))
        index_bits = bits_for(size + 1)
        self.index = m.state(index_bits, "word_index", reset=0)
        first = self.index.signal.eq(0)
        self.words = [m.reg(m["d"].data, f"word_{i}", enable=take & self.index.signal.eq(i)) for i in range(size)]
        self.size = m.reg(HEADER.unpack(m["d"].data)["words"], "task_size", enable=take & first)
        self.crc = m.state(CRC_BITS, "crc", reset=0)
        check = first & self.at("run")
        checked = pack([mux(check, const(0, CRC_BITS), m["d"].data[0:CRC_BITS]), m["d"].data[CRC_BITS:]])
        self.next_crc = crc(self.crc.signal, checked)
        here = self.index.signal + 1
        small = first | const(self.most, 8).ult(self.size) | self.size.ult(FIRST)
        self.complete = (take & ~first & ~small & here.zext(8).eq(self.size)).named("complete")
        self.overrun = all_of([take, ~first, small, self.at("run")]).named("overrun")

    def _header(self) -> None:
        """The image's header: checked, and the lists it names."""
        m = self.m
        words = dict(zip(IMAGE_HEADER, self.words, strict=False))
        done = self.take.signal & self.index.signal.eq(len(IMAGE_HEADER) - 1)
        self.header_done = (done & self.at("header")).named("header_done")
        checked = self.at("plan")  # the last word is in its register by then
        keep = m.reg(self.header_done, "header_in", reset=0)
        self.lists = [m.reg(words[name], f"{name}_list", enable=keep) for name in LISTS]
        sizes = [Fields(**LIST_BITS).unpack(words[name])["words"] for name in LISTS]
        self.empty = [m.reg(size.eq(0), f"{name}_empty", enable=keep) for name, size in zip(LISTS, sizes, strict=True)]
        context = Fields(**SIZES_BITS).unpack(words["sizes"])["context"]
        self.context = m.reg(context, "context", enable=keep)
        # Until it is known, the header alone may be read.
        limit = m.state(64, "limit_q", reset=IMAGE_ALIGNMENT)
        limit.set(mux(keep, words["bytes"], const(IMAGE_ALIGNMENT, 64)), keep | self.start)
        self.outputs |= dict(limit=limit.signal)
        # The CRC of all but the check, highest byte first: where lists begin.
        self.first_crc = m.reg(pack(words["check"][0:CRC_BITS].chunks(8)[::-1]), "first_crc", enable=keep)
        self.planning = checked & ~keep
        longer = const(self.config.context, 32).ult(context)
        damaged = self.crc.signal.ne(0) | words["magic"].ne(const(IMAGE_MAGIC, WORD))
        found = dict(
            image=damaged,
            model=words["model"].ne(self.model),
            config=words["config"].ne(const(self.config.identity, WORD)) | longer,
        )
        judged = m.reg(keep, "header_judged", reset=0)
        self.problems += [(judged & m.reg(wrong, f"wrong_{name}"), name) for name, wrong in found.items()]
        self.problems.append((all_of([self.planning, self.context.ult(self.length.signal), ~self.verifies]), "prompt"))

    def _tasks(self) -> None:
        """The held descriptor: judged once it has settled, dispatched when it may."""
        m = self.m
        go = Wire(1)
        self.held = m.flag("held", self.complete & self.at("run"), go.signal)
        settled = self.held
        for i in range(SETTLE):
            settled = m.reg(settled & self.held, f"settled_{i}", reset=0)
        settled = (settled & self.held).named("settled")
        head = HEADER.unpack(self.words[0])
        fits = self.crc.signal.eq(head["check"])
        engines = self.config.engines
        number = head["engine"]
        chosen = {name: number.eq(ENGINE_NUMBERS[name]).named(f"is_{name}") for name in (*engines, VERIFY)}
        right_size = any_of([is_it & self.size.eq(self.config.task_words(name)) for name, is_it in chosen.items()])
        verify = chosen.pop(VERIFY)
        choose = list(chosen.values())
        bad = settled & ~m.reg(fits & right_size, "right")
        self.problems.append((m.reg(bad | self.overrun, "bad_task", reset=0), "task"))
        good = settled & ~bad

        pending = [self.m.state(PENDING_BITS, f"pending_{name}", reset=0) for name in engines]
        room = [is_it & m["ready"][i] & pending[i].signal.ne(MOST_PENDING) for i, is_it in enumerate(choose)]
        counts = {name: count.signal for name, count in zip(engines, pending, strict=True)}
        by_number = [counts.get(name, const(0, PENDING_BITS)) for name in ENGINES[: ENGINES.index(engines[-1]) + 1]]
        waits = all_of([self._waited(slot, by_number) for slot in head["waits"].chunks(WAIT.width)][:WAIT_SLOTS])
        fields = pack(self.words[FIRST : self.most])
        linear = choose[engines.index("linear")]
        flush, same_mode = self._mode(linear, good & waits, fields, counts["linear"])
        asks, address, beats = self._parameters(head)
        parameters = Stream(go.signal & asks, address=address, beats=beats)
        verify_ready = m.reg(m["verify_ready"], "verify_ready_q", reset=0)
        may = [good, any_of([*room, verify & verify_ready]), waits, same_mode, ~asks | parameters.ready]
        go.assign(all_of([*may, self.error.signal.eq(0)]).named("dispatching"))
        dispatch = [go.signal & is_it for is_it in choose]
        for i, count in enumerate(pending):
            up_down(count, dispatch[i], m["done"][i])
        verifying = m.reg(go.signal & verify, "verify_q", reset=0)
        checking = any_of(
            [verifying, m.reg(verifying, "verify_qq", reset=0), m.reg(m["checking"], "checking_q", reset=0)]
        )
        through = [~self.held, *(count.signal.eq(0) for count in pending), ~checking]
        self.idle = all_of(through).named("all_idle")
        task_tokens = mux(head["single"], const(1, 16), self.pass_tokens.signal)
        self.outputs |= dict(
            dispatch=pack(dispatch), chosen=pack(choose), fields=fields, flush=flush, task_tokens=task_tokens,
            parameters=parameters,
            verify=verifying,
            pending=pack([count.signal.ne(0) for count in pending]),
        )  # fmt: skip

    def _waited(self, slot: Signal, pending: list[Signal]) -> Signal:
        wait = WAIT.unpack(slot)
        count = select(pending, wait["engine"])
        return count.compare("ule", wait["pending"])

    def _mode(self, linear: Signal, may: Signal, fields: Signal, pending: Signal) -> tuple[Signal, Signal]:
        """LutLinear's row source: a change waits until the round before is through, then resets the datapath."""
        m = self.m
        mode = m.state(8, "mode", reset=0xFF)
        wanted = Fields(**TASK_BITS["linear"]).unpack(fields[0 : sum(TASK_BITS["linear"].values())])["mode"]
        change = linear & wanted.ne(mode.signal)
        flush = m.state(1, "flush", reset=0)
        flush.set(all_of([may, change, pending.eq(0), m["y_idle"], ~flush.signal]))
        mode.set(wanted, flush.signal)
        return flush.signal, ~change

    def _parameters(self, head: dict[str, Signal]) -> tuple[Signal, Signal, Signal]:
        """Stream p's transfer of the held task, its products in registers: whether there is one, address, beats."""
        m = self.m
        beats, stride = self.words[2][0:32], self.words[2][32:64]
        offset = m.reg(self.position.signal.zext(64) * stride.zext(64), "parameter_offset")
        address = m.reg(self.words[1] + offset, "parameter_address")
        each = mux(head["per_token"], self.pass_tokens.signal, const(1, 16))
        total = m.reg(beats * each.zext(32), "parameter_beats")
        return m.reg(beats.ne(0), "has_parameters"), address, total

    def _finish(self) -> None:
        """Transitions, errors, outputs."""
        m, at = self.m, self.at
        asks = (at("header") & ~self._asked()) | at("fetch")
        header = const(len(IMAGE_HEADER), 32)
        chosen = Fields(**LIST_BITS).unpack(select(self.lists, self.program.signal))
        address = mux(at("fetch"), chosen["address"].zext(64), const(0, 64))
        beats = mux(at("fetch"), chosen["words"].zext(32), header)
        command = Stream(asks, address=address, beats=beats)
        sent = command.moves.named("command_sent")
        m["d"].drive(ready=at("header") | (at("run") & ~self.held))
        self.take.assign(m["d"].moves)
        at_end = self.list_left.signal.eq(0)
        restart = any_of([self.header_done, self.complete & at("run"), sent])
        self.index.set(mux(restart, const(0, self.index.signal.width), self.index.signal + 1), self.take.signal | sent)
        seed = mux(at("fetch"), self.first_crc, const(0, CRC_BITS))
        self.crc.set(mux(sent, seed, self.next_crc), self.take.signal | sent)
        self.list_left.set(mux(sent, beats, self.list_left.signal - 1), sent | self.take.signal)
        truncated = m.reg(all_of([at("run"), at_end, self.index.signal.ne(0)]), "truncated", reset=0)
        self.problems.append((truncated | (at("fetch") & select(self.empty, self.program.signal)), "task"))

        head_done = at("next") & self._runs("head")
        pass_done = all_of([at("next"), ~self._runs("head"), ~self._runs(VERIFY)])
        position = self.position.signal + self.pass_tokens.signal.zext(32)
        more = position.ult(self.length.signal)
        made_all = m.reg(~self.made.signal.ult(self.wanted), "made_all")
        token = m.reg(m["token"], "last_q", enable=m["token_valid"], reset=0, by=self.hard)
        made = self.made.signal + 1
        wanted = pack([token[0:31], const(1, 1)])  # as a register says it
        # Tokens and counts stand for cycles before a list is over and they are looked at.
        stopped = m.reg(any_of([stop.eq(wanted) for stop in self.stops.chunks(32)]), "stopped")
        enough = m.reg(~made.ult(self.wanted), "enough")
        head_end = head_done & (enough | stopped)
        full = self.length.signal.eq(self.context)
        self.problems.append((head_done & ~head_end & full, "context"))
        finished = any_of([head_end, pass_done & ~more & made_all, at("next") & self._runs(VERIFY)])
        self.position.set(mux(self.start, m["position"], position), self.start | pass_done)
        self.length.set(mux(self.start, m["length"], self.length.signal + 1), self.start | (head_done & ~full))
        self.made.set(mux(self.start, const(0, 32), made), self.start | head_done)
        to_head = pass_done & ~more
        single = self.next_tokens.eq(1)
        number = {name: const(i, self.program.signal.width) for i, name in enumerate(LISTS)}
        of_pass = mux(self.verifies, number[VERIFY], mux(single, number["decode"], number["prefill"]))
        self.program.set(mux(to_head, number["head"], of_pass), to_head | self.planning)
        self.pass_tokens.set(self.next_tokens, self.planning)

        busy = ~at("idle")
        seen = {name: m.reg(m[f"{name}_error"], f"{name}_seen", reset=0) for name in PROBLEMS}
        seen["watchdog"] = m["watchdog_error"]  # stands until the next start, and must not be seen after it
        given = [(flag & busy, name) for name, flag in seen.items()] + [(m["abort"] & busy, "abort")]
        problem, code = first_of([(problem, const(ERRORS.index(name), 8)) for problem, name in given + self.problems])
        failed = (problem & ~at("halt")).named("failed")
        self.error.set(mux(problem, code, const(0, 8)), failed | self.start)
        self._moves(sent, at_end, to_head, finished, failed)
        cycles = m.state(64, "cycles_q", reset=0, by=self.hard)
        cycles.set(mux(self.start, const(0, 64), cycles.signal + 1), self.start | busy)
        ends = any_of([at("halt") & m["over"], all_of([at("next"), finished, ~failed])])
        self.outputs |= dict(
            busy=busy, finished=m.reg(ends, "finished_q", reset=0, by=self.hard), halt=at("halt"),
            error=self.error.signal, made=self.made.signal, last=token, cycles=cycles.signal,
            d_command=command, pass_position=self.position.signal,
            append=Write(head_done & ~full, self.length.signal, token),
        )  # fmt: skip

    def _runs(self, program: str) -> Signal:
        return self.program.signal.eq(LISTS.index(program))

    def _asked(self) -> Signal:
        return self.m.since("header_asked", self.m["d_command_ready"], self.at("header"))

    def _moves(self, sent: Signal, at_end: Signal, to_head: Signal, finished: Signal, failed: Signal) -> None:
        at, go = self.at, self.state.go
        go("header", self.start)
        go("plan", self.header_done)
        go("fetch", self.planning)
        go("run", at("fetch") & sent)
        go("drain", all_of([at("run"), at_end, ~self.held, self.index.signal.eq(0)]))
        go("next", at("drain") & self.idle)
        go("plan", at("next"))
        go("fetch", at("next") & to_head)
        go("idle", at("next") & finished)
        go("idle", at("halt") & self.m["over"])
        go("halt", failed)
        self.state.close()
