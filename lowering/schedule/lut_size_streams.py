"""`lut-size-streams`: a machine in; the same with FIFOs deep enough for their rates and for memory's latency out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lutllm.bindings import ir
from lutllm.dialect import i64
from lutllm.dialect.machines import builders as build
from lutllm.errors import CapacityError
from lutllm.lowering.machine.form import machine_op, read_machine
from lutllm.passes import Pass


@dataclass(frozen=True)
class LutSizeStreams(Pass):
    """Give every FIFO of the machine the depth that its rate needs, by a linear program; proven before it is written.

    A lut.fifo that stands in the machine already keeps its depth, if that is proven to be enough.
    """

    name: ClassVar[str] = "lut-size-streams"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        from lutllm.lowering.hardware.streams.depths import (  # CIRCT, which other passes do not need
            verify_depths,
            with_depths,
        )
        from lutllm.lowering.hardware.streams.fifos import fifos

        machine, there = read_machine(op), machine_op(op)
        assert there is not None
        held = machine.config.depths
        try:
            sized = with_depths(replace(machine.config, depths={}), machine.latency)
            sized = replace(sized, depths=sized.depths | held)
            verify_depths(fifos(sized, machine.latency))
        except CapacityError as problem:
            self.fail(there, problem.message)
        engine = next(
            part for part in there.operation.regions[0].blocks[0] if part.operation.name == "lut.linear_engine"
        )
        engine.attributes["codes_depth"] = i64(sized.engine.codes_depth)
        with ir.InsertionPoint(there.operation.regions[0].blocks[0]), there.location:
            for name, depth in sorted(sized.depths.items()):
                if name not in held:
                    build.fifo(name, depth)
