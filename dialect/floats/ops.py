"""The parts of a model on floats, as PyTorch computes them: what raising makes, and what quantization replaces.

One leading dimension T of tokens. Every op carries its `name`, a PyTorch module path that no other op of the function
has: quantization finds the constants of an op by it. Parameters are PyTorch's, under their own names.
"""

import math
from typing import Optional

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, describe_kind, expect, integer, last_optional
from lutllm.dialect.decoders.attention import check_heads, check_rotated, check_window
from lutllm.dialect.decoders.ops import MAX_SIZE, check_offset, check_slice
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.shapes import divides, typed

NORM_KINDS = ("rms", "layer")
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu")

describe_kind(ir.FloatAttr, "an f64 number")


class FloatOp(LutOp):
    """Base of the ops on floats."""

    NOTES = {"name": "module path, of this op alone"}  # noqa: RUF012

    def check(self) -> None:
        expect(bool(self.attributes["name"].value), "a name, the module path of the op", '""', "give it one")
        self.check_values()

    def check_values(self) -> None:
        raise NotImplementedError


class FloatEmbeddingOp(FloatOp, name="float_embedding", traits=[ext.Pure]):
    """A row of the embedding for each token, times `scale` (1). An id outside the rows of the weight is an error.

    With a `position`, that of the first token, rows are those of the tokens' positions, from row `offset` on: a learned
    embedding of positions.
    """

    ids: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    weight: ir.FlatSymbolRefAttr
    y: ext.Result[ir.RankedTensorType]
    position: Optional[ext.Operand[ir.RankedTensorType]] = None  # noqa: UP045 (ext reads typing.Optional)

    TYPES = {"ids": "tensor<Txi32>", "y": "tensor<TxKxf32>", "position": "tensor<1xi32>"}  # noqa: RUF012
    OPTIONAL = {"scale": ir.FloatAttr, "offset": ir.IntegerAttr}  # noqa: RUF012
    DEFINITION = """
y[t, k] = scale * weight[ids[t], k]
with a position: y[t, k] = scale * weight[offset + position + t, k]"""
    EXAMPLE = """
func.func @embedding(%ids: tensor<?xi32>, %position: tensor<1xi32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = "lut.float_embedding"(%ids) {name = "embed_tokens", weight = @embed_tokens.weight}
      : (tensor<?xi32>) -> tensor<?x8xf32>
  %1 = "lut.float_embedding"(%ids, %position) {name = "positions", weight = @embed_tokens.weight, offset = 0}
      : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        typed(self)
        _optional_positive(self, "scale")
        check_offset(self)

    def parameters(self) -> list[Parameter]:
        return [_parameter("weight", self.weight, parameters.ANY, typed(self).sizes["K"])]


last_optional(FloatEmbeddingOp, "ids", "position")


class FloatNormOp(FloatOp, name="float_norm", traits=[ext.Pure]):
    """Each token's channels, in `groups` equal groups of C, divided by their root mean square, times a gain.

    More than one group is a norm of the heads of queries or keys. `kind` is "rms", or "layer", which first subtracts
    the mean of the group. `offset` (0) is added to the gain.
    """

    x: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    gain: ir.FlatSymbolRefAttr
    kind: ir.StringAttr
    epsilon: ir.FloatAttr
    groups: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxf32>", "y": "tensor<TxKxf32>"}  # noqa: RUF012
    OPTIONAL = {"offset": ir.FloatAttr, "bias": ir.FlatSymbolRefAttr}  # noqa: RUF012
    DEFINITION = """
d[t, k] = x[t, k], for "layer" less the mean of x[t, c] over the channels c of its group
r = sqrt(epsilon + mean of d[t, c]**2 over the channels c of a group)
y[t, k] = d[t, k] / r * (offset + gain[k % C]) + bias[k % C]"""
    EXAMPLE = """
func.func @norm(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_norm"(%x) {name = "norm", gain = @norm.weight, kind = "rms", epsilon = 1.0e-05, groups = 1}
      : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        channels = typed(self).sizes["K"]
        _one_of("kind", self.attributes["kind"].value, NORM_KINDS)
        epsilon = _number("epsilon", self.epsilon)
        expect(epsilon >= 0, "epsilon >= 0", epsilon, "change it")
        if (offset := self.optional("offset")) is not None:
            _number("offset", offset)
        divides("groups", integer(self.groups, "groups", 1, MAX_SIZE), channels, "the channels of x")

    def parameters(self) -> list[Parameter]:
        channels = typed(self).sizes["K"] // int(self.groups.value)
        found, bias = [_parameter("gain", self.gain, channels)], self.optional("bias")
        return found if bias is None else [*found, _parameter("bias", bias, channels)]


class FloatLinearOp(FloatOp, name="float_linear", traits=[ext.Pure]):
    """A linear layer, times `scale` (1)."""

    x: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    weight: ir.FlatSymbolRefAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxf32>", "y": "tensor<TxNxf32>"}  # noqa: RUF012
    OPTIONAL = {"bias": ir.FlatSymbolRefAttr, "scale": ir.FloatAttr}  # noqa: RUF012
    DEFINITION = "y[t, n] = scale * (sum_k x[t, k] * weight[n, k] + bias[n])"
    EXAMPLE = """
func.func @linear(%x: tensor<?x8xf32>) -> tensor<?x6xf32> {
  %0 = "lut.float_linear"(%x) {name = "proj", weight = @proj.weight, bias = @proj.bias}
      : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}"""

    def check_values(self) -> None:
        typed(self)
        _optional_positive(self, "scale")

    def parameters(self) -> list[Parameter]:
        sizes = typed(self).sizes
        found = [_parameter("weight", self.weight, sizes["N"], sizes["K"])]
        bias = self.optional("bias")
        return found if bias is None else [*found, _parameter("bias", bias, sizes["N"])]


class FloatRopeOp(FloatOp, name="float_rope", traits=[ext.Pure]):
    """Rotary position embedding, the halves of each head of C channels rotated against each other.

    `scale` multiplies cosines and sines; `position` is that of the first token. With `rotated` only so many channels at
    the start of each head are, C stands for these; `interleaved` pairs channels 2i and 2i + 1 instead.
    """

    x: ext.Operand[ir.RankedTensorType]
    position: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    frequencies: ir.FlatSymbolRefAttr
    heads: ir.IntegerAttr
    scale: ir.FloatAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxf32>", "position": "tensor<1xi32>", "y": "tensor<TxKxf32>"}  # noqa: RUF012
    OPTIONAL = {"rotated": ir.IntegerAttr, "interleaved": ir.UnitAttr}  # noqa: RUF012
    DEFINITION = """
a = (position + t) * frequencies[i]; in each head, for i < C / 2:
y[t, i]         = scale * (x[t, i] * cos(a) - x[t, i + C / 2] * sin(a))
y[t, i + C / 2] = scale * (x[t, i + C / 2] * cos(a) + x[t, i] * sin(a))"""
    EXAMPLE = """
func.func @rope(%x: tensor<?x8xf32>, %position: tensor<1xi32>) -> tensor<?x8xf32> {
  %0 = "lut.float_rope"(%x, %position) {name = "q_proj.rope", frequencies = @rotary_emb.inv_freq, heads = 2,
      scale = 1.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        check_rotated(self, typed(self).sizes["K"])
        _positive("scale", self.scale)

    def parameters(self) -> list[Parameter]:
        return [_parameter("frequencies", self.frequencies, check_rotated(self, typed(self).sizes["K"]) // 2)]


class FloatAttentionOp(FloatOp, name="float_attention", traits=[ext.Pure]):
    """Causal grouped-query attention: query head h of C channels reads head h * kv_heads / heads of keys and values.

    With a `window` a token sees itself and the window - 1 tokens before it; with a `softcap` scores s become
    softcap * tanh(s / softcap).
    """

    query: ext.Operand[ir.RankedTensorType]
    keys: ext.Operand[ir.RankedTensorType]
    values: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    heads: ir.IntegerAttr
    kv_heads: ir.IntegerAttr
    scale: ir.FloatAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {  # noqa: RUF012
        "query": "tensor<TxKxf32>",
        "keys": "tensor<TxK_kvxf32>",
        "values": "tensor<TxK_kvxf32>",
        "y": "tensor<TxKxf32>",
    }
    OPTIONAL = {"window": ir.IntegerAttr, "softcap": ir.FloatAttr}  # noqa: RUF012
    DEFINITION = """
for each token t and head, with q, k, v the head's channels and j = max(0, t - window + 1) .. t:
p = softmax_j(scale * q[t] . k[j], soft-capped)
y[t, c] = sum_j p[j] * v[j, c]"""
    EXAMPLE = """
func.func @attention(%q: tensor<?x8xf32>, %k: tensor<?x4xf32>, %v: tensor<?x4xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_attention"(%q, %k, %v) {name = "self_attn", heads = 4, kv_heads = 2, scale = 0.5}
      : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        check_heads(self, typed(self).sizes)
        check_window(self)
        _positive("scale", self.scale)
        _optional_positive(self, "softcap")


class FloatGatedOp(FloatOp, name="float_gated", traits=[ext.Pure]):
    """The activation of a gate, times what it lets through, or alone where there is no `up`.

    `activation` is "silu", x / (1 + exp(-x)); "gelu", x times the normal distribution function; "gelu_tanh",
    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))); or "relu", max(0, x).
    """

    gate: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    activation: ir.StringAttr
    y: ext.Result[ir.RankedTensorType]
    up: Optional[ext.Operand[ir.RankedTensorType]] = None  # noqa: UP045 (ext reads typing.Optional)

    TYPES = {name: "tensor<TxKxf32>" for name in ("gate", "up", "y")}  # noqa: RUF012
    DEFINITION = "y[t, k] = activation(gate[t, k]) * up[t, k]"
    EXAMPLE = """
func.func @gated(%gate: tensor<?x8xf32>, %up: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_gated"(%gate, %up) {name = "mlp.gated", activation = "silu"}
      : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        typed(self)
        _one_of("activation", self.activation.value, ACTIVATIONS)


last_optional(FloatGatedOp, "gate", "up")


class FloatTanhOp(FloatOp, name="float_tanh", traits=[ext.Pure]):
    """The hyperbolic tangent times `scale`: of logits divided by `scale` their soft-cap."""

    x: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    scale: ir.FloatAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxf32>", "y": "tensor<TxKxf32>"}  # noqa: RUF012
    DEFINITION = "y[t, k] = scale * tanh(x[t, k])"
    EXAMPLE = """
func.func @softcap(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_tanh"(%x) {name = "softcap", scale = 30.0} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        typed(self)
        _positive("scale", self.scale)


class FloatSliceOp(FloatOp, name="float_slice", traits=[ext.Pure]):
    """The same channels, from `start` on, of each of `groups` equal groups: a part of what one linear computes."""

    x: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    groups: ir.IntegerAttr
    start: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<TxKxf32>", "y": "tensor<TxNxf32>"}  # noqa: RUF012
    DEFINITION = """
for each group g and i < N / groups:
y[t, g * N / groups + i] = x[t, g * K / groups + start + i]"""
    EXAMPLE = """
func.func @slice(%x: tensor<?x12xf32>) -> tensor<?x4xf32> {
  %0 = "lut.float_slice"(%x) {name = "qkv.slice", groups = 2, start = 4} : (tensor<?x12xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}"""

    def check_values(self) -> None:
        check_slice(self, typed(self).sizes)


class FloatAddOp(FloatOp, name="float_add", traits=[ext.Pure]):
    """The sum of two tensors, as for the residual stream."""

    a: ext.Operand[ir.RankedTensorType]
    b: ext.Operand[ir.RankedTensorType]
    name: ir.StringAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {name: "tensor<TxKxf32>" for name in ("a", "b", "y")}  # noqa: RUF012
    DEFINITION = "y[t, k] = a[t, k] + b[t, k]"
    EXAMPLE = """
func.func @add(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_add"(%a, %b) {name = "layer.mlp"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""

    def check_values(self) -> None:
        typed(self)


def _parameter(attribute: str, symbol: ir.Attribute, *sizes: int) -> Parameter:
    return Parameter(attribute, ir.FlatSymbolRefAttr(symbol).value, sizes, parameters.FLOAT)


def _one_of(what: str, got: str, known: tuple[str, ...]) -> None:
    expect(got in known, f"{what} to be one of {', '.join(known)}", f"'{got}'", "change it")


def _number(name: str, attribute: ir.Attribute) -> float:
    value = ir.FloatAttr(attribute).value
    expect(math.isfinite(value), f"a finite {name}", value, "change it")
    return value


def _optional_positive(op: LutOp, name: str) -> None:
    if (attribute := op.optional(name)) is not None:
        _positive(name, attribute)


def _positive(name: str, attribute: ir.Attribute) -> None:
    value = _number(name, attribute)
    expect(value > 0, f"{name} > 0", value, "change it")
