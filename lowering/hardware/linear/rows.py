"""Where a pair's rows come from: operands, codebook and tables in, `row_writes` entries at the accumulator's scale out.

Cycle by cycle after a row beat arrives:

    0  operand and codebook picked      2  dot products added, rounded, shifted right (or table row read)
    1  products (or table addressed)    3  stages added, shifted left     4  the entries, in a register
"""

from dataclasses import dataclass

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, mux, pack, round_shift, select
from lutllm.lowering.hardware.lib.memory import Stream, ram
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for
from lutllm.scheme import PAIR_SHIFT_BITS


@dataclass
class Beats:
    """Row and build beats, each by the cycles since it arrived."""

    rows: list[dict[str, Signal]]
    builds: list[dict[str, Signal]]


class Tables:
    """The codebooks that wait, and the rows of stored tables that are written."""

    codebook: Stream
    write: Signal
    address: Signal
    stage: Signal
    row: Signal


def is_mode(beat: dict[str, Signal], mode: str) -> Signal:
    return beat["mode"].eq(MODES.index(mode))


def row_builder(design: Design, config: EngineConfig) -> str:
    """One stage's entries: round_shift(value . codebook entry, right) for `row_writes` entries of a codebook, two
    cycles after `operand`. `right` comes a cycle after `operand`."""
    ob, wb, term, count = config.operand_bits, config.weight_bits, config.term_bits, config.row_writes
    dot_bits = ob + wb + 1

    def body(m: Module) -> dict[str, Signal]:
        values = m["operand"].chunks(ob)
        entries = []
        for i, entry in enumerate(m["codebook"].chunks(2 * wb)):
            weights = entry.chunks(wb)
            products = [
                m.reg(v.sext(ob + wb) * w.sext(ob + wb), f"product_{i}_{j}")
                for j, (v, w) in enumerate(zip(values, weights, strict=True))
            ]
            dot = (products[0].sext(dot_bits) + products[1].sext(dot_bits)).named(f"dot_{i}")
            entries.append(m.reg(round_shift(dot, m["right"], term), f"entry_{i}"))
        return dict(row=pack(entries))

    inputs = {"operand": 2 * ob, "codebook": count * 2 * wb, "right": PAIR_SHIFT_BITS}
    return design.module("row_builder", inputs, {"row": count * term}, body, reset=False)


def row_of(m: Module, config: EngineConfig, beats: Beats, tables: Tables) -> Signal:
    """The entries of the row beat, in a register at cycle 4."""
    stages, term, rows = config.act_stages, config.term_bits, beats.rows
    operands = m.output_of(
        ram(m.design, config.operand_banks << bits_for(config.tokens), stages * config.operand_width),
        "operands",
        we=m["operand_write"],
        wa=m["operand_address"],
        wd=m["operand_data"],
        re=rows[0]["valid"],
        ra=pack([rows[0]["token"], rows[0]["operand_bank"]]),
    ).chunks(config.operand_width)
    rights, lefts = _shifts(m, config)
    centroids = _built_operands(m, config, beats)
    found: list[list[Signal]] = []
    codebook = _codebook(m, config, beats, tables) if config.builds_rows else None
    for s in range(stages):
        candidates: dict[str, Signal] = {}
        if codebook is not None:
            values = operands[s][config.operand_width - 2 * config.operand_bits :]
            operand = mux(beats.builds[1]["valid"], centroids[s], values) if beats.builds else values
            bank = rows[2]["operand_bank"]
            if beats.builds:
                bank = mux(beats.builds[2]["valid"], beats.builds[2]["operand_bank"], bank)
            right = select(rights, bank)
            made = row_builder(m.design, config)
            candidates["built"] = m.output_of(made, f"row_builder_{s}", operand=operand, codebook=codebook, right=right)
        if config.has_tables:
            index = operands[s][0 : config.index_bits]
            candidates["table"] = _table(m, config, s, index, beats, candidates.get("built"), tables)
        found.append(_chosen(config, rows[3], candidates).chunks(term))
    left = select(lefts, rows[3]["operand_bank"]).zext(term)
    entries = []
    for i in range(config.row_writes):
        total = found[0][i]
        for s in range(1, stages):
            total = total + found[s][i]
        entries.append(m.reg(total << left, f"row_{i}"))
    return pack(entries)


def _chosen(config: EngineConfig, beat: dict[str, Signal], candidates: dict[str, Signal]) -> Signal:
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    from_table = [is_mode(beat, mode) for mode in ("built_table", "stored_table") if mode in config.row_sources]
    choice = from_table[0] if len(from_table) == 1 else from_table[0] | from_table[1]
    return mux(choice, candidates["table"], candidates["built"])


def _shifts(m: Module, config: EngineConfig) -> tuple[list[Signal], list[Signal]]:
    """The pair's right (where rows are built) and left shift of each operand bank."""
    rights, lefts = [], []
    for bank in range(config.operand_banks):
        mine = m["shift_write"] & m["shift_bank"].eq(bank)
        *right, left = m["shift_data"].chunks(PAIR_SHIFT_BITS)
        rights += [m.reg(shift, f"right_{bank}", enable=mine) for shift in right]
        lefts.append(m.reg(left, f"left_{bank}", enable=mine))
    return rights, lefts


def _built_operands(m: Module, config: EngineConfig, beats: Beats) -> list[Signal]:
    """The centroids a table is built from, read a cycle after the build beat; none where tables are not built."""
    if not beats.builds:
        return []
    beat, length, width = beats.builds[0], config.chain_length, config.chains * 2 * config.operand_bits
    position_bits = bits_for(length)
    chain_of = [const(a // length, bits_for(config.chains)) for a in range(config.centroids)]
    position_of = [const(a % length, position_bits) for a in range(config.centroids)]
    chain = m.reg(select(chain_of, beat["row"]), "build_chain")
    address = pack([select(position_of, beat["row"]), beat["operand_bank"]])
    centroids = []
    for s, data in enumerate(m["centroid_data"].chunks(width)):
        words = m.output_of(
            ram(m.design, config.operand_banks << position_bits, width),
            f"centroids_{s}",
            we=m["centroid_write"],
            wa=m["centroid_address"],
            wd=data,
            re=beat["valid"],
            ra=address,
        )
        centroids.append(select(words.chunks(2 * config.operand_bits), chain))
    return centroids


def _codebook(m: Module, config: EngineConfig, beats: Beats, tables: Tables) -> Signal:
    """The entries of the weight codebook in use, at cycle 1. It is taken from its FIFO with a block's first row beat,
    or a table's first build beat."""
    beat, stream = beats.rows[0], tables.codebook
    direct = [is_mode(beat, mode) for mode in ("exact_row", "built_row")]
    pop = beat["valid"] & beat["first"] & (direct[0] | direct[1])
    if beats.builds:
        pop = pop | (beats.builds[0]["valid"] & beats.builds[0]["first"])
    stream.ready.assign(pop)
    book = m.reg(stream.data, "codebook", enable=pop)
    if config.row_steps == 1:
        return book
    step = beat["step"]
    if beats.builds:
        step = mux(beats.builds[0]["valid"], beats.builds[0]["step"], step)
    part = stream.data.width // config.row_steps
    return m.reg(mux(pop, stream.data[0:part], select(book.chunks(part), step)), "codebook_part")


def _table(
    m: Module, config: EngineConfig, s: int, index: Signal, beats: Beats, built: Signal | None, tables: Tables
) -> Signal:
    """Stage `s`'s tables; returns the entries of the beat, sign-extended, in a register at cycle 3."""
    table, term, writes = config.table_bits, config.term_bits, []
    if beats.builds and built is not None:
        beat, parts = beats.builds[3], [pack([entry[0:table] for entry in built.chunks(term)])]
        for i in range(config.row_steps - 1):
            parts.insert(0, m.reg(parts[0], f"table_{s}_part_{i}", enable=beat["valid"]))
        whole = beat["valid"] & beat["step"].eq(config.row_steps - 1) if config.row_steps > 1 else beat["valid"]
        writes.append((whole, pack([beat["row"], beat["table_bank"]]), pack(parts)))
    if "stored_table" in config.row_sources:
        writes.append((tables.write & tables.stage.eq(s), tables.address, tables.row))
    we, wa, wd = writes[0]
    if len(writes) == 2:
        stored = writes[1]
        we, wa, wd = we | stored[0], mux(stored[0], stored[1], wa), mux(stored[0], stored[2], wd)
    row = m.output_of(
        ram(m.design, TABLE_BANKS << config.index_bits, config.row_entries * table),
        f"table_{s}",
        we=we,
        wa=wa,
        wd=wd,
        re=beats.rows[1]["valid"],
        ra=pack([index, beats.rows[1]["table_bank"]]),
    )
    if config.row_steps > 1:
        row = select(row.chunks(config.row_writes * table), beats.rows[2]["step"])
    return pack([m.reg(entry.sext(term), f"table_{s}_entry_{i}") for i, entry in enumerate(row.chunks(table))])
