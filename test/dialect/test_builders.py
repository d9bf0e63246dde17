"""Builders infer the result types the verifiers ask for, and take sizes from the globals around them."""

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.dialect.machines import builders as build
from lutllm.errors import IRError
from lutllm.scheme import Scheme

# The ops of machine, places and time.
PLACED = {
    getattr(dialect, f"{name}Op")
    for name in (
        "Machine",
        "LinearEngine",
        "Memory",
        "Fifo",
        "Cluster",
        "Yield",
        "Layout",
        "Buffer",
        "Region",
        "Round",
        "Task",
        "Clocks",
    )
}
VQ = Scheme(c_a=300, S=2, G=4, R=3, out_bits=20)


def test_modules_made_by_builders_verify_and_round_trip(
    layers: ir.Module, decoder: ir.Module, floats: ir.Module
) -> None:
    for module in (layers, decoder, floats):
        assert dialect.verify(module)
        again = ir.Module.parse(str(module), module.context)
        assert str(again) == str(module)
    used = {type(op) for module in (layers, decoder, floats) for op in dialect.lut_ops(module)}
    assert used == set(dialect.Lut.operations) - PLACED


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


def test_declare_refuses_another_type_and_one_it_has_not(ctx: ir.Context) -> None:
    module = ir.Module.create(ir.Location.unknown(ctx))
    dialect.declare(module, "q.a", (2, 3), "int8")
    with pytest.raises(IRError, match="use another name"):
        dialect.declare(module, "q.a", (3, 2), "int8")
    with pytest.raises(IRError, match=r"expected dtype uint8, int8, int16, int32, .*got complex64; convert the array"):
        dialect.declare(module, "q.f", (3, 2), "complex64")


def test_builders_of_machine_places_and_time(ctx: ir.Context) -> None:
    module = ir.Module.create(ir.Location.unknown(ctx))
    sizes = dict.fromkeys(("tokens", "acc_words", "weight_ports"), 1)
    sizes |= {
        "pairs": 2,
        "lanes": 4,
        "requant_lanes": 4,
        "centroids": 16,
        "chains": 2,
        "act_stages": 1,
        "row_entries": 16,
        "row_writes": 16,
        "sum_chains": 1,
        "operand_bits": 16,
        "weight_bits": 8,
    }
    sizes |= {"table_bits": 8, "term_bits": 24, "acc_bits": 32, "bias_bits": 32, "out_bits": 24}
    sizes |= {"burst_beats": 16, "outstanding": 1}
    limits = dict(kv_bits=64, attention_units=1, attention_ways=1, attention_rows=1, attention_ports=1) | dict.fromkeys(
        (
            "context",
            "score_words",
            "item_words",
            "head_words",
            "watchdog",
            "latency",
        ),
        64,
    )
    dialect.declare(module, "q.exponents", (4,), "int8")
    type_ = ir.Type.parse("tensor<?x8xi16, #lut.fixed<16, @q.exponents>>", ctx)
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        with build.machine("m", engines=["linear", "load"], head_lanes=8, memory_bytes=4096, **limits):
            ports = dict.fromkeys("wcq", 64)
            build.linear_engine(metric="l2", row_sources=["built_row"], port_bits=ports, codes_depth=2, **sizes)
            build.memory("x", 8)
            build.fifo("read_w", 16)
            build.clocks(core_mhz=250, memory_mhz=400, bus_bits=256)
        build.layout("c8", channels=8, unit=1, unit_size=1, interleaved=0, block=8, pad=8, repeat=0)
        build.buffer("x0", memory="x", base=0, words=2, size=8)
        for i, kind in enumerate("wcq"):
            build.region(kind, address=64 * i, size=64, kind=kind)
        build.round_("r", first=0, outputs=8, c="c", q="q", w=["w"])
        func.FuncOp.from_py_func(type_, name="prefill")(_placed)
    assert dialect.verify(module)
    assert dialect.verify(ir.Module.parse(str(module), ctx))
    assert {type(op) for op in dialect.lut_ops(module)} == PLACED


def _placed(x: ir.Value) -> ir.Value:
    with build.cluster("x", ["load"], x.type) as op:
        build.yield_(x)
    token = build.task(op.operation.result, "load")
    build.task(op.operation.result, "feed", [token], round=0)
    return op.operation.result
