"""The 2D-PSum engine of one channel pair: a row of 16 entries for each token, looked up by `lanes` codes, running sums.

The row comes from the pair's table (stored, or built here from the two codebooks) or straight from the row builder
(built or exact row), see `rows.py`. Made at once, it goes to a multiplexer in each lane; made in steps, into the half
of a memory in each lane that no lookup reads. Beats walk down the chain of engines one a cycle and never stall: the
head issues one only when every engine has what it needs (`control.py`).
"""

from collections.abc import Mapping

from lutllm.lowering.hardware.lib.bundle import Bundle
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import copied_ram, pointer, stored
from lutllm.lowering.hardware.lib.signal import Pipeline, Signal, aligned, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import FillLevel, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear.front import writes
from lutllm.lowering.hardware.linear.records import (
    CODES_STAGE,
    ROW_STAGE,
    TABLE_STAGE,
    build_fields,
    lookup_fields,
    row_fields,
)
from lutllm.lowering.hardware.linear.rows import Beats, Tables, is_mode, row_of
from lutllm.lowering.hardware.linear.words import assembled
from lutllm.lowering.machine.engine import TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for


def unit_kinds(config: EngineConfig) -> tuple[str, ...]:
    """Kinds of weight units, a bit each."""
    table = ("table",) if "stored_table" in config.row_sources else ()
    return "codes", *(("codebook",) if config.builds_rows else ()), *table


def unit_port(config: EngineConfig, bits: int) -> Bundle:
    """Units of weights: `fire` where all engines of a port take the one of `kind`, for which each says `ready`."""
    return Bundle(dict(fire=1, kind=len(unit_kinds(config)), last=1, data=bits), {"ready": 1})


def codebook_depth(config: EngineConfig, depths: Mapping[str, int]) -> int:
    """Codebooks that wait in an engine."""
    return depths.get("codebooks", config.codebooks_ahead)


def psum_lane(design: Design, config: EngineConfig) -> str:
    """One lookup: `sum` = `partial` + row[code], a cycle later, of the `row_writes` entries that the lane is given."""
    term, bits, low = config.term_bits, config.chain_bits, (config.row_writes - 1).bit_length()

    def body(m: Module) -> dict[str, Signal]:
        entry = select(m["row"].chunks(term), m["code"] if low else const(0, 1)).named("entry")
        return dict(sum=m.reg(m["partial"] + entry.sext(bits), "sum_q"))

    inputs = {"row": config.row_writes * term, "partial": bits} | ({"code": low} if low else {})
    return design.pipeline("psum_lane", inputs, {"sum": bits}, body)


def codes_store(design: Design, config: EngineConfig) -> str:
    """Chunks of codes that wait: stream `in`, `read` the next one (`word`, a cycle later, until the next read), `free`
    the room of one. Where rows are made in steps, words are read once for each token: after one read with `again`
    comes the first that is not free."""
    depth, width = config.codes_depth, config.lanes * config.code_bits

    def body(m: Module) -> dict[str, Signal]:
        level, given = FillLevel(m, depth), m["in"]
        given.drive(ready=level.room)
        push, read, free = given.moves, m["read"], m["free"]
        level.move(push, free)
        head, jump = pointer(m, "write_pointer", depth, push), None
        if config.row_steps > 1:
            jump = m["again"], pointer(m, "free_pointer", depth, free)
        place = pointer(m, "read_pointer", depth, read, jump)
        return dict(word=stored(m, "store", depth, write=(push, head, given.data), read=(read, place)))

    inputs = {"in": Stream.of(width), "read": 1, "free": 1} | ({"again": 1} if config.row_steps > 1 else {})
    return design.module("codes_store", inputs, {"word": width}, body)


def psum_engine(design: Design, config: EngineConfig, codebooks: int) -> str:
    """One engine of a chain, with room for `codebooks` codebooks. See `core.py` for the ports' partners."""
    lookup, row, build = lookup_fields(config), row_fields(config), build_fields(config)
    lane, builds = psum_lane(design, config), config.builds_tables

    def body(m: Module) -> dict[str, Signal]:
        pipe = m.pipeline()
        lookups = pipe.record(lookup, m["control"])
        beats = Beats(pipe.record(row, m["rows"]), pipe.record(build, m["build"]) if builds else {})
        codes, tables = _weight_buffers(m, pipe, config, beats, lookups, codebooks)
        made = row_of(m, pipe, config, beats, tables).due(ROW_STAGE)
        half, low = lookups.get("half", made), (config.row_writes - 1).bit_length()
        rows = _rows_of_lanes(m, pipe, config, made, beats.rows, half, codes)
        sums = []
        for i, partial in enumerate(m["partial"].chunks(config.chain_bits)):
            code = {"code": codes[i * config.code_bits : i * config.code_bits + low]} if low else {}
            partial = pipe.at(partial, ROW_STAGE)  # from the engine before, a cycle behind its beat
            sums.append(m.output_of(lane, f"lane_{i}", row=rows[i], partial=partial, **code))
        passed = dict(control=(lookup, lookups), rows=(row, beats.rows)) | (
            {"build": (build, beats.builds)} if builds else {}
        )
        outputs = {
            f"{name}_out": record.pack(**{n: s.until(1) for n, s in beat.items()})
            for name, (record, beat) in passed.items()
        }
        return outputs | dict(sums=pack(sums))

    moving = {"control": lookup.width, "rows": row.width} | ({"build": build.width} if builds else {})
    sums = config.lanes * config.chain_bits
    inputs = moving | {"partial": sums, "unit": unit_port(config, config.unit_bits)} | writes(config)
    outputs = {f"{name}_out": bits for name, bits in moving.items()} | {"sums": sums}
    return design.module("psum_engine", inputs, outputs, body)


def _rows_of_lanes(
    m: Module, pipe: Pipeline, config: EngineConfig, made: Signal, row: dict[str, Signal], half: Signal, codes: Signal
) -> list[Signal]:
    """What of its row each lane chooses from: all of the one just made; or, of a row kept, the `row_writes` entries
    that the high bits of the lane's code name."""
    if config.row_steps == 1:
        return [made] * config.lanes
    low = (config.row_writes - 1).bit_length()
    address = pack([pack([code[low:], half]) for code in codes.chunks(config.code_bits)])
    store, term = copied_ram(m.design, 2 * config.row_steps, config.term_bits, config.lanes), config.term_bits
    we, wa, made = aligned(row["valid"], pack([row["step"], row["half"]]), made)
    kept = [
        m.output_of(store, f"row_{i}", we=we, wa=wa, wd=entry, ra=address).chunks(term)
        for i, entry in enumerate(made.chunks(term))
    ]
    return [pipe.at(pack(entries), address.cycle) for entries in zip(*kept, strict=True)]


def _weight_buffers(
    m: Module, pipe: Pipeline, config: EngineConfig, beats: Beats, lookups: dict[str, Signal], codebooks: int
) -> tuple[Signal, Tables]:
    """Sort the weight units into codes, codebooks and table rows; returns (the lookup's codes, what rows come from). A
    unit is taken when all engines of a port take it."""
    unit, tables = m["unit"], Tables()
    complete = unit.fire & unit.last
    kind = dict(zip(unit_kinds(config), unit.kind.chunks(1), strict=True))
    is_codes = kind["codes"]
    word = _assembled(m, config.codes_units, config.lanes * config.code_bits, "codes_part")
    given = Stream(complete & is_codes, data=word)
    codes = _codes(m, pipe, config, given, lookups)
    ready = is_codes & (given.ready | ~unit.last)
    if config.builds_rows:
        is_codebook = kind["codebook"]
        word = _assembled(m, config.codebook_units, config.row_entries * 2 * config.weight_bits, "codebook_part")
        given = Stream(complete & is_codebook, data=word)
        tables.codebook = given.fifo(m, "codebook_fifo", codebooks)
        ready = ready | (is_codebook & (given.ready | ~unit.last))
    if "stored_table" in config.row_sources:
        is_table = kind["table"]
        ready = ready | (is_table & _table_fill(m, config, tables, unit.fire & is_table, beats))
    unit.drive(ready=ready)
    return codes, tables


def _codes(m: Module, pipe: Pipeline, config: EngineConfig, given: Stream, lookups: dict[str, Signal]) -> Signal:
    """The codes of the lookup, read at `CODES_STAGE`."""
    beat = {name: signal.until(CODES_STAGE) for name, signal in lookups.items()}
    if config.row_steps == 1:
        read = beat["valid"] & beat["token_first"]
        ports = dict(read=read, free=read)
    else:
        again = beat["row_last"] & ~beat["token_last"]
        ports = dict(read=beat["valid"], again=again, free=beat["valid"] & beat["token_last"])
    word = m.output_of(codes_store(m.design, config), "codes", **{"in": given}, **ports)
    return pipe.at(word, CODES_STAGE + 1)


def _assembled(m: Module, units: int, bits: int, name: str) -> Signal:
    """The word made of the last `units` units, the newest on top; complete while its last unit is at the input."""
    unit = m["unit"]
    return pack([*assembled(m, unit.data, units, unit.fire, name), unit.data])[0:bits]


def _table_fill(m: Module, config: EngineConfig, tables: Tables, fire: Signal, beats: Beats) -> Signal:
    """Write a stored table's rows, stage by stage, into the next free bank; returns whether there is one."""
    levels = [("fill_stage", const(config.act_stages, 8)), ("fill_row", const(config.centroids, 16))]
    index, last, _ = loop_nest(m, fire, [*levels, ("fill_unit", const(config.row_units, 8))])
    complete = fire & last["fill_stage"] & last["fill_row"] & last["fill_unit"]
    held = m.state(bits_for(TABLE_BANKS + 1), "tables_held", reset=0)
    bank = m.counter(bits_for(TABLE_BANKS), "fill_bank", step=complete)
    last_use = {name: signal.until(TABLE_STAGE) for name, signal in beats.rows.items()}
    used = all_of([last_use["valid"], last_use["last"], is_mode(last_use["mode"], "stored_table")]).plain()
    step = mux(complete, const(1, held.signal.width), const(-1, held.signal.width))
    held.set(held.signal + step, complete ^ used)
    tables.write, tables.stage = fire & last["fill_unit"], index["fill_stage"]
    tables.address = pack([index["fill_row"][0 : config.index_bits], bank])
    tables.row = _assembled(m, config.row_units, config.row_entries * config.table_bits, "row_part")
    return held.signal.ne(TABLE_BANKS)
