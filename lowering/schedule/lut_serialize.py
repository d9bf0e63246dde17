"""`lut-serialize`: tasks in; the same with a region of memory for the list of each program out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import VERIFY
from lutllm.lowering.machine.form import read_machine
from lutllm.lowering.place.form import placed_functions
from lutllm.lowering.place.space import AddressSpace
from lutllm.lowering.schedule.descriptors import descriptor, list_region, verified
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import Pass


@dataclass(frozen=True)
class LutSerialize(Pass):
    """Give the list of descriptors of each program its place in memory, after everything else, and then the list of
    tasks that check all regions whose bytes are known beforehand.

    Every field of every descriptor must fit its bits. A list that has a region of another length already gets a new
    one.
    """

    name: ClassVar[str] = "lut-serialize"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        names = {list_region(program) for program in (*placed_functions(op), VERIFY)}
        for old in [
            o for o in op.regions[0].blocks[0] if isinstance(o, dialect.RegionOp) and o.sym_name.value in names
        ]:
            old.operation.erase()
        plan = read_plan(op)
        space = AddressSpace(read_machine(op).memory_bytes, plan.regions)
        functions = placed_functions(op)
        with ir.InsertionPoint(next(iter(functions.values()))), op.location:
            for program in plan.programs:
                words = sum(plan.config.task_words(task.engine) for task in plan.program(program))
                try:
                    space.add(list_region(program), "d", 8 * max(1, words)).write()
                    for task in plan.program(program):
                        descriptor(plan, task)
                except CapacityError as problem:
                    self.fail(functions[program], problem.message)
            regions = verified(replace(plan, regions=space.regions))
            try:
                space.add(list_region(VERIFY), "d", 8 * plan.config.task_words(VERIFY) * len(regions)).write()
            except CapacityError as problem:
                self.fail(op, problem.message)
