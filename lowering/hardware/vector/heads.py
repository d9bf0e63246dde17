"""Engine heads: what q, k and v leave in memory y, head by head, becomes queries on chip and cache rows in memory.

In: tasks of four modes. query, key and value: every head's words of each token, optionally normed (RMSNorm of the head)
and rotated (RoPE), rescaled and saturated, go to memory q (16 bits a channel) or stream kv (8 bits). rotations: stream
p fills the table that RoPE of this pass uses. A word a cycle, two cycles where there is a norm: its words are read for
their squares first.
"""

from __future__ import annotations

from lutllm.lowering.hardware.control.task import held_task, task_inputs
from lutllm.lowering.hardware.lib.arithmetic import largest, rescaled_later, saturated
from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import (
    Design,
    Module,
    Signal,
    Wire,
    all_of,
    any_of,
    const,
    credit,
    delay,
    mux,
    pack,
)
from lutllm.lowering.hardware.lib.memory import buffered, ram
from lutllm.lowering.hardware.lib.rope import ROPE_LATENCY, TABLE_BITS, rope_pair
from lutllm.lowering.hardware.vector.head_norm import (
    GAIN_LATE,
    H_LATE,
    NORM_LATENCY,
    SHIFT_BITS,
    head_norm_lane,
    value_bits,
)
from lutllm.lowering.hardware.vector.head_roots import ROOT, head_roots, roots_depth
from lutllm.lowering.hardware.vector.head_rows import FINISHED, ROWS_BITS, head_rows
from lutllm.lowering.hardware.vector.head_walk import WALK_BITS, head_walk, place_bits
from lutllm.lowering.machine.accelerator import (
    HEAD_MODES,
    PARAMETER_BITS,
    VALUE_BITS,
    X_BITS,
    AcceleratorConfig,
)
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

_X = 2  # cycles from a step to its word's channels
_ROPE = _X + NORM_LATENCY
_RESCALE = _ROPE + ROPE_LATENCY
_OUT = _RESCALE + 2
BEAT_LATENCY = _OUT + 1  # cycles from the step of a beat's last word to the beat
# Cycles to `done`: from the last step of a table, from the last beat of queries, from the report that rows are written.
TABLE_DONE, QUERIES_DONE, ROWS_DONE = 1, 1, FINISHED


def kv_depth(config: AcceleratorConfig) -> int:
    """Beats under way in the pipeline, and a few to wait."""
    return config.depths.get("kv", 1 << (_OUT // config.kv_words + 2).bit_length())


def heads(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` (for each head its words' {gain, right}; for rotations V / 2 x {cosine, sine} a word).
    Reads memory y, writes memory q. Stream out: `kv`, with `kv_command` for its writer, which says in `kv_written`
    that all responses of a command are in. `done`: all of a task can be read, from memory q or from the cache."""
    inputs = task_inputs("heads") | {"p_valid": 1, "p_data": config.p_bits, "y_read_data": config.word_bits("y")}
    inputs |= {"kv_ready": 1, "kv_command_ready": 1, "kv_written": 1}
    outputs = {"task_ready": 1, "done": 1, "p_ready": 1, "y_read": 1, "y_read_address": config.address_bits("y")}
    outputs |= {"q_write": 1, "q_write_address": config.address_bits("q"), "q_write_data": config.word_bits("q")}
    outputs |= {"kv_valid": 1, "kv_data": config.kv_bits, "kv_command_valid": 1, "kv_command_address": 64}
    outputs |= {"kv_command_beats": BEATS_BITS}
    return design.module("heads", inputs, outputs, lambda m: _Heads(m, config).outputs)


class _Heads:
    """Builds the module's body; methods are its sections, in the order of the data."""

    def __init__(self, m: Module, config: AcceleratorConfig) -> None:
        self.m, self.config = m, config
        self.ratio = config.head_lanes // config.lanes  # words a beat of memory q; of the cache, kv_words
        self.done, self.fire, self.popped = Wire(1), Wire(1), Wire(1)
        self.busy, self.fields, ready = held_task(m, "heads", self.done.signal)
        self.outputs = dict(task_ready=ready, done=self.done.signal)
        mode = self.fields["mode"][0:2]
        self.loads, self.queries = mode.eq(HEAD_MODES.index("rotations")), mode.eq(HEAD_MODES.index("query"))
        self.rows = (self.busy & ~self.loads & ~self.queries).named("rows")
        self.normed = (self.fields["norm"][0] & ~self.loads).named("normed")
        self._step()
        self._channels()
        self._beats()

    def _walk(self, name: str, step: Signal, finished: str) -> tuple[dict[str, Signal], Signal]:
        """A walk over the task's words, and whether it has words left. A table is walked like one head."""
        given = {field: self.fields[field] for field in WALK_BITS}
        given["heads"] = mux(self.loads, const(1, WALK_BITS["heads"]), given["heads"])
        walk = self.m.instance(head_walk(self.m.design, self.config), name, step=step, **given)
        over = self.m.state(1, finished, reset=0)
        over.set(self.busy & (over.signal | (step & walk["last"])))
        return walk, self.busy & ~over.signal

    def _step(self) -> None:
        """Decide which word is read next: for its value where everything it needs is there, else for its square."""
        m, fire = self.m, self.fire.signal
        walk, going = self._walk("words", fire, "all_issued")
        self.walk, self.last = walk, (fire & walk["last"]).named("last_issued")
        keeps = (self.rows & self._at(walk["word"], self.config.kv_words, 0)).named("takes_room")
        self.depth = kv_depth(self.config)
        room = credit(
            m, "room", bits_for(self.depth + 1), give=self.popped.signal, take=fire & keeps, initial=self.depth
        )
        wants = self.loads | walk["first_token"]  # a head's parameters come with its first token, and are kept
        root = self._roots(walk)
        here = [m["p_valid"] | ~wants, root["root_valid"] | ~self.normed, room | ~keeps]
        self.fire.assign(all_of([going, *here]).named("fire"))
        self.root = ROOT.unpack(m.reg(root["root_data"], "root", enable=fire))
        words = (fire & ~self.loads).named("reads")
        self.outputs |= dict(
            p_ready=fire & wants,
            y_read=words | self.squares["step"],
            y_read_address=mux(fire, walk["address"], self.squares["address"]),
        )
        self._parameters(fire & wants)

    def _roots(self, walk: dict[str, Signal]) -> dict[str, Signal]:
        """The rows' roots: a walk of its own, ahead of the other, in the cycles that leave memory y free."""
        m, step = self.m, Wire(1)
        self.squares, going = self._walk("squares", step.signal, "all_squared")
        first = step.signal & self.squares["first_word"]
        taken = (self.fire.signal & self.normed & walk["last_word"]).named("root_taken")
        depth = roots_depth(self.config)
        room = credit(m, "roots_room", bits_for(depth + 1), give=taken, take=first, initial=depth)
        may = room | ~self.squares["first_word"]
        step.assign(all_of([going, self.normed, may, ~self.fire.signal]).named("square"))
        self.squares |= dict(step=step.signal)
        return m.instance(
            head_roots(m.design, self.config),
            "roots",
            step=step.signal,
            first=self.squares["first_word"],
            last=self.squares["last_word"],
            data=m["y_read_data"],
            epsilon=self.fields["epsilon"],
            root_ready=taken,
        )

    def _parameters(self, taken: Signal) -> None:
        """Each lane's gain and right shift for the word at hand, a cycle later; the table's word for each pair."""
        m, config, p = self.m, self.config, self.m["p_data"]
        store = ram(m.design, config.head_words, config.p_bits, read_latency=0)
        word = self.walk["word"][0 : bits_for(config.head_words)]
        kept = m.output_of(store, "parameters", we=taken, wa=word, wd=p, ra=word)
        given = m.reg(mux(self.walk["first_token"], p, kept), "parameters_q", enable=self.fire.signal)
        lanes = given.chunks(PARAMETER_BITS)
        gains, rights = (
            pack([lane[low:high] for lane in lanes]) for low, high in ((0, VALUE_BITS), (VALUE_BITS, None))
        )
        self.gains = delay(m, gains, _X + GAIN_LATE - 1, "gains").chunks(VALUE_BITS)
        self.rights = delay(m, rights, _RESCALE - 1, "rights").chunks(PARAMETER_BITS - VALUE_BITS)

        table = ram(m.design, config.tokens * config.head_words, config.lanes * TABLE_BITS)
        place = self.walk["place"]
        assert place.width == place_bits(config)
        turned = m.output_of(
            table,
            "rotations",
            we=self.fire.signal & self.loads,
            wa=place,
            wd=p[0 : config.lanes * TABLE_BITS],
            re=const(1, 1),
            ra=delay(m, place, _ROPE - 2, "place"),
        )
        self.rotations = m.reg(turned, "rotation").chunks(2 * TABLE_BITS)

    def _channels(self) -> None:
        """From a word of memory y to one of results: 16 bits a channel, cut to 8 later where they are cache rows."""
        m, config, f = self.m, self.config, self.fields
        bits = value_bits(config)
        r = delay(m, self.root["r"], _X - 1, "root_r")
        h = delay(m, self.root["h"], _X + H_LATE - 1, "root_h")
        shared = dict(r=r, h=h, shift=f["shift"][0:SHIFT_BITS], normed=self.normed)
        lane, pair = head_norm_lane(m.design, config), rope_pair(m.design, bits)
        values = []
        for i, x in enumerate(m.reg(m["y_read_data"], "x").chunks(config.y_bits)):
            values.append(m.output_of(lane, f"norm_{i}", x=x, gain=self.gains[i], **shared))
        limit, rotate = m.reg(largest(f["wide"], bits), "limit"), f["rotate"][0]
        turned: list[Signal] = []
        for i, rotation in enumerate(self.rotations):
            given = dict(low=values[2 * i], high=values[2 * i + 1], rotate=rotate, limit=limit)
            given |= dict(cosine=rotation[0:TABLE_BITS], sine=rotation[TABLE_BITS:])
            turned += m.instance(pair, f"rope_{i}", **given).values()
        self.results = [self._rescaled(i, value) for i, value in enumerate(turned)]

    def _rescaled(self, lane: int, value: Signal) -> Signal:
        """Two cycles: a channel at its reader's exponent, saturated to the reader's width."""
        whole = rescaled_later(self.m, value, self.rights[lane], f"rescaled_{lane}")
        narrow = saturated(whole, CACHE_BITS).sext(X_BITS)
        return self.m.reg(mux(self.queries, saturated(whole, X_BITS), narrow), f"result_{lane}")

    def _beats(self) -> None:
        """Words to beats; a beat to its place in memory q, or through a FIFO to the cache."""
        m, walk, word = self.m, self.walk, pack(self.results)
        kept, whole = (self._at(walk["word"], words, words - 1) for words in (self.config.kv_words, self.ratio))
        valid, last = self.fire.signal & ~self.loads, self.last
        beat_last = mux(self.rows, kept, whole)
        tag = delay(m, pack([valid, valid & beat_last, last]), _OUT, "tag", reset=0)
        parts: list[Signal] = []
        for i in range(self.ratio - 1):
            parts.insert(0, m.reg(parts[0] if parts else word, f"part_{self.ratio - 2 - i}", enable=tag[0]))
        beat = m.reg(pack([*parts, word]), "beat")
        here, last = m.reg(tag[1], "beat_here", reset=0), m.reg(tag[2] & tag[1], "beat_last", reset=0)
        self._write(here, last, beat)

    @staticmethod
    def _at(word: Signal, words: int, place: int) -> Signal:
        """Whether a word of a head is number `place` of a beat of `words`."""
        return word[0 : bits_for(words)].eq(place) if words > 1 else const(1, 1)

    def _write(self, here: Signal, last: Signal, beat: Signal) -> None:
        m, f = self.m, self.fields
        bits = self.config.address_bits("q")
        row = pack([channel[0:CACHE_BITS] for channel in beat.chunks(X_BITS)])
        row = row[row.width - self.config.kv_bits :]
        out, _ = buffered(m, "beats", here & self.rows, row, self.depth)
        out.ready.assign(m["kv_ready"])
        self.popped.assign(out.valid & m["kv_ready"])
        given = {name: f[name] for name in ROWS_BITS}
        command = m.instance(
            head_rows(m.design, self.config),
            "rows",
            run=self.rows,
            command_ready=m["kv_command_ready"],
            written=m["kv_written"],
            **given,
        )
        wrote = (here & self.queries).named("wrote")
        loaded = delay(m, self.last & self.loads, TABLE_DONE, "loaded", reset=0)
        wrote_last = delay(m, wrote & last, QUERIES_DONE, "wrote_last", reset=0)
        self.done.assign(any_of([loaded, wrote_last, command["finished"]]))
        self.outputs |= dict(
            q_write=wrote,
            q_write_address=f["base"][0:bits] + m.counter(bits, "beats_written", step=wrote, last=last),
            q_write_data=beat,
            kv_valid=out.valid,
            kv_data=out.data,
            **{f"kv_command_{name}": command[f"command_{name}"] for name in ("valid", "address", "beats")},
        )
