"""The 2D-PSum engine of one channel pair: a row of 16 entries for each token, `lanes` 16:1 multiplexers, a running sum.

The row comes from the pair's table (stored, or built here from the two codebooks) or straight from the row builder
(built or exact row). Control beats walk down the chain of engines one a cycle and never stall: the head issues one
only when every engine has what it needs (`control.py`). Cycle by cycle after a beat arrives:

    0  operand and codebook picked      2  dot products added, rounded, shifted right (or table row read)
    1  products (or table addressed)    3  stages added, shifted left     4  multiplexers, added to the running sum
"""

from collections.abc import Mapping

from lutllm.lowering.hardware.lib.circt import (
    Design,
    Fields,
    Module,
    Signal,
    const,
    loop_nest,
    mux,
    pack,
    round_shift,
    select,
)
from lutllm.lowering.hardware.lib.memory import Stream, buffered, ram
from lutllm.lowering.hardware.linear.front import shift_bits
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for
from lutllm.scheme import PAIR_SHIFT_BITS

ROW_STAGE = 4  # cycles from a beat to its lookup
CODES_STAGE = 3  # to the pop of its codes
TABLE_STAGE = 2  # to the last use of its table
KINDS = ("codes", "codebook", "table")  # of a weight unit
KIND_BITS = 2


def codebook_depth(config: EngineConfig, depths: Mapping[str, int]) -> int:
    """Codebooks that wait in an engine."""
    return depths.get("codebooks", config.codebooks_ahead)


def control_fields(config: EngineConfig) -> Fields:
    """A lookup beat: which token, what is new, where the sum goes."""
    return Fields(
        valid=1,
        token=bits_for(config.tokens),
        chunk_first=1,
        block_first=1,
        block_last=1,
        group_last=1,
        operand_bank=config.bank_bits,
        table_bank=bits_for(TABLE_BANKS),
        mode=2,
        address=bits_for(config.acc_words),
        first_step=1,
        acc_bank=1,
        round_last=1,
    )


def build_fields(config: EngineConfig) -> Fields:
    """A table-building beat: one row of every stage's table."""
    banks = dict(operand_bank=config.bank_bits, table_bank=bits_for(TABLE_BANKS))
    return Fields(valid=1, row=config.index_bits, first=1, **banks)


def accumulator_fields(config: EngineConfig) -> Fields:
    """What of a lookup beat the accumulator needs."""
    return control_fields(config).subset("valid", "address", "first_step", "acc_bank", "round_last")


def psum_lane(design: Design, config: EngineConfig) -> str:
    """One lookup: `sum` = `partial` + row[code], a cycle later."""
    entries, term, bits = config.row_entries, config.term_bits, config.psum_bits

    def body(m: Module) -> dict[str, Signal]:
        entry = select(m["row"].chunks(term), m["code"]).named("entry")
        return dict(sum=m.reg(m["partial"] + entry.sext(bits), "sum_q"))

    inputs = {"row": entries * term, "code": config.code_bits, "partial": bits}
    return design.module("psum_lane", inputs, {"sum": bits}, body, reset=False)


def row_builder(design: Design, config: EngineConfig) -> str:
    """One stage's row: round_shift(value . codebook entry, right) for the 16 entries, two cycles after `operand`.

    `right` comes a cycle after `operand`.
    """
    ob, wb, term = config.operand_bits, config.weight_bits, config.term_bits
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

    inputs = {"operand": 2 * ob, "codebook": config.row_entries * 2 * wb, "right": PAIR_SHIFT_BITS}
    return design.module("row_builder", inputs, {"row": config.row_entries * term}, body, reset=False)


def psum_engine(design: Design, config: EngineConfig, codebooks: int) -> str:
    """One engine of the chain, with room for `codebooks` codebooks. See the module's docstring for the pipeline and
    `top.py` for the ports' partners."""
    control, build = control_fields(config), build_fields(config)
    lane = psum_lane(design, config)

    def body(m: Module) -> dict[str, Signal]:
        beats = [control.unpack(m["control"])]
        for _ in range(ROW_STAGE):
            beats.append(
                {
                    name: m.reg(s, f"{name}_{len(beats)}", reset=0 if name == "valid" else None)
                    for name, s in beats[-1].items()
                }
            )
        weights = _weight_buffers(m, config, beats, codebooks)
        row = _row(m, config, beats, weights)
        codes = m.reg(weights.codes.data, "codes", enable=weights.codes_pop)
        sums = []
        for i, partial in enumerate(m["partial"].chunks(config.psum_bits)):
            code = codes[i * config.code_bits : (i + 1) * config.code_bits]
            sums.append(m.output_of(lane, f"lane_{i}", row=row, code=code, partial=partial))
        outputs = dict(
            control_out=control.pack(**beats[1]),
            sums=pack(sums),
            unit_ready=weights.ready,
            codes_push=weights.codes_push,
            rows_push=weights.rows_push,
        )
        if config.builds_tables:
            outputs["build_out"] = m.reg(m["build"], "build_q", reset=0)
        return outputs

    stages = config.act_stages
    inputs = {"control": control.width, "partial": config.lanes * config.psum_bits, "operand_write": 1}
    inputs |= {
        "operand_address": config.bank_bits + bits_for(config.tokens),
        "operand_data": stages * config.operand_width,
    }
    inputs |= {"shift_write": 1, "shift_bank": config.bank_bits, "shift_data": shift_bits(config)}
    inputs |= {"unit_fire": 1, "unit_kind": KIND_BITS, "unit_last": 1, "unit_data": config.unit_bits}
    outputs = {"control_out": control.width, "sums": config.lanes * config.psum_bits, "unit_ready": 1}
    outputs |= {"codes_push": 1, "rows_push": 1}
    if config.builds_tables:
        inputs |= {
            "build": build.width,
            "centroid_write": 1,
            "centroid_address": config.bank_bits + bits_for(config.chain_length),
        }
        inputs |= {"centroid_data": stages * config.chains * 2 * config.operand_bits}
        outputs |= {"build_out": build.width}
    return design.module("psum_engine", inputs, outputs, body)


class _Weights:
    """The weight buffers' ends: code and codebook streams, the stored-table writes, and what the distributor sees."""

    codes: Stream
    codes_pop: Signal
    codebook: Stream
    table_write: Signal
    table_address: Signal
    table_stage: Signal
    table_row: Signal
    ready: Signal
    codes_push: Signal
    rows_push: Signal


def _is_mode(beat: dict[str, Signal], mode: str) -> Signal:
    return beat["mode"].eq(MODES.index(mode))


def _weight_buffers(m: Module, config: EngineConfig, beats: list[dict[str, Signal]], codebooks: int) -> _Weights:
    """Sort the weight units into codes, codebooks and table rows.

    A unit is taken when all engines of a port take it.
    """
    w = _Weights()
    fire, last, kind = m["unit_fire"], m["unit_last"], m["unit_kind"]
    is_codes = kind.eq(KINDS.index("codes"))
    code_word = _assembled(m, config.codes_units, config.lanes * config.code_bits, "codes_part")
    w.codes_push = all_fire(fire, last, is_codes)
    w.codes, codes_ready = buffered(m, "codes_fifo", w.codes_push, code_word, config.codes_depth)
    w.codes_pop = beats[CODES_STAGE]["valid"] & beats[CODES_STAGE]["chunk_first"]
    w.codes.ready.assign(w.codes_pop)
    ready, pushes = is_codes & (codes_ready | ~last), []
    if config.builds_rows:
        is_codebook = kind.eq(KINDS.index("codebook"))
        word = _assembled(m, config.codebook_units, config.row_entries * 2 * config.weight_bits, "codebook_part")
        push = all_fire(fire, last, is_codebook)
        w.codebook, codebook_ready = buffered(m, "codebook_fifo", push, word, codebooks)
        ready, pushes = ready | (is_codebook & (codebook_ready | ~last)), [push]
    if "stored_table" in config.row_sources:
        is_table = kind.eq(KINDS.index("table"))
        free, push = _table_fill(m, config, w, fire & is_table, beats)
        ready, pushes = ready | (is_table & free), [*pushes, push]
    w.ready, w.rows_push = ready, pushes[0] if len(pushes) == 1 else pushes[0] | pushes[1]
    return w


def all_fire(fire: Signal, last: Signal, kind: Signal) -> Signal:
    return fire & last & kind


def _assembled(m: Module, units: int, bits: int, name: str) -> Signal:
    """The word made of the last `units` units, the newest on top; complete while its last unit is at the input."""
    parts: list[Signal] = []
    data = m["unit_data"]
    for i in range(units - 1):
        previous = parts[0] if parts else data
        parts.insert(0, m.reg(previous, f"{name}_{i}", enable=m["unit_fire"]))
    return pack([*parts, data])[0:bits]


def _table_fill(
    m: Module, config: EngineConfig, w: _Weights, fire: Signal, beats: list[dict[str, Signal]]
) -> tuple[Signal, Signal]:
    """Write a stored table's rows, stage by stage, into the next free bank; returns (free, table complete)."""
    levels = [("fill_stage", const(config.act_stages, 8)), ("fill_row", const(config.centroids, 16))]
    index, last = loop_nest(m, fire, [*levels, ("fill_unit", const(config.row_units, 8))])
    complete = fire & last["fill_stage"] & last["fill_row"] & last["fill_unit"]
    bank = m.state(bits_for(TABLE_BANKS), "fill_bank", reset=0)
    held = m.state(bits_for(TABLE_BANKS + 1), "tables_held", reset=0)
    bank.set(bank.signal + 1, complete)
    last_use = beats[TABLE_STAGE]
    used = last_use["valid"] & last_use["block_last"] & _is_mode(last_use, "stored_table")
    step = mux(complete, const(1, held.signal.width), const(-1, held.signal.width))
    held.set(held.signal + step, complete ^ used)
    w.table_write = fire & last["fill_unit"]
    w.table_stage = index["fill_stage"]
    w.table_address = pack([index["fill_row"][0 : config.index_bits], bank.signal])
    w.table_row = _assembled(m, config.row_units, config.row_entries * config.table_bits, "row_part")
    return held.signal.ne(TABLE_BANKS), complete


def _row(m: Module, config: EngineConfig, beats: list[dict[str, Signal]], w: _Weights) -> Signal:
    """The 16 row entries of the beat, at the accumulator's scale, in a register at cycle 4."""
    stages, entries, term = config.act_stages, config.row_entries, config.term_bits
    operands = m.output_of(
        ram(m.design, config.operand_banks << bits_for(config.tokens), stages * config.operand_width),
        "operands",
        we=m["operand_write"],
        wa=m["operand_address"],
        wd=m["operand_data"],
        re=beats[0]["valid"],
        ra=pack([beats[0]["token"], beats[0]["operand_bank"]]),
    ).chunks(config.operand_width)
    rights, lefts = _shifts(m, config)
    build_beats, centroids = _built_operands(m, config)
    rows: list[list[Signal]] = []
    codebook = _codebook(m, beats, build_beats, w) if config.builds_rows else None
    for s in range(stages):
        candidates: dict[str, Signal] = {}
        if codebook is not None:
            values = operands[s][config.operand_width - 2 * config.operand_bits :]
            operand = values if not build_beats else mux(build_beats[1]["valid"], centroids[s], values)
            bank = beats[2]["operand_bank"]
            if build_beats:
                bank = mux(build_beats[2]["valid"], build_beats[2]["operand_bank"], bank)
            right = select(rights, bank)
            made = row_builder(m.design, config)
            candidates["built"] = m.output_of(made, f"row_builder_{s}", operand=operand, codebook=codebook, right=right)
        if config.has_tables:
            index = operands[s][0 : config.index_bits]
            candidates["table"] = _table(m, config, s, index, beats, build_beats, candidates.get("built"), w)
        rows.append(_chosen(config, beats[3], candidates).chunks(term))
    left = select(lefts, beats[3]["operand_bank"]).zext(term)
    row = []
    for i in range(entries):
        total = rows[0][i]
        for s in range(1, stages):
            total = total + rows[s][i]
        row.append(m.reg(total << left, f"row_{i}"))
    return pack(row)


def _chosen(config: EngineConfig, beat: dict[str, Signal], candidates: dict[str, Signal]) -> Signal:
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    from_table = [_is_mode(beat, mode) for mode in ("built_table", "stored_table") if mode in config.row_sources]
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


def _built_operands(m: Module, config: EngineConfig):  # type: ignore[no-untyped-def]
    """The centroids a table is built from, read a cycle after the build beat; None where tables are not built."""
    if "built_table" not in config.row_sources:
        return [], []
    beats = [build_fields(config).unpack(m["build"])]
    for _ in range(3):
        beats.append(
            {
                name: m.reg(s, f"build_{name}_{len(beats)}", reset=0 if name == "valid" else None)
                for name, s in beats[-1].items()
            }
        )
    length, width = config.chain_length, config.chains * 2 * config.operand_bits
    position_bits = bits_for(length)
    row = beats[0]["row"]
    chain_of = [const(a // length, bits_for(config.chains)) for a in range(config.centroids)]
    position_of = [const(a % length, position_bits) for a in range(config.centroids)]
    chain = m.reg(select(chain_of, row), "build_chain")
    address = pack([select(position_of, row), beats[0]["operand_bank"]])
    centroids = []
    for s, data in enumerate(m["centroid_data"].chunks(width)):
        words = m.output_of(
            ram(m.design, config.operand_banks << position_bits, width),
            f"centroids_{s}",
            we=m["centroid_write"],
            wa=m["centroid_address"],
            wd=data,
            re=beats[0]["valid"],
            ra=address,
        )
        centroids.append(select(words.chunks(2 * config.operand_bits), chain))
    return beats, centroids


def _codebook(m: Module, beats, build_beats, w: _Weights) -> Signal:  # type: ignore[no-untyped-def]
    """The weight codebook in use: taken from its FIFO with a block's first beat, or a table's first build beat."""
    first = beats[0]["valid"] & beats[0]["block_first"]
    direct = [_is_mode(beats[0], mode) for mode in ("exact_row", "built_row")]
    pop = first & (direct[0] | direct[1])
    if build_beats:
        pop = pop | (build_beats[0]["valid"] & build_beats[0]["first"])
    w.codebook.ready.assign(pop)
    return m.reg(w.codebook.data, "codebook", enable=pop)


def _table(m: Module, config: EngineConfig, s: int, index, beats, build_beats, built, w: _Weights) -> Signal:  # type: ignore[no-untyped-def]
    """Stage `s`'s tables; returns the row of the beat, sign-extended, in a register at cycle 3."""
    table, term = config.table_bits, config.term_bits
    writes = []
    if build_beats:
        row = pack([entry[0:table] for entry in built.chunks(term)])
        writes.append((build_beats[3]["valid"], pack([build_beats[3]["row"], build_beats[3]["table_bank"]]), row))
    if "stored_table" in config.row_sources:
        mine = w.table_write & w.table_stage.eq(s)
        writes.append((mine, w.table_address, w.table_row))
    we, wa, wd = writes[0]
    if len(writes) == 2:
        stored = writes[1]
        we, wa, wd = we | stored[0], mux(stored[0], stored[1], wa), mux(stored[0], stored[2], wd)
    depth = TABLE_BANKS << config.index_bits
    row = m.output_of(
        ram(m.design, depth, config.row_entries * table),
        f"table_{s}",
        we=we,
        wa=wa,
        wd=wd,
        re=beats[1]["valid"],
        ra=pack([index, beats[1]["table_bank"]]),
    )
    return pack([m.reg(entry.sext(term), f"table_{s}_entry_{i}") for i, entry in enumerate(row.chunks(table))])
