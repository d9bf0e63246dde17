"""Executes a function of a `lut` module: the module, its inputs and its parameters in, the function's results out.

Only `lut` ops and `return` are known; any other op is a located error. Integers come out as int64, floats as float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm.bindings import func, ir, source_position
from lutllm.dialect import ClusterOp, LutOp, TaskOp, fixed_of, scheme_of
from lutllm.dialect.decoders.attention import score_problem
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import IRError, LutllmError, NumericsError
from lutllm.interpreter import decoder, floats, integers
from lutllm.interpreter.layer import linear
from lutllm.numerics import check_fits, dequantize, quantize
from lutllm.scheme import QuantizedLinear

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
            raise IRError(
                f"'{op.operation.name}' op expected its operands computed before it, got one whose tasks come later; "
                "change the order of tasks",
                location=source_position(op.location),
            )
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
    execute = _OPS.get(op.operation.name)
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


def _run_quantize(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    if np.isnan(x).any():
        raise NumericsError("'lut.quantize' op expected numbers, got NaN; look for it in the model or its input")
    return quantize(x, np.repeat(arrays["exponents"].astype(np.int64), 2), _bits(op))


def _run_dequantize(op: Any, arrays: Arrays, y: np.ndarray) -> np.ndarray:
    return dequantize(y, _exponent(op.y)).astype(np.float32)


def _run_linear(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    source = op.optional("row_source")
    quantized = QuantizedLinear(
        name=op.weights.value,
        input_name="",
        scheme=scheme_of(op),
        exponents=arrays.get("exponent", np.zeros(x.shape[-1] // 2, np.int8)),
        codebook=arrays.get("codebook"),
        weight_codebook=arrays["weight_codebook"],
        codes=arrays["codes"],
        shifts=arrays["shifts"],
        multiplier=arrays["multiplier"],
        bias=arrays["bias"],
        shift=int(op.shift.value),
        out_exponent=_exponent(op.y),
        tables=arrays.get("tables"),
    )
    return linear(quantized, x, None if source is None else source.value)


def _run_search(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return integers.centroid_search(x, arrays["codebook"], scheme_of(op).metric)


def _run_stored_table(op: Any, arrays: Arrays, indices: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    tables = check_fits(arrays["tables"], s.table_bits, "stored table entry ")
    return integers.table_rows(indices, tables, arrays["shifts"], s.term_bits)


def _run_built_table(op: Any, arrays: Arrays, indices: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    tables = integers.build_tables(arrays["codebook"], arrays["weight_codebook"], arrays["shifts"], s.table_bits)
    return integers.table_rows(indices, tables, arrays["shifts"], s.term_bits)


def _run_built_row(op: Any, arrays: Arrays, indices: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    books = arrays["codebook"], arrays["weight_codebook"]
    return integers.built_row(indices, *books, arrays["shifts"], s.table_bits, s.term_bits)


def _run_exact_row(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    s = scheme_of(op)
    return integers.exact_row(x, arrays["weight_codebook"], arrays["shifts"], s.table_bits, s.term_bits)


def _run_lookup(op: Any, arrays: Arrays, rows: np.ndarray) -> integers.Terms:
    return integers.table_lookup(rows, arrays["codes"], scheme_of(op).G)


def _run_sum(op: Any, arrays: Arrays, terms: Value, partial: np.ndarray | None = None) -> np.ndarray:
    return integers.prefix_sum(terms, partial)


def _run_requantize(op: Any, arrays: Arrays, acc: np.ndarray) -> np.ndarray:
    return integers.requantize(acc, arrays["multiplier"], arrays["bias"], int(op.shift.value), _bits(op))


def _run_embedding(op: Any, arrays: Arrays, ids: np.ndarray) -> np.ndarray:
    return decoder.embedding(ids, arrays["rows"], arrays["multiplier"], int(op.shift.value), _bits(op))


def _run_rms_norm(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    groups, epsilon, shift = (int(op.attributes[name].value) for name in ("groups", "epsilon", "shift"))
    return decoder.rms_norm(x, arrays["gain"], groups, epsilon, shift, _bits(op))


def _run_add(op: Any, arrays: Arrays, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    to = _exponent(op.y)
    return decoder.add(a, b, _exponent(op.a) - to, _exponent(op.b) - to, _bits(op))


def _run_rescale(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return decoder.rescale_channels(x, _exponent(op.x), arrays["exponents"], _bits(op))


def _run_swiglu(op: Any, arrays: Arrays, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    return decoder.swiglu(gate, up, _exponent(op.gate), _exponent(op.up), arrays["exponents"], _bits(op))


def _run_last_token(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return decoder.last_token(x)


def _run_argmax(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return decoder.argmax(x)


def _run_rope(op: Any, arrays: Arrays, x: np.ndarray, position: np.ndarray) -> np.ndarray:
    return decoder.rope(x, position, int(op.heads.value), arrays["cosines"], arrays["sines"], _bits(op))


def _run_append(op: Any, arrays: Arrays, cache: np.ndarray, new: np.ndarray, position: np.ndarray) -> np.ndarray:
    return decoder.append(cache, new, position)


def _run_attention(op: Any, arrays: Arrays, *operands: np.ndarray) -> np.ndarray:
    heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
    problem = score_problem(arrays["query"], arrays["keys"], heads, kv_heads)
    if problem:
        raise NumericsError(problem)
    return decoder.attention(
        *operands,
        heads=heads,
        kv_heads=kv_heads,
        multiplier=arrays["multiplier"],
        shift=int(op.shift.value),
        value_exponents=arrays["values"],
        exponents=arrays["exponents"],
        bits=_bits(op),
    )


def _run_float_embedding(op: Any, arrays: Arrays, ids: np.ndarray) -> np.ndarray:
    return floats.embedding(ids, arrays["weight"])


def _run_float_norm(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return floats.norm(x, arrays["gain"], op.epsilon.value, int(op.groups.value))


def _run_float_linear(op: Any, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return floats.linear(x, arrays["weight"], arrays.get("bias"))


def _run_float_rope(op: Any, arrays: Arrays, x: np.ndarray, position: np.ndarray) -> np.ndarray:
    return floats.rope(x, position, arrays["frequencies"], int(op.heads.value), op.scale.value)


def _run_float_attention(op: Any, arrays: Arrays, query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> Value:
    return floats.attention(query, keys, values, int(op.heads.value), int(op.kv_heads.value), op.scale.value)


def _run_float_gated(op: Any, arrays: Arrays, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    return floats.gated(gate, up, op.activation.value)


def _run_float_add(op: Any, arrays: Arrays, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return floats.add(a, b)


def _bits(op: Any) -> int:
    meaning = fixed_of(op.operation.results[0].type)
    return meaning[0] if meaning else 0


def _exponent(value: ir.Value) -> int:
    meaning = fixed_of(value.type)
    return int(meaning[1]) if meaning else 0


_OPS: dict[str, Callable[..., Value]] = {
    "lut.quantize": _run_quantize,
    "lut.dequantize": _run_dequantize,
    "lut.linear": _run_linear,
    "lut.centroid_search": _run_search,
    "lut.stored_table": _run_stored_table,
    "lut.built_table": _run_built_table,
    "lut.built_row": _run_built_row,
    "lut.exact_row": _run_exact_row,
    "lut.table_lookup": _run_lookup,
    "lut.prefix_sum": _run_sum,
    "lut.requantize": _run_requantize,
    "lut.embedding": _run_embedding,
    "lut.rms_norm": _run_rms_norm,
    "lut.add": _run_add,
    "lut.rescale": _run_rescale,
    "lut.swiglu": _run_swiglu,
    "lut.last_token": _run_last_token,
    "lut.argmax": _run_argmax,
    "lut.rope": _run_rope,
    "lut.append": _run_append,
    "lut.attention": _run_attention,
    "lut.float_embedding": _run_float_embedding,
    "lut.float_norm": _run_float_norm,
    "lut.float_linear": _run_float_linear,
    "lut.float_rope": _run_float_rope,
    "lut.float_attention": _run_float_attention,
    "lut.float_gated": _run_float_gated,
    "lut.float_add": _run_float_add,
}
