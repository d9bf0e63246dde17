"""A weight port's distributor: says of each beat what it holds, and when all engines of the port take it.

A beat carries one unit for each engine of the port. For each group, stage and block of a round: the codebooks (or the
stored tables), then each chunk's codes.
"""

from typing import Any

from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import early, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.control import chunks_of_block
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.hardware.linear.psum import unit_kinds, unit_port
from lutllm.lowering.machine.engine import MODES, EngineConfig

ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks", "block_chunks", "last_chunks")


def weight_distributor(design: Design, config: EngineConfig) -> str:
    """Streams in: `round`, `w` (beats). Out: `unit` to all engines of the port; of the last one, `codes_push` of codes,
    `rows_push` of a codebook or table.
    """

    def body(m: Module) -> dict[str, Any]:
        done, w = Wire(1), m["w"]
        busy, f = held_round(m, "weights", ROUND, done.signal)
        stored = early(m, f["mode"].eq(MODES.index("stored_table")), "stored")
        rows = mux(stored, const(config.table_units, 16), const(config.codebook_units, 16))
        chunks, fire = chunks_of_block(f), (w.moves).named("fire")
        w.drive(ready=busy & m["unit_ready"])
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
        done.assign(all_of([fire, *last.values()]))
        kinds = dict(codes=~of_rows, codebook=of_rows & ~stored, table=of_rows & stored)
        unit = dict(fire=fire, kind=pack([kinds[kind] for kind in unit_kinds(config)]), last=last["unit"], data=w.data)
        return dict(codes_push=complete & ~of_rows, rows_push=complete & of_rows, unit=Link(unit))

    inputs = {"round": Stream.of(ROUND.width), "w": Stream.of(config.word_bits["w"])}
    outputs = {"codes_push": 1, "rows_push": 1, "unit": unit_port(config, config.word_bits["w"])}
    return design.module("weight_distributor", inputs, outputs, body)
