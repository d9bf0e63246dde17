"""Float-level modules of given shapes, without weights: decoders, and parts of them. Sizes in, IR out.

For tests and benchmarks below PyTorch, under the names transformers gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutllm import dialect
from lutllm.bindings import func, ir


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one decoder layer of a Llama, with `qk_norm` of a Qwen3; what else others have."""

    intermediate: int = 80
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 12
    qk_norm: bool = False
    activation: str = "silu"
    window: int | None = None
    norms_after: bool = False  # of attention and MLP, before they are added
    fused: bool = False  # linears that read the same
    rotated: int | None = None
    plain: bool = False  # an MLP without a gate
    layer_norm: bool = False  # with a bias, in place of RMSNorm
    parallel: bool = False  # attention and MLP read the same stream, each through a norm of its own
    norms_before: bool = True
    wide_norm: bool = False  # of all query heads, and of all key heads
    softcap: float | None = None  # of scores


def float_decoder(
    hidden: int = 48,
    intermediate: int = 80,
    layers: int | Sequence[LayerShape] = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 12,
    vocabulary: int = 320,
    *,
    qk_norm: bool = False,
    epsilon: float = 1e-6,
    positions: tuple[int, int] | None = None,
    logit_softcap: float | None = None,
    **others: Any,
) -> ir.Module:
    """A whole model: `layers` alike of the sizes, and with `others` that a `LayerShape` has, or one for each shape.

    `positions`: rows of a table of positions, and which is that of the first.
    """
    alike = LayerShape(intermediate, heads, kv_heads, head_dim, qk_norm, **others)
    shapes = [alike] * layers if isinstance(layers, int) else layers

    def body(b: _Builder, ids: ir.Value, position: ir.Value) -> ir.Value:
        x = b.embedding("model.embed_tokens", vocabulary, hidden, ids)
        if positions is not None:
            rows, first = positions
            learned = b.embedding("model.embed_positions", rows, hidden, ids, position, offset=first)
            x = dialect.float_add(x, learned, name="model.embedded")
        for i, shape in enumerate(shapes):
            x = b.layer(x, position, f"model.layers.{i}", shape)
        logits = b.linear(b.norm(x, "model.norm"), "lm_head", vocabulary)
        return logits if logit_softcap is None else dialect.float_tanh(logits, name="softcap", scale=logit_softcap)

    return _module(["tensor<?xi32>", "tensor<1xi32>"], body, epsilon)


def float_mlp(hidden: int = 48, intermediate: int = 80, name: str = "mlp") -> ir.Module:
    """A gated MLP alone."""
    return _module([f"tensor<?x{hidden}xf32>"], lambda b, x: b.mlp(x, name, LayerShape(intermediate)))


def float_linear_norm_linear(inputs: int = 48, middle: int = 32, outputs: int = 24) -> ir.Module:
    """A linear, a norm and a linear."""

    def body(b: _Builder, x: ir.Value) -> ir.Value:
        return b.linear(b.norm(b.linear(x, "first", middle), "norm"), "second", outputs)

    return _module([f"tensor<?x{inputs}xf32>"], body)


class _Builder:
    """Builds parts at the current insertion point, named and located as `torch-raise` does.

    `globals` are the parameters they need.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon
        self.globals: dict[str, tuple[tuple[int, ...], str]] = {}

    def layer(self, x: ir.Value, position: ir.Value, name: str, shape: LayerShape) -> ir.Value:
        kind = "layer" if shape.layer_norm else "rms"
        normed = self.norm(x, f"{name}.input_layernorm", kind=kind) if shape.norms_before else x
        seen = self.attention(normed, position, f"{name}.self_attn", shape)
        if shape.norms_after:
            seen = self.norm(seen, f"{name}.attention_norm", kind=kind)
        with ir.Location.name(name):
            summed = dialect.float_add(x, seen, name=f"{name}.attention")
        normed = x if shape.parallel else summed
        if shape.norms_before:
            normed = self.norm(normed, f"{name}.post_attention_layernorm", kind=kind)
        inner = self.mlp(normed, f"{name}.mlp", shape)
        if shape.norms_after:
            inner = self.norm(inner, f"{name}.mlp_norm", kind=kind)
        with ir.Location.name(name):
            return dialect.float_add(summed, inner, name=f"{name}.mlp")

    def attention(self, x: ir.Value, position: ir.Value, name: str, shape: LayerShape) -> ir.Value:
        heads, kv_heads, head_dim = shape.heads, shape.kv_heads, shape.head_dim
        sizes = {"q": heads * head_dim, "k": kv_heads * head_dim, "v": kv_heads * head_dim}
        query, key, value = self.linears(x, name, sizes, shape.fused)
        query = self.rotated(query, position, name, "q", heads, shape)
        key = self.rotated(key, position, name, "k", kv_heads, shape)
        with ir.Location.name(name):
            seen = dialect.float_attention(
                query, key, value, name=name, heads=heads, kv_heads=kv_heads, scale=head_dim**-0.5, window=shape.window,
                softcap=shape.softcap,
            )  # fmt: skip
        return self.linear(seen, f"{name}.o_proj", x.type.shape[1])

    def rotated(self, y: ir.Value, position: ir.Value, name: str, part: str, heads: int, shape: LayerShape) -> ir.Value:
        made = f"{name}.{part}_proj"
        if shape.qk_norm or shape.wide_norm:
            groups = 1 if shape.wide_norm else heads
            y, made = self.norm(y, f"{name}.{part}_norm", groups), f"{name}.{part}_norm"
        # Layers alike share their frequencies; heads of another size need others.
        turned = shape.rotated or shape.head_dim
        frequencies = self.parameter(f"model.rotary_emb.{turned}.inv_freq", turned // 2)
        with ir.Location.name(name):
            return dialect.float_rope(
                y, position, name=f"{made}.rope", frequencies=frequencies, heads=heads, rotated=shape.rotated
            )

    def linears(self, x: ir.Value, name: str, sizes: Mapping[str, int], fused: bool) -> list[ir.Value]:
        """Linears of one input, or slices of one linear."""
        if not fused:
            return [self.linear(x, f"{name}.{part}_proj", size) for part, size in sizes.items()]
        made = f"{name}.{'_'.join(sizes)}_proj"
        whole, found, start = self.linear(x, made, sum(sizes.values())), [], 0
        for part, size in sizes.items():
            with ir.Location.name(name):
                found.append(dialect.float_slice(whole, name=f"{made}.{part}", groups=1, start=start, channels=size))
            start += size
        return found

    def mlp(self, x: ir.Value, name: str, shape: LayerShape) -> ir.Value:
        sizes = {part: shape.intermediate for part in (("up",) if shape.plain else ("gate", "up"))}
        given = self.linears(x, name, sizes, shape.fused)
        with ir.Location.name(name):
            inner = dialect.float_gated(*given, name=f"{name}.gated", activation=shape.activation)
        return self.linear(inner, f"{name}.down_proj", x.type.shape[1])

    def embedding(
        self, name: str, vocabulary: int, channels: int, *places: ir.Value, offset: int | None = None
    ) -> ir.Value:
        weight = self.parameter(f"{name}.weight", vocabulary, channels)
        with ir.Location.name(name):
            return dialect.float_embedding(*places, name=name, weight=weight, channels=channels, offset=offset)

    def linear(self, x: ir.Value, name: str, outputs: int) -> ir.Value:
        weight = self.parameter(f"{name}.weight", outputs, x.type.shape[1])
        with ir.Location.name(name):
            return dialect.float_linear(x, name=name, weight=weight, outputs=outputs)

    def norm(self, x: ir.Value, name: str, groups: int = 1, kind: str = "rms") -> ir.Value:
        gain = self.parameter(f"{name}.weight", x.type.shape[1] // groups)
        bias = self.parameter(f"{name}.bias", x.type.shape[1] // groups) if kind == "layer" else None
        with ir.Location.name(name):
            return dialect.float_norm(
                x, name=name, gain=gain, epsilon=self.epsilon, groups=groups, kind=kind, bias=bias
            )

    def parameter(self, symbol: str, *sizes: int) -> str:
        self.globals[symbol] = sizes, "float32"
        return symbol


def _module(arguments: Sequence[str], body: Callable[..., ir.Value], epsilon: float = 1e-6) -> ir.Module:
    builder = _Builder(epsilon)
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        types = [ir.Type.parse(text) for text in arguments]
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("forward", (types, []))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            result = body(builder, *block.arguments)
            func.ReturnOp([result])
        function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(types, [result.type]))
        dialect.declare_all(module, builder.globals)
    return module
