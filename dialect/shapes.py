"""What verifiers ask of tensors: value and expected form in, plain dimensions out, `Invalid` where they disagree.

Leading dimensions are tokens: one or more, dynamic allowed (None here). Trailing ones are named by a form such as
"PxBxRxc_w", and are static.
"""

from dataclasses import dataclass

from lutllm.bindings import ir
from lutllm.dialect.attributes import encoding_of, fixed_of
from lutllm.dialect.base import Invalid, LutOp, expect, read


@dataclass(frozen=True)
class Tensor:
    """A checked tensor type. `bits` and `exponent` come from its encoding, 0 without one."""

    name: str
    leading: tuple[int | None, ...]
    trailing: tuple[int, ...]
    bits: int = 0
    exponent: int | str = 0


def tensor(value: ir.Value, name: str, form: str, element: str, *, encoded: bool = False) -> Tensor:
    """Check a value to be tensor<...x`form`x`element`>, with a #lut.fixed encoding exactly where `encoded`."""
    type_ = value.type
    names = form.split("x")
    encoding = ", #lut.fixed<...>" if encoded else ""
    wanted = f"{name} to be tensor<...x{form}x{element}{encoding}>"
    right = isinstance(type_, ir.RankedTensorType) and type_.rank > len(names) and str(type_.element_type) == element
    expect(right, wanted, type_, "change the type; `...` is one or more dimensions of tokens")
    sizes = [None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    leading, trailing = sizes[: -len(names)], sizes[-len(names) :]
    static = tuple(s for s in trailing if s is not None and s > 0)
    expect(len(static) == len(trailing), f"{wanted} with static {', '.join(names)} >= 1", type_, "make them static")
    if not encoded:
        expect(encoding_of(type_) is None, wanted, type_, "remove the encoding")
        return Tensor(name, tuple(leading), static)
    meaning = fixed_of(type_)
    if meaning is None:
        raise Invalid(f"expected {wanted}, got {type_}; add an encoding #lut.fixed<bits, exponent> with i64 bits")
    return Tensor(name, tuple(leading), static, *meaning)


def matrix(value: ir.Value, name: str, form: str, elements: str = "i32", *, encoded: bool = True) -> Tensor:
    """Check a value to be tensor<`form`x`elements`>, of exactly these dimensions, where only T may be dynamic.

    `elements` are the element types allowed, with / between. Trailing dimensions are all but the first.
    """
    type_ = value.type
    names = form.split("x")
    wanted = f"{name} to be tensor<{form}x{elements}{', #lut.fixed<...>' if encoded else ''}>"
    right = isinstance(type_, ir.RankedTensorType) and type_.rank == len(names)
    right = right and str(type_.element_type) in elements.split("/")
    expect(right, wanted, type_, "change the type")
    sizes = [None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    for letter, size in zip(names, sizes, strict=True):
        if letter.isdigit():
            right = right and size == int(letter)
        else:
            right = right and (letter == "T" if size is None else size > 0)
    expect(right, f"{wanted}, of sizes >= 1, static but for T", type_, "change the type")
    static = tuple(size for size in sizes[1:] if size is not None)
    if not encoded:
        expect(encoding_of(type_) is None, wanted, type_, "remove the encoding")
        return Tensor(name, (sizes[0],), static)
    meaning = fixed_of(type_)
    if meaning is None:
        raise Invalid(f"expected {wanted}, got {type_}; add an encoding #lut.fixed<bits, exponent> with i64 bits")
    return Tensor(name, (sizes[0],), static, *meaning)


def same_tokens(first: Tensor, second: Tensor) -> None:
    expect(
        first.leading == second.leading,
        f"{second.name} to have the leading dimensions of {first.name}, {_sizes(first.leading)}",
        _sizes(second.leading),
        "change the type",
    )


def same(what: str, wanted: object, got: object, do: str = "change the type or the scheme") -> None:
    expect(wanted == got, f"{what} = {wanted}", got, do)


def same_matrix(first: Tensor, second: Tensor) -> None:
    same_tokens(first, second)
    same(f"channels of {second.name}", first.trailing[0], second.trailing[0], "change the type")


def divides(what: str, parts: int, whole: int, of: str) -> int:
    """The size of one of `parts` equal parts of `whole`."""
    expect(whole % parts == 0, f"{what} to divide {of}, {whole}", parts, "change either")
    return whole // parts


def pairs(channels: int) -> int:
    expect(channels % 2 == 0, "an even number of channels K", channels, "pad the input to whole pairs")
    return channels // 2


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


def _sizes(sizes: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if s is None else str(s) for s in sizes) + "]"
