"""What a decoder does between its linears: embedding, norms, residuals, SwiGLU, the greedy pick.

One leading dimension T of tokens. Attention and what lies around it are in lutllm.dialect.decoders.attention.
"""

from collections.abc import Mapping
from typing import Any, Optional

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect, integer, last_optional
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.shapes import Types, divides, same, typed
from lutllm.functions import SHARES
from lutllm.numerics import MAX_RESCALE
from lutllm.scheme import MAX_SHIFT

MAX_SIZE = (1 << 31) - 1  # what an i32 token id or position can count
SIGMOID_FRACTION = 12


class EmbeddingOp(LutOp, name="embedding", traits=[ext.Pure]):
    """A row of the embedding for each token. An id outside 0..vocabulary-1 is an error.

    With a `position`, that of the first token, rows are those of the tokens' positions, from row `offset` on.
    """

    ids: ext.Operand[ir.RankedTensorType]
    rows: ir.FlatSymbolRefAttr
    multiplier: ir.FlatSymbolRefAttr
    shift: ir.IntegerAttr
    vocabulary: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]
    position: Optional[ext.Operand[ir.RankedTensorType]] = None  # noqa: UP045 (ext reads typing.Optional)

    TYPES = {  # noqa: RUF012
        "ids": "tensor<Txi32>",
        "y": "tensor<TxKxi32, #lut.fixed<...>>",
        "position": "tensor<1xi32>",
    }
    OPTIONAL = {"offset": ir.IntegerAttr}  # noqa: RUF012
    DEFINITION = """
i = ids[t], with a position offset + position + t
y[t, k] = clamp(round_shift(rows[i, k] * multiplier[i], shift), bits)"""
    EXAMPLE = """
func.func @embedding(%ids: tensor<?xi32>, %position: tensor<1xi32>) -> (tensor<?x8xi32, #r>, tensor<?x8xi32, #r>) {
  %0 = "lut.embedding"(%ids) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32}
      : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  %1 = "lut.embedding"(%ids, %position) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32,
      offset = 0} : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xi32, #r>
  return %0, %1 : tensor<?x8xi32, #r>, tensor<?x8xi32, #r>
}"""

    def check(self) -> None:
        typed(self)
        integer(self.shift, "shift", 0, MAX_SHIFT)
        check_offset(self, integer(self.vocabulary, "vocabulary", 1, MAX_SIZE))

    def parameters(self) -> list[Parameter]:
        v, k = int(self.vocabulary.value), typed(self).sizes["K"]
        return [
            parameters.parameter("rows", self.rows, parameters.embedding_rows(v, k)),
            parameters.parameter("multiplier", self.multiplier, parameters.per_output(v)),
        ]


last_optional(EmbeddingOp, "ids", "position")


def check_offset(op: Any, rows: int = MAX_SIZE) -> None:
    """An embedding of positions says which of its `rows` is that of the first; no other embedding does."""
    offset = op.optional("offset")
    if op.position is None:
        expect(offset is None, "a position with an offset", "an offset alone", "add it, or remove the offset")
    else:
        advice = "add it, 0 where the first row is that of position 0"
        expect(offset is not None, "an offset with a position", "none", advice)
        integer(offset, "offset", 0, rows - 1)


class RmsNormOp(LutOp, name="rms_norm", traits=[ext.Pure]):
    """Each token's channels, in `groups` equal groups of C, divided by their root mean square, times a gain.

    The gain carries the weight, sqrt(C) and the step from 22 fraction bits to the exponent of y; epsilon is in units of
    the sum of squares, C * eps * 2**(-2 * exponent of x). rsqrt is defined in docs/numerics.md. `centered`: the mean of
    the group is subtracted first, as LayerNorm does. `bias` is in units of y.
    """

    x: ext.Operand[ir.RankedTensorType]
    gain: ir.FlatSymbolRefAttr
    groups: ir.IntegerAttr
    epsilon: ir.IntegerAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxi32, #lut.fixed<...>>", "y": "tensor<TxKxi32, #lut.fixed<...>>"}  # noqa: RUF012
    OPTIONAL = {"centered": ir.UnitAttr, "bias": ir.FlatSymbolRefAttr}  # noqa: RUF012
    DEFINITION = """
d[t, k] = x[t, k], if centered less floor((2 * sum of x[t, c] over the channels c of its group + C) / (2 * C))
A = max(1, epsilon + sum of d[t, c]**2 over the channels c of a group)
(r, h) = rsqrt(A)
z[t, k] = rescale(d[t, k] * r, -(9 + h))                 (22 fraction bits, |z| < 1 + 2**-14)
y[t, k] = clamp(round_shift(z[t, k] * gain[k % C], shift) + bias[k % C], bits)"""
    EXAMPLE = """
func.func @norm(%x: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n> {
  %0 = "lut.rms_norm"(%x) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12}
      : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}"""

    def check(self) -> None:
        types = typed(self)
        groups = integer(self.groups, "groups", 1, MAX_SIZE)
        channels = divides("groups", groups, types.sizes["K"], "the channels of x")
        integer(self.epsilon, "epsilon", 0, (1 << 62) - 1)
        integer(self.shift, "shift", 0, MAX_SHIFT)
        width = 2 * (types.bits["x"] - 1) + ceil_log2(channels)
        expect(width <= 62, f"a sum of {channels} squares of x to fit 62 bits", width, "give x fewer bits")

    def parameters(self) -> list[Parameter]:
        channels = typed(self).sizes["K"] // int(self.groups.value)
        named = {"gain": self.gain, "bias": self.optional("bias")}
        spec = parameters.per_output(channels)
        return [parameters.parameter(name, symbol, spec) for name, symbol in named.items() if symbol is not None]


class AddOp(LutOp, name="add", traits=[ext.Pure]):
    """The sum of two tensors of any exponents, as for the residual stream."""

    a: ext.Operand[ir.RankedTensorType]
    b: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    TYPES = {name: "tensor<TxKxi32, #lut.fixed<...>>" for name in ("a", "b", "y")}  # noqa: RUF012
    DEFINITION = """
y[t, k] = clamp(rescale(a[t, k], exponent of a - exponent of y)
              + rescale(b[t, k], exponent of b - exponent of y), bits)"""
    EXAMPLE = """
func.func @add(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r> {
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
}"""

    def check(self) -> None:
        types = typed(self)
        for name in "ab":
            _check_rescale(types, name, -int(types.exponents["y"]), "y")


class RescaleOp(LutOp, name="rescale", traits=[ext.Pure]):
    """From one exponent to one for each pair of channels: what a linear or attention reads."""

    x: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxi32, #lut.fixed<...>>", "y": "tensor<TxKxi8/i16, #lut.fixed<...>>"}  # noqa: RUF012
    DEFINITION = "y[t, k] = clamp(rescale(x[t, k], exponent of x - exponents of y[k / 2]), bits)"
    EXAMPLE = """
func.func @rescale(%x: tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x> {
  %0 = "lut.rescale"(%x) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        typed(self)


class TanhOp(LutOp, name="tanh", traits=[ext.Pure]):
    """The hyperbolic tangent, 2 * sigmoid(2 * x) - 1, of 14 fraction bits, times a number: what soft-caps logits."""

    x: ext.Operand[ir.RankedTensorType]
    multiplier: ir.IntegerAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxi32, #lut.fixed<...>>", "y": "tensor<TxKxi32, #lut.fixed<...>>"}  # noqa: RUF012
    DEFINITION = """
u = sigmoid(min(65535, rescale(|x[t, k]|, exponent of x + 13))) - 2**14, negative for x[t, k] < 0
y[t, k] = clamp(round_shift(u * multiplier, shift), bits)"""
    EXAMPLE = """
func.func @softcap(%x: tensor<?x8xi32, #n>) -> tensor<?x8xi32, #n> {
  %0 = "lut.tanh"(%x) {multiplier = 30720, shift = 4} : (tensor<?x8xi32, #n>) -> tensor<?x8xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}"""

    def check(self) -> None:
        types = typed(self)
        _check_rescale(types, "x", SIGMOID_FRACTION + 1, "the sigmoid")
        integer(self.multiplier, "multiplier", 1, MAX_SIZE)
        integer(self.shift, "shift", 0, MAX_SHIFT)


class SliceOp(LutOp, name="slice", traits=[ext.Pure]):
    """The same channels, from `start` on, of each of `groups` equal groups: a part of what one linear computes."""

    x: ext.Operand[ir.RankedTensorType]
    groups: ir.IntegerAttr
    start: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxi32, #lut.fixed<...>>", "y": "tensor<TxNxi32, #lut.fixed<...>>"}  # noqa: RUF012
    DEFINITION = """
for each group g and i < N / groups:
y[t, g * N / groups + i] = x[t, g * K / groups + start + i]"""
    EXAMPLE = """
func.func @slice(%x: tensor<?x12xi32, #n>) -> tensor<?x4xi32, #n> {
  %0 = "lut.slice"(%x) {groups = 2, start = 4} : (tensor<?x12xi32, #n>) -> tensor<?x4xi32, #n>
  return %0 : tensor<?x4xi32, #n>
}"""

    def check(self) -> None:
        sizes, bits, exponents = typed(self)
        check_slice(self, sizes)
        same("bits of y", bits["x"], bits["y"], "change the type")
        same("exponent of y", exponents["x"], exponents["y"], "change the type")


class SwigluOp(LutOp, name="swiglu", traits=[ext.Pure]):
    """gate * share(gate) * up, at the exponents of the linear that reads it; without `up`, gate * share(gate) alone.

    `activation` says which share, a function whose values for x and -x add up to 1: "silu" (the default) the sigmoid,
    "gelu" the normal distribution function, "gelu_tanh" its approximation, "relu" a step. docs/numerics.md has them.
    """

    gate: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]
    up: Optional[ext.Operand[ir.RankedTensorType]] = None  # noqa: UP045 (ext reads typing.Optional)

    TYPES = {  # noqa: RUF012
        "gate": "tensor<TxKxi32, #lut.fixed<...>>",
        "up": "tensor<TxKxi32, #lut.fixed<...>>",
        "y": "tensor<TxKxi16, #lut.fixed<...>>",
    }
    OPTIONAL = {"activation": ir.StringAttr}  # noqa: RUF012
    DEFINITION = """
s = share(min(65535, rescale(|gate[t, k]|, exponent of gate + 12))), or 2**15 - that for gate[t, k] < 0
a = round_shift(gate[t, k] * s, 15)
y[t, k] = clamp(rescale(a * up[t, k], exponent of gate + exponent of up - exponents of y[k / 2]), bits)
without up: y[t, k] = clamp(rescale(a, exponent of gate - exponents of y[k / 2]), bits)"""
    EXAMPLE = """
func.func @swiglu(%gate: tensor<?x8xi32, #n>, %up: tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x> {
  %0 = "lut.swiglu"(%gate, %up)
      : (tensor<?x8xi32, #n>, tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        types = typed(self)
        _check_rescale(types, "gate", SIGMOID_FRACTION, "the sigmoid")
        got = activation_of(self)
        expect(got in SHARES, f"activation to be one of {', '.join(SHARES)}", f"'{got}'", "change it")
        width = types.bits["gate"] + types.bits.get("up", 0)
        expect(width <= 62, "gate and up of at most 62 bits together", width, "give them fewer bits")


last_optional(SwigluOp, "gate", "up")


class LastTokenOp(LutOp, name="last_token", traits=[ext.Pure]):
    """The row of the last token: all that the next token needs."""

    x: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxi32, #lut.fixed<...>>", "y": "tensor<1xKxi32, #lut.fixed<...>>"}  # noqa: RUF012
    DEFINITION = "y[0, k] = x[T - 1, k]"
    EXAMPLE = """
func.func @last(%x: tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r> {
  %0 = "lut.last_token"(%x) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  return %0 : tensor<1x8xi32, #r>
}"""

    def check(self) -> None:
        _, bits, exponents = typed(self)
        same("bits of y", bits["x"], bits["y"], "change the type")
        same("exponent of y", exponents["x"], exponents["y"], "change the type")


class ArgmaxOp(LutOp, name="argmax", traits=[ext.Pure]):
    """The greedy pick: the index of the largest logit of each token, the lowest among equals."""

    x: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxNxi32, #lut.fixed<...>>", "y": "tensor<Txi32>"}  # noqa: RUF012
    DEFINITION = "y[t] = argmax_n x[t, n]"
    EXAMPLE = """
func.func @pick(%logits: tensor<1x6xi32, #y>) -> tensor<1xi32> {
  %0 = "lut.argmax"(%logits) : (tensor<1x6xi32, #y>) -> tensor<1xi32>
  return %0 : tensor<1xi32>
}"""

    def check(self) -> None:
        typed(self)


def check_slice(op: LutOp, sizes: Mapping[str, Any]) -> None:
    groups = integer(op.attributes["groups"], "groups", 1, MAX_SIZE)
    wide, narrow = (divides("groups", groups, sizes[s], f"the channels of {v}") for s, v in (("K", "x"), ("N", "y")))
    start = integer(op.attributes["start"], "start", 0, MAX_SIZE)
    expect(start + narrow <= wide, f"channels within a group of {wide}", f"{start}..{start + narrow - 1}", "change it")


def activation_of(op: LutOp) -> str:
    """The activation of a `lut.swiglu`."""
    found = op.optional("activation")
    return "silu" if found is None else ir.StringAttr(found).value


def ceil_log2(n: int) -> int:
    return (n - 1).bit_length()


def _check_rescale(types: Types, name: str, by: int, to: str) -> None:
    shift, most = int(types.exponents[name]) + by, MAX_RESCALE - types.bits[name]
    expect(
        -MAX_RESCALE <= shift <= most,
        f"a shift in {-MAX_RESCALE}..{most} from {name} to {to}",
        shift,
        "choose exponents that lie closer together",
    )
