"""`torch.aten.linear` to `lut.linear`: torch-level IR and quantized parameters in, torch with lut linears out.

Only linears with quantized parameters change. Between them stays what PyTorch computes, in floating point.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from lutllm import dialect, store
from lutllm.bindings import ir, source_position
from lutllm.errors import InputError, IRError
from lutllm.lowering.linear_spec import LinearSpec, read_specs
from lutllm.passes import Pass
from lutllm.progress import note

LINEAR = "torch.aten.linear"
FLOAT = ".float"  # suffix of a float global whose name an integer one takes
_VTENSOR = re.compile(r"!torch\.vtensor<\[([\d?,]*)\],(\w+)>")
_FLOATS = ("f32", "bf16", "f16")


@dataclass(frozen=True)
class Kept:
    """A linear left in PyTorch, and why."""

    name: str
    location: str | None
    reason: str


@dataclass
class Conversion:
    """What a conversion did: the linears converted, by name, and those kept."""

    converted: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


@dataclass(frozen=True)
class TorchToLut(Pass):
    """Convert every torch.aten.linear that has quantized parameters into lut.quantize, lut.linear, lut.dequantize.

    `quantization` names the directory with quantization.json, or that file. A linear is found by the PyTorch module
    path in its location, else by the symbol of its weight. Linears that read one value share one lut.quantize. Module
    paths and source lines stay on the new ops. Other linears stay; they are listed on stderr.
    """

    name: ClassVar[str] = "torch-to-lut"
    anchor: ClassVar[str | None] = "builtin.module"
    quantization: str = ""

    def run(self, op: ir.Operation) -> None:
        if not self.quantization:
            raise InputError("torch-to-lut: expected quantization=DIRECTORY, got none; name the quantizer's output")
        specs, digest = read_specs(self.quantization)
        for kept in convert_linears(op, specs, digest).kept:
            note(f"torch-to-lut: '{kept.name}' stays as it is ({kept.location or 'unknown location'}): {kept.reason}")


def convert_linears(
    module: ir.Module | ir.Operation, specs: Mapping[str, LinearSpec], sha256: str | None = None
) -> Conversion:
    """Rewrite the module in place; `IRError` at the first linear whose quantized parameters do not fit it.

    `sha256` of the parameter store is recorded on the module as `lut.store`.
    """
    root = module.operation
    done = Conversion()
    with root.context, ir.Location.unknown():
        rewriter = _Rewriter(root)
        for op in linears_in(root):
            name, reason = linear_name(op, specs), not_convertible(op)
            spec = specs.get(name)
            if spec is None:
                done.kept.append(Kept(name, source_position(op.location), reason or "no quantized parameters"))
                continue
            if reason:
                _fail(op, name, reason)
            rewriter.convert(op, spec)
            done.converted.append(name)
        if sha256 is not None:
            root.attributes["lut.store"] = dialect.store_attr(store.PARAMETERS, sha256)
    return done


def linears_in(root: ir.Operation) -> list[ir.Operation]:
    """Every torch.aten.linear, in order."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == LINEAR:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def module_path(location: ir.Location) -> str | None:
    """The PyTorch module path an op's location names."""
    if isinstance(location, ir.NameLoc):
        return location.name_str
    parts = location.locations if isinstance(location, ir.FusedLoc) else ()
    return next((path for path in map(module_path, parts) if path), None)


def linear_name(op: ir.Operation, known: Mapping[str, object]) -> str:
    """The linear's name: its module path, or its weight's symbol where only that is `known`.

    A tied weight has the name of the first module that uses it, so the path goes first.
    """
    path, weight = module_path(op.location), weight_symbol(op)
    by_weight = weight.removesuffix(".weight") if weight else None
    names = [name for name in (path, by_weight, weight) if name]
    return next((name for name in names if name in known), names[0] if names else "linear")


def weight_symbol(op: ir.Operation) -> str | None:
    """The global a linear's weight is loaded from, None where the weight is computed."""
    load = _producer(op.operands[1], "torch_c.from_builtin_tensor")
    load = _producer(load.operands[0], "ml_program.global_load_const") if load else None
    return ir.FlatSymbolRefAttr(load.attributes["global"]).value if load else None


def not_convertible(op: ir.Operation) -> str | None:
    """Why a linear cannot become `lut.linear` whatever its parameters, as `expected ..., got ...; what to do`."""
    if weight_symbol(op) is None:
        return "expected a weight that is a parameter, got a computed one; store it as a parameter"
    x, weight, y = (_sizes(v) for v in (op.operands[0], op.operands[1], op.results[0]))
    if x is None or weight is None or y is None or y[1] not in _FLOATS:
        return f"expected tensors of {', '.join(_FLOATS)}, got {op.operands[0].type}; convert the module"
    if len(x[0]) < 2:
        return "expected an input with a dimension of tokens, got a vector; use shape [1, inputs]"
    if weight[0][1] is None or weight[0][1] % 2:
        return f"expected an even input width (whole pairs), got {weight[0][1]}; pad the input and the weight by a zero"
    return None


def _fail(op: ir.Operation, name: str, message: str) -> NoReturn:
    raise IRError(f"'{LINEAR}' op '{name}': {message}", location=source_position(op.location))


def _producer(value: ir.Value, name: str) -> ir.Operation | None:
    owner = value.owner
    return owner.operation if not isinstance(owner, ir.Block) and owner.operation.name == name else None


def _sizes(value: ir.Value) -> tuple[list[int | None], str] | None:
    """(sizes, element type) of a !torch.vtensor of known rank; None stands for a dynamic size."""
    match = _VTENSOR.fullmatch(str(value.type))
    if not match:
        return None
    return [None if size == "?" else int(size) for size in match[1].split(",") if size], match[2]


def _known(value: ir.Value) -> tuple[list[int | None], str]:
    """As `_sizes`, of a value that `not_convertible` has looked at."""
    found = _sizes(value)
    assert found is not None
    return found


class _Rewriter:
    """Converts linears of one module, sharing what several of them need."""

    def __init__(self, root: ir.Operation) -> None:
        self.module: Any = root.opview  # a ModuleOp: it has a body, which an Operation lacks
        self._declared: set[str] = set()
        self._before = {op.attributes["sym_name"].value: op.operation for op in self.module.body if _is_global(op)}
        self._quantized: dict[tuple[ir.Value, str, int], ir.Value] = {}

    def convert(self, op: ir.Operation, spec: LinearSpec) -> None:
        self._check(op, spec)
        x = self._quantize(op, spec)
        element = _known(op.results[0])[1]
        with ir.InsertionPoint(op), op.location:
            y = dialect.linear(
                x,
                scheme=spec.scheme,
                shift=spec.shift,
                out_exponent=spec.out_exponent,
                outputs=spec.outputs,
                **spec.symbols(),
            )
            result = _cast(dialect.dequantize(y), "f32", element)
            new = ir.Operation.create("torch_c.from_builtin_tensor", results=[op.results[0].type], operands=[result])
        op.results[0].replace_all_uses_with(new.result)
        loads = list(op.operands)[1:]
        op.erase()
        for value in loads:
            _erase_unused(value)
        self._declare(spec)

    def _check(self, op: ir.Operation, spec: LinearSpec) -> None:
        outputs, inputs = _known(op.operands[1])[0]
        if (inputs, outputs) != (2 * spec.pairs, spec.outputs):
            _fail(
                op,
                spec.name,
                f"expected quantized parameters for {inputs} inputs and {outputs} outputs, "
                f"got {2 * spec.pairs} and {spec.outputs}; quantize this model again",
            )

    def _declare(self, spec: LinearSpec) -> None:
        for symbol, (shape, dtype) in spec.globals().items():
            if symbol not in self._declared:
                self._make_room(symbol)
                dialect.declare(self.module, symbol, shape, dtype)
                self._declared.add(symbol)

    def _make_room(self, symbol: str) -> None:
        """PyTorch's bias and the integer bias have one name: the float one goes, or is renamed if still read."""
        old = self._before.pop(symbol, None)
        if old is None:
            return
        readers = _loads_of(self.module.operation, symbol)
        if not readers:
            old.erase()
            return
        old.attributes["sym_name"] = ir.StringAttr.get(symbol + FLOAT)
        for load in readers:
            load.attributes["global"] = ir.FlatSymbolRefAttr.get(symbol + FLOAT)

    def _quantize(self, op: ir.Operation, spec: LinearSpec) -> ir.Value:
        """The linear's input as integers; made once for all linears of a block that read the same value."""
        x = op.operands[0]
        key = (x, spec.exponents, spec.scheme.x_bits)
        if key not in self._quantized:
            sizes, element = _known(x)
            shape = "x".join("?" if size is None else str(size) for size in sizes)
            name = ir.Location.name(spec.input_name, childLoc=_source(op.location))
            with ir.InsertionPoint(op), name:
                builtin = ir.Operation.create(
                    "torch_c.to_builtin_tensor", results=[ir.Type.parse(f"tensor<{shape}x{element}>")], operands=[x]
                ).result
                value = _cast(builtin, element, "f32")
                self._quantized[key] = dialect.quantize(value, exponents=spec.exponents, bits=spec.scheme.x_bits)
        return self._quantized[key]


def _is_global(op: ir.OpView) -> bool:
    return op.operation.name == "ml_program.global"


def _loads_of(root: ir.Operation, symbol: str) -> list[ir.Operation]:
    """The ops that load a global."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "ml_program.global_load_const" and ir.FlatSymbolRefAttr(op.attributes["global"]).value == symbol:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _source(location: ir.Location) -> ir.Location:
    return location.child_loc if isinstance(location, ir.NameLoc) else location


def _cast(value: ir.Value, have: str, want: str) -> ir.Value:
    """Between f32, in which lut quantizes, and the model's own float type."""
    if have == want:
        return value
    shape = value.type.shape
    type_ = ir.RankedTensorType.get(list(shape), ir.Type.parse(want))
    return ir.Operation.create(
        "arith.extf" if want == "f32" else "arith.truncf", results=[type_], operands=[value]
    ).result


def _erase_unused(value: ir.Value) -> None:
    """Erase the load of a weight nobody reads any more; its global goes with lut-symbol-dce."""
    for name in ("torch_c.from_builtin_tensor", "ml_program.global_load_const"):
        op = _producer(value, name)
        if op is None or next(iter(value.uses), None) is not None:
            return
        operands = list(op.operands)
        op.erase()
        if not operands:
            return
        value = operands[0]
