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
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for

ACC_BANKS = 2
HALVES = 2  # rows that a lane keeps
ROUND = records.ROUND.subset("mode", "stages", "tokens", "groups", "blocks", "block_chunks", "last_chunks")
BUILD_ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks")
ISSUE = 1  # cycles from a step of a walk until its beat is at the first engine
BUILD_LATENCY = 4  # cycles from a build beat until the head may count on its row


def lookup_round(config: EngineConfig) -> Fields:
    """What the walk of lookups needs of a round: of rows made before, not where they come from."""
    names = [name for name in ROUND.widths if name != "mode" or config.row_steps == 1]
    return ROUND.subset(*names)


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
        rows_here = _of_all(m, "rows", max(codebooks, TABLE_BANKS), m["rows_push"], take_rows.signal)
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

        codes_ok = _of_all(m, "codes", config.codes_depth, m["codes_push"], issue.signal & lookups.token_first)
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
    rounds = {"round": lookup_round(config)} | ({"rows_round": ROUND} if serial else {})
    if builds:
        inputs, rounds = inputs | {"centroids_ready": 1}, rounds | {"build_round": BUILD_ROUND}
    outputs = {name: record.width for name, record in fields.items() if builds or name != "build"}
    ports = inputs | {name: Stream.of(record.width) for name, record in rounds.items()}
    return design.module("psum_control", ports, outputs, body)


def chunks_of_block(fields: dict[str, Signal]) -> Callable[[dict[str, Signal], dict[str, Signal]], Signal]:
    """The count of a chunk loop inside a block loop: the last block may be shorter."""
    return lambda index, last: mux(last["block"], fields["last_chunks"], fields["block_chunks"])


def _of_all(m: Module, name: str, depth: int, pushes: Signal, take: Signal) -> Signal:
    """A credit that every weight port has given."""
    given = [credit(m, f"{name}_{i}", depth, give=pushes[i], take=take) for i in range(pushes.width)]
    return all_of(given).named(f"all_{name}")


class _Walk:
    """The loops of the held round, and what is first and last in them: of lookups, or of rows, where `step`s make one.

    Where rows are made at once one walk serves both: a strip is then a chunk."""

    def __init__(self, m: Module, config: EngineConfig, kind: str, step: Signal) -> None:
        done, serial, rows = Wire(1), config.row_steps > 1, kind == "row"
        record = ROUND if rows else lookup_round(config)
        self.busy, f = held_round(m, kind, record, done.signal, stream="rows_round" if rows else "round")
        self.fields, chunks, bits = f, chunks_of_block(f), (config.strip_chunks - 1).bit_length()

        def strips(index: dict[str, Signal], last: dict[str, Signal]) -> Signal:
            count = chunks(index, last)
            return count[bits:].zext(16) + count[0:bits].ne(0).zext(16) if bits else count

        def of_strip(index: dict[str, Signal], last: dict[str, Signal]) -> Signal:
            whole = const(config.strip_chunks, 16)
            rest = chunks(index, last)[0:bits].zext(16) if bits else whole
            return mux(last["strip"] & rest.ne(0), rest, whole)

        inner: Levels = [("strip", strips), ("token", f["tokens"])]
        if serial:
            inner = [*inner, ("step", const(config.row_steps, 16)) if rows else ("chunk", of_strip)]
        levels: Levels = [("group", f["groups"]), ("stage", f["stages"]), ("block", f["blocks"]), *inner]
        index, last = loop_nest(m, step, levels)
        firsts, lasts = [i.eq(0) for i in index.values()], list(last.values())

        def first(name: str) -> Signal:
            """Whether all loops from that of `name` on are at their first."""
            return all_of(firsts[list(index).index(name) :]).named(f"{name}_first")

        def done_with(name: str) -> Signal:
            return all_of(lasts[list(index).index(name) :]).named(f"{name}_done")

        self.index, self.token_first, self.token_last = index, index["token"].eq(0), last["token"]
        self.block_first, self.group_first, self.round_first = first("strip"), first("stage"), first("group")
        self.first_step = (index["stage"].eq(0) & index["group"].eq(0)).named("first_step")
        self.block_last, self.step_last, self.group_last = done_with("strip"), done_with("block"), done_with("stage")
        self.round_last = done_with("group")
        if serial:
            name = list(index)[-1]
            self.row_first, self.row_last = first(name), last[name]
        done.assign(step & self.round_last)


def _bank(m: Module, name: str, bits: int, done: Signal) -> Signal:
    bank = m.state(bits, name, reset=0)
    return bank.set(bank.signal + 1, done)


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
        half = _bank(m, "half", 1, issue & walk.row_last)
        kept = dict(half=half, row_last=walk.row_last, token_last=walk.token_last)
    address.set(mux(walk.step_last, const(0, bits), following), issue)
    return kept | dict(
        valid=issue,
        group_last=walk.group_last,
        address=address.signal,
        first_step=walk.first_step,
        acc_bank=_bank(m, "acc_bank", 1, issue & walk.round_last),
        round_last=walk.round_last,
    )


def _row_beat(m: Module, config: EngineConfig, walk: _Walk, making: Signal) -> dict[str, Signal]:
    kept = {}
    if config.row_steps > 1:
        step = walk.index["step"][0 : bits_for(config.row_steps)]
        kept = dict(step=step, half=_bank(m, "row_half", 1, making & walk.row_last))
    return kept | dict(
        valid=making,
        token=walk.index["token"][0 : bits_for(config.tokens)],
        first=walk.block_first,
        last=walk.block_last,
        mode=walk.fields["mode"],
        operand_bank=_bank(m, "operand_bank", config.bank_bits, making & walk.group_last),
        table_bank=_bank(m, "table_bank", bits_for(TABLE_BANKS), making & walk.block_last),
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
    index, last = loop_nest(m, step.signal, levels)
    first = index["build_row"].eq(0) & index["build_step"].eq(0) if serial else index["build_row"].eq(0)
    group_first = all_of([first, index["build_stage"].eq(0), index["build_block"].eq(0)])
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
    beat["operand_bank"] = _bank(m, "build_operand_bank", config.bank_bits, group_last)
    beat["table_bank"] = _bank(m, "build_table_bank", bits_for(TABLE_BANKS), finished)
    return beat, started, finished
