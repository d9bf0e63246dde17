"""Decoder layers that are alike: a model in, a shorter one with the same layers out; its plan in, that of all out.

Scheduling takes seconds a layer, and layers alike give tasks alike. So a few are scheduled, and the tasks of one period
of them stand for those left out. Nothing is extrapolated: all tasks are there. Tasks that are not alike - in engine,
order, waits, sizes, or where in a page their addresses are - are seen, and then there is no such plan.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import ARITHMETIC, TASK_BITS
from lutllm.lowering.place.space import ALIGNMENT
from lutllm.lowering.quantize.graph import FloatGraph, maker, name_of
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.quantized.pretrained import QuantizedModel

_LAYER = re.compile(r"((?:.*\.)?(?:layers|h|blocks)\.)(\d+)(?![^.])")
_ADDRESS_BITS = 64  # of a field
OTHER = "rest"


def layer_of(source: str) -> str:
    """The decoder layer that a module belongs to, or OTHER."""
    found = _LAYER.match(source)
    return found.group() if found else OTHER


@dataclass(frozen=True)
class Shortened:
    """`model` has the first layers of a longer one, which goes on with `periods` more of `period` layers each. The
    first `lead` periods may be unlike the others: the schedule begins with them."""

    model: QuantizedModel
    period: int
    periods: int
    lead: int


def shortened(model: QuantizedModel, lead: int) -> Shortened | None:
    """As short as shows that layers repeat: two periods after `lead`, and what is left over. None for a model that has
    no more, or whose layers hand on more than one value."""
    layers = _Layers(model)
    count = len(layers.ops)
    period = next((p for p in range(1, count) if layers.signs[p:] == layers.signs[:-p]), count)
    kept = (lead + 2) * period + (count - 1) % period + 1 if count else 0
    if kept >= count or not all(len(values) == 1 for values in layers.leaving):
        return None
    module = layers.cut(kept)
    names = {name_of(op) for op in FloatGraph(module).ops}
    gone = {name for name in map(name_of, FloatGraph(model.module).ops) if name not in names}

    def stays(name: str) -> bool:
        return name not in gone and (_number(name) or 0) < kept

    linears = {name: linear for name, linear in model.linears.items() if stays(name)}
    constants = {name: values for name, values in model.constants.items() if stays(name)}
    short = replace(model, module=module, linears=linears, constants=constants)
    return Shortened(short, period, (count - kept) // period, lead)


def whole_plan(plan: Plan, of: Shortened, memory_bytes: int) -> Plan | None:
    """The plan of the whole model, from that of the shortened one: tasks that are left out have names of their own, and
    the rounds and regions of layers that they are like. None where tasks do not repeat. `CapacityError` where its
    regions do not fit `memory_bytes`."""
    found: list[Task] = []
    for program in plan.programs:
        tasks = _repeated(plan.program(program), of)
        if tasks is None:
            return None
        found += tasks
    sizes = [-(-r.size // ALIGNMENT) * ALIGNMENT for r in plan.regions.values() if _number(r.name) in _last(of)]
    needed = plan.memory_bytes + of.periods * sum(sizes)
    if needed > memory_bytes:
        raise CapacityError(f"memory map: expected at most {memory_bytes} bytes, got {needed}; take more memory")
    return replace(plan, tasks=tuple(found))


class _Layers:
    """`ops` of each layer in order, what they are (`signs`), and the values that each layer hands on (`leaving`)."""

    def __init__(self, model: QuantizedModel) -> None:
        self.graph = FloatGraph(model.module)
        self.ops: list[list[Any]] = []
        self.place: dict[Any, tuple[int, int]] = {}
        for op in self.graph.ops:
            number = _number(name_of(op))
            if number is not None:
                self.ops += [[] for _ in range(number + 1 - len(self.ops))]
                self.place[op.operation.results[0]] = number, len(self.ops[number])
                self.ops[number].append(op)
        schemes = {name: linear.scheme for name, linear in model.linears.items()}
        self.signs = [[self._sign(op, i, schemes.get(name_of(op))) for op in ops] for i, ops in enumerate(self.ops)]
        self.leaving = [
            [v for op in ops for v in op.operation.results if any(self._layer(r) != i for r in self.graph.readers(v))]
            for i, ops in enumerate(self.ops)
        ]

    def _layer(self, op: Any) -> int | None:
        return _number(name_of(op))

    def _sign(self, op: Any, layer: int, scheme: Any) -> tuple[Any, ...]:
        operands = []
        for value in op.operation.operands:
            made, index = self.place.get(value, (None, 0))
            outside = ("argument", value.arg_number) if maker(value) is None else ("before", 0)
            operands.append(("here", index) if made == layer else outside)
        types = [str(value.type) for value in (*op.operation.operands, *op.operation.results)]
        own = layer_of(name_of(op))
        attributes = [(name, str(op.operation.attributes[name]).replace(own, "*")) for name in op.operation.attributes]
        return op.operation.name, scheme, tuple(operands), tuple(types), tuple(sorted(attributes))

    def cut(self, kept: int) -> ir.Module:
        """A copy of the module without the layers from `kept` on."""
        with self.graph.module.context, ir.Location.unknown():
            module = ir.Module.parse(dialect.module_text(self.graph.module))
            graph = FloatGraph(module)
            made = {name_of(op): op.operation.results[0] for op in graph.ops}
            last, own = (name_of(maker(self.leaving[i][0])) for i in (-1, kept - 1))
            made[last].replace_all_uses_with(made[own])
            for op in reversed(graph.ops):
                number = _number(name_of(op))
                if number is not None and number >= kept:
                    op.operation.erase()
        return module


def _repeated(tasks: Sequence[Task], of: Shortened) -> list[Task] | None:
    """A program with the tasks left out between its last period and the rest."""
    first: dict[int, int] = defaultdict(lambda: len(tasks))
    for i, task in enumerate(tasks):
        number = _number(task.source)
        if number is not None:
            first.setdefault(number, i)
    if not first:
        return list(tasks)
    begin, middle, end = (first[k * of.period] for k in range(of.lead, of.lead + 3))
    once, again = tasks[begin:middle], tasks[middle:end]
    if [_like(_moved(task, of.period)) for task in once] != [_like(task) for task in again]:
        return None
    more = [_moved(task, k * of.period) for k in range(1, of.periods + 1) for task in again]
    return [*tasks[:end], *more, *(_moved(task, of.periods * of.period) for task in tasks[end:])]


def _moved(task: Task, by: int) -> Task:
    """The same task `by` layers later, as are the tasks that it reads of."""

    def later(name: str) -> str:
        number = _number(name)
        return name if number is None else _LAYER.sub(rf"\g<1>{number + by}", name, count=1)

    values = {buffer: later(label) for buffer, label in task.values.items()}
    names = later(task.name), later(task.source), later(task.cluster)
    return replace(task, name=names[0], source=names[1], cluster=names[2], values=values)


def _like(task: Task) -> tuple[Any, ...]:
    """All of a task that decides its cycles."""
    wide = {name for name, bits in TASK_BITS[task.engine].items() if bits >= _ADDRESS_BITS}
    sizes = {name: value % ALIGNMENT if name in wide else value for name, value in task.fields.items()}
    sizes = {name: value for name, value in sizes.items() if name not in ARITHMETIC}
    parameters = replace(task.parameters, region="") if task.parameters else None
    values = sorted(task.values.values())
    return task.name, task.engine, task.cluster, sizes, task.waits, task.single, task.per_token, parameters, values


def _last(of: Shortened) -> range:
    """The layers that those left out are like."""
    return range((of.lead + 1) * of.period, (of.lead + 2) * of.period)


def _number(name: str) -> int | None:
    found = _LAYER.match(name)
    return int(found.group(2)) if found else None
