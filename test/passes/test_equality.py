"""Passes change no integer: the interpreter gives the same before and after each, over random schemes and shapes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm import dialect, interpreter
from lutllm.bindings import func, ir
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import QuantizedLinear, Scheme

OTHER = ("lut-canonicalize", "cse", "canonicalize", "lut-symbol-dce", "func.func(lut-canonicalize,cse)")


@st.composite
def linears(draw: st.DrawFn) -> QuantizedLinear:
    kind = draw(st.sampled_from(("vq", "exact")))
    centroids, stages = draw(st.integers(1, 20)), draw(st.integers(1, 2))
    scheme = Scheme(
        kind=kind,
        c_w=draw(st.integers(2, 16)),
        G=draw(st.integers(1, 9)),
        R=draw(st.integers(1, 3)),
        metric=draw(st.sampled_from(("l2", "chebyshev"))),
        c_a=centroids if kind == "vq" else 0,
        S=stages if kind == "vq" else 0,
    )
    pairs, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 11))
    return random_linear(2 * pairs, outputs, scheme, draw(st.integers(0, 99)), name="q", tables=kind == "vq")


def build(q: QuantizedLinear, row_source: str | None) -> ir.Module:
    """A function from integers to integers: the linear twice, so that there is something to merge, and once unused."""
    context = dialect.context()
    module = ir.Module.create(ir.Location.unknown(context))
    for name, array in q.tensors().items():
        dialect.declare(module, name, array.shape, array.dtype)
    named: dict[str, Any] = {"scheme": dialect.declare_scheme(module, q.scheme), "weights": "q"}
    if q.codebook is not None:
        named |= {"codebook": f"{q.input_name}.codebook", "tables": True}

    def body(x: ir.Value) -> list[ir.Value]:
        def linear(source: str | None) -> ir.Value:
            choice = {"shift": q.shift, "out_exponent": q.out_exponent, "row_source": source}
            return dialect.linear(x, **named, **choice)

        results = [linear(row_source), linear(None)]
        linear(row_source)
        return results

    with context, ir.Location.unknown(), ir.InsertionPoint(module.body):
        encoding = dialect.fixed(q.scheme.x_bits, f"{q.input_name}.exponents")
        x = ir.RankedTensorType.get([ir.ShapedType.get_dynamic_size(), 2 * q.pairs], ir.Type.parse("i16"), encoding)
        func.FuncOp.from_py_func(x, name="main")(body)
    assert dialect.verify(module)
    return module


@settings(max_examples=40)
@given(linears(), st.data())
def test_passes_keep_every_integer(q: QuantizedLinear, data: st.DataObject) -> None:
    sources = q.scheme.row_sources
    own = data.draw(st.sampled_from((None, *sources)))
    module = build(q, own)
    if own not in (None, "stored_table"):
        sources = tuple(s for s in sources if s != "stored_table")  # lut-canonicalize may have dropped the tables
    limit = 1 << (q.scheme.x_bits - 1)
    x = np.random.default_rng(q.pairs).integers(-limit, limit, (3, 2 * q.pairs)).astype(np.int16)
    before = interpreter.run(module, [x], q.tensors())
    chosen = data.draw(st.sampled_from(("lut-decompose", *(f"lut-decompose{{row-source={s}}}" for s in sources))))
    steps = data.draw(st.permutations([*data.draw(st.lists(st.sampled_from(OTHER), max_size=4)), chosen]))
    run_pipeline(module, f"builtin.module({','.join(steps)})")
    assert "lut.linear" not in str(module)
    after = interpreter.run(module, [x], q.tensors())
    assert len(before) == len(after) == 2
    assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("row_source", ["stored_table", "built_table", "built_row"])
def test_a_wrong_row_source_would_be_seen(row_source: str) -> None:
    """The comparison above can fail: another table of weights gives other integers."""
    q = random_linear(6, 5, Scheme(c_a=8, G=3), 1, name="q", tables=True)
    module = build(q, row_source)
    x = np.arange(-9, 9, dtype=np.int16).reshape(3, 6) * 3000
    before = interpreter.run(module, [x], q.tensors())
    run_pipeline(module, "builtin.module(lut-decompose)")
    store = {**q.tensors(), "q.codes": (q.codes + 1) % q.scheme.c_w}
    assert not np.array_equal(before[0], interpreter.run(module, [x], store)[0])
