"""Every symbol a lut op uses, checked against the module that declares it: module in, located errors and a bool out.

Verifiers see one op at a time; this is the one walk that sees them all. Globals hold no data: they are
`ml_program.global` with `#ml_program.extern`, and the store has the data under the same name.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from lutllm.bindings import ir, ops_below
from lutllm.dialect.attributes import StoreAttr, fixed_of
from lutllm.dialect.base import Invalid, LutOp, elements, expect, read, report
from lutllm.dialect.floats.ops import FloatOp
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.machines.placement import BufferOp, ClusterOp, LayoutOp, RegionOp, RoundOp
from lutllm.dialect.machines.tasks import TaskOp

GLOBAL = "ml_program.global"
ARGUMENT_REGION = "lut.region"  # on an argument of a function: where that KV cache lies
Table = dict[str, Any]


def verify_symbols(module: ir.Module) -> bool:
    """Whether every symbol used by a lut op exists and is what the op needs. The module itself must verify."""
    table = symbol_table(module)
    problems = 0
    for op in lut_ops(module):
        for check in (_check_parameters, _check_named):
            try:
                check(op, table)
            except Invalid as problem:
                report(op, str(problem))
                problems += 1
    checks = (_check_store_attribute, _check_arguments, _check_map, _check_names)
    return all(check(module) for check in checks) and problems == 0


def _check_arguments(module: ir.Module) -> bool:
    """Whether `lut.region` on an argument of a function names the region of a KV cache."""
    table = symbol_table(module)
    for function in (op for op in module.body.operations if op.operation.name == "func.func"):
        arguments = read(function.operation.attributes, "arg_attrs")
        for entry in elements(arguments) if isinstance(arguments, ir.ArrayAttr) else ():
            region = read(entry, ARGUMENT_REGION) if ARGUMENT_REGION in entry else None
            try:
                if region is not None:
                    symbol = isinstance(region, ir.FlatSymbolRefAttr)
                    expect(symbol, f"attribute '{ARGUMENT_REGION}' to be a symbol @name", region, "change it")
                    _check_region(table, region.value, ARGUMENT_REGION, "k", "v")
            except Invalid as problem:
                report(function.operation, str(problem))
                return False
    return True


def _check_names(module: ir.Module) -> bool:
    """Whether no two float ops of a function have one name: their constants are found by it."""
    seen: set[tuple[ir.Operation, str]] = set()
    for op in lut_ops(module):
        if not isinstance(op, FloatOp):
            continue
        name = op.attributes["name"].value
        if (op.operation.parent, name) in seen:
            report(op, f"expected a name that no other op of the function has, got '{name}' again; add #1 to it")
            return False
        seen.add((op.operation.parent, name))
    return True


def _check_map(module: ir.Module) -> bool:
    """Whether no two regions share a byte."""
    found = [op for op in lut_ops(module) if isinstance(op, RegionOp)]
    regions = sorted(((op.address.value, op.attributes["bytes"].value, op) for op in found), key=lambda r: r[:2])
    for (start, size, first), (begin, _, second) in itertools.pairwise(regions):
        if begin < start + size:
            wanted = f"expected address >= {start + size}, after region @{first.sym_name.value}"
            report(second, f"{wanted}, got {begin}; allocate again")
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
    return [view for op in ops_below(module.operation) if isinstance(view := op.opview, LutOp)]


def op_parameters(op: LutOp) -> Iterator[Parameter]:
    """What an op needs of the store: the arrays its attributes name, and the exponents in encodings of its tensors."""
    yield from op.parameters() if hasattr(op, "parameters") else ()
    for name, text in op.TYPES.items():
        value: Any = getattr(op, name) if text.startswith("tensor") else None
        meaning = None if value is None else fixed_of(value.type)
        if meaning is not None and isinstance(meaning[1], str):
            yield Parameter(f"{name}.exponents", meaning[1], *parameters.exponents(value.type.shape[-1] // 2))


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
        parameters.matches(p.type_text(), str(got)),
        f"@{p.symbol} for '{p.attribute}' to be {p.type_text()}",
        got,
        "change the global, the scheme or the type of the op",
    )
    value = read(op.attributes, "value")
    extern = ir.Attribute.parse(f"#ml_program.extern : {got}", got.context)
    expect(value == extern, f"@{p.symbol} for '{p.attribute}' to be external", "a value in the IR", declare)


# What attributes must name: the class of the op, and for regions their kinds.
_NAMED: dict[type, dict[str, tuple[Any, ...]]] = {
    RoundOp: {port: (RegionOp, port) for port in "cqw"},
    ClusterOp: {
        "layout": (LayoutOp,), "buffer": (BufferOp,), "parameters": (RegionOp, "p"),
        "region": (RegionOp, "e", "x", "y", "p"), "rounds": (RoundOp,),
    },
    TaskOp: {"parameters": (RegionOp, "p")},
}  # fmt: skip


def _check_named(op: LutOp, table: Table) -> None:
    for attribute, (kind, *kinds) in _NAMED.get(type(op), {}).items():
        value = op.optional(attribute)
        for name in elements(value) if isinstance(value, ir.ArrayAttr) else [value] if value is not None else ():
            if kinds:
                _check_region(table, name.value, attribute, *kinds)
            else:
                _symbol(table, name.value, attribute, kind)


def _check_region(table: Table, name: str, attribute: str, *kinds: str) -> None:
    region = _symbol(table, name, attribute, RegionOp)
    expect(
        region.kind.value in kinds,
        f"region @{name} for '{attribute}' to be of kind {' or '.join(repr(kind) for kind in kinds)}",
        f"'{region.kind.value}'",
        "name another region",
    )


def _symbol(table: Table, name: str, attribute: str, kind: type[LutOp]) -> Any:
    wanted = f"a '{kind.OPERATION_NAME}' named @{name} for '{attribute}'"
    op = table.get(name)
    expect(op is not None, wanted, "none", "add it to the module")
    expect(isinstance(op, kind), wanted, f"a '{op.operation.name if op else ''}'", "name the right op")
    return op


def store_of(module: ir.Module) -> str | None:
    """The SHA-256 of the store that a module names, None where it names none."""
    store = read(module.operation.attributes, "lut.store")
    return ir.StringAttr(store.params[1].maybe_downcast()).value if isinstance(store, StoreAttr) else None


def _check_store_attribute(module: ir.Module) -> bool:
    store = read(module.operation.attributes, "lut.store")
    if store is None:
        return True
    digest = store_of(module) or ""
    right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not right:
        report(
            module.operation,
            f'expected attribute \'lut.store\' to be #lut.store<"file", "64 lower-case hex digits">, got {store}; '
            "change it",
        )
    return right
