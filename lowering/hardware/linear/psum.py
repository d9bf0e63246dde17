"""The 2D-PSum engine of one channel pair: a row of 16 entries for each token, looked up by `lanes` codes, running sums.

The row comes from the pair's table (stored, or built here from the two codebooks) or straight from the row builder
(built or exact row), see `rows.py`. Made at once, it goes to a multiplexer in each lane; made in steps, into the half
of a memory in each lane that no lookup reads. Beats walk down the chain of engines one a cycle and never stall: the
head issues one only when every engine has what it needs (`control.py`).
"""

from collections.abc import Mapping

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay_record, loop_nest, mux, pack, select
from lutllm.lowering.hardware.lib.memory import FillLevel, buffered, copied_ram, pointer, ram
from lutllm.lowering.hardware.linear.front import shift_bits
from lutllm.lowering.hardware.linear.records import (
    CODES_STAGE,
    ROW_STAGE,
    TABLE_STAGE,
    build_fields,
    lookup_fields,
    row_fields,
)
from lutllm.lowering.hardware.linear.rows import Beats, Tables, is_mode, row_of
from lutllm.lowering.machine.engine import TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for

KINDS = ("codes", "codebook", "table")  # of a weight unit, a bit each


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
    return design.module("psum_lane", inputs, {"sum": bits}, body, reset=False)


def codes_store(design: Design, config: EngineConfig) -> str:
    """Chunks of codes that wait: `in` a word, `read` the next one (`word`, a cycle later, until the next read), `free`
    the room of one. Where rows are made in steps, words are read once for each token: after one read with `again`
    comes the first that is not free."""
    depth, width = config.codes_depth, config.lanes * config.code_bits

    def body(m: Module) -> dict[str, Signal]:
        level = FillLevel(m, depth)
        push, read, free = m["in_valid"] & level.room, m["read"], m["free"]
        level.move(push, free)
        head, jump = pointer(m, "write_pointer", depth, push), None
        if config.row_steps > 1:
            jump = m["again"], pointer(m, "free_pointer", depth, free)
        place = pointer(m, "read_pointer", depth, read, jump)
        store = ram(m.design, depth, width)
        word = m.output_of(store, "store", we=push, wa=head, wd=m["in_data"], re=read, ra=place)
        return dict(in_ready=level.room, word=word)

    inputs = {"in_valid": 1, "in_data": width, "read": 1, "free": 1} | ({"again": 1} if config.row_steps > 1 else {})
    return design.module("codes_store", inputs, {"in_ready": 1, "word": width}, body)


def psum_engine(design: Design, config: EngineConfig, codebooks: int) -> str:
    """One engine of a chain, with room for `codebooks` codebooks. See `core.py` for the ports' partners."""
    lookup, row, build = lookup_fields(config), row_fields(config), build_fields(config)
    lane, builds = psum_lane(design, config), config.builds_tables

    def body(m: Module) -> dict[str, Signal]:
        lookups = delay_record(m, lookup, m["control"], "lookup", ROW_STAGE)
        beats = Beats(
            delay_record(m, row, m["rows"], "row", ROW_STAGE),
            delay_record(m, build, m["build"], "build", 3) if builds else [],
        )
        ready, codes, tables = _weight_buffers(m, config, beats, lookups, codebooks)
        made = row_of(m, config, beats, tables)
        rows, low = _rows_of_lanes(m, config, made, beats, lookups, codes), (config.row_writes - 1).bit_length()
        sums = []
        for i, partial in enumerate(m["partial"].chunks(config.chain_bits)):
            code = {"code": codes[i * config.code_bits : i * config.code_bits + low]} if low else {}
            sums.append(m.output_of(lane, f"lane_{i}", row=rows[i], partial=partial, **code))
        outputs = dict(control_out=lookup.pack(**lookups[1]), rows_out=row.pack(**beats.rows[1]))
        outputs |= dict(sums=pack(sums), unit_ready=ready)
        return outputs | (dict(build_out=build.pack(**beats.builds[1])) if builds else {})

    stages, bank = config.act_stages, config.bank_bits
    inputs = {"control": lookup.width, "rows": row.width, "partial": config.lanes * config.chain_bits}
    inputs |= {"operand_write": 1, "operand_address": bank + bits_for(config.tokens)}
    inputs |= {"operand_data": stages * config.operand_width}
    inputs |= {"shift_write": 1, "shift_bank": bank, "shift_data": shift_bits(config)}
    inputs |= {"unit_fire": 1, "unit_kind": len(KINDS), "unit_last": 1, "unit_data": config.unit_bits}
    outputs = {"control_out": lookup.width, "rows_out": row.width, "sums": config.lanes * config.chain_bits}
    outputs |= {"unit_ready": 1}
    if builds:
        inputs |= {"build": build.width, "centroid_write": 1}
        inputs |= {"centroid_address": bank + bits_for(config.chain_length)}
        inputs |= {"centroid_data": stages * config.chains * 2 * config.operand_bits}
        outputs |= {"build_out": build.width}
    return design.module("psum_engine", inputs, outputs, body)


def _rows_of_lanes(
    m: Module, config: EngineConfig, made: Signal, beats: Beats, lookups: list[dict[str, Signal]], codes: Signal
) -> list[Signal]:
    """What of its row each lane chooses from: all of the one just made; or, of a row kept, the `row_writes` entries
    that the high bits of the lane's code name."""
    if config.row_steps == 1:
        return [made] * config.lanes
    row, half, low = beats.rows[ROW_STAGE], lookups[ROW_STAGE]["half"], (config.row_writes - 1).bit_length()
    address = pack([pack([code[low:], half]) for code in codes.chunks(config.code_bits)])
    store, term = copied_ram(m.design, 2 * config.row_steps, config.term_bits, config.lanes), config.term_bits
    write = dict(we=row["valid"], wa=pack([row["step"], row["half"]]))
    kept = [
        m.output_of(store, f"row_{i}", wd=entry, ra=address, **write).chunks(term)
        for i, entry in enumerate(made.chunks(term))
    ]
    return [pack(entries) for entries in zip(*kept, strict=True)]


def _weight_buffers(
    m: Module, config: EngineConfig, beats: Beats, lookups: list[dict[str, Signal]], codebooks: int
) -> tuple[Signal, Signal, Tables]:
    """Sort the weight units into codes, codebooks and table rows; returns (ready for the unit, the lookup's codes, what
    rows come from). A unit is taken when all engines of a port take it."""
    fire, last, kind = m["unit_fire"], m["unit_last"], m["unit_kind"]
    is_codes = kind[KINDS.index("codes")]
    codes, codes_ready = _codes(m, config, fire & last & is_codes, lookups[CODES_STAGE])
    ready, tables = is_codes & (codes_ready | ~last), Tables()
    if config.builds_rows:
        is_codebook = kind[KINDS.index("codebook")]
        word = _assembled(m, config.codebook_units, config.row_entries * 2 * config.weight_bits, "codebook_part")
        push = fire & last & is_codebook
        tables.codebook, codebook_ready = buffered(m, "codebook_fifo", push, word, codebooks)
        ready = ready | (is_codebook & (codebook_ready | ~last))
    if "stored_table" in config.row_sources:
        is_table = kind[KINDS.index("table")]
        ready = ready | (is_table & _table_fill(m, config, tables, fire & is_table, beats))
    return ready, codes, tables


def _codes(m: Module, config: EngineConfig, push: Signal, beat: dict[str, Signal]) -> tuple[Signal, Signal]:
    """(codes of the lookup a cycle after `beat`, whether there is room for more)."""
    word = _assembled(m, config.codes_units, config.lanes * config.code_bits, "codes_part")
    if config.row_steps == 1:
        read = beat["valid"] & beat["token_first"]
        ports = dict(read=read, free=read)
    else:
        again = beat["row_last"] & ~beat["token_last"]
        ports = dict(read=beat["valid"], again=again, free=beat["valid"] & beat["token_last"])
    out = m.instance(codes_store(m.design, config), "codes", in_valid=push, in_data=word, **ports)
    return out["word"], out["in_ready"]


def _assembled(m: Module, units: int, bits: int, name: str) -> Signal:
    """The word made of the last `units` units, the newest on top; complete while its last unit is at the input."""
    parts: list[Signal] = []
    data = m["unit_data"]
    for i in range(units - 1):
        previous = parts[0] if parts else data
        parts.insert(0, m.reg(previous, f"{name}_{i}", enable=m["unit_fire"]))
    return pack([*parts, data])[0:bits]


def _table_fill(m: Module, config: EngineConfig, tables: Tables, fire: Signal, beats: Beats) -> Signal:
    """Write a stored table's rows, stage by stage, into the next free bank; returns whether there is one."""
    levels = [("fill_stage", const(config.act_stages, 8)), ("fill_row", const(config.centroids, 16))]
    index, last, _ = loop_nest(m, fire, [*levels, ("fill_unit", const(config.row_units, 8))])
    complete = fire & last["fill_stage"] & last["fill_row"] & last["fill_unit"]
    bank = m.state(bits_for(TABLE_BANKS), "fill_bank", reset=0)
    held = m.state(bits_for(TABLE_BANKS + 1), "tables_held", reset=0)
    bank.set(bank.signal + 1, complete)
    last_use = beats.rows[TABLE_STAGE]
    used = last_use["valid"] & last_use["last"] & is_mode(last_use, "stored_table")
    step = mux(complete, const(1, held.signal.width), const(-1, held.signal.width))
    held.set(held.signal + step, complete ^ used)
    tables.write, tables.stage = fire & last["fill_unit"], index["fill_stage"]
    tables.address = pack([index["fill_row"][0 : config.index_bits], bank.signal])
    tables.row = _assembled(m, config.row_units, config.row_entries * config.table_bits, "row_part")
    return held.signal.ne(TABLE_BANKS)
