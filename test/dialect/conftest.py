"""Fixtures: a context, and a module in which every tensor op of the dialect occurs, made by the builders."""

import pytest

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.dialect import parameters
from lutllm.scheme import Scheme

VQ = Scheme(c_a=16, G=4, R=2)
EXACT = Scheme(kind="exact", c_a=0, S=0, G=4, R=2)
PAIRS, OUTPUTS = 5, 6


@pytest.fixture
def ctx() -> ir.Context:
    return dialect.context()


@pytest.fixture
def layers(ctx: ir.Context) -> ir.Module:
    module = ir.Module.create(ir.Location.unknown(ctx))
    blocks = VQ.blocks(OUTPUTS)
    specs = {
        "codes": parameters.codes(VQ, PAIRS, OUTPUTS),
        "weight_codebook": parameters.weight_codebook(VQ, PAIRS, blocks),
        "shifts": parameters.shifts(PAIRS),
        "multiplier": parameters.per_output(OUTPUTS),
        "bias": parameters.per_output(OUTPUTS),
        "tables": parameters.tables(VQ, PAIRS, blocks),
        "input.codebook": parameters.codebook(VQ, PAIRS),
        "input.exponents": parameters.exponents(PAIRS),
    }
    for name, (shape, dtype) in specs.items():
        dialect.declare(module, f"q.{name}", shape, dtype)
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        floats = ir.Type.parse(f"tensor<2x?x{2 * PAIRS}xf32>")
        func.FuncOp.from_py_func(floats, name="main")(_body)
    return module


def _body(x: ir.Value) -> list[ir.Value]:
    weights = {"weight_codebook": "q.weight_codebook", "shifts": "q.shifts"}
    book = {"codebook": "q.input.codebook"}
    end = {"multiplier": "q.multiplier", "bias": "q.bias", "shift": 20, "out_exponent": -6}
    x = dialect.quantize(x, exponents="q.input.exponents")
    indices = dialect.centroid_search(x, scheme=VQ, **book)
    rows = [
        dialect.stored_table(indices, scheme=VQ, tables="q.tables", shifts="q.shifts"),
        dialect.built_table(indices, scheme=VQ, **book, **weights),
        dialect.built_row(indices, scheme=VQ, **book, **weights),
    ]
    terms = [dialect.table_lookup(row, scheme=VQ, codes="q.codes") for row in rows]
    exact = dialect.exact_row(x, scheme=EXACT, **weights)
    terms.append(dialect.table_lookup(exact, scheme=EXACT, codes="q.codes"))
    sums = [dialect.prefix_sum(term) for term in terms]
    sums.append(dialect.prefix_sum(terms[0], sums[0]))
    outputs = [dialect.requantize(acc, **end) for acc in sums]
    outputs.append(dialect.linear(x, scheme=VQ, codes="q.codes", **book, **weights, **end))
    return [dialect.dequantize(y) for y in outputs]
