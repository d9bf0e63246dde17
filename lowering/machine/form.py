"""`lut.machine` as plain data and back: what the hardware generator, the schedule and the simulators know of
hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.base import elements, entries, read
from lutllm.dialect.machines import builders as build
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import AcceleratorConfig, Clocks
from lutllm.lowering.machine.engine import EngineConfig

NAME = "machine"
_SIZES = (
    "head_lanes", "attention_units", "attention_ways", "attention_rows", "attention_ports", "kv_bits", "context",
    "score_words", "item_words", "head_words", "watchdog",
)  # fmt: skip
_WORDS = "_words"


@dataclass(frozen=True)
class Machine:
    """An accelerator, and what is outside it: memory of `memory_bytes` that answers after `latency` cycles."""

    config: AcceleratorConfig
    latency: int
    memory_bytes: int


def machine_op(module: ir.Operation) -> dialect.MachineOp | None:
    """The machine of a module; `IRError` where there are several."""
    found = [op for op in module.regions[0].blocks[0] if isinstance(op, dialect.MachineOp)]
    if len(found) > 1:
        raise dialect.fault(found[1], "expected one of it in the module, got another; remove one")
    return found[0] if found else None


def read_machine(module: ir.Operation) -> Machine:
    """What the module's `lut.machine` says; `IRError` where there is none, or hardware cannot be built like it."""
    op = machine_op(module)
    if op is None:
        raise dialect.fault(module, "expected a lut.machine in it, got none; run lut-place")
    values: dict[str, Any] = {name: int(op.attributes[name].value) for name in _SIZES}
    values["engines"] = tuple(engine.value for engine in elements(op.engines))
    values["modes"] = tuple(mode.value for mode in elements(op.optional("modes") or ()))
    depths = {}
    for part in op.operation.regions[0].blocks[0]:
        if isinstance(part, dialect.MemoryOp):
            values[part.sym_name.value + _WORDS] = int(part.words.value)
        elif isinstance(part, dialect.FifoOp):
            depths[part.sym_name.value] = int(part.depth.value)
        elif isinstance(part, dialect.ClocksOp):
            values["clocks"] = Clocks(
                **{field.name: int(part.attributes[field.name].value) for field in fields(Clocks)}
            )
        else:
            engine = {field.name: _value(read(part.attributes, field.name)) for field in fields(EngineConfig)}
    try:
        config = AcceleratorConfig(engine=EngineConfig(**engine), depths=depths, **values)
    except CapacityError as problem:
        raise dialect.fault(op, problem.message) from None
    return Machine(config, int(op.latency.value), int(op.memory_bytes.value))


def write_machine(machine: Machine, memories: Sequence[str] = ()) -> None:
    """Build the machine's op at the insertion point, with `memories` of the sizes its configuration has."""
    config = machine.config
    sizes = {name: getattr(config, name) for name in _SIZES}
    sizes |= {"latency": machine.latency, "memory_bytes": machine.memory_bytes}
    with build.machine(NAME, engines=config.engines, modes=config.modes, **sizes):
        build.linear_engine(**asdict(config.engine))
        if config.clocks is not None:
            build.clocks(**asdict(config.clocks))
        for memory in memories:
            build.memory(memory, getattr(config, memory + _WORDS))
        for name, depth in sorted(config.depths.items()):
            build.fifo(name, depth)


def _value(attribute: Any) -> Any:
    if isinstance(attribute, ir.DictAttr):
        return {name: _value(item) for name, item in entries(attribute).items()}
    if isinstance(attribute, ir.ArrayAttr):
        return tuple(_value(item) for item in elements(attribute))
    return attribute.value
