"""Builders of the decoder ops, as lutllm.dialect.linears.builders: values and plain Python data in, the op's value out.

Symbols are named by strings; result types are inferred from the operands and the keywords.
"""

from lutllm.bindings import ir
from lutllm.dialect.attributes import fixed, fixed_of, i64, symbol
from lutllm.dialect.linears.builders import like, make
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

INPUT_BITS = 16


def embedding(
    ids: ir.Value,
    position: ir.Value | None = None,
    *,
    rows: str,
    multiplier: str,
    shift: int,
    vocabulary: int,
    channels: int,
    exponent: int,
    bits: int = RESIDUAL_BITS,
    offset: int | None = None,
) -> ir.Value:
    """[T] -> [T, channels]; `offset` is of positions."""
    type_ = like(ids, [*ids.type.shape, channels], "i32", fixed(bits, exponent))
    named = {"rows": symbol(rows), "multiplier": symbol(multiplier), **positions_from(offset)}
    operands = [ids] if position is None else [ids, position]
    return make("embedding", operands, type_, shift=i64(shift), vocabulary=i64(vocabulary), **named)


def positions_from(offset: int | None) -> dict[str, ir.Attribute]:
    """The optional attribute of an embedding of positions."""
    return {} if offset is None else {"offset": i64(offset)}


def rms_norm(
    x: ir.Value,
    *,
    gain: str,
    groups: int,
    epsilon: int,
    shift: int,
    exponent: int,
    bits: int = NORM_BITS,
    centered: bool = False,
    bias: str | None = None,
) -> ir.Value:
    named: dict[str, ir.Attribute] = {"centered": ir.UnitAttr.get()} if centered else {}
    named |= {} if bias is None else {"bias": symbol(bias)}
    type_ = like(x, x.type.shape, "i32", fixed(bits, exponent))
    integers = {"groups": i64(groups), "epsilon": i64(epsilon), "shift": i64(shift)}
    return make("rms_norm", [x], type_, gain=symbol(gain), **integers, **named)


def add(a: ir.Value, b: ir.Value, *, exponent: int, bits: int = RESIDUAL_BITS) -> ir.Value:
    return make("add", [a, b], like(a, a.type.shape, "i32", fixed(bits, exponent)))


def rescale(x: ir.Value, *, exponents: str, bits: int) -> ir.Value:
    """i8 up to 8 bits, else i16."""
    type_ = like(x, x.type.shape, "i8" if bits <= 8 else "i16", fixed(bits, exponents))
    return make("rescale", [x], type_)


def swiglu(
    gate: ir.Value, up: ir.Value | None, *, exponents: str, bits: int = INPUT_BITS, activation: str = "silu"
) -> ir.Value:
    type_ = like(gate, gate.type.shape, "i16", fixed(bits, exponents))
    named = {} if activation == "silu" else {"activation": ir.StringAttr.get(activation)}
    return make("swiglu", [gate] if up is None else [gate, up], type_, **named)


def last_token(x: ir.Value) -> ir.Value:
    meaning = fixed_of(x.type)
    encoding = None if meaning is None else fixed(*meaning)
    return make("last_token", [x], like(x, [1, *x.type.shape[1:]], "i32", encoding))


def argmax(x: ir.Value) -> ir.Value:
    return make("argmax", [x], like(x, x.type.shape[:1], "i32"))


def rope(
    x: ir.Value,
    position: ir.Value,
    *,
    heads: int,
    positions: int,
    cosines: str,
    sines: str,
    rotated: int | None = None,
    interleaved: bool = False,
) -> ir.Value:
    named = {"cosines": symbol(cosines), "sines": symbol(sines), **rotation(rotated, interleaved)}
    return make("rope", [x, position], x.type, heads=i64(heads), positions=i64(positions), **named)


def rotation(rotated: int | None, interleaved: bool) -> dict[str, ir.Attribute]:
    """The optional attributes of RoPE."""
    found: dict[str, ir.Attribute] = {} if rotated is None else {"rotated": i64(rotated)}
    return found | ({"interleaved": ir.UnitAttr.get()} if interleaved else {})


def tanh(x: ir.Value, *, multiplier: int, shift: int, exponent: int, bits: int = RESIDUAL_BITS) -> ir.Value:
    type_ = like(x, x.type.shape, "i32", fixed(bits, exponent))
    return make("tanh", [x], type_, multiplier=i64(multiplier), shift=i64(shift))


def slice_channels(x: ir.Value, *, groups: int, start: int, channels: int) -> ir.Value:
    """[T, K] -> [T, channels]."""
    meaning = fixed_of(x.type)
    encoding = None if meaning is None else fixed(*meaning)
    type_ = like(x, [x.type.shape[0], channels], "i32", encoding)
    return make("slice", [x], type_, groups=i64(groups), start=i64(start))


def append(cache: ir.Value, new: ir.Value, position: ir.Value) -> ir.Value:
    return make("append", [cache, new, position], cache.type)


def attention(
    query: ir.Value,
    keys: ir.Value,
    values: ir.Value,
    position: ir.Value,
    *,
    heads: int,
    kv_heads: int,
    multiplier: str,
    shift: int,
    exponents: str,
    bits: int = INPUT_BITS,
    window: int | None = None,
    softcap: int | None = None,
) -> ir.Value:
    type_ = like(query, query.type.shape, "i16", fixed(bits, exponents))
    return make(
        "attention",
        [query, keys, values, position],
        type_,
        heads=i64(heads),
        kv_heads=i64(kv_heads),
        multiplier=symbol(multiplier),
        shift=i64(shift),
        **{k: i64(v) for k, v in {"window": window, "softcap": softcap}.items() if v is not None},
    )
