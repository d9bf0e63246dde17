"""What verifiers ask of tensors: an op in, sizes and encodings of its operands and results out, `Invalid` where they
are not as its `TYPES` say.

A letter of `TYPES` stands for one size in all of an op's types. Leading dimensions are tokens: `...` one or more of
them, T one, dynamic allowed (None here). All others are static. K channels are P pairs. With `#lut.fixed<...>`, i32 has
a single exponent, i8 and i16 one for each pair of channels.
"""

from functools import cache
from typing import Any, NamedTuple

from lutllm.bindings import ir
from lutllm.dialect.attributes import encoding_of, fixed_of
from lutllm.dialect.base import Invalid, LutOp, expect, read


class Types(NamedTuple):
    """Sizes by letter (`...`: a tuple); `bits` and `exponents` of what has an encoding, by name."""

    sizes: dict[str, Any]
    bits: dict[str, int]
    exponents: dict[str, int | str]


def typed(op: LutOp, **known: int) -> Types:
    """Check the types of an op; `known` sizes come from its scheme."""
    found = Types(dict(known), {}, {})
    owners: dict[str, str] = {}
    for name, text in op.TYPES.items():
        value = getattr(op, name)
        if value is None:
            continue
        for letter, size in _sizes(value, name, text).items():
            wanted, owner = found.sizes.setdefault(letter, size), owners.setdefault(letter, name)
            if letter in ("T", "M", "..."):
                what = f"{name} to have the leading dimensions of {owner}, {_listed(wanted)}"
                expect(wanted == size, what, _listed(size), "change the type")
            else:
                scheme = " or the scheme" if letter in known else ""
                same(f"{letter} of {name}", wanted, size, f"change the type{scheme}")
        meaning = _encoding(value, name, text)
        if meaning is not None:
            found.bits[name], found.exponents[name] = meaning
        if "K" in found.sizes:
            found.sizes.setdefault("P", found.sizes["K"] // 2)
    return found


@cache
def _parsed(text: str) -> tuple[list[str], list[str], bool]:
    """(dimensions, element types allowed, whether it has an encoding) of a text of `TYPES`."""
    body, _, encoding = text.removeprefix("tensor<").removesuffix(">").partition(", ")
    *names, elements = body.split("x")
    return names, elements.split("/"), bool(encoding)


def _sizes(value: ir.Value, name: str, text: str) -> dict[str, Any]:
    """The sizes of a value, by letter; numbers left out."""
    type_, (names, elements, _) = value.type, _parsed(text)
    wanted, do, several = f"{name} to be {text}", "change the type", names[0] == "..."
    right = isinstance(type_, ir.RankedTensorType) and str(type_.element_type) in elements
    right = right and (type_.rank >= len(names) if several else type_.rank == len(names))
    expect(right, wanted, type_, f"{do}; `...` is one or more dimensions of tokens" if several else do)
    sizes = [None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    if several:
        tokens = tuple(sizes[: 1 - len(names)])
        sizes = [tokens, *sizes[1 - len(names) :]]
    for letter, size in zip(names, sizes, strict=True):
        right = letter in ("T", "...") or (size == int(letter) if letter.isdigit() else bool(size))
        expect(right and size != 0, f"{wanted}, of sizes >= 1, static but for tokens", type_, do)
    return {letter: size for letter, size in zip(names, sizes, strict=True) if not letter.isdigit()}


def _encoding(value: ir.Value, name: str, text: str) -> tuple[int, int | str] | None:
    _, elements, encoded = _parsed(text)
    wanted, meaning, got = f"{name} to be {text}", fixed_of(value.type), str(value.type.element_type)
    if not encoded:
        expect(encoding_of(value.type) is None, wanted, value.type, "remove the encoding")
        return None
    if meaning is None:
        raise Invalid(f"expected {wanted}, got {value.type}; add an encoding #lut.fixed<bits, exponent> with i64 bits")
    bits, exponent = meaning
    do = "change the encoding"
    if got == "i32":
        expect(2 <= bits <= 32, f"bits of {name} in 2..32", bits, do)
        expect(isinstance(exponent, int), f"one i64 exponent for {name}", f"@{exponent}", do)
        # 32 bits at 2**96 are still finite in f32.
        expect(-96 <= int(exponent) <= 96, f"exponent of {name} in -96..96", exponent, do)
        return meaning
    least, most = 9 if got == "i16" and "i8" in elements else 2, int(got[1:])  # of two, the narrowest that fits
    expect(least <= bits <= most, f"bits of {name} in {least}..{most} for {got}", bits, do)
    channels = value.type.shape[-1]
    expect(channels % 2 == 0, "an even number of channels K", channels, "pad the input to whole pairs")
    expect(isinstance(exponent, str), f"exponents of {name} to be a symbol, one for each pair", exponent, do)
    return meaning


def same(what: str, wanted: object, got: object, do: str = "change the type or the scheme") -> None:
    expect(wanted == got, f"{what} = {wanted}", got, do)


def divides(what: str, parts: int, whole: int, of: str) -> int:
    """The size of one of `parts` equal parts of `whole`."""
    expect(whole % parts == 0, f"{what} to divide {of}, {whole}", parts, "change either")
    return whole // parts


def producer(value: ir.Value) -> LutOp | None:
    """The lut op that computes `value`, if one does."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return None
    view = owner.opview if isinstance(owner, ir.Operation) else owner
    return view if isinstance(view, LutOp) else None


def agrees_with_producer(op: LutOp, value: ir.Value, attribute: str) -> None:
    """An attribute that the op and the maker of its operand both carry must be the same."""
    maker = producer(value)
    theirs = None if maker is None else read(maker.attributes, attribute)
    if maker is None or theirs is None:
        return
    ours = op.attributes[attribute]
    expect(
        theirs == ours,
        f"the {attribute} of the '{maker.operation.name}' that makes its operand, {theirs}",
        ours,
        "use one for both",
    )


def _listed(sizes: Any) -> str:
    each = sizes if isinstance(sizes, tuple) else (sizes,)
    return "[" + ", ".join("?" if size is None else str(size) for size in each) + "]"
