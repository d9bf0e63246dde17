"""The head of the PSum chains: the only place that waits.

It walks the round's loops (group, stage, block, strip of chunks, token, chunk) and issues one lookup beat a cycle.
Before the first beat of a chunk, block, group or round it needs a credit from every weight port (codes arrived,
codebook or table arrived), from the front end (operands of the group) and from the accumulator (a free bank). What a
credit promises is there for good, so nothing downstream stalls. Where rows are made in steps, a walk of its own issues
their beats, a row ahead of the lookups: it needs what rows are made of, and a half of the lanes' memories that no
lookup reads any more. In built-table rounds another walk issues the build beats, tables ahead.
"""

from collections.abc import Callable

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, mux
from lutllm.lowering.hardware.lib.state import Flags, Levels, credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for

ACC_BANKS = 2
HALVES = 2  # rows that a lane keeps
BUILD_ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks")
ISSUE = 1  # cycles from a step of a walk until its beat is at the first engine
BUILD_LATENCY = 4  # cycles from a build beat until the head may count on its row


def walk_round(config: EngineConfig, *, lookups: bool) -> Fields:
    """What a walk needs of a round; that of lookups, where rows are made before, not where they come from."""
    serial = lookups and config.row_steps > 1
    kept = records.ROUND.subset(*([] if serial else ["mode"]), "stages", "tokens", "groups", "blocks").widths
    counts = ["block_strips", "last_strips", *(["block_rest", "last_rest"] if serial else [])]
    return Fields(**kept, **dict.fromkeys(counts, 16))


def strips(config: EngineConfig, fields: dict[str, Signal]) -> dict[str, Signal]:
    """Of a round's blocks but the last, and of the last: strips, and chunks of the last strip."""
    bits, found = (config.strip_chunks - 1).bit_length(), {}
    for name in ("block", "last"):
        before = fields[f"{name}_chunks"] - 1
        found[f"{name}_strips"] = before[bits:].zext(16) + 1
        found[f"{name}_rest"] = (before[0:bits].zext(16) if bits else const(0, 16)) + 1
    return found


def psum_control(design: Design, config: EngineConfig, codebooks: int) -> str:
    """In: streams `round`, `rows_round` (rows made in steps) and `build_round` (tables built); `codes_push` and
    `rows_push` of each weight port, with up to `codebooks` codebooks; `group_ready`, `centroids_ready` and `acc_free`
    pulses. Out: packed `control`, `rows` and `build` beats."""
    records_of = dict(control=records.lookup_fields, rows=records.row_fields, build=records.build_fields)
    fields = {name: made(config) for name, made in records_of.items()}
    builds, serial = config.builds_tables, config.row_steps > 1

    def body(m: Module) -> dict[str, Signal]:
        issue, take_rows = Wire(1), Wire(1)
        making = Wire(1) if serial else issue
        lookups = _Walk(m, config, "lookup", issue.signal)
        rows = _Walk(m, config, "row", making.signal) if serial else lookups
        rows_here = credit(m, "rows", max(codebooks, TABLE_BANKS), give=m["rows_push"], take=take_rows.signal)
        rows_ok, taken, beats = rows_here, rows.block_first & making.signal, dict[str, dict[str, Signal]]()
        if builds:
            built_mode = rows.fields["mode"].eq(MODES.index("built_table"))
            table_free = making.signal & rows.block_last & built_mode
            beats["build"], started, finished = _build_walk(m, config, rows_here, table_free)
            table_ready = m.reg(finished, "table_ready", cycles=BUILD_LATENCY - 1, reset=0)
            tables_ok = credit(m, "tables", TABLE_BANKS, give=table_ready, take=taken & built_mode)
            rows_ok, taken = mux(built_mode, tables_ok, rows_here).named("rows_ok"), (taken & ~built_mode) | started
        take_rows.assign(taken)

        def needs(name: str, step: Signal, first: Signal, give: Signal, initial: int = 0) -> Signal:
            most = config.operand_banks  # at least as many as there are halves and banks of sums
            there = credit(m, name, most, take=step & first, initial=initial, give=give)
            return (~first | there).named(f"{name}_allow")

        taken_codes = issue.signal & lookups.token_first
        codes_ok = credit(m, "codes", config.codes_depth, give=m["codes_push"], take=taken_codes)
        to_make = [
            (~rows.block_first | rows_ok).named("rows_allow"),
            needs("groups", making.signal, rows.group_first, m["group_ready"]),
        ]
        to_look_up = [
            lookups.busy,
            (~lookups.token_first | codes_ok).named("codes_allow"),
            needs("acc_banks", issue.signal, lookups.round_first, m["acc_free"], ACC_BANKS),
        ]
        if serial:
            free, made = issue.signal & lookups.row_last, making.signal & rows.row_last
            to_make += [rows.busy, needs("halves", making.signal, rows.row_first, free, HALVES)]
            to_look_up.append(needs("made", issue.signal, lookups.row_first, made))
            making.assign(all_of(to_make))
            issue.assign(all_of(to_look_up))
        else:
            issue.assign(all_of(to_look_up + to_make))
        beats["control"] = _lookup_beat(m, config, lookups, issue.signal)
        beats["rows"] = _row_beat(m, config, rows, making.signal)
        return {
            name: m.reg(fields[name].pack(**beat), f"{name}_q", cycles=ISSUE, reset=0) for name, beat in beats.items()
        }

    inputs = {"codes_push": config.weight_ports, "rows_push": config.weight_ports, "group_ready": 1, "acc_free": 1}
    rounds = {"round": walk_round(config, lookups=True)}
    rounds |= {"rows_round": walk_round(config, lookups=False)} if serial else {}
    if builds:
        inputs, rounds = inputs | {"centroids_ready": 1}, rounds | {"build_round": BUILD_ROUND}
    outputs = {name: record.width for name, record in fields.items() if builds or name != "build"}
    ports = inputs | {name: Stream.of(record.width) for name, record in rounds.items()}
    return design.module("psum_control", ports, outputs, body)


def chunks_of_block(fields: dict[str, Signal]) -> Callable[[Flags], Signal]:
    """The count of a chunk loop inside a block loop: the last block may be shorter."""
    return lambda at: mux(at["block_last"], fields["last_chunks"], fields["block_chunks"])


class _Walk:
    """The loops of the held round, and what is first and last in them: of lookups, or of rows, where `step`s make one.

    Where rows are made at once one walk serves both: a strip is then a chunk."""

    def __init__(self, m: Module, config: EngineConfig, kind: str, step: Signal) -> None:
        done, serial, rows = Wire(1), config.row_steps > 1, kind == "row"
        record = walk_round(config, lookups=not rows or not serial)
        self.busy, f = held_round(m, kind, record, done.signal, stream="rows_round" if rows else "round")
        self.fields = f

        def of_block(at: Flags) -> Signal:
            return mux(at["block_last"], f["last_strips"], f["block_strips"])

        def of_strip(at: Flags) -> Signal:
            rest = mux(at["block_last"], f["last_rest"], f["block_rest"])
            return mux(at["strip_last"], rest, const(config.strip_chunks, 16))

        inner: Levels = [("strip", of_block), ("token", f["tokens"])]
        if serial:
            inner = [*inner, ("step", const(config.row_steps, 16)) if rows else ("chunk", of_strip)]
        levels: Levels = [("group", f["groups"]), ("stage", f["stages"]), ("block", f["blocks"]), *inner]
        index, last, at_first = loop_nest(m, step, levels)
        firsts, lasts = list(at_first.values()), list(last.values())

        def first(name: str) -> Signal:
            """Whether all loops from that of `name` on are at their first."""
            return all_of(firsts[list(index).index(name) :]).named(f"{name}_first")

        def done_with(name: str) -> Signal:
            return all_of(lasts[list(index).index(name) :]).named(f"{name}_done")

        self.index, self.token_first, self.token_last = index, at_first["token"], last["token"]
        self.block_first, self.group_first, self.round_first = first("strip"), first("stage"), first("group")
        self.first_step = (at_first["stage"] & at_first["group"]).named("first_step")
        self.block_last, self.step_last, self.group_last = done_with("strip"), done_with("block"), done_with("stage")
        self.round_last = done_with("group")
        if serial:
            name = list(index)[-1]
            self.row_first, self.row_last = first(name), last[name]
        done.assign(step & self.round_last)


def _lookup_beat(m: Module, config: EngineConfig, walk: _Walk, issue: Signal) -> dict[str, Signal]:
    """A sum's address is that of its chunk and token in this order, whichever order they come in."""
    bits, kept = bits_for(config.acc_words), dict(token_first=walk.token_first)
    address = m.state(bits, "address", reset=0)
    following = address.signal + 1
    if config.row_steps > 1:
        tokens = walk.fields["tokens"].zext(max(16, bits))[0:bits]
        row = m.state(bits, "row_address", reset=0)  # of the token's first chunk of the strip
        next_row = mux(walk.step_last, const(0, bits), mux(walk.token_last, following, row.signal + 1))
        row.set(next_row, issue & walk.row_last)
        following = mux(walk.row_last, next_row, address.signal + tokens)
        half = m.counter(1, "half", step=issue & walk.row_last)
        kept = dict(half=half, row_last=walk.row_last, token_last=walk.token_last)
    address.set(mux(walk.step_last, const(0, bits), following), issue)
    return kept | dict(
        valid=issue,
        group_last=walk.group_last,
        address=address.signal,
        first_step=walk.first_step,
        acc_bank=m.counter(1, "acc_bank", step=issue & walk.round_last),
        round_last=walk.round_last,
    )


def _row_beat(m: Module, config: EngineConfig, walk: _Walk, making: Signal) -> dict[str, Signal]:
    kept = {}
    if config.row_steps > 1:
        step = walk.index["step"][0 : bits_for(config.row_steps)]
        kept = dict(step=step, half=m.counter(1, "row_half", step=making & walk.row_last))
    return kept | dict(
        valid=making,
        token=walk.index["token"][0 : bits_for(config.tokens)],
        first=walk.block_first,
        last=walk.block_last,
        mode=walk.fields["mode"],
        operand_bank=m.counter(config.bank_bits, "operand_bank", step=making & walk.group_last),
        table_bank=m.counter(bits_for(TABLE_BANKS), "table_bank", step=making & walk.block_last),
    )


def _build_walk(
    m: Module, config: EngineConfig, rows_here: Signal, table_free: Signal
) -> tuple[dict[str, Signal], Signal, Signal]:
    """The table-building loops; returns (beat, table started, table finished)."""
    step, done, serial = Wire(1), Wire(1), config.row_steps > 1
    busy, f = held_round(m, "build", BUILD_ROUND, done.signal, stream="build_round", mode="built_table")
    levels: Levels = [("build_group", f["groups"]), ("build_stage", f["stages"]), ("build_block", f["blocks"])]
    levels = [*levels, ("build_row", const(config.centroids, 16))]
    levels = [*levels, ("build_step", const(config.row_steps, 16))] if serial else levels
    index, last, at_first = loop_nest(m, step.signal, levels)
    first = at_first["build_row"] & at_first["build_step"] if serial else at_first["build_row"]
    group_first = all_of([first, at_first["build_stage"], at_first["build_block"]])
    started = step.signal & first
    free = credit(m, "free_tables", TABLE_BANKS, give=table_free, take=started, initial=TABLE_BANKS)
    taken = step.signal & group_first
    centroids = credit(m, "centroids", config.operand_banks, give=m["centroids_ready"], take=taken)
    step.assign(all_of([busy, ~first | (rows_here & free), ~group_first | centroids]))
    finished = all_of([step.signal, last["build_row"], *([last["build_step"]] if serial else [])])
    group_last = all_of([finished, last["build_block"], last["build_stage"]])
    done.assign(group_last & last["build_group"])
    row = index["build_row"][0 : config.index_bits]
    beat = dict(valid=step.signal, row=row, first=first)
    beat |= dict(step=index["build_step"][0 : bits_for(config.row_steps)]) if serial else {}
    beat["operand_bank"] = m.counter(config.bank_bits, "build_operand_bank", step=group_last)
    beat["table_bank"] = m.counter(bits_for(TABLE_BANKS), "build_table_bank", step=finished)
    return beat, started, finished
