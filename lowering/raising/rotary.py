"""Parts of channels and RoPE: rules for slices, angles, cosines and sines, rotated halves or pairs, and their sums.

A slice of the channels of each head is a structural value. It vanishes where it is a part of a rotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lutllm.bindings import ir
from lutllm.lowering.raising.axes import Axes, Axis, axis, fits_in, flat
from lutllm.lowering.raising.conditions import is_last, require
from lutllm.lowering.raising.reader import Reader, Rule, Term, Value, static_sizes

_TURNING = ("angles", "cosine", "sine")


@dataclass(frozen=True)
class Slice:
    """From `start` on the same channels of each of `groups` equal groups."""

    groups: int
    start: int


@dataclass(frozen=True)
class Angles:
    """The symbol of the frequencies. Each stands for channels 2i and 2i + 1 where they are `interleaved`, else for i
    and i + C / 2 of C."""

    frequencies: str
    interleaved: bool = False


@dataclass(frozen=True)
class Rope:
    """The symbol of the frequencies, what cosines and sines are multiplied by, the heads that are rotated, how many
    channels of each (None: all), and which with which."""

    frequencies: str
    scale: float
    heads: int
    rotated: int | None = None
    interleaved: bool = False


# --- slices ----------------------------------------------------------------------------------------------------------


def _slice(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    before, after = static_sizes(op.operands[0]) or [], static_sizes(op.result) or []
    start, step = reader.number(op, 2), reader.number(op, 4)
    if before == after and start == 0 and step == 1:
        return term, axes
    if term.kind == "parameter":
        return Term("part_of_parameter", op=op), tuple(axis("channel", n) for n in after)
    dimension = reader.number(op, 1) % len(axes)
    return _sliced(op, term, axes, start % before[dimension], after[dimension], step, dimension)


def _unpack(reader: Reader, op: ir.Operation) -> list[Value]:
    """What `split_with_sizes` makes."""
    split = reader.plain.get(op.operands[0])
    require(isinstance(split, ir.Operation), "a list of parts of the channels of a head")
    term, axes = reader.value(split, 0)
    sizes, dimension = reader.number(split, 1), reader.number(split, 2)
    return [_sliced(op, term, axes, sum(sizes[:i]), size, 1, dimension % len(axes)) for i, size in enumerate(sizes)]


def _sliced(op: ir.Operation, term: Term, axes: Axes, start: int, size: int, step: int, dimension: int) -> Value:
    """So many channels of each head, or so many heads; every second channel of a pair; or the first half of the angles
    of RoPE."""
    whole = flat((axes[dimension],))
    good = len(whole) == 1 and whole[0].label == "channel"
    require(good, "a slice of the channels of a head, or of heads")
    width, stride = whole[0].size, whole[0].stride
    if stride > 1:
        require(term.structural and step == 1 and size > 0, "neighbouring heads of a value that lut ops compute")
        groups = term.channels // (width * stride)
        data = Slice(groups, start * stride)
        kept = _of_heads(axes, width * stride, size * stride, dimension)
        return Term("slice", (term,), op, data, groups * size * stride), kept
    if not size:
        return Term("nothing", (term,), op), axes
    if term.kind in _TURNING and start == 0 and step == 1 and 2 * size == width and not _angles(term).interleaved:
        return term, (*axes[:-1], axis("channel", size))
    require(term.structural, "a slice of a value that lut ops compute")
    if step == 2 and 2 * size == width and start in (0, 1):
        return Term("every_second", (term,), op, start), (*axes[:-1], axis("pair", size))
    require(step == 1, f"neighbouring channels, got every {step}th")
    groups = term.channels // width
    return Term("slice", (term,), op, Slice(groups, start), groups * size), _of_heads(axes, width, size)


def _of_heads(axes: Axes, before: int, after: int, dimension: int = -1) -> Axes:
    """The axes of heads of `before` channels, which lie along a dimension, once these are `after`."""

    def of(a: Axis) -> Axis:
        outer = a.label == "channel" and a.stride >= before
        return replace(a, stride=a.stride // before * after) if outer else a

    found = [tuple(of(a) for a in one) for one in axes]
    stride = axes[dimension][0].stride if axes[dimension] else 1
    found[dimension] = (Axis("channel", after // stride, stride),) if after > stride else ()
    return tuple(found)


def _negated(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    require(term.kind in ("slice", "every_second"), "a half of a head's channels, as RoPE negates it")
    return Term("negated", (term,), op), axes


def _cat(reader: Reader, op: ir.Operation) -> Value:
    """rotate_half: (-second, first), or (-odd, even); the angles twice; rotated channels before those that are not."""
    found = [value for v in reader.number(op, 0) if (value := reader.values.get(v))]
    found = [value for value in found if value[0].kind != "nothing"]
    if len(found) == 1:
        return found[0]
    wanted = "two parts: angles twice, a negated part of a head before the other, or rotated channels before others"
    require(len(found) == 2, wanted)
    (a, axes), (b, b_axes) = found
    require(is_last(reader, op, 1, axes), wanted)
    size = (static_sizes(op.result) or [0])[-1]
    if a is b and a.kind == "angles":
        return Term("angle_pairs", a.inputs, op, a.data), (*axes[:-1], axis("channel", size))
    if a.kind == "rope":
        return _with_rest(op, a, b, axes, size)
    require(a.kind == "negated" and axes == b_axes and a.inputs[0].inputs == b.inputs, wanted)
    second, first, x = a.inputs[0], b, b.inputs[0] if b.inputs else b
    if second.kind == first.kind == "every_second" and axes[-1] == ():
        require((second.data, first.data) == (1, 0), wanted)
        return Term("rotated", (x,), op, True), (*axes[:-1], axis("two", 2))
    halves = second.kind == first.kind == "slice" and second.data.start == size // 2 and first.data.start == 0
    require(halves and second.data.groups * size == x.channels, wanted)
    return Term("rotated", (x,), op, False), _of_heads(axes, size // 2, size)


def _with_rest(op: ir.Operation, rope: Term, rest: Term, axes: Axes, size: int) -> Value:
    """RoPE of a slice, followed by the rest of each head."""
    part, rotated = rope.inputs[0], axes[-1][0].size if axes[-1] else 1
    good = part.kind == rest.kind == "slice" and part.inputs == rest.inputs and rope.data.rotated is None
    good = good and part.data == Slice(rest.data.groups, 0) and rest.data.start == rotated
    good = good and part.data.groups * size == part.inputs[0].channels
    require(good, "the channels of each head that RoPE leaves, after those it rotates")
    x, *positions = part.inputs[0], *rope.inputs[1:]
    return Term("rope", (x, *positions), op, replace(rope.data, rotated=rotated), x.channels), _of_heads(
        axes, rotated, size
    )


# --- RoPE ------------------------------------------------------------------------------------------------------------


def relaid(op: ir.Operation, term: Term, axes: Axes) -> Value:
    """A value after a change of layout: where it repeats each angle for two neighbours, or puts rotated neighbours
    beside each other again, the last dimension is that of channels."""
    last = axes[-1] if axes else ()
    if len(last) == 2 and last[1].size == 2 and last[1].stride == 1:
        kinds = (last[0].label, last[1].label)
        channels = (*axes[:-1], axis("channel", 2 * last[0].size))
        if term.kind == "rotated" and kinds == ("pair", "two"):
            return term, channels
        if term.kind in _TURNING and kinds == ("channel", "repeat"):
            angles = replace(_angles(term), interleaved=True)
            if term.kind == "angles":
                return Term("angle_pairs", term.inputs, op, angles), channels
            return Term(term.kind, term.inputs, op, (angles, term.data[1])), channels
    return term, axes


def _angles(term: Term) -> Angles:
    return term.data if term.kind == "angles" else term.data[0]


def _cosine(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    good = term.kind in ("angle_pairs", "angles")
    require(good, "angles of RoPE: positions times inverse frequencies, for two channels each")
    reader.use(term.inputs[0], "positions")
    return Term("cosine" if op.name.endswith("cos") else "sine", term.inputs, op, (term.data, 1.0)), axes


def product(op: ir.Operation, left: Value, right: Value) -> Value | None:
    """Positions times frequencies, or what is rotated times cosines or sines."""
    (a, axes), (b, b_axes) = left, right
    if a.kind == "integers" and b.kind == "parameter" and len(b_axes) == 1 and axes[-1:] == ((),):
        return Term("angles", (a,), op, Angles(b.data)), (*axes[:-1], b_axes[0])
    if b.kind == "cosine" and fits_in(b_axes, axes):
        return Term("times_cosine", (a, b), op), axes
    if a.kind == "rotated" and b.kind == "sine" and fits_in(b_axes, axes):
        return Term("times_sine", (*a.inputs, b), op, a.data), axes
    return None


def rotation(op: ir.Operation, left: Value, right: Value) -> Value | None:
    """The products of one value, and of its rotated parts, with cosine and sine of the same angles."""
    (a, axes), (b, b_axes) = left, right
    if a.kind != "times_cosine" or b.kind != "times_sine" or axes != b_axes:
        return None
    (x, cosine), (y, sine) = a.inputs, b.inputs
    same = x is y and x.structural and cosine.data == sine.data and cosine.inputs == sine.inputs
    angles, scale = cosine.data
    if not same or len(axes[-1]) != 1 or angles.interleaved != b.data:
        return None
    data = Rope(angles.frequencies, scale, x.channels // axes[-1][0].size, None, angles.interleaved)
    return Term("rope", (x, *cosine.inputs), op, data, x.channels), axes


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("cos", "sin"), _cosine),
    "slice.Tensor": _slice,
    "prim.ListUnpack": _unpack,
    "cat": _cat,
    "neg": _negated,
}
