"""`run` executes lut modules: whole linears, decomposed ones, and every row source; other IR is a located error."""

from dataclasses import replace

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import func, ir
from lutllm.errors import IRError, LutllmError, NumericsError
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import ADDITIVE, EXACT, PAPER, QuantizedLinear

PAIRS, OUTPUTS, TOKENS = 7, 13, 4
SCHEME = "s"
SCHEMES = {"paper": replace(PAPER, G=5), "additive": replace(ADDITIVE, G=5, metric="l2"), "exact": replace(EXACT, G=5)}
CASES = [(name, source) for name, scheme in SCHEMES.items() for source in ("linear", *scheme.row_sources)]


def _quantized(name: str) -> QuantizedLinear:
    return random_linear(2 * PAIRS, OUTPUTS, SCHEMES[name], seed=5, name="q", tables=True)


def _body(q: QuantizedLinear, x: ir.Value, source: str) -> ir.Value:
    """A linear as one op, or taken apart with the given row source."""
    named, end = {"scheme": SCHEME, "weights": "q"}, {"shift": q.shift, "out_exponent": q.out_exponent}
    book = {} if q.codebook is None else {"codebook": "q.input.codebook"}
    if source == "linear":
        return dialect.linear(x, **named, **book, **end)
    if source == "exact_row":
        rows = dialect.exact_row(x, **named)
    else:
        indices = dialect.centroid_search(x, scheme=SCHEME, **book)
        rows = getattr(dialect, source)(indices, **named, **({} if source == "stored_table" else book))
    acc = dialect.prefix_sum(dialect.table_lookup(rows, **named))
    return dialect.requantize(acc, weights="q", out_bits=q.scheme.out_bits, **end)


def _module(q: QuantizedLinear, source: str, leading: str = "?") -> ir.Module:
    ctx = dialect.context()
    module = ir.Module.create(ir.Location.unknown(ctx))
    for name, array in q.tensors().items():
        dialect.declare(module, name, array.shape, array.dtype)
    dialect.declare_scheme(module, q.scheme, SCHEME)

    def body(x: ir.Value) -> list[ir.Value]:
        x = dialect.quantize(x, exponents="q.input.exponents")
        y = _body(q, x, source)
        return [x, y, dialect.dequantize(y)]

    with ctx, ir.Location.file("model.py", 7, 1), ir.InsertionPoint(module.body):
        func.FuncOp.from_py_func(ir.Type.parse(f"tensor<{leading}x{2 * PAIRS}xf32>"), name="main")(body)
    assert dialect.verify(module)
    return module


def _floats(q: QuantizedLinear, *leading: int) -> np.ndarray:
    scale = np.exp2(15.0 + np.repeat(q.exponents.astype(float), 2))
    return (np.random.default_rng(0).uniform(-1.1, 1.1, (*leading, 2 * PAIRS)) * scale).astype(np.float32)


@pytest.mark.parametrize(("name", "source"), CASES)
def test_every_form_gives_the_integers_of_linear(name: str, source: str) -> None:
    q = _quantized(name)
    x_float = _floats(q, TOKENS)
    x, y, y_float = interpreter.run(_module(q, source), [x_float], q.tensors())
    wanted = np.clip(np.floor(x_float / np.exp2(np.repeat(q.exponents.astype(float), 2)) + 0.5), -32768, 32767)
    np.testing.assert_array_equal(x, wanted)
    assert {-32768, 32767} <= set(x.ravel().tolist())
    np.testing.assert_array_equal(y, interpreter.linear(q, x))
    assert y_float.dtype == np.float32
    np.testing.assert_array_equal(y_float, (y * 2.0**q.out_exponent).astype(np.float32))


def test_any_number_of_leading_dimensions() -> None:
    q = _quantized("additive")
    x_float = _floats(q, 2, 3)
    _, y, _ = interpreter.run(_module(q, "built_row", "2x?"), [x_float], q.tensors())
    _, flat, _ = interpreter.run(_module(q, "linear"), [x_float.reshape(6, -1)], q.tensors())
    np.testing.assert_array_equal(y, flat.reshape(2, 3, OUTPUTS))


def test_trace_sees_every_op_and_terms_stay_lazy() -> None:
    q = _quantized("paper")
    seen: dict[str, object] = {}
    interpreter.run(
        _module(q, "stored_table"),
        [_floats(q, TOKENS)],
        q.tensors(),
        trace=lambda op, value: seen.__setitem__(op.operation.name, value),
    )
    names = ("quantize", "centroid_search", "stored_table", "table_lookup", "prefix_sum", "requantize", "dequantize")
    assert list(seen) == [f"lut.{name}" for name in names]
    terms = seen["lut.table_lookup"]
    assert isinstance(terms, interpreter.Terms)
    assert terms.shape == (TOKENS, PAIRS, OUTPUTS)
    np.testing.assert_array_equal(terms.array().sum(axis=1), seen["lut.prefix_sum"])


TERMS = """
func.func @terms(%rows: tensor<?x1x1x1x16xi32>) -> tensor<?x1x2xi32> {
  %0 = "lut.table_lookup"(%rows) {scheme = @s, weights = @q} : (tensor<?x1x1x1x16xi32>) -> tensor<?x1x2xi32>
  return %0 : tensor<?x1x2xi32>
}
func.func @sum(%terms: tensor<?x2x3xi32>, %partial: tensor<?x3xi32>) -> tensor<?x3xi32> {
  %0 = "lut.prefix_sum"(%terms, %partial) : (tensor<?x2x3xi32>, tensor<?x3xi32>) -> tensor<?x3xi32>
  return %0 : tensor<?x3xi32>
}
func.func @other(%a: tensor<?x3xi32>) -> tensor<?x3xi32> {
  %0 = arith.addi %a, %a : tensor<?x3xi32>
  return %0 : tensor<?x3xi32>
}
func.func private @outside(tensor<?x3xi32>)
func.func @scalar(%a: i32) -> i32 {
  return %a : i32
}
func.func @two_blocks() {
  cf.br ^end
^end:
  return
}
"""


@pytest.fixture
def small() -> ir.Module:
    scheme = ir.Module.create(ir.Location.unknown(ctx := dialect.context()))
    dialect.declare_scheme(scheme, PAPER, SCHEME)
    return ir.Module.parse(TERMS + str(scheme.body.operations[0]), ctx)


def test_terms_are_made_where_a_function_returns_them(small: ir.Module) -> None:
    rows = np.arange(32).reshape(2, 1, 1, 1, 16)
    codes = np.array([[[3, 15]]], np.uint8)
    (terms,) = interpreter.run(small, [rows], {"q.codes": codes}, function="terms")
    assert terms.tolist() == [[[3, 15]], [[19, 31]]]


def test_sum_with_a_partial_sum(small: ir.Module) -> None:
    terms, partial = np.arange(6).reshape(1, 2, 3), np.array([[10, 20, 30]])
    (acc,) = interpreter.run(small, [terms, partial], {}, function="sum")
    assert acc.tolist() == [[13, 25, 37]]


ERRORS: dict[str, tuple[str | None, list[np.ndarray], str]] = {
    "foreign op": (
        "other",
        [np.zeros((1, 3), int)],
        "-:11:8: error: expected a lut op on tensors or 'func.return', got 'arith.addi'; lower or remove it",
    ),
    "missing array": (
        "terms",
        [np.zeros((1, 1, 1, 1, 16), int)],
        r"-:3:8: error: expected 'q\.codes' \[1, 1, 2\] in the store",
    ),
    "no function": ("nowhere", [], "expected a function @nowhere with a body, got @terms, @sum, @other"),
    "declaration": ("outside", [], "expected a function @outside with a body, got @terms, @sum, @other"),
    "which function": (None, [], "expected one function with a body, got @terms, @sum, @other"),
    "blocks": ("two_blocks", [], "expected one block in @two_blocks, got several"),
    "count": ("sum", [], "expected 2 inputs, got 0; give one array for each argument"),
    "shape": ("other", [np.zeros((1, 4), int)], r"input 0: expected tensor<\?x3xi32>, got an array \[1, 4\]"),
    "rank": ("other", [np.zeros(3, int)], r"input 0: expected tensor<\?x3xi32>, got an array \[3\]"),
    "floats": ("other", [np.zeros((1, 3))], r"input 0: expected integers for tensor<\?x3xi32>, got float64"),
    "width": ("other", [np.full((1, 3), 2**31)], r"input 0 \[0, 0\] must fit 32 signed bits, got 2147483648"),
    "scalar": ("scalar", [np.zeros(())], "expected a tensor argument, got i32"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_run_is_an_error(small: ir.Module, name: str) -> None:
    function, inputs, message = ERRORS[name]
    with pytest.raises(LutllmError, match=message):
        interpreter.run(small, inputs, {}, function=function)


def test_a_number_that_does_not_fit_is_located_at_its_op() -> None:
    q = _quantized("additive")
    q.codes[0, 0, 0] = 200
    with pytest.raises(NumericsError, match=r"^model.py:7:1: error: expected weight codes in 0..15, got 0..200"):
        interpreter.run(_module(q, "built_row"), [_floats(q, 1)], q.tensors())


def test_stored_tables_are_checked_in_a_module_too() -> None:
    q = _quantized("paper")
    narrow = q.tensors()
    q.scheme = q.scheme.with_(table_bits=4)
    with pytest.raises(NumericsError, match=r"^model.py:7:1: error: stored table entry .* must fit 4 signed bits"):
        interpreter.run(_module(q, "stored_table"), [_floats(q, 1)], narrow)


def test_an_array_of_another_shape_is_located_at_its_op() -> None:
    q = _quantized("exact")
    store = q.tensors() | {"q.bias": np.zeros(3, np.int32)}
    with pytest.raises(IRError, match=r"^model.py:7:1: error: expected 'q.bias' \[13\] in the store .* got \[3\]"):
        interpreter.run(_module(q, "exact_row"), [_floats(q, 1)], store)


def test_nan_is_an_error_and_infinity_saturates() -> None:
    q = _quantized("exact")
    x = _floats(q, 1)
    x[0, 0], x[0, 1] = np.inf, -np.inf
    integers, _, _ = interpreter.run(_module(q, "linear"), [x], q.tensors())
    assert integers[0, :2].tolist() == [32767, -32768]
    x[0, 2] = np.nan
    with pytest.raises(NumericsError, match=r"'lut.quantize' op expected numbers, got NaN"):
        interpreter.run(_module(q, "linear"), [x], q.tensors())
