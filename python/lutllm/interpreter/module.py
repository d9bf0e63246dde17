"""Executes a function of a `lut` module: the module, its inputs and its parameters in, the function's results out.

Only `lut` ops and `return` are known; any other op is a located error. Integers come out as int64, floats as float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm.bindings import func, ir, source_position
from lutllm.dialect import ClusterOp, LutOp, TaskOp, bits_of, exponent_of, fault, fixed_of, scheme_of
from lutllm.dialect.decoders.attention import score_problem
from lutllm.dialect.decoders.ops import activation_of
from lutllm.dialect.linears.layer import linear_of
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import IRError, LutllmError, NumericsError
from lutllm.interpreter import decoder, floats, integers
from lutllm.interpreter.layer import linear
from lutllm.numerics import check_fits, dequantize, quantize

Value = np.ndarray | integers.Terms
Arrays = dict[str, np.ndarray]  # by what they are to the op: Parameter.attribute
Trace = Callable[[LutOp, Value], None]


def run(
    module: ir.Module,
    inputs: Sequence[np.ndarray],
    store: Mapping[str, np.ndarray],
    *,
    function: str | None = None,
    trace: Trace | None = None,
) -> list[np.ndarray]:
    """The results of a function (the only one, or the one named), for one array an argument.

    `store` maps symbols to arrays. `trace` is called with every lut op and its value, in order; the value of a
    lut.table_lookup is a `Terms`, which makes its array only when asked.
    """
    body = _function(module, function)
    if len(inputs) != len(body.arguments):
        raise IRError(f"expected {len(body.arguments)} inputs, got {len(inputs)}; give one array for each argument")
    values: dict[ir.Value, Value] = {}
    for argument, array in zip(body.arguments, inputs, strict=True):
        values[argument] = _checked_input(argument, array)
    run = _Run(values, store, trace)
    for op in in_order(body):
        if op.operation.name == "func.return":
            return [_array(run.value(op, v)) for v in op.operation.operands]
        run.op(op)
    raise IRError("expected the function to end in 'func.return', got none; add it")


def in_order(body: ir.Block) -> list[Any]:
    """The ops of a block in the order in which they are computed: a cluster that has tasks when the last of them
    runs."""
    last: dict[ir.Operation, int] = {}
    ops = list(body.operations)
    for i, op in enumerate(ops):
        owner = op.operation.operands[0].owner if isinstance(op, TaskOp) else None
        if owner is not None and not isinstance(owner, ir.Block):
            last[owner.operation] = i
    placed: list[Any] = []
    for i, op in enumerate(ops):
        if isinstance(op, TaskOp):
            owner = op.operation.operands[0].owner
            if not isinstance(owner, ir.Block) and last[owner.operation] == i:
                placed.append(owner.operation.opview)
        elif op.operation not in last:
            placed.append(op)
    return placed


@dataclass
class _Run:
    """Values so far."""

    values: dict[ir.Value, Value]
    store: Mapping[str, np.ndarray]
    trace: Trace | None

    def value(self, op: Any, value: ir.Value) -> Value:
        if value not in self.values:
            message = (
                "expected its operands computed before it, got one whose tasks come later; change the order of tasks"
            )
            raise fault(op, message)
        return self.values[value]

    def op(self, op: Any) -> None:
        """Compute one op, or what stands in a cluster."""
        if isinstance(op, ClusterOp):
            inner = list(op.operation.regions[0].blocks[0].operations)
            for each in inner[:-1]:
                self.op(each)
            result = self.value(op, inner[-1].operation.operands[0])
        else:
            result = _execute(op, [self.value(op, v) for v in op.operation.operands], self.store)
        self.values[op.operation.results[0]] = result
        if self.trace is not None:
            self.trace(op, result)


def _function(module: ir.Module, name: str | None) -> ir.Block:
    found = [op for op in module.body.operations if isinstance(op, func.FuncOp) and not op.is_external]
    chosen = [op for op in found if name is None or op.name.value == name]
    if len(chosen) != 1:
        names = ", ".join(f"@{op.name.value}" for op in found) or "none"
        wanted = "one function with a body" if name is None else f"a function @{name} with a body"
        raise IRError(f"expected {wanted}, got {names}; name one of these")
    if len(chosen[0].regions[0].blocks) != 1:
        raise IRError(f"expected one block in @{chosen[0].name.value}, got several; only straight-line code runs")
    return chosen[0].entry_block


def _checked_input(argument: ir.BlockArgument, array: np.ndarray) -> np.ndarray:
    """An input as int64 or float32, its shape and width checked against the argument's type."""
    type_, name = argument.type, f"input {argument.arg_number}"
    if not isinstance(type_, ir.RankedTensorType):
        raise IRError(f"expected a tensor argument, got {type_}; change the function")
    array = np.asarray(array)
    sizes = [None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    if len(sizes) != array.ndim or any(s not in (None, n) for s, n in zip(sizes, array.shape, strict=True)):
        raise IRError(f"{name}: expected {type_}, got an array {list(array.shape)}; give one of that shape")
    if isinstance(type_.element_type, ir.FloatType):
        return array.astype(np.float32)
    if array.dtype.kind not in "iu":
        raise IRError(f"{name}: expected integers for {type_}, got {array.dtype}; quantize them")
    meaning = fixed_of(type_)
    return check_fits(array.astype(np.int64), meaning[0] if meaning else type_.element_type.width, f"{name} ")


def _array(value: Value) -> np.ndarray:
    return value.array() if isinstance(value, integers.Terms) else value


def _execute(op: Any, operands: list[Value], store: Mapping[str, np.ndarray]) -> Value:
    where = source_position(op.location)
    execute = _OPS.get(op.operation.name.removeprefix("lut."))
    if execute is None:
        wanted = "expected a lut op on tensors or 'func.return'"
        raise IRError(f"{wanted}, got '{op.operation.name}'; lower or remove it", location=where)
    try:
        return execute(op, _parameters(op, store), *operands)
    except LutllmError as error:
        if error.location is None:
            error.location = where
        raise


def _parameters(op: LutOp, store: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of the symbols an op uses, each of the shape the op needs."""
    arrays = {}
    for p in op_parameters(op):
        array = np.asarray(store[p.symbol]) if p.symbol in store else None
        if array is None or not p.fits(array.shape):
            got = "none" if array is None else list(array.shape)
            raise IRError(
                f"expected '{p.symbol}' [{', '.join(p.sizes())}] in the store for '{p.attribute}', got {got}; write it"
            )
        arrays[p.attribute] = array
    return arrays


def _quantize(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    if np.isnan(x).any():
        raise NumericsError("'lut.quantize' op expected numbers, got NaN; look for it in the model or its input")
    return quantize(x, np.repeat(arrays["result.exponents"].astype(np.int64), 2), bits_of(op.result))


def _linear(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    source = op.optional("row_source")
    return linear(linear_of(op, arrays), x, None if source is None else source.value)


def _stored_table(op: Any, arrays: Arrays, indices: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    tables = check_fits(arrays["tables"], s.table_bits, "stored table entry ")
    return integers.table_rows(indices, tables, arrays["shifts"], s.term_bits)


def _built_table(op: Any, arrays: Arrays, indices: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    tables = integers.build_tables(arrays["codebook"], arrays["weight_codebook"], arrays["shifts"], s.table_bits)
    return integers.table_rows(indices, tables, arrays["shifts"], s.term_bits)


def _row(make: Callable[..., np.ndarray], op: Any, arrays: Arrays, *values: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    return make(*values, arrays["weight_codebook"], arrays["shifts"], s.table_bits, s.term_bits)


def _attention(op: Any, arrays: Arrays, *operands: np.ndarray) -> np.ndarray:
    heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
    problem = score_problem(arrays["query.exponents"], arrays["keys.exponents"], heads, kv_heads)
    if problem:
        raise NumericsError(problem)
    return decoder.attention(
        *operands,
        heads=heads,
        kv_heads=kv_heads,
        multiplier=arrays["multiplier"],
        shift=int(op.shift.value),
        value_exponents=arrays["values.exponents"],
        exponents=arrays["y.exponents"],
        bits=bits_of(op.y),
        window=op.number("window"),
        softcap=op.number("softcap"),
    )


def _swiglu(op: Any, arrays: Arrays, gate: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    factor, exponent = (1, 0) if up is None else (up, exponent_of(op.up))
    ends = arrays["y.exponents"], bits_of(op.y), activation_of(op)
    return decoder.swiglu(gate, factor, exponent_of(op.gate), exponent, *ends)


def _rms_norm(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    numbers = int(op.groups.value), int(op.epsilon.value), int(op.shift.value), bits_of(op.y)
    return decoder.rms_norm(x, arrays["gain"], *numbers, "centered" in op.attributes, arrays.get("bias"))


def _kind(op: Any) -> str:
    return op.operation.attributes["kind"].value  # ext has a `kind` of its own


def _add(op: Any, arrays: Arrays, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    to = exponent_of(op.y)
    return decoder.add(a, b, exponent_of(op.a) - to, exponent_of(op.b) - to, bits_of(op.y))


def _rows(op: Any, ids: np.ndarray, position: np.ndarray | None = None) -> np.ndarray:
    """The rows of an embedding, [T]: ids, or positions from the first on."""
    return ids if position is None else int(op.number("offset")) + position + np.arange(len(ids))


# What each op computes, of itself, its arrays and its operands.
_OPS: dict[str, Callable[..., Value]] = {
    "quantize": _quantize,
    "dequantize": lambda op, _, y: dequantize(y, exponent_of(op.y)).astype(np.float32),
    "linear": _linear,
    "centroid_search": lambda op, a, x: integers.centroid_search(x, a["codebook"], scheme_of(op).metric),
    "stored_table": _stored_table,
    "built_table": _built_table,
    "built_row": lambda op, a, indices: _row(integers.built_row, op, a, indices, a["codebook"]),
    "exact_row": lambda op, a, x: _row(integers.exact_row, op, a, x),
    "table_lookup": lambda op, a, rows: integers.table_lookup(rows, a["codes"], scheme_of(op).G),
    "prefix_sum": lambda op, _, *terms: integers.prefix_sum(*terms),
    "requantize": lambda op, a, acc: integers.requantize(
        acc, a["multiplier"], a["bias"], int(op.shift.value), bits_of(op.y)
    ),
    "embedding": lambda op, a, *at: decoder.embedding(
        _rows(op, *at), a["rows"], a["multiplier"], int(op.shift.value), bits_of(op.y)
    ),
    "rms_norm": _rms_norm,
    "add": _add,
    "rescale": lambda op, a, x: decoder.rescale_channels(x, exponent_of(op.x), a["y.exponents"], bits_of(op.y)),
    "swiglu": _swiglu,
    "tanh": lambda op, _, x: decoder.soft_cap(
        x, exponent_of(op.x), int(op.multiplier.value), int(op.shift.value), bits_of(op.y)
    ),
    "float_tanh": lambda op, _, x: np.float32(op.scale.value) * np.tanh(x),
    "last_token": lambda op, _, x: decoder.last_token(x),
    "argmax": lambda op, _, x: decoder.argmax(x),
    "rope": lambda op, a, x, position: decoder.rope(
        x, position, int(op.heads.value), a["cosines"], a["sines"], bits_of(op.y), "interleaved" in op.attributes
    ),
    **dict.fromkeys(
        ("slice", "float_slice"),
        lambda op, _, x: floats.slice_channels(x, int(op.groups.value), int(op.start.value), op.y.type.shape[1]),
    ),
    "append": lambda op, _, *operands: decoder.append(*operands),
    "attention": _attention,
    "float_embedding": lambda op, a, *at: floats.embedding(_rows(op, *at), a["weight"], op.number("scale", 1.0)),
    "float_norm": lambda op, a, x: floats.norm(
        x, a["gain"], op.epsilon.value, int(op.groups.value), op.number("offset", 0.0), _kind(op), a.get("bias")
    ),
    "float_linear": lambda op, a, x: floats.linear(x, a["weight"], a.get("bias"), op.number("scale", 1.0)),
    "float_rope": lambda op, a, x, position: floats.rope(
        x, position, a["frequencies"], int(op.heads.value), op.scale.value, "interleaved" in op.attributes
    ),
    "float_attention": lambda op, _, query, keys, values: floats.attention(
        query,
        keys,
        values,
        int(op.heads.value),
        int(op.kv_heads.value),
        op.scale.value,
        *map(op.number, ("window", "softcap")),
    ),
    "float_gated": lambda op, _, gate, up=None: floats.gated(gate, up, op.activation.value),
    "float_add": lambda op, _, a, b: floats.add(a, b),
}
