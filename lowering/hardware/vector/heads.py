"""Engine heads: what q, k and v leave in memory y, head by head, becomes queries on chip and cache rows in memory.

In: tasks of four modes. query, key and value: every head's words of each token, optionally normed (RMSNorm of the head)
and rotated (RoPE), rescaled and saturated, go to memory q (16 bits a channel) or stream kv (8 bits). rotations: stream
p fills the table that RoPE of this pass uses. A word a cycle, two cycles where there is a norm: its words are read for
their squares first; in mode wide_norm, where a task says so, those of all heads, whose tokens' roots are then kept.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.control.records import reads, task_port, writes
from lutllm.lowering.hardware.control.task import held_task
from lutllm.lowering.hardware.lib.arithmetic import largest, rescaled_later, saturated
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Instance, Module
from lutllm.lowering.hardware.lib.functions import TABLE_BITS, rope_pair
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, any_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.hardware.linear.words import assembled
from lutllm.lowering.hardware.vector.head_norm import SHIFT_BITS, head_norm_lane, value_bits
from lutllm.lowering.hardware.vector.head_roots import head_roots, roots_depth
from lutllm.lowering.hardware.vector.head_rows import FINISHED, ROWS_BITS, head_rows
from lutllm.lowering.hardware.vector.head_walk import WALK_BITS, head_walk, place_bits
from lutllm.lowering.machine.accelerator import HEAD_MODES, PARAMETER_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

BEAT_LATENCY = 17  # cycles from the step of a beat's last word to the beat
# Cycles to `done`: from the last step of a table, from the last beat of queries, from the report that rows are written.
TABLE_DONE, QUERIES_DONE, ROWS_DONE = 1, 1, FINISHED


def kv_depth(config: AcceleratorConfig) -> int:
    """Beats under way in the pipeline, and a few to wait."""
    return config.depths.get("kv", 1 << ((BEAT_LATENCY - 1) // config.kv_words + 2).bit_length())


def heads(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` (for each head its words' {gain, right}; for rotations V / 2 x {cosine, sine} a word).
    Reads memory y, writes memory q. Stream out: `kv`, with `kv_command` for its writer, which says in `kv_written`
    that all responses of a command are in. `done`: all of a task can be read, from memory q or from the cache."""
    inputs = {"task": task_port(config, "heads"), "p": Stream.of(config.p_bits), "kv_written": 1}
    outputs = {"y_read": reads(config, "y"), "q_write": writes(config, "q"), "done": 1}
    outputs |= {"kv": Stream.of(config.kv_bits), "kv_command": commands()}
    return design.module("heads", inputs, outputs, lambda m: _Heads(m, config).outputs)


class _Heads:
    """Builds the module's body; methods are its sections, in the order of the data."""

    def __init__(self, m: Module, config: AcceleratorConfig) -> None:
        self.m, self.config, self.pipe = m, config, m.pipeline()
        self.ratio = config.head_lanes // config.lanes  # words a beat of memory q; of the cache, kv_words
        self.done, self.fire, self.popped = Wire(1), Wire(1), Wire(1)
        self.busy, self.fields = held_task(m, config, "heads", self.done.signal)
        mode = self.fields["mode"][0:2]
        self.loads, self.queries = mode.eq(HEAD_MODES.index("rotations")), mode.eq(HEAD_MODES.index("query"))
        self.rows = (self.busy & ~self.loads & ~self.queries).named("rows")
        self.normed = (self.fields["norm"][0] & ~self.loads).named("normed")
        self.wide = "wide_norm" in config.modes
        read = self._step()
        self.outputs = dict(y_read=read, done=self.done.signal) | self._beats(self._channels(read))

    def _walk(self, name: str, step: Signal, finished: str) -> tuple[Instance, Signal]:
        """A walk over the task's words, and whether it has words left. A table is walked like one head."""
        given = {field: self.fields[field] for field in WALK_BITS}
        if not (self.wide and name == "squares"):  # a longer path; squares are never of a table
            given["heads"] = mux(self.loads, const(1, WALK_BITS["heads"]), given["heads"])
        walk = self.m.instance(head_walk(self.m.design, self.config), name, step=step, **given)
        return walk, self.busy & ~self.m.since(finished, step & walk["last"], self.busy)

    def _step(self) -> Read:
        """Decide which word is read next: for its value where everything it needs is there, else for its square."""
        m, fire, p = self.m, self.fire.signal, self.m["p"]
        walk, going = self._walk("words", fire, "all_issued")
        self.walk, self.last = walk, (fire & walk["last"]).named("last_issued")
        keeps = (self.rows & self._at(walk["word"], self.config.kv_words, 0)).named("takes_room")
        depth = kv_depth(self.config)
        room = credit(m, "room", depth, give=self.popped.signal, take=fire & keeps, initial=depth)
        wants = self.loads | walk["first_token"]  # a head's parameters come with its first token, and are kept
        self.takes_root, kept = self.normed, list[Signal]()
        if self.wide:  # where all heads have one root, the first takes it, and it is kept
            kept = [(self.fields["whole"][0] & ~walk["first_head"]).named("is_kept")]
            self.takes_root = (self.normed & ~kept[0]).named("takes_root")
        squares, step, roots = self._squares()
        here = [p.valid | ~wants, any_of([roots["root"].valid, ~self.normed, *kept]), room | ~keeps]
        self.fire.assign(all_of([going, *here]).named("fire"))
        self.step = self.pipe.valid(fire)
        self.taken = fire & wants
        p.drive(ready=self.taken)
        root = {name: signal for name, signal in roots["root"].forward.items() if name != "valid"}
        if self.wide:
            record, write = Fields(**{name: s.width for name, s in root.items()}), fire & self.takes_root
            written = (write, walk["token"], record.pack(**root))
            others = record.unpack(stored(m, "kept_roots", self.config.tokens, write=written, read=walk["token"]))
            root = {name: mux(self.takes_root, signal, others[name]) for name, signal in root.items()}
        self.root = {
            name: m.reg(self.pipe.at(signal), f"root_{name}", enable=self.step) for name, signal in root.items()
        }
        enable = (fire & ~self.loads).named("reads") | step
        address = mux(fire, walk["address"], squares["address"])
        read = Read(self.pipe.at(address), self.config.word_bits("y"), self.pipe.at(enable))
        roots.connect(data=read.data)
        return read

    def _whole(self, flag: Signal) -> Signal:
        """`flag` where all heads of a token are normed together; else each head is the first and the last of a row."""
        return flag | ~self.fields["whole"][0]

    def _squares(self) -> tuple[Instance, Signal, Instance]:
        """The rows' roots: a walk of its own, ahead of the other, in the cycles that leave memory y free; returns (the
        walk, its step, the roots)."""
        m, step = self.m, Wire(1)
        walk, going = self._walk("squares", step.signal, "all_squared")
        begins, last = walk["first_word"], walk["last_word"]
        given = dict(first=begins, epsilon=self.fields["epsilon"])
        if self.wide:  # a row is of all heads; where the last one begins, its root needs room
            given |= dict(first=begins & self._whole(walk["first_head"]), token=walk["token"])
            begins, last = (flag & self._whole(walk["last_head"]) for flag in (begins, last))
        first = step.signal & begins
        taken = (self.fire.signal & self.takes_root & self.walk["last_word"]).named("root_taken")
        depth = roots_depth(self.config)
        room = credit(m, "roots_room", depth, give=taken, take=first, initial=depth)
        may = room | ~begins
        step.assign(all_of([going, self.normed, may, ~self.fire.signal]).named("square"))
        given |= dict(last=last)
        roots = m.instance(head_roots(m.design, self.config), "roots", step=step.signal, **given)
        roots["root"].drive(ready=taken)
        return walk, step.signal, roots

    def _parameters(self) -> list[Signal]:
        """Each lane's {gain, right} for the word at hand."""
        p, word = self.m["p"].data, self.walk["word"][0 : bits_for(self.config.head_words)]
        kept = stored(self.m, "parameters", self.config.head_words, write=(self.taken, word, p), read=word)
        given = self.pipe.at(mux(self.walk["first_token"], p, kept))
        return self.m.reg(given, "parameters_q", enable=self.step).chunks(PARAMETER_BITS)

    def _rotations(self, cycle: int) -> list[Signal]:
        """The table's word for each pair, read for `cycle`."""
        place, word = self.walk["place"], self.m["p"].data[0 : self.config.lanes * TABLE_BITS]
        assert place.width == place_bits(self.config)
        write = (self.fire.signal & self.loads, place, word)
        read = (const(1, 1), self.pipe.at(place).until(cycle - 2))
        words = self.config.tokens * self.config.head_words
        turned = stored(self.m, "rotations", words, write=write, read=read)
        return self.m.reg(turned, "rotation").chunks(2 * TABLE_BITS)

    def _channels(self, read: Read) -> list[Signal]:
        """From a word of memory y to one of results: 16 bits a channel, cut to 8 later where they are cache rows."""
        m, config, f = self.m, self.config, self.fields
        bits, parameters = value_bits(config), self._parameters()
        shared = dict(self.root, shift=f["shift"][0:SHIFT_BITS], normed=self.normed)
        lane, pair = head_norm_lane(m.design, config), rope_pair(m.design, bits)
        values = []
        for i, x in enumerate(m.reg(read.data, "x").chunks(config.y_bits)):
            gain = parameters[i][0:VALUE_BITS]
            values.append(m.output_of(lane, f"norm_{i}", x=x, gain=gain, **shared))
        limit, rotate = m.reg(largest(f["wide"], bits), "limit"), f["rotate"][0]
        turned: list[Signal] = []
        for i, rotation in enumerate(self._rotations(values[0].cycle)):
            given = dict(low=values[2 * i], high=values[2 * i + 1], rotate=rotate, limit=limit)
            given |= dict(cosine=rotation[0:TABLE_BITS], sine=rotation[TABLE_BITS:])
            turned += m.instance(pair, f"rope_{i}", **given).values()
        return [self._rescaled(i, value, parameters[i][VALUE_BITS:]) for i, value in enumerate(turned)]

    def _rescaled(self, lane: int, value: Signal, right: Signal) -> Signal:
        """Two cycles: a channel at its reader's exponent, saturated to the reader's width."""
        whole = rescaled_later(self.m, value, right, f"rescaled_{lane}")
        narrow = saturated(whole, CACHE_BITS).sext(X_BITS)
        return self.m.reg(mux(self.queries, saturated(whole, X_BITS), narrow), f"result_{lane}")

    def _beats(self, results: list[Signal]) -> dict[str, Any]:
        """Words to beats; a beat to its place in memory q, or through a FIFO to the cache."""
        m, walk, valid = self.m, self.walk, self.fire.signal & ~self.loads
        kept, whole = (self._at(walk["word"], words, words - 1) for words in (self.config.kv_words, self.ratio))
        beat_last = mux(self.rows, kept, whole)
        word = pack(results).due(BEAT_LATENCY - 1)
        flags = pack([self.pipe.valid(flag) for flag in (valid, valid & beat_last, self.last)]).until(word.cycle)
        there, ends, last = flags.plain().chunks(1)
        parts = assembled(m, word.plain(), self.ratio, there, "part")
        beat = m.reg(pack([*parts, word.plain()]), "beat")
        return self._written(m.reg(ends, "beat_here", reset=0), m.reg(last & ends, "beat_last", reset=0), beat)

    @staticmethod
    def _at(word: Signal, words: int, place: int) -> Signal:
        """Whether a word of a head is number `place` of a beat of `words`."""
        return word[0 : bits_for(words)].eq(place) if words > 1 else const(1, 1)

    def _written(self, here: Signal, last: Signal, beat: Signal) -> dict[str, Any]:
        m, f = self.m, self.fields
        bits = self.config.address_bits("q")
        row = pack([channel[0:CACHE_BITS] for channel in beat.chunks(X_BITS)])
        kv = Stream(here & self.rows, data=row[row.width - self.config.kv_bits :])
        kv = kv.fifo(m, "beats", kv_depth(self.config))
        self.popped.assign(kv.moves)
        given = {name: f[name] for name in ROWS_BITS}
        rows = m.instance(head_rows(m.design, self.config), "rows", run=self.rows, written=m["kv_written"], **given)
        wrote = (here & self.queries).named("wrote")
        loaded = m.reg(self.last & self.loads, "loaded", cycles=TABLE_DONE, reset=0)
        wrote_last = m.reg(wrote & last, "wrote_last", cycles=QUERIES_DONE, reset=0)
        self.done.assign(any_of([loaded, wrote_last, rows["finished"]]))
        place = f["base"][0:bits] + m.counter(bits, "beats_written", step=wrote, last=last)
        return dict(q_write=Write(wrote, place, beat), kv=kv, kv_command=rows["command"])
