"""`decoder-to-accelerator`: a decoder's `lut` program and its description in, the plan that runs it in hardware out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import func, ir
from lutllm.errors import CapacityError, InputError
from lutllm.lowering.decoder_spec import DecoderSpec, read_decoder_spec
from lutllm.lowering.decoder_to_lut import FUNCTIONS, emit_decoder
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.plan.ir import write_plan
from lutllm.lowering.targets import find_target
from lutllm.passes import Pass

STORE = "lut.store"  # the module's attribute
IDS_AND_POSITION = 2  # arguments of a function before its caches
# Of lut.linear: where rows come from changes no integer, and the plan chooses.
FREE = ("row_source", "tables")


@dataclass(frozen=True)
class DecoderToAccelerator(Pass):
    """Replace the lut program of a whole decoder by its plan: buffers, rounds, memory map and tasks in order.

    `quantization` names the directory with quantization.json, or that file; the program must be the one it describes.
    `target` names the accelerator, whose memories are made large enough. `context` tokens fit its KV caches, at most
    those of the program; 0: as many.
    """

    name: ClassVar[str] = "decoder-to-accelerator"
    anchor: ClassVar[str | None] = "builtin.module"
    quantization: str = ""
    target: str = "small"
    context: int = 0

    def __post_init__(self) -> None:
        find_target(self.target)
        if self.context < 0:
            raise InputError(f"expected context >= 0, got {self.context}")

    def run(self, op: ir.Operation) -> None:
        if not self.quantization:
            raise InputError(f"{self.name}: expected quantization=DIRECTORY, got none; name the quantizer's output")
        spec, target = read_decoder_spec(self.quantization), find_target(self.target)
        held = self._context_of(op)
        self._check(op, spec, held)
        context = self.context or held
        if context > held:
            self.fail(op, f"expected a context of at most {held} tokens, the program's, got {context}; shorten it")
        try:
            plan = plan_decoder(spec, config_for(spec, target, context), memory_bytes=target.memory_bytes)
        except CapacityError as problem:
            self.fail(_about(op, problem.message), f"cannot be planned: {problem.message}")
        body = op.regions[0].blocks[0]
        for old in reversed(list(body.operations)):
            old.operation.erase()
        with ir.InsertionPoint(body), op.location:
            write_plan(plan)

    def _context_of(self, op: ir.Operation) -> int:
        """Tokens that the program's KV caches hold."""
        function = _functions(op).get(FUNCTIONS[0])
        types = [] if function is None else function.type.inputs[IDS_AND_POSITION:]
        if not types:
            self.fail(op, "expected @prefill of a whole decoder, with KV caches, got none; run lut-quantize first")
        return int(ir.RankedTensorType(types[0]).shape[0])

    def _check(self, op: ir.Operation, spec: DecoderSpec, context: int) -> None:
        """Fail at the first op that is not what the description says."""
        wanted = ir.Module.create(ir.Location.unknown(op.context))
        emit_decoder(wanted, spec, min(context, spec.positions))
        self._same(op, "attribute", STORE, wanted.operation, op)
        functions, expected = _functions(op), _functions(wanted.operation)
        for name, function in functions.items():
            if name not in expected:
                self.fail(function, f"expected {', '.join(FUNCTIONS)} only, got @{name}; remove it")
        for name, function in expected.items():
            if name not in functions:
                self.fail(op, f"expected function @{name} of the decoder, got none; run lut-quantize first")
            self._same_function(functions[name], function)

    def _same_function(self, got: func.FuncOp, wanted: func.FuncOp) -> None:
        self._same_text(got, "type", wanted.type, got.type)
        values: dict[ir.Value, ir.Value] = dict(zip(wanted.arguments, got.arguments, strict=True))
        found = [op.operation for op in got.entry_block]
        for i, expected in enumerate(op.operation for op in wanted.entry_block):
            op = found[i] if i < len(found) else found[-1]
            self._same_text(op, "op", expected.name, op.name)
            for name in sorted({*expected.attributes, *op.attributes} - set(FREE)):
                self._same(op, "attribute", name, expected, op)
            self._same_text(op, "operands", len(expected.operands), len(op.operands))
            for number, (a, b) in enumerate(zip(expected.operands, op.operands, strict=True)):
                if values[a] != b:
                    wanted_name, name = (value.get_name() for value in (values[a], b))
                    self._same_text(op, f"operand {number}", wanted_name, name)
            for a, b in zip(expected.results, op.results, strict=True):
                self._same_text(op, "result", a.type, b.type)
                values[a] = b

    def _same(self, at: ir.Operation, what: str, name: str, wanted: ir.Operation, got: ir.Operation) -> None:
        pair = [op.attributes.get(name) for op in (wanted, got)]
        self._same_text(at, f"{what} {name}", *pair)

    def _same_text(self, at: ir.Operation | ir.OpView, what: str, wanted: object, got: object) -> None:
        if wanted != got:
            where = f"as '{self.quantization}' describes the decoder"
            self.fail(
                at, f"expected {what} {_text(wanted)}, {where}, got {_text(got)}; lower the model it was made for"
            )


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _functions(op: ir.Operation) -> dict[str, func.FuncOp]:
    found: list[Any] = [child for child in op.regions[0].blocks[0].operations if isinstance(child, func.FuncOp)]
    return {function.name.value: function for function in found}


def _about(op: ir.Operation, message: str) -> ir.Operation:
    """The linear, or else the first op, with a parameter of the module that a message is about."""
    name = message.partition(":")[0]
    found = []
    for child in _functions(op)[FUNCTIONS[0]].entry_block:
        attributes = [child.operation.attributes[key] for key in child.operation.attributes]
        if any(isinstance(a, ir.FlatSymbolRefAttr) and a.value.startswith(f"{name}.") for a in attributes):
            found.append(child.operation)
    return next((child for child in found if child.name == "lut.linear"), found[0] if found else op)
