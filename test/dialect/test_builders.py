"""Builders infer the result types the verifiers ask for, and take sizes from the globals around them."""

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.errors import IRError
from lutllm.scheme import Scheme

VQ = Scheme(c_a=300, S=2, G=4, R=3, out_bits=20)


def test_modules_made_by_builders_verify_and_round_trip(
    layers: ir.Module, decoder: ir.Module, floats: ir.Module
) -> None:
    for module in (layers, decoder, floats):
        assert dialect.verify(module)
        again = ir.Module.parse(str(module), module.context)
        assert str(again) == str(module)
    used = {type(op) for module in (layers, decoder, floats) for op in dialect.lut_ops(module)}
    accelerator = {dialect.EngineOp, dialect.RegionOp, dialect.RoundOp}
    accelerator |= {dialect.AcceleratorOp, dialect.PlanOp, dialect.BufferOp, dialect.TaskOp}
    assert used == set(dialect.Lut.operations) - accelerator


def test_inferred_types(ctx: ir.Context) -> None:
    seen = []

    def body(x: ir.Value) -> None:
        x = dialect.quantize(x, exponents="e", bits=12)
        indices = dialect.centroid_search(x, scheme="vq300x2", codebook="a")
        rows = dialect.stored_table(indices, scheme="vq300x2", weights="w", blocks=2)
        terms = dialect.table_lookup(rows, scheme="vq300x2", weights="w", outputs=7)
        acc = dialect.prefix_sum(terms)
        y = dialect.requantize(acc, weights="w", shift=3, out_exponent=-5, out_bits=20)
        seen.extend(str(v.type) for v in (x, indices, rows, terms, acc, y))

    module = ir.Module.create(ir.Location.unknown(ctx))
    assert dialect.declare_scheme(module, VQ) == "vq300x2"
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        func.FuncOp.from_py_func(ir.Type.parse("tensor<3x?x10xf32>"), name="f")(body)
    assert seen == [
        "tensor<3x?x10xi16, #lut.fixed<12 : i64, @e>>",
        "tensor<3x?x5x2xi16>",
        "tensor<3x?x5x2x3x16xi32>",
        "tensor<3x?x5x7xi32>",
        "tensor<3x?x7xi32>",
        "tensor<3x?x7xi32, #lut.fixed<20 : i64, -5 : i64>>",
    ]


def test_an_unknown_size_is_an_error(ctx: ir.Context) -> None:
    def body(rows: ir.Value) -> ir.Value:
        return dialect.table_lookup(rows, scheme="vq300x2", weights="q")

    module = ir.Module.create(ir.Location.unknown(ctx))
    message = "@q.codes: expected a global that shows its size, got none; declare it first or give outputs="
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body), pytest.raises(IRError, match=message):
        func.FuncOp.from_py_func(ir.Type.parse("tensor<3x5x2x3x16xi32>"), name="f")(body)


@pytest.mark.parametrize(
    ("dtype", "element"), [("uint8", "i8"), (np.int8, "i8"), (np.dtype("i2"), "i16"), ("int32", "i32")]
)
def test_declare(ctx: ir.Context, dtype: object, element: str) -> None:
    module = ir.Module.create(ir.Location.unknown(ctx))
    first = dialect.declare(module, "q.a", (2, 3), dtype)  # type: ignore[arg-type]
    dialect.declare(module, "q.b", (2,), "int8")
    assert dialect.declare(module, "q.a", (2, 3), dtype) == first  # type: ignore[arg-type]
    names = [op.attributes["sym_name"].value for op in module.body.operations]
    assert names == ["q.a", "q.b"]
    assert str(first).endswith(f": tensor<2x3x{element}>")
    assert module.operation.verify()


def test_declare_refuses_another_type_and_floats(ctx: ir.Context) -> None:
    module = ir.Module.create(ir.Location.unknown(ctx))
    dialect.declare(module, "q.a", (2, 3), "int8")
    with pytest.raises(IRError, match="use another name"):
        dialect.declare(module, "q.a", (3, 2), "int8")
    with pytest.raises(IRError, match="expected dtype uint8, int8, int16, int32, got float32; convert the array"):
        dialect.declare(module, "q.f", (3, 2), "float32")


def test_accelerator_builders(ctx: ir.Context) -> None:
    module = ir.Module.create(ir.Location.unknown(ctx))
    limits = dict.fromkeys(("pairs", "lanes", "requant_lanes", "tokens", "acc_words", "weight_ports"), 1)
    limits |= {"centroids": 16, "chains": 2, "act_stages": 1, "row_entries": 16, "operand_bits": 16, "weight_bits": 8}
    limits |= {"table_bits": 8, "term_bits": 24, "acc_bits": 32, "out_bits": 24}
    limits |= {"burst_beats": 16, "outstanding": 1, "codes_depth": 2}
    ports = dict.fromkeys("wxcqy", 64)
    names = ("token_offset", "output_offset", "shift")
    sizes = dict.fromkeys(names, 0) | dict.fromkeys(
        ("tokens", "outputs", "stages", "blocks", "chunks", "block_chunks", "block_outputs"), 1
    )
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        dialect.engine("e", metric="l2", row_sources=["built_row"], port_bits=ports, **limits)
        for i, kind in enumerate("wxcqy"):
            dialect.region(kind, address=64 * i, size=64, kind=kind, port=0, source="q")
        regions = {"x": "x", "c": "c", "q": "q", "y": "y"}
        dialect.round_(
            "r", engine="e", linear="q", row_source="built_row", w=["w"], pairs=9, groups=9, **regions, **sizes
        )
    assert dialect.verify(module)
    assert dialect.verify(ir.Module.parse(str(module), ctx))
