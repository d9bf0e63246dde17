"""A weight port's distributor: says of each beat what it holds, and when all engines of the port take it.

A beat carries one unit for each engine of the port. For each group, stage and block of a round: the codebooks (or the
stored tables), then each chunk's codes.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, const, early, loop_nest, mux, pack
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.control import chunks_of_block
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.hardware.linear.psum import KINDS
from lutllm.lowering.machine.engine import MODES, EngineConfig

ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks", "block_chunks", "last_chunks")


def weight_distributor(design: Design, config: EngineConfig) -> str:
    """Streams in: `round`, `w` (beats). `all_ready`: every engine takes the unit of `kind`.

    Out: `fire`, `kind`, `last`; of the last unit, `codes_push` of codes, `rows_push` of a codebook or table.
    """

    def body(m: Module) -> dict[str, Signal]:
        done = Wire(1)
        busy, f, ready = held_round(m, "weights", ROUND, done.signal)
        stored = early(m, f["mode"].eq(MODES.index("stored_table")), "stored")
        rows = mux(stored, const(config.table_units, 16), const(config.codebook_units, 16))
        chunks = chunks_of_block(f)
        fire = all_of([busy, m["w_valid"], m["all_ready"]])
        levels = [("group", f["groups"]), ("stage", f["stages"]), ("block", f["blocks"])]
        _, last, at_first = loop_nest(
            m,
            fire,
            [
                *levels,
                ("item", lambda at: chunks(at) + 1),
                ("unit", lambda at: mux(at["item_first"], rows, const(config.codes_units, 16))),
            ],
        )
        of_rows, complete = at_first["item"], fire & last["unit"]
        kinds = dict(codes=~of_rows, codebook=of_rows & ~stored, table=of_rows & stored)
        done.assign(all_of([fire, *last.values()]))
        pushes = dict(codes_push=complete & ~of_rows, rows_push=complete & of_rows)
        return pushes | dict(
            round_ready=ready,
            w_ready=busy & m["all_ready"],
            fire=fire,
            kind=pack([kinds[kind] for kind in KINDS]),
            last=last["unit"],
        )

    inputs = {"round_valid": 1, "round_data": ROUND.width, "w_valid": 1, "all_ready": 1}
    outputs = {"round_ready": 1, "w_ready": 1, "fire": 1, "kind": len(KINDS), "last": 1}
    outputs |= {"codes_push": 1, "rows_push": 1}
    return design.module("weight_distributor", inputs, outputs, body)
