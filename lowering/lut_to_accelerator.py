"""lut -> accelerator: decomposed linears become an engine, a memory map and rounds, placed by `schedule.py`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import CapacityError, InputError
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.program import Program, read_engine
from lutllm.lowering.schedule import Layer, engine_for, schedule
from lutllm.lowering.targets import find_target
from lutllm.passes import Pass
from lutllm.passes.walk import ops_in

ENGINE = "engine"


@dataclass(frozen=True)
class LutToAccelerator(Pass):
    """Place every decomposed linear on one engine: rounds, memory map and the engine's parameters.

    Functions must hold decomposed linears only. `target` names the engine and its memory; a lut.engine that stands in
    the module already is used as it is. `tokens` is the number of tokens where the IR leaves it dynamic.
    """

    name: ClassVar[str] = "lut-to-accelerator"
    anchor: ClassVar[str | None] = "builtin.module"
    target: str = "small"
    tokens: int = 16

    def __post_init__(self) -> None:
        find_target(self.target)
        if self.tokens < 1:
            raise InputError(f"expected tokens >= 1, got {self.tokens}")

    def run(self, op: ir.Operation) -> None:
        target = find_target(self.target)
        self._check_functions(op)
        found = [(end, self._layer(end)) for end in ops_in(op, dialect.RequantizeOp)]
        layers = [layer for _, layer in found]
        self._check_names(found)
        try:
            engine = self._engine(op, layers, target.engine)
            program = schedule(layers, engine, target.memory_bytes)
        except CapacityError as problem:
            at = next((end for end, layer in found if problem.message.startswith(f"{layer.name}:")), op)
            self.fail(at, f"cannot be scheduled: {problem.message}")
        locations = {layer.name: end.location for end, layer in found}
        body = op.regions[0].blocks[0]
        for old in list(body.operations):
            old.operation.erase()
        with ir.InsertionPoint(body), op.location:
            write_program(program, locations)

    def _engine(self, op: ir.Operation, layers: list[Layer], base: EngineConfig) -> EngineConfig:
        """The engine the module already holds, or the target's, widened to the schemes at hand."""
        held = ops_in(op, dialect.EngineOp)
        if len(held) > 1:
            self.fail(held[1], "expected one lut.engine in the module, got another; remove one")
        if held:
            return read_engine(held[0])
        return engine_for([layer.scheme for layer in layers], base) if layers else base

    def _check_functions(self, op: ir.Operation) -> None:
        for function in ops_in(op, ir.OpView):
            dialect_name = function.operation.name.split(".")[0]
            if dialect_name not in ("builtin", "func", "ml_program", "lut"):
                self.fail(
                    function, "expected functions of lut ops only, got another dialect's; extract the linears first"
                )
            if function.operation.name == "lut.linear":
                self.fail(function, "expected decomposed linears, got lut.linear; run lut-decompose first")

    def _layer(self, end: dialect.RequantizeOp) -> Layer:
        """The linear that ends in requantizer `end`."""
        total = self._producer(end, "lut.prefix_sum")
        if len(total.operation.operands) > 1:
            self.fail(
                total, "expected a sum that starts at zero, got a partial sum; run lut-decompose on whole linears"
            )
        lookup = self._producer(total, "lut.table_lookup")
        scheme = dialect.scheme_of(lookup)
        rows = self._producer(lookup, *(f"lut.{source}" for source in scheme.row_sources))
        source = rows.operation.name.removeprefix("lut.")
        x = (rows if source == "exact_row" else self._producer(rows, "lut.centroid_search")).operation.operands[0]
        shape = ir.RankedTensorType(x.type).shape
        tokens = self.tokens if any(s < 0 for s in shape[:-1]) else prod(shape[:-1])
        name = ir.FlatSymbolRefAttr(lookup.operation.attributes["weights"]).value
        if end.weights.value != name:
            self.fail(end, f"expected the weights of its lookup, @{name}, got @{end.weights.value}; use one for both")
        outputs = ir.RankedTensorType(end.operation.results[0].type).shape[-1]
        return Layer(name, shape[-1] // 2, outputs, tokens, scheme, source, end.shift.value)

    def _check_names(self, found: list[tuple[dialect.RequantizeOp, Layer]]) -> None:
        """Regions and results go by the linear's name."""
        seen: set[str] = set()
        for end, layer in found:
            if layer.name in seen:
                self.fail(end, f"expected each linear once, got {layer.name} again; keep one function for it")
            seen.add(layer.name)

    def _producer(self, op: ir.OpView, *names: str) -> ir.OpView:
        """The op, of one of the `names`, that gives `op` its first operand."""
        owner = op.operation.operands[0].owner
        got = "a block argument" if isinstance(owner, ir.Block) else owner.operation.name
        if got not in names:
            wanted = " or ".join(names)
            self.fail(op, f"expected its operand to come from {wanted}, got {got}; run lut-decompose on whole linears")
        return owner.operation.opview


def write_engine(engine: EngineConfig) -> None:
    """Build the engine's op at the insertion point."""
    config = engine.to_dict()
    named = {key: config.pop(key) for key in ("metric", "row_sources", "port_bits")}
    dialect.engine(ENGINE, **named, **config)


def write_program(program: Program, locations: dict[str, ir.Location]) -> None:
    """Build the program's ops at the insertion point; a round carries the location of its linear."""
    write_engine(program.engine)
    write_regions_and_rounds(program, locations)


def write_regions_and_rounds(program: Program, locations: dict[str, ir.Location]) -> None:
    """Build all but the engine."""
    for region in program.regions.values():
        placed = asdict(region)
        with locations.get(region.source, ir.Location.unknown()):
            dialect.region(placed.pop("name"), **placed)
    for round_ in program.rounds:
        with locations[round_.linear]:
            values = asdict(round_)
            dialect.round_(values.pop("name"), engine=ENGINE, **values)
