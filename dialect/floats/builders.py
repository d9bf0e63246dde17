"""Builders of the float ops, as lutllm.dialect.linears.builders: values and plain Python data in, the op's value out.

`name` is the module path the op is found by. Outputs come from the globals around, where they are not given.
"""

from lutllm.bindings import ir
from lutllm.dialect.attributes import i64, symbol
from lutllm.dialect.decoders.builders import positions_from, rotation
from lutllm.dialect.linears.builders import _size, like, make


def f64(value: float) -> ir.FloatAttr:
    return ir.FloatAttr.get(ir.F64Type.get(), value)


def float_embedding(
    ids: ir.Value,
    position: ir.Value | None = None,
    *,
    name: str,
    weight: str,
    channels: int | None = None,
    scale: float = 1.0,
    offset: int | None = None,
) -> ir.Value:
    """[T] -> [T, channels]; `offset` is of positions."""
    type_ = like(ids, [*ids.type.shape, _size(weight, 1, channels, "channels")], "f32")
    named = {"name": _text(name), "weight": symbol(weight), **_unless(1.0, scale=scale), **positions_from(offset)}
    return make("float_embedding", [ids] if position is None else [ids, position], type_, **named)


def float_norm(
    x: ir.Value,
    *,
    name: str,
    gain: str,
    epsilon: float,
    groups: int = 1,
    kind: str = "rms",
    offset: float = 0.0,
    bias: str | None = None,
) -> ir.Value:
    numbers = {"epsilon": f64(epsilon), "groups": i64(groups), **_unless(0.0, offset=offset)}
    numbers |= {} if bias is None else {"bias": symbol(bias)}
    return make("float_norm", [x], x.type, name=_text(name), gain=symbol(gain), kind=_text(kind), **numbers)


def float_linear(
    x: ir.Value,
    *,
    name: str,
    weight: str,
    bias: str | None = None,
    outputs: int | None = None,
    scale: float = 1.0,
) -> ir.Value:
    """[T, K] -> [T, outputs]."""
    type_ = like(x, [x.type.shape[0], _size(weight, 0, outputs, "outputs")], "f32")
    symbols = {"weight": symbol(weight)} | ({} if bias is None else {"bias": symbol(bias)})
    return make("float_linear", [x], type_, name=_text(name), **symbols, **_unless(1.0, scale=scale))


def float_rope(
    x: ir.Value,
    position: ir.Value,
    *,
    name: str,
    frequencies: str,
    heads: int,
    scale: float = 1.0,
    rotated: int | None = None,
    interleaved: bool = False,
) -> ir.Value:
    numbers = {"heads": i64(heads), "scale": f64(scale), **rotation(rotated, interleaved)}
    return make("float_rope", [x, position], x.type, name=_text(name), frequencies=symbol(frequencies), **numbers)


def float_attention(
    query: ir.Value,
    keys: ir.Value,
    values: ir.Value,
    *,
    name: str,
    heads: int,
    kv_heads: int,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> ir.Value:
    numbers = {"heads": i64(heads), "kv_heads": i64(kv_heads), "scale": f64(scale)}
    if softcap is not None:
        numbers["softcap"] = f64(softcap)
    if window is not None:
        numbers["window"] = i64(window)
    return make("float_attention", [query, keys, values], query.type, name=_text(name), **numbers)


def float_gated(gate: ir.Value, up: ir.Value | None = None, *, name: str, activation: str = "silu") -> ir.Value:
    operands = [gate] if up is None else [gate, up]
    return make("float_gated", operands, gate.type, name=_text(name), activation=_text(activation))


def float_tanh(x: ir.Value, *, name: str, scale: float) -> ir.Value:
    return make("float_tanh", [x], x.type, name=_text(name), scale=f64(scale))


def float_slice(x: ir.Value, *, name: str, groups: int, start: int, channels: int) -> ir.Value:
    """[T, K] -> [T, channels]."""
    type_ = like(x, [x.type.shape[0], channels], "f32")
    return make("float_slice", [x], type_, name=_text(name), groups=i64(groups), start=i64(start))


def float_add(a: ir.Value, b: ir.Value, *, name: str) -> ir.Value:
    return make("float_add", [a, b], a.type, name=_text(name))


def _text(value: str) -> ir.StringAttr:
    return ir.StringAttr.get(value)


def _unless(usual: float, **number: float) -> dict[str, ir.FloatAttr]:
    """An optional number, left out where it is the usual one."""
    return {name: f64(value) for name, value in number.items() if value != usual}
