"""Builders of machine, space and time: plain data in, the op at the current insertion point out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lutllm.bindings import ir
from lutllm.dialect.attributes import i64, symbol
from lutllm.dialect.machines.tasks import TokenType


def module_op(op: str, name: str, integers: Mapping[str, int], **attributes: ir.Attribute) -> ir.OpView:
    """The op `lut.op` with a symbol name."""
    everything = {"sym_name": ir.StringAttr.get(name)} | {k: i64(v) for k, v in integers.items()} | attributes
    return ir.Operation.create(f"lut.{op}", attributes=everything).opview


@contextmanager
def machine(name: str, *, engines: Sequence[str], modes: Sequence[str] = (), **sizes: int) -> Iterator[ir.OpView]:
    """A `lut.machine`; `sizes` are its integer attributes. What is built inside the `with` stands in it."""
    attributes: dict[str, Any] = {"sym_name": ir.StringAttr.get(name), "engines": strings(engines)}
    attributes |= {"modes": strings(modes)} if modes else {}
    attributes |= {key: i64(value) for key, value in sizes.items()}
    op = ir.Operation.create("lut.machine", attributes=attributes, regions=1)
    with ir.InsertionPoint(op.regions[0].blocks.append()):
        yield op.opview


def linear_engine(*, metric: str, row_sources: Sequence[str], port_bits: Mapping[str, int], **sizes: int) -> ir.OpView:
    """A `lut.linear_engine`; `sizes` are its remaining integer attributes, all required."""
    attributes: dict[str, Any] = {key: i64(value) for key, value in sizes.items()}
    attributes |= {"metric": ir.StringAttr.get(metric), "row_sources": strings(row_sources)}
    attributes["port_bits"] = ir.DictAttr.get({port: i64(bits) for port, bits in port_bits.items()})
    return ir.Operation.create("lut.linear_engine", attributes=attributes).opview


def memory(name: str, words: int) -> ir.OpView:
    return module_op("memory", name, {"words": words})


def clocks(**integers: int) -> ir.OpView:
    return ir.Operation.create("lut.clocks", attributes={key: i64(value) for key, value in integers.items()}).opview


def fifo(name: str, depth: int) -> ir.OpView:
    return module_op("fifo", name, {"depth": depth})


def layout(name: str, **integers: int) -> ir.OpView:
    """A `lut.layout`; all attributes are integers."""
    return module_op("layout", name, integers)


def buffer(name: str, *, memory: str, base: int, words: int, size: int) -> ir.OpView:
    integers = {"base": base, "words": words, "size": size}
    return module_op("buffer", name, integers, memory=ir.StringAttr.get(memory))


def region(name: str, *, kind: str, address: int, size: int) -> ir.OpView:
    """A `lut.region` of `size` bytes."""
    return module_op("region", name, {"address": address, "bytes": size}, kind=ir.StringAttr.get(kind))


def round_(name: str, *, first: int, outputs: int, c: str, q: str, w: Sequence[str]) -> ir.OpView:
    regions: dict[str, Any] = {"c": symbol(c), "q": symbol(q), "w": ir.ArrayAttr.get([symbol(r) for r in w])}
    return module_op("round", name, {"first": first, "outputs": outputs}, **regions)


@contextmanager
def cluster(label: str, engines: Sequence[str], type_: ir.Type) -> Iterator[ir.OpView]:
    """A `lut.cluster` with a result of `type_`; what is built inside the `with` stands in it, `yield_` last."""
    attributes = {"label": ir.StringAttr.get(label), "engines": strings(engines)}
    op = ir.Operation.create("lut.cluster", results=[type_], attributes=attributes, regions=1)
    with ir.InsertionPoint(op.regions[0].blocks.append()):
        yield op.opview


def yield_(value: ir.Value) -> ir.OpView:
    return ir.Operation.create("lut.yield", operands=[value]).opview


def task(
    of: ir.Value, engine: str, after: Sequence[ir.Value] = (), *, round: int | None = None, **symbols: str
) -> ir.Value:
    """A `lut.task`; returns its token."""
    attributes: dict[str, Any] = {"engine": ir.StringAttr.get(engine)}
    attributes |= {} if round is None else {"round": i64(round)}
    attributes |= {key: symbol(name) for key, name in symbols.items()}
    return ir.Operation.create(
        "lut.task", results=[TokenType.get()], operands=[of, *after], attributes=attributes
    ).result


def strings(values: Sequence[str]) -> ir.ArrayAttr:
    return ir.ArrayAttr.get([ir.StringAttr.get(value) for value in values])
