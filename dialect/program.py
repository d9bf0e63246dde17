"""Builders of the accelerator form: plain data in, the op at the current insertion point out."""

from collections.abc import Sequence

from lutllm.bindings import ir
from lutllm.dialect.attributes import i64, symbol


def engine(name: str, *, metric: str, row_sources: Sequence[str], port_bits: dict[str, int], **sizes: int) -> ir.OpView:
    """A `lut.engine`; `sizes` are its remaining integer attributes, all required."""
    return module_op(
        "engine",
        name,
        sizes,
        metric=ir.StringAttr.get(metric),
        row_sources=ir.ArrayAttr.get([ir.StringAttr.get(source) for source in row_sources]),
        port_bits=ir.DictAttr.get({port: i64(bits) for port, bits in port_bits.items()}),
    )


def region(name: str, *, address: int, size: int, kind: str, port: int, source: str) -> ir.OpView:
    """A `lut.region` of `size` bytes."""
    integers = {"address": address, "bytes": size, "port": port}
    return module_op("region", name, integers, kind=ir.StringAttr.get(kind), source=ir.StringAttr.get(source))


def round_(
    name: str,
    *,
    engine: str,
    linear: str,
    row_source: str,
    q: str,
    w: Sequence[str],
    c: str,
    x: str = "",
    y: str = "",
    **sizes: int,
) -> ir.OpView:
    """A `lut.round` over the regions named; `sizes` are its remaining integer attributes, all required. Without x and
    y its inputs and outputs are on-chip streams."""
    regions = {port: name for port, name in {"x": x, "c": c, "q": q, "y": y}.items() if name}
    return module_op(
        "round",
        name,
        sizes,
        engine=symbol(engine),
        linear=ir.StringAttr.get(linear),
        row_source=ir.StringAttr.get(row_source),
        w=ir.ArrayAttr.get([symbol(r) for r in w]),
        **{port: symbol(r) for port, r in regions.items()},
    )


def module_op(op: str, name: str, integers: dict[str, int], **attributes: ir.Attribute) -> ir.OpView:
    """The op `lut.op` with a symbol name; builders give it what it needs."""
    everything = {"sym_name": ir.StringAttr.get(name)} | {k: i64(v) for k, v in integers.items()} | attributes
    return ir.Operation.create(f"lut.{op}", attributes=everything).opview
