"""One function per `lut.linear`: a converted model in, a module of integer functions without torch ops out."""

from __future__ import annotations

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.dialect.symbols import op_parameters


def extract_linears(module: ir.Module, tokens: int | None = None) -> ir.Module:
    """A new module, in the same context, with `func.func @"<linear>"(x) -> y` for each linear of `module`.

    x is tensor<TxKxi16, #lut.fixed<...>> and y tensor<TxNxi32, #lut.fixed<...>>; T is dynamic unless `tokens` is
    given. A linear used several times gives one function. The schemes and globals it needs, `lut.store` and locations
    come along.
    """
    with module.context, ir.Location.unknown():
        target = ir.Module.create()
        done: set[str] = set()
        for op in dialect.lut_ops(module):
            name = op.weights.value if isinstance(op, dialect.LinearOp) else None
            if name is not None and name not in done:
                done.add(name)
                _declare(target, op)
                _function(target, name, op, tokens)
        if "lut.store" in module.operation.attributes:
            target.operation.attributes["lut.store"] = module.operation.attributes["lut.store"]
    return target


def _declare(target: ir.Module, op: dialect.LinearOp) -> None:
    dialect.declare_scheme(target, dialect.scheme_of(op), op.scheme.value)
    for parameter in op_parameters(op):
        dialect.declare(target, parameter.symbol, parameter.shape, parameter.dtype)


def _function(target: ir.Module, name: str, op: dialect.LinearOp, tokens: int | None) -> None:
    x, y = _tokens_by(op.x.type, tokens), _tokens_by(op.y.type, tokens)
    with op.operation.location, ir.InsertionPoint(target.body):
        function = func.FuncOp(name, ([x], [y]))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            attributes = {name: op.attributes[name] for name in op.attributes}
            new = ir.Operation.create("lut.linear", results=[y], operands=[block.arguments[0]], attributes=attributes)
            func.ReturnOp([new.result])


def _tokens_by(type_: ir.RankedTensorType, tokens: int | None) -> ir.Type:
    """tensor<tokens x channels> with the element type and encoding of `type_`."""
    size = ir.ShapedType.get_dynamic_size() if tokens is None else tokens
    return ir.RankedTensorType.get([size, type_.shape[-1]], type_.element_type, type_.encoding)
