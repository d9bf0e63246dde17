"""Attributes of the dialect: what a tensor's integers mean, and where the parameters lie.

MLIR attributes in, plain Python values (bits, exponent) out, and back.
"""

from lutllm.bindings import ir
from lutllm.dialect.base import Location, LutAttribute, describe_kind


class FixedAttr(LutAttribute, name="fixed"):
    """Encoding of an integer tensor: value = integer * 2**exponent, in `bits` significant signed bits.

    `exponent` is an i64, or the symbol of an int8 global with one exponent per pair of channels.
    """

    bits: ir.IntegerAttr
    exponent: ir.IntegerAttr | ir.FlatSymbolRefAttr


class StoreAttr(LutAttribute, name="store"):
    """On the module, as `lut.store`: the safetensors file holding the data of the symbols, and its SHA-256."""

    file: ir.StringAttr
    sha256: ir.StringAttr


describe_kind(FixedAttr, "#lut.fixed<bits, exponent>")
describe_kind(StoreAttr, '#lut.store<"file", "sha256">')


def i64(value: int) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def symbol(name: str) -> ir.FlatSymbolRefAttr:
    return ir.FlatSymbolRefAttr.get(name)


def fixed(bits: int, exponent: int | str) -> FixedAttr:
    """The encoding; a string exponent is the symbol of the per-pair exponents."""
    return FixedAttr.get(i64(bits), symbol(exponent) if isinstance(exponent, str) else i64(exponent))


def store_attr(file: str, sha256: str) -> StoreAttr:
    return StoreAttr.get(ir.StringAttr.get(file), ir.StringAttr.get(sha256))


def encoding_of(type_: ir.Type) -> object | None:
    """The encoding of a tensor type; None without one, and for any other type."""
    try:
        return getattr(type_, "encoding", None)
    except TypeError:
        return Location()


def fixed_of(type_: ir.Type) -> tuple[int, int | str] | None:
    """(bits, exponent) of a tensor type encoded with #lut.fixed, else None. A string exponent is a symbol."""
    encoding = encoding_of(type_)
    if not isinstance(encoding, FixedAttr):
        return None
    bits, exponent = (plain(p.maybe_downcast()) for p in encoding.params)
    return (bits, exponent) if isinstance(bits, int) and isinstance(exponent, (int, str)) else None


def bits_of(value: ir.Value) -> int:
    """Of an encoded value; so are those of the next two."""
    return _meaning(value)[0]


def exponent_of(value: ir.Value) -> int:
    """Of a value with a single exponent."""
    return int(_meaning(value)[1])


def exponents_of(value: ir.Value) -> str:
    """The symbol of the exponents of a value that has one for each pair of channels."""
    return str(_meaning(value)[1])


def _meaning(value: ir.Value) -> tuple[int, int | str]:
    meaning = fixed_of(value.type)
    assert meaning is not None
    return meaning


def plain(attribute: object) -> object:
    """A string, symbol or i64 attribute as a Python value; None for any other."""
    if isinstance(attribute, (ir.StringAttr, ir.FlatSymbolRefAttr)):
        return attribute.value
    if isinstance(attribute, ir.IntegerAttr) and str(attribute.type) == "i64":
        return int(attribute.value)
    return None
