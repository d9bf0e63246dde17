"""Every symbol a lut op uses, checked against the module that declares it: module in, located errors and a bool out.

Verifiers see one op at a time; this is the one walk that sees them all. Globals hold no data: they are
`ml_program.global` with `#ml_program.extern`, and the store has the data under the same name.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from lutllm.bindings import ir
from lutllm.dialect import parameters
from lutllm.dialect.accelerator import EngineOp, RegionOp, RoundOp
from lutllm.dialect.attributes import StoreAttr, fixed_of
from lutllm.dialect.base import Invalid, LutOp, expect, read, report
from lutllm.dialect.parameters import Parameter
from lutllm.dialect.tasks import AcceleratorOp, BufferOp, PlanOp, TaskOp

GLOBAL = "ml_program.global"
Table = dict[str, Any]


def verify_symbols(module: ir.Module) -> bool:
    """Whether every symbol used by a lut op exists and is what the op needs. The module itself must verify."""
    table = symbol_table(module)
    problems = 0
    for op in lut_ops(module):
        for check in (_check_parameters, _check_round, _check_plan, _check_task):
            try:
                check(op, table)
            except Invalid as problem:
                report(op, str(problem))
                problems += 1
    return _check_store_attribute(module) and _check_map(module) and problems == 0


def _check_map(module: ir.Module) -> bool:
    """Whether no two regions share a byte."""
    found = [op for op in lut_ops(module) if isinstance(op, RegionOp)]
    regions = sorted(((op.address.value, op.attributes["bytes"].value, op) for op in found), key=lambda r: r[:2])
    for (start, size, first), (begin, _, second) in itertools.pairwise(regions):
        if begin < start + size:
            wanted = f"expected address >= {start + size}, after region @{first.sym_name.value}"
            report(second, f"{wanted}, got {begin}; schedule it again")
            return False
    return True


def symbol_table(module: ir.Module) -> Table:
    """The module-level ops with a symbol name, by name."""
    table = {}
    for op in module.body.operations:
        name = read(op.operation.attributes, "sym_name")
        if isinstance(name, ir.StringAttr):
            table[name.value] = op
    return table


def lut_ops(module: ir.Module) -> list[Any]:
    """Every lut op of the module, in order."""
    found: list[Any] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        view = op.opview
        if isinstance(view, LutOp):
            found.append(view)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def op_parameters(op: LutOp) -> Iterator[Parameter]:
    """What an op needs of the store: the arrays its attributes name, and the exponents in encodings of its tensors."""
    own = op.parameters() if hasattr(op, "parameters") else []
    yield from own
    named = {p.symbol for p in own}
    for value in (*op.operation.operands, *op.operation.results):
        meaning = fixed_of(value.type)
        if meaning is not None and isinstance(meaning[1], str) and meaning[1] not in named:
            channels = value.type.shape[-1]
            yield Parameter("exponent", meaning[1], *parameters.exponents(channels // 2))


def _check_parameters(op: LutOp, table: Table) -> None:
    for p in op_parameters(op):
        check_global(p, table)


def check_global(p: Parameter, table: Table) -> None:
    """The symbol must be an external global of the parameter's type."""
    what = f"a {GLOBAL} @{p.symbol} for '{p.attribute}'"
    declare = f"declare it with #ml_program.extern : {p.type_text()}"
    op = table.get(p.symbol)
    if op is None:
        raise Invalid(f"expected {what}, got none; {declare}")
    expect(op.operation.name == GLOBAL, what, f"a '{op.operation.name}'", declare)
    got = op.attributes["type"].value
    expect(
        str(got) == p.type_text(),
        f"@{p.symbol} for '{p.attribute}' to be {p.type_text()}",
        got,
        "change the global, the scheme or the type of the op",
    )
    value = read(op.attributes, "value")
    extern = ir.Attribute.parse(f"#ml_program.extern : {got}", got.context)
    expect(value == extern, f"@{p.symbol} for '{p.attribute}' to be external", "a value in the IR", declare)


def _check_round(op: LutOp, table: Table) -> None:
    if not isinstance(op, RoundOp):
        return
    engine = _symbol(table, op.engine.value, "engine", EngineOp)
    for port in ("x", "c", "q", "y"):
        if port in op.attributes:
            _check_region(table, op.attributes[port].value, port)
    for region in op.w:
        _check_region(table, region.value, "w")
    ports = engine.weight_ports.value
    expect(len(op.w) == ports, f"{ports} entries in 'w' (weight_ports of the engine)", len(op.w), "change it")
    sources = [s.value for s in engine.row_sources]
    source = op.row_source.value
    expect(source in sources, f"a row_source of the engine, {', '.join(sources)}", f"'{source}'", "change either")
    _check_sizes(op, engine)


def _check_sizes(op: RoundOp, engine: EngineOp) -> None:
    """A round's sizes against what its engine holds."""
    tokens, chunks, groups = op.tokens.value, op.chunks.value, op.groups.value
    limits = (("tokens", tokens, "tokens"), ("tokens * chunks", tokens * chunks, "acc_words"))
    for name, got, limit in limits:
        most = engine.attributes[limit].value
        expect(got <= most, f"{name} <= {most} ({limit} of the engine)", got, "split the round or enlarge the engine")
    at_once = engine.pairs.value
    needed = -(-op.pairs.value // at_once)
    expect(groups == needed, f"groups = {needed} for {op.pairs.value} pairs, {at_once} at once", groups, "change it")
    room, block = op.block_chunks.value * engine.lanes.value, op.block_outputs.value
    expect(block <= room, f"block_outputs <= {room} (block_chunks * lanes)", block, "schedule it again")


def _check_plan(op: LutOp, table: Table) -> None:
    if isinstance(op, AcceleratorOp):
        _symbol(table, op.engine.value, "engine", EngineOp)
    if isinstance(op, PlanOp):
        most = _symbol(table, op.accelerator.value, "accelerator", AcceleratorOp).context.value
        wanted = f"context <= {most} (context of the accelerator)"
        expect(op.context.value <= most, wanted, op.context.value, "plan for a shorter context")


def _check_task(op: LutOp, table: Table) -> None:
    if not isinstance(op, TaskOp):
        return
    for attribute in ("reads", "writes"):
        for name in (symbol.value for symbol in op.attributes[attribute]):
            used = table.get(name)
            cache = isinstance(used, RegionOp) and used.kind.value in ("k", "v")
            wanted = f"a 'lut.buffer' or a KV cache named @{name} for '{attribute}'"
            got = "none" if used is None else f"a '{used.operation.name}'"
            expect(cache or isinstance(used, BufferOp), wanted, got, "name another")
    if "parameters" in op.attributes:
        _check_region(table, op.attributes["parameters"].value, "parameters", "p")
    if "round" in op.attributes:
        _symbol(table, op.attributes["round"].value, "round", RoundOp)


def _check_region(table: Table, name: str, attribute: str, kind: str | None = None) -> None:
    """`kind` is `attribute` where it is not given."""
    region, kind = _symbol(table, name, attribute, RegionOp), kind or attribute
    expect(
        region.kind.value == kind,
        f"region @{name} for '{attribute}' to be of kind '{kind}'",
        f"'{region.kind.value}'",
        "name another region",
    )


def _symbol(table: Table, name: str, attribute: str, kind: type[LutOp]) -> Any:
    wanted = f"a '{kind.OPERATION_NAME}' named @{name} for '{attribute}'"
    op = table.get(name)
    expect(op is not None, wanted, "none", "add it to the module")
    expect(isinstance(op, kind), wanted, f"a '{op.operation.name if op else ''}'", "name the right op")
    return op


def _check_store_attribute(module: ir.Module) -> bool:
    store = read(module.operation.attributes, "lut.store")
    if store is None:
        return True
    digest = ""
    if isinstance(store, StoreAttr):
        digest = ir.StringAttr(store.params[1].maybe_downcast()).value
    right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not right:
        report(
            module.operation,
            f'expected attribute \'lut.store\' to be #lut.store<"file", "64 lower-case hex digits">, got {store}; '
            "change it",
        )
    return right
