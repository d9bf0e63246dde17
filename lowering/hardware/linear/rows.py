"""Where a pair's rows come from: operands, codebook and tables in, `row_writes` entries at the accumulator's scale out.

Cycle by cycle after a row beat arrives:

    0  operand and codebook picked      2  dot products added, rounded, shifted right (or table row read)
    1  products (or table addressed)    3  stages added, shifted left     4  the entries, in a register
"""

from dataclasses import dataclass

from lutllm.lowering.hardware.lib.arithmetic import round_shift
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Pipeline, Signal, all_of, any_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear.words import assembled
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for
from lutllm.scheme import PAIR_SHIFT_BITS


@dataclass
class Beats:
    """Row and build beats, of the cycle in which they arrive."""

    rows: dict[str, Signal]
    builds: dict[str, Signal]


class Tables:
    """The codebooks that wait, and the rows of stored tables that are written."""

    codebook: Stream
    write: Signal
    address: Signal
    stage: Signal
    row: Signal


def is_mode(mode: Signal, name: str) -> Signal:
    return mode.eq(MODES.index(name))


def row_builder(design: Design, config: EngineConfig) -> str:
    """One stage's entries: round_shift(value . codebook entry, right) for `row_writes` entries of a codebook, two
    cycles after `operand`."""
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
    return design.pipeline("row_builder", inputs, {"row": count * term}, body)


def row_of(m: Module, pipe: Pipeline, config: EngineConfig, beats: Beats, tables: Tables) -> Signal:
    """The entries of the row beat, in a register."""
    stages, term, rows, builds = config.act_stages, config.term_bits, beats.rows, beats.builds
    words, place = config.operand_banks << bits_for(config.tokens), pack([rows["token"], rows["operand_bank"]])
    operands = stored(m, "operands", words, write=m["operand"], read=(rows["valid"], place))
    rights, lefts = _shifts(m, config)
    centroids = _built_operands(m, config, builds)
    found: list[list[Signal]] = []
    codebook = _codebook(m, pipe, config, beats, tables) if config.builds_rows else None
    for s, operand in enumerate(operands.chunks(config.operand_width)):
        candidates: dict[str, Signal] = {}
        if codebook is not None:
            values, bank = operand[config.operand_width - 2 * config.operand_bits :], rows["operand_bank"].until(2)
            if builds:
                values = mux(builds["valid"], centroids[s], values)
                bank = mux(builds["valid"].until(2), builds["operand_bank"].until(2), bank)
            given = dict(operand=values, codebook=codebook, right=select(rights, bank))
            candidates["built"] = m.output_of(row_builder(m.design, config), f"row_builder_{s}", **given)
        if config.has_tables:
            index = operand[0 : config.index_bits]
            candidates["table"] = _table(m, config, s, index, beats, candidates.get("built"), tables)
        found.append(_chosen(config, rows["mode"], candidates).chunks(term))
    left = select(lefts, rows["operand_bank"].until(found[0][0].cycle)).zext(term)
    entries = []
    for i in range(config.row_writes):
        total = found[0][i]
        for s in range(1, stages):
            total = total + found[s][i]
        entries.append(m.reg(total << left, f"row_{i}"))
    return pack(entries)


def _chosen(config: EngineConfig, mode: Signal, candidates: dict[str, Signal]) -> Signal:
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    now = mode.until(candidates["table"].cycle)
    from_table = [is_mode(now, mode) for mode in ("built_table", "stored_table") if mode in config.row_sources]
    choice = from_table[0] if len(from_table) == 1 else from_table[0] | from_table[1]
    return mux(choice, candidates["table"], candidates["built"])


def _shifts(m: Module, config: EngineConfig) -> tuple[list[Signal], list[Signal]]:
    """The pair's right (where rows are built) and left shift of each operand bank."""
    rights, lefts = [], []
    for bank in range(config.operand_banks):
        mine = m["shift"].enable & m["shift"].address.eq(bank)
        *right, left = m["shift"].data.chunks(PAIR_SHIFT_BITS)
        rights += [m.reg(shift, f"right_{bank}", enable=mine).steady() for shift in right]
        lefts.append(m.reg(left, f"left_{bank}", enable=mine).steady())
    return rights, lefts


def _built_operands(m: Module, config: EngineConfig, beat: dict[str, Signal]) -> list[Signal]:
    """The centroids a table is built from, read a cycle after the build beat; none where tables are not built."""
    if not beat:
        return []
    length, width = config.chain_length, config.chains * 2 * config.operand_bits
    position_bits = bits_for(length)
    chain_of = [const(a // length, bits_for(config.chains)) for a in range(config.centroids)]
    position_of = [const(a % length, position_bits) for a in range(config.centroids)]
    chain = m.reg(select(chain_of, beat["row"]), "build_chain")
    address = pack([select(position_of, beat["row"]), beat["operand_bank"]])
    words, centroids = config.operand_banks << position_bits, []
    for s, data in enumerate(m["centroid"].data.chunks(width)):
        write = (m["centroid"].enable, m["centroid"].address, data)
        kept = stored(m, f"centroids_{s}", words, write=write, read=(beat["valid"], address))
        centroids.append(select(kept.chunks(2 * config.operand_bits), chain))
    return centroids


def _codebook(m: Module, pipe: Pipeline, config: EngineConfig, beats: Beats, tables: Tables) -> Signal:
    """The entries of the weight codebook in use, a cycle after the beat. It is taken from its FIFO with a block's first
    row beat, or a table's first build beat."""
    beat, builds, stream = beats.rows, beats.builds, tables.codebook
    direct = any_of([is_mode(beat["mode"], mode) for mode in ("exact_row", "built_row")])
    pop = all_of([beat["valid"], beat["first"], direct])
    if builds:
        pop = pop | (builds["valid"] & builds["first"])
    stream.drive(ready=pop.plain())
    book = m.reg(stream.data, "codebook", enable=pop.plain())
    if config.row_steps == 1:
        return pipe.at(book, 1)
    step = mux(builds["valid"], builds["step"], beat["step"]) if builds else beat["step"]
    part = stream.data.width // config.row_steps
    first, rest = pipe.at(stream.data[0:part]), [pipe.at(each) for each in book.chunks(part)]
    return m.reg(mux(pop, first, select(rest, step)), "codebook_part")


def _table(
    m: Module, config: EngineConfig, s: int, index: Signal, beats: Beats, built: Signal | None, tables: Tables
) -> Signal:
    """Stage `s`'s tables; returns the entries of the beat, sign-extended, in a register."""
    table, term, rows, writes = config.table_bits, config.term_bits, beats.rows, []
    if beats.builds and built is not None:
        narrow = pack([entry[0:table] for entry in built.chunks(term)])
        beat = {name: signal.until(built.cycle).plain() for name, signal in beats.builds.items()}
        parts = [*assembled(m, narrow.plain(), config.row_steps, beat["valid"], f"table_{s}_part"), narrow.plain()]
        whole = beat["valid"] & beat["step"].eq(config.row_steps - 1) if config.row_steps > 1 else beat["valid"]
        writes.append((whole, pack([beat["row"], beat["table_bank"]]), pack(parts)))
    if "stored_table" in config.row_sources:
        writes.append((tables.write & tables.stage.eq(s), tables.address, tables.row))
    we, wa, wd = writes[0]
    if len(writes) == 2:
        stored_ = writes[1]
        we, wa, wd = we | stored_[0], mux(stored_[0], stored_[1], wa), mux(stored_[0], stored_[2], wd)
    read = (rows["valid"], pack([index, rows["table_bank"]]))
    row = stored(m, f"table_{s}", TABLE_BANKS << config.index_bits, write=(we, wa, wd), read=read)
    if config.row_steps > 1:
        row = select(row.chunks(config.row_writes * table), rows["step"])
    return pack([m.reg(entry.sext(term), f"table_{s}_entry_{i}") for i, entry in enumerate(row.chunks(table))])
