"""The `lut` dialect object and the base class of its ops: turns every verifier into located diagnostics.

Facts of the bindings this file works around: a verifier runs before the IRDL constraints (so nothing about the op can
be taken for granted), an exception in it escapes from the parser, and a missing attribute is a KeyError.
"""

from typing import Any

from lutllm.bindings import ext, ir, source_position
from lutllm.errors import IRError

NO_ATTRIBUTES: dict[str, Any] = {}
NO_TYPES: dict[str, str] = {}


class Lut(ext.Dialect, name="lut"):  # type: ignore[call-arg]
    """Table-lookup linear layers on integer tensors, and the accelerator that computes them."""


_Attribute: Any = Lut.Attribute  # ext makes these two classes, unseen by type checkers
_Operation: Any = Lut.Operation


class LutAttribute(_Attribute):
    """Base of every attribute. IRDL checks the kinds of its parameters; the ops that use it check the rest."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)


class Invalid(Exception):
    """What is wrong with an op, as `expected X, got Y; do Z`; never leaves a verifier."""


def expect(condition: bool, expected: object, got: object, do: str) -> None:
    if not condition:
        raise Invalid(f"expected {expected}, got {got}; {do}")


def report(op: ir.Operation | ir.OpView, message: str) -> None:
    """Emit an error at the op's location, in MLIR's form."""
    op.location.emit_error(f"'{op.operation.name}' op {message}")


def fault(op: ir.Operation | ir.OpView, message: str) -> IRError:
    """The same, to raise."""
    return IRError(f"'{op.operation.name}' op {message}", location=source_position(op.location))


class Location:
    """Stands for a location used as an attribute, which the bindings cannot hand out."""

    def __str__(self) -> str:
        return "a location"


def read(container: Any, key: Any) -> Any:
    """An attribute of an op, array or dictionary, None where there is none. `NamedAttribute.attr` must not be used:
    where the attribute is a location, indexing raises TypeError but that property stops the process.
    """
    try:
        return container[key]
    except (KeyError, IndexError):
        return None
    except TypeError:
        return Location()


def elements(array: ir.ArrayAttr) -> list[Any]:
    return [read(array, i) for i in range(len(array))]


def entries(dictionary: ir.DictAttr) -> dict[str, Any]:
    return {entry.name: read(dictionary, entry.name) for entry in dictionary}


class LutOp(_Operation):
    """Base of every op. A subclass declares ext fields, `OPTIONAL` attributes, and checks itself in `check`.

    The docstring, `TYPES` (of operands and results), `DEFINITION` (the integers it computes) and `EXAMPLE` are its
    documentation (tools/gen_docs.py); tests parse the example and compare the types with what the verifier asks for.
    """

    # Not annotated: ext reads every annotation of an op class as one of its fields.
    TYPES = NO_TYPES
    DEFINITION = ""
    EXAMPLE = ""
    OPTIONAL = NO_ATTRIBUTES
    NOTES = NO_TYPES  # what an attribute is for, where its name and DEFINITION do not say

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)

    def verify_invariants(self) -> bool:
        try:
            _check_counts(self)
            _check_attributes(self)
            self.check()
        except Invalid as problem:
            report(self, str(problem))
            return False
        except Exception as problem:
            # No text may end in a traceback: a defect of a verifier becomes a diagnostic like any other.
            report(self, f"cannot be verified: {type(problem).__name__}: {problem}")
            return False
        return True

    def check(self) -> None:
        """Raise `Invalid` where operands, attributes and results do not agree. Counts and kinds are already right."""
        raise NotImplementedError

    def optional(self, name: str) -> ir.Attribute | None:
        return read(self.attributes, name)

    def number(self, name: str, usual: Any = None) -> Any:
        """An optional number, or the usual one."""
        found = self.optional(name)
        return usual if found is None else found.value  # type: ignore[attr-defined]

    @classmethod
    def required(cls) -> dict[str, Any]:
        """The required attributes and their kinds, from the ext fields."""
        return {f.name: f.constraint for f in cls._fields if isinstance(f, ext.AttributeDef)}

    @classmethod
    def declared(cls, kind: type) -> list[Any]:
        """The declared operands or results (`ext.OperandDef`, `ext.ResultDef`)."""
        return [f for f in cls._fields if isinstance(f, kind)]


def last_optional(kind: type, *names: str) -> None:
    """Give an op accessors of its operands `names`, the last of which may be missing: ext's own need
    `operandSegmentSizes`, which a single optional operand at the end does not."""

    def at(i: int) -> property:
        return property(lambda op: op.operation.operands[i] if i < len(op.operation.operands) else None)

    for i, name in enumerate(names):
        setattr(kind, name, at(i))


def _check_counts(op: LutOp) -> None:
    for kind, what, got in (
        (ext.OperandDef, "operand", len(op.operation.operands)),
        (ext.ResultDef, "result", len(op.operation.results)),
    ):
        fields = op.declared(kind)
        if any(f.variadicity == ext.Variadicity.variadic for f in fields):
            continue
        least = sum(f.variadicity == ext.Variadicity.single for f in fields)
        count = f"{least}" if least == len(fields) else f"{least}..{len(fields)}"
        names = ", ".join(f.name for f in fields) or "none"
        words = what if count == "1" else f"{what}s"
        expect(least <= got <= len(fields), f"{count} {words} ({names})", got, f"write each {what} the op declares")
    regions, wanted = len(op.operation.regions), len(op.declared(ext.RegionDef))
    expect(regions == wanted, f"{wanted or 'no'} regions", regions, "remove them" if regions > wanted else "add it")


def _check_attributes(op: LutOp) -> None:
    for name, kind in op.required().items():
        if name not in op.attributes:
            raise Invalid(f"requires attribute '{name}' ({kind_text(kind)}): got none; add it")
        _check_kind(name, read(op.attributes, name), kind)
    for name, kind in op.OPTIONAL.items():
        if name in op.attributes:
            _check_kind(name, read(op.attributes, name), kind)


def _check_kind(name: str, attribute: ir.Attribute, kind: Any) -> None:
    right = isinstance(attribute, kind)
    if kind is ir.IntegerAttr:
        right = right and attribute.type == ir.IntegerType.get_signless(64, attribute.context)
    if kind is ir.FloatAttr:
        right = right and attribute.type == ir.F64Type.get(attribute.context)
    expect(right, f"attribute '{name}' to be {kind_text(kind)}", attribute, "change it")


_KIND_TEXT: dict[Any, str] = {
    ir.IntegerAttr: "an i64 integer",
    ir.StringAttr: "a string",
    ir.FlatSymbolRefAttr: "a symbol @name",
    ir.ArrayAttr: "an array [...]",
    ir.DictAttr: "a dictionary {...}",
    ir.UnitAttr: "a unit attribute",
}


def describe_kind(kind: Any, text: str) -> None:
    """How messages and documentation call an attribute of `kind`."""
    _KIND_TEXT[kind] = text


def kind_text(kind: Any) -> str:
    return _KIND_TEXT[kind]


def integer(attribute: ir.Attribute | None, name: str, low: int, high: int) -> int:
    """The value of an i64 attribute, checked to lie in low..high."""
    value = int(ir.IntegerAttr(attribute).value)
    expect(low <= value <= high, f"{name} in {low}..{high}", value, "change it")
    return value
