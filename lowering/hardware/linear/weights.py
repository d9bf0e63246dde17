"""A weight port's distributor: says of each beat what it holds, and when all engines of the port take it.

A beat carries one unit for each engine of the port. For each group, stage and block of a round: the codebooks (or the
stored tables), then each chunk's codes.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, const, loop_nest, mux
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.control import chunks_of_block
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.hardware.linear.psum import KIND_BITS, KINDS
from lutllm.lowering.machine.engine import MODES, EngineConfig

ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks", "block_chunks", "last_chunks")


def weight_distributor(design: Design, config: EngineConfig) -> str:
    """Streams in: `round`, `w` (beats). `all_ready`: every engine takes the unit of `kind`.

    Out: `fire`, `kind`, `last`; of the last unit, `codes_push` of codes, `rows_push` of a codebook or table.
    """

    def body(m: Module) -> dict[str, Signal]:
        done = Wire(1)
        busy, f, ready = held_round(m, "weights", ROUND, done.signal)
        stored = f["mode"].eq(MODES.index("stored_table"))
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
        codes, codebook, table = (const(i, KIND_BITS) for i in range(len(KINDS)))
        of_rows, complete = at_first["item"], fire & last["unit"]
        kind = mux(of_rows, mux(stored, table, codebook), codes)
        done.assign(all_of([fire, *last.values()]))
        pushes = dict(codes_push=complete & ~of_rows, rows_push=complete & of_rows)
        return pushes | dict(round_ready=ready, w_ready=busy & m["all_ready"], fire=fire, kind=kind, last=last["unit"])

    inputs = {"round_valid": 1, "round_data": ROUND.width, "w_valid": 1, "all_ready": 1}
    outputs = {"round_ready": 1, "w_ready": 1, "fire": 1, "kind": KIND_BITS, "last": 1}
    outputs |= {"codes_push": 1, "rows_push": 1}
    return design.module("weight_distributor", inputs, outputs, body)
