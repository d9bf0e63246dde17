"""`torch.aten.linear` to `lut.linear`: torch-level IR and quantized parameters in, torch with lut linears out.

Only linears with quantized parameters change. Between them stays what PyTorch computes, in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from lutllm import dialect, store
from lutllm.bindings import ir, ops_below, source_position
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import InputError, IRError
from lutllm.lowering.quantize.rules import linear_op, shape_problem
from lutllm.lowering.raising.linears import LINEAR, known_sizes, linear_name, linears_in, not_convertible, producer
from lutllm.passes import Pass
from lutllm.progress import note
from lutllm.quantization import LinearConstants, read_quantization
from lutllm.scheme import Scheme

FLOAT = ".float"  # suffix of a float global whose name an integer one takes


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
        found = read_quantization(self.quantization)
        for kept in convert_linears(op, found.linears, found.sha256).kept:
            note(f"torch-to-lut: '{kept.name}' stays as it is ({kept.location or 'unknown location'}): {kept.reason}")


def convert_linears(
    module: ir.Module | ir.Operation, linears: Mapping[str, LinearConstants], sha256: str | None = None
) -> Conversion:
    """Rewrite the module in place; `IRError` at the first linear whose quantized parameters do not fit it.

    `sha256` of the parameter store is recorded on the module as `lut.store`.
    """
    root = module.operation
    done = Conversion()
    with root.context, ir.Location.unknown():
        rewriter = _Rewriter(root)
        for op in linears_in(root):
            name, reason = linear_name(op, linears), not_convertible(op)
            constants = linears.get(name)
            if constants is None:
                done.kept.append(Kept(name, source_position(op.location), reason or "no quantized parameters"))
                continue
            if reason:
                _fail(op, name, reason)
            rewriter.convert(op, name, constants)
            done.converted.append(name)
        if sha256 is not None:
            root.attributes["lut.store"] = dialect.store_attr(store.PARAMETERS, sha256)
    return done


def _fail(op: ir.Operation, name: str, message: str) -> NoReturn:
    raise IRError(f"'{LINEAR}' op '{name}': {message}", location=source_position(op.location))


class _Rewriter:
    """Converts linears of one module, sharing what several of them need."""

    def __init__(self, root: ir.Operation) -> None:
        self.module: Any = root.opview  # a ModuleOp: it has a body, which an Operation lacks
        self._declared: set[str] = set()
        globals_ = [op.operation for op in self.module.body if op.operation.name == "ml_program.global"]
        self._before = {op.attributes["sym_name"].value: op for op in globals_}
        self._schemes: dict[Scheme, str] = {}
        self._quantized: dict[tuple[ir.Value, str, int], ir.Value] = {}

    def convert(self, op: ir.Operation, name: str, constants: LinearConstants) -> None:
        outputs, inputs = known_sizes(op.operands[1])[0]
        if problem := shape_problem(constants, inputs, outputs):
            _fail(op, name, problem)
        x = self._quantize(op, constants)
        element = known_sizes(op.results[0])[1]
        with ir.InsertionPoint(op), op.location:
            y = linear_op(x, name, constants, self._scheme(constants.scheme))
            result = _cast(dialect.dequantize(y), "f32", element)
            new = ir.Operation.create("torch_c.from_builtin_tensor", results=[op.results[0].type], operands=[result])
        op.results[0].replace_all_uses_with(new.result)
        loads = list(op.operands)[1:]
        op.erase()
        for value in loads:
            _erase_unused(value)
        self._declare(y.owner.opview)

    def _scheme(self, scheme: Scheme) -> str:
        if scheme not in self._schemes:
            self._schemes[scheme] = dialect.declare_scheme(self.module, scheme)
        return self._schemes[scheme]

    def _declare(self, linear: dialect.LinearOp) -> None:
        for p in op_parameters(linear):
            if p.symbol not in self._declared:
                self._make_room(p.symbol)
                dialect.declare(self.module, p.symbol, p.shape, p.dtype)
                self._declared.add(p.symbol)

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

    def _quantize(self, op: ir.Operation, constants: LinearConstants) -> ir.Value:
        """The linear's input as integers; made once for all linears of a block that read the same value."""
        x = op.operands[0]
        key = (x, constants.exponents, constants.scheme.x_bits)
        if key not in self._quantized:
            sizes, element = known_sizes(x)
            shape = "x".join("?" if size is None else str(size) for size in sizes)
            name = ir.Location.name(constants.input_name, childLoc=_source(op.location))
            with ir.InsertionPoint(op), name:
                builtin = ir.Operation.create(
                    "torch_c.to_builtin_tensor", results=[ir.Type.parse(f"tensor<{shape}x{element}>")], operands=[x]
                ).result
                value = _cast(builtin, element, "f32")
                self._quantized[key] = dialect.quantize(value, exponents=key[1], bits=key[2])
        return self._quantized[key]


def _loads_of(root: ir.Operation, symbol: str) -> list[ir.Operation]:
    """The ops that load a global."""
    loads = [op for op in ops_below(root) if op.name == "ml_program.global_load_const"]
    return [op for op in loads if ir.FlatSymbolRefAttr(op.attributes["global"]).value == symbol]


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
        op = producer(value, name)
        if op is None or next(iter(value.uses), None) is not None:
            return
        operands = list(op.operands)
        op.erase()
        if not operands:
            return
        value = operands[0]
