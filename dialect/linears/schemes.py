"""`lut.scheme`: how the numbers of a linear are coded, under a name in the module; ops name it, `scheme_of` reads it.

An op in, the `Scheme` it names out; a `Scheme` in, its op at the head of a module out.
"""

from dataclasses import fields
from functools import cache
from typing import Any

from lutllm.bindings import ir
from lutllm.dialect.attributes import i64, plain
from lutllm.dialect.base import Invalid, LutOp, read
from lutllm.errors import IRError
from lutllm.scheme import Scheme, scheme_problem

MODULE = "builtin.module"


class SchemeOp(LutOp, name="scheme"):
    """A quantization scheme, named by every op whose integers depend on it. All fields stand; there are no defaults."""

    sym_name: ir.StringAttr
    __annotations__ |= {f.name: ir.StringAttr if f.type in (str, "str") else ir.IntegerAttr for f in fields(Scheme)}

    DEFINITION = "computes nothing; the definitions of the ops that name it use its fields"
    EXAMPLE = """
"lut.scheme"() {sym_name = "additive", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 512, R = 2, S = 2,
    metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24}
    : () -> ()"""

    def check(self) -> None:
        _scheme(self)


def scheme_of(op: Any) -> Scheme:
    """The scheme that a lut op's `scheme` names; `IRError` where it names none."""
    try:
        return checked_scheme(op)
    except Invalid as problem:
        raise IRError(f"'{op.operation.name}' op {problem}") from None


def checked_scheme(op: Any) -> Scheme:
    """As `scheme_of`, for verifiers."""
    name = read(op.operation.attributes, "scheme")
    if not isinstance(name, ir.FlatSymbolRefAttr):
        raise Invalid(f"expected attribute 'scheme' to be a symbol @name, got {name}; change it")
    return named_scheme(op.operation, name.value)


def named_scheme(op: ir.Operation, name: str) -> Scheme:
    """The scheme @name of the module around (or that is) `op`."""
    wanted = f"a '{SchemeOp.OPERATION_NAME}' named @{name} for 'scheme'"
    module = _module(op)
    found = None if module is None else _find(module, name)
    if found is None:
        raise Invalid(f"expected {wanted}, got none; add it to the module")
    if not isinstance(found, SchemeOp):
        raise Invalid(f"expected {wanted}, got a '{found.operation.name}'; name the right op")
    return _scheme(found)


def schemes(module: ir.Operation) -> dict[str, Scheme]:
    """Every scheme of a module, by name."""
    return {op.sym_name.value: _scheme(op) for op in module.regions[0].blocks[0] if isinstance(op, SchemeOp)}


def declare_scheme(module: ir.Module | ir.Operation, scheme: Scheme, name: str | None = None) -> str:
    """The name of `scheme` in the module. Where it has none yet, its op is added at the head of the module, as `name`,
    or under a name made of its kind and stages."""
    operation = module.operation
    known = schemes(operation)
    for other, value in known.items():
        if value == scheme and name in (None, other):
            return other
    if name in known:
        raise IRError(f"@{name}: expected {known[name]} as declared before, got {scheme}; use another name")
    name = name or _free_name(operation, scheme)
    values = {"sym_name": name, **scheme.to_dict()}
    with operation.context, ir.Location.name(name), after(operation.regions[0].blocks[0], SchemeOp.OPERATION_NAME):
        attributes = {key: ir.StringAttr.get(v) if isinstance(v, str) else i64(v) for key, v in values.items()}
        ir.Operation.create(SchemeOp.OPERATION_NAME, attributes=attributes)
    return name


def after(block: ir.Block, *names: str) -> ir.InsertionPoint:
    """After the ops called `names` at the head of a block."""
    for op in block.operations:
        if op.operation.name not in names:
            return ir.InsertionPoint(op)
    return ir.InsertionPoint(block)


def _free_name(module: ir.Operation, scheme: Scheme) -> str:
    base = f"exact{scheme.R}" if scheme.kind == "exact" else f"vq{scheme.c_a}x{scheme.S}"
    taken, name, count = ir.SymbolTable(module), base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def _module(op: ir.Operation | None) -> ir.Operation | None:
    while op is not None and op.name != MODULE:
        op = None if op.parent is None else op.parent.operation
    return op


def _find(module: ir.Operation, name: str) -> ir.OpView | None:
    """The op of a symbol. Schemes stand at the head of what the compiler writes: there is nothing to cache."""
    for op in module.regions[0].blocks[0].operations:
        if not isinstance(op, SchemeOp):
            break
        if plain(read(op.operation.attributes, "sym_name")) == name:
            return op
    table = ir.SymbolTable(module)
    return table[name] if name in table else None  # noqa: SIM401 (no mapping: it has no get)


def _scheme(op: SchemeOp) -> Scheme:
    attributes = op.operation.attributes
    scheme, problem = _of_values(tuple((f.name, plain(read(attributes, f.name))) for f in fields(Scheme)))
    if scheme is None:
        raise Invalid(f"{problem}; change it")
    return scheme


@cache
def _of_values(values: tuple[tuple[str, object], ...]) -> tuple[Scheme | None, str | None]:
    """The scheme of these fields, or what is wrong with them. Every op of a linear asks."""
    problem = scheme_problem(dict(values))
    return (None, problem) if problem else (Scheme.from_dict(dict(values)), None)
