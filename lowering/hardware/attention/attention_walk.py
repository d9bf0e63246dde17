"""The order in which attention walks over an item, and what every stage needs to know of a task.

An item is `reps` query heads of one kv head: reps * tokens * beats sums, at most `config.item_words`. Scores and
weighted sums both take its rows in turn, `attention_rows` at a time, of these the pairs (query head, token) that see
the first, and of each pair its beats: causal work that is not there costs no cycle, but for rows of a group that a pair
does not see. Units take kv heads in turn, and ways the items of a unit's kv head, so what serves all of these cores
takes an item of each.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.lowering.hardware.lib.circt import Module
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import loop_nest
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for


def job_fields(config: AcceleratorConfig) -> Fields:
    """What each stage needs of a task: `kv_heads` of each unit, `items` of each of them in a way, and `rows`, the
    groups of rows up to the position after the pass; with a window both from the first row on that is read, and `reach`
    is how many rows before its own a token sees. Where a group has several: `jump` is the beats of the tokens that do
    not see the first group beyond `position`."""
    return Fields(
        kv_heads=16,
        items=8,
        reps=8,
        beats=bits_for(config.head_beats + 1),
        tokens=bits_for(config.tokens + 1),
        position=config.position_bits,
        rows=config.position_bits,
        **({"reach": config.position_bits} if "window" in config.modes else {}),
        **({"jump": jump_bits(config)} if config.attention_rows > 1 else {}),
    )


def jump_bits(config: AcceleratorConfig) -> int:
    return bits_for(config.head_beats * config.attention_rows + 1)


@dataclass
class Walk:
    """A step: `word` = pair * beats + `beat`, `pair` = `rep` * tokens + token; the flags name the step's place. Two
    cycles later: which rows of the group the pair sees (`seen`), but for the first where every pair does."""

    word: Signal
    pair: Signal
    rep: Signal
    beat: Signal
    first_row: Signal
    last_beat: Signal
    row_end: Signal
    item_start: Signal
    item_end: Signal
    seen: list[Signal]


def causal_walk(m: Module, step: Signal, job: dict[str, Signal], config: AcceleratorConfig) -> Walk:
    """Walk over items without end, moving one beat at each `step`."""
    word_bits = bits_for(config.item_words)
    row, rep = m.state(job["rows"].width, "row", reset=0), m.state(8, "rep", reset=0)
    token, beat = m.state(job["tokens"].width, "token", reset=0), m.state(job["beats"].width, "beat", reset=0)
    word, pair = m.state(word_bits, "word", reset=0), m.state(word_bits, "pair", reset=0)
    # Tokens first .. tokens - 1 see the group's first row; skip = first * beats.
    first, skip = m.state(token.signal.width, "first_token", reset=0), m.state(word_bits, "skip", reset=0)
    last = {
        name: state.signal.eq(job[count] - 1).named(f"last_{name}")
        for name, state, count in (
            ("beat", beat, "beats"),
            ("token", token, "tokens"),
            ("rep", rep, "reps"),
            ("row", row, "rows"),
        )
    }
    rep_end = (last["beat"] & last["token"]).named("rep_end")
    row_end = (rep_end & last["rep"]).named("row_end")
    item_end = (row_end & last["row"]).named("item_end")
    row_step = step & row_end
    next_first, next_skip = _fewer(row.signal, last["row"], first.signal, skip.signal, job, config)

    beat.set(_next(beat.signal, last["beat"]), step)
    after_token = mux(last["token"], mux(last["rep"], next_first, first.signal), token.signal + 1)
    token.set(after_token, step & last["beat"])
    rep.set(_next(rep.signal, last["rep"]), step & rep_end)
    row.set(_next(row.signal, last["row"]), row_step)
    first.set(next_first, row_step)
    skip.set(next_skip, row_step)
    word.set(_jump(word.signal, rep_end, skip.signal, row_end, next_skip), step)
    pair.set(_jump(pair.signal, rep_end, first.signal, row_end, next_first), step & last["beat"])
    first_row = row.signal.eq(0)
    return Walk(
        word=word.signal,
        pair=pair.signal,
        rep=rep.signal,
        beat=beat.signal[0 : bits_for(config.head_beats)],
        first_row=first_row,
        last_beat=last["beat"],
        row_end=row_end,
        item_start=all_of([first_row, word.signal.eq(0)]).named("item_start"),
        item_end=item_end,
        seen=_seen(m, row.signal, token.signal, job, config),
    )


def _fewer(
    row: Signal, last_row: Signal, first: Signal, skip: Signal, job: dict[str, Signal], config: AcceleratorConfig
) -> tuple[Signal, Signal]:
    """The first token, and the beats of those before it, that see the first row of the next group: beyond the position
    that is one token less for each row."""
    rows, low = config.attention_rows, (config.attention_rows - 1).bit_length()
    fewer = (~row.ult(_shifted(job["position"], low)) & ~last_row).named("fewer")
    beats, beyond = job["beats"], const(1, first.width)
    if rows > 1:
        starts = first.eq(0)
        # position % rows of the group's rows are seen by all
        own = const(rows, low + 1) - job["position"][0:low].zext(low + 1)
        width = max(first.width, low + 1)
        beyond = mux(starts, own, const(rows, low + 1)).zext(width)[0 : first.width]  # less than the tokens of a pass
        beats = mux(starts, job["jump"], resized(pack([const(0, low), beats]), job["jump"].width))
    next_first = mux(fewer, first + beyond, const(0, first.width)).named("next_first")
    return next_first, mux(fewer, skip + resized(beats, skip.width), const(0, skip.width)).named("next_skip")


def _seen(m: Module, row: Signal, token: Signal, job: dict[str, Signal], config: AcceleratorConfig) -> list[Signal]:
    rows, low, windowed = config.attention_rows, (config.attention_rows - 1).bit_length(), "reach" in job
    if rows == 1 and not windowed:
        return []
    position = job["position"]
    width = max(position.width, low + 1)
    first = pack([const(0, low), row]).zext(width + low)[0:width] if low else row
    beyond = m.reg(resized(position, width) + resized(token, width) - first, "beyond_first")
    if not windowed:
        return [m.reg(~beyond.ult(i), f"sees_{i}") for i in range(1, rows)]
    beyond, reach = beyond.zext(width + 1), job["reach"].zext(width + 1)
    return [m.reg(~beyond.ult(i) & ~(reach + i).ult(beyond), f"sees_{i}") for i in range(rows)]


def _shifted(value: Signal, low: int) -> Signal:
    return value if not low else value[low:].zext(value.width) if low < value.width else const(0, value.width)


def resized(count: Signal, width: int) -> Signal:
    """An unsigned signal at another width; what is cut off is zero, because counts keep to their capacities."""
    return count.zext(width) if count.width <= width else count[0:width]


def _next(count: Signal, last: Signal) -> Signal:
    return mux(last, const(0, count.width), count + 1)


def _jump(count: Signal, rep_end: Signal, skip: Signal, row_end: Signal, restart: Signal) -> Signal:
    """The next address: one on, over `skip` after a query head, or where the next row starts."""
    on = count + resized(mux(rep_end, skip, const(0, skip.width)), count.width) + 1
    return mux(row_end, resized(restart, count.width), on)


@dataclass
class Running:
    """A stage at work: `active`, the `bank` of its item and the `core` that it is of; whether that is the last way of
    its unit, the unit the last one, this the last item of the unit's kv head, and of all (`final`)."""

    active: Signal
    bank: Signal
    core: Signal
    last_way: Signal
    last_unit: Signal
    last_item: Signal
    final: Signal


def running(
    m: Module, start: Signal, item_end: Signal, job: dict[str, Signal], units: int = 1, ways: int = 1
) -> Running:
    """A stage at work on a task's items from `start` on; one that serves several cores takes one of each in turn.

    `item_end`: the step that ends an item. Items of a core take banks in turn, over tasks.
    """
    inner = [(name, const(count, bits_for(count + 1))) for name, count in (("unit", units), ("way", ways))]
    _, last, _ = loop_nest(m, item_end, [("kv_head", job["kv_heads"]), ("item", job["items"]), *inner])
    final = all_of(list(last.values())).named("final_item")
    turn = last["unit"] & last["way"]
    core = m.counter(bits_for(units * ways), "core", step=item_end, last=turn)
    active, bank = m.flag("active", start, item_end & final), m.counter(1, "bank", step=item_end & turn)
    return Running(active, bank, core, last["way"], last["unit"], last["item"], final)
