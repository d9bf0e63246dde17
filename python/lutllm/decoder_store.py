"""A whole decoder in the parameter store: a `QuantizedDecoder` in, the store's two files out, and back.

What is no array is the section `decoder` of `quantization.json`: the structure and each part's shifts and exponents.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import store
from lutllm.decoder import (
    COSINES,
    QUERY_BITS,
    SINES,
    Attention,
    Decoder,
    QuantizedAttention,
    QuantizedDecoder,
    QuantizedEmbedding,
    QuantizedNorm,
)
from lutllm.errors import InputError
from lutllm.scheme import ACC_BITS, MAX_SHIFT, MULTIPLIER_BITS

GAIN_BITS = 24
EPSILON_BITS = 62
SECTION = "decoder"
_LIMIT = (1 << (MULTIPLIER_BITS - 1)) - 1


def save_decoder(directory: Path | str, decoder: QuantizedDecoder, **extra: object) -> str:
    """Write the store of a checked decoder; return the hash of its arrays. `extra` goes into the JSON."""
    check_decoder(decoder)
    tensors = {**decoder.tensors(), **store.linears_tensors(decoder.linears)}
    section = {
        "structure": decoder.decoder.to_dict(),
        "embedding": {"shift": decoder.embedding.shift, "exponent": decoder.embedding.exponent},
        "norms": {
            name: {"gain_shift": n.gain_shift, "epsilon": n.epsilon, "exponent": n.exponent}
            for name, n in decoder.norms.items()
        },
        "attentions": {name: {"shift": a.shift, "cache_bits": a.cache_bits} for name, a in decoder.attentions.items()},
        "residuals": decoder.residuals,
        "positions": len(decoder.cosines),
    }
    return store.save_parameters(directory, decoder.linears, tensors, **extra, **{SECTION: section})


def load_decoder(directory: Path | str) -> QuantizedDecoder:
    """What `save_decoder` wrote, after checking the hash, every array and every number."""
    sidecar, arrays = store.load_parameters(directory)
    where = Path(directory) / store.SIDECAR
    if not isinstance(sidecar.get(SECTION), dict):
        raise InputError(f"'{where}': expected a section '{SECTION}', got linears alone; quantize the whole model")
    linears = {name: store.linear_from(name, entry, arrays) for name, entry in sidecar["linears"].items()}
    try:
        section = sidecar[SECTION]
        structure = Decoder.from_dict(section["structure"])
        decoder = QuantizedDecoder(
            decoder=structure,
            embedding=_embedding(structure.embedding, section["embedding"], arrays),
            norms={n: QuantizedNorm(n, arrays.require(f"{n}.gain"), **v) for n, v in section["norms"].items()},
            attentions={name: _attention(name, values, arrays) for name, values in section["attentions"].items()},
            residuals=dict(section["residuals"]),
            cosines=arrays.require(COSINES),
            sines=arrays.require(SINES),
            linears=linears,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"'{where}': section '{SECTION}': expected another form, got a problem with {error}") from None
    return check_decoder(decoder)


def _embedding(name: str, values: dict[str, int], arrays: store.Store) -> QuantizedEmbedding:
    return QuantizedEmbedding(name, arrays.require(f"{name}.rows"), arrays.require(f"{name}.multiplier"), **values)


def _attention(name: str, values: dict[str, int], arrays: store.Store) -> QuantizedAttention:
    query, key, value = (arrays.require(f"{name}.{part}.exponents") for part in ("query", "key", "value"))
    return QuantizedAttention(name, query, key, value, arrays.require(f"{name}.multiplier"), **values)


def check_decoder(decoder: QuantizedDecoder) -> QuantizedDecoder:
    """Check types, shapes and ranges of everything, and that linears fit the structure; return the decoder."""
    for problem in _problems(decoder):
        raise InputError(problem)
    for linear in decoder.linears.values():
        store.check_linear(linear)
    for problem in _misfits(decoder):
        raise InputError(problem)
    return decoder


def _problems(q: QuantizedDecoder) -> Iterator[str]:
    d = q.decoder
    e = q.embedding
    yield from _array(f"{e.name}.rows", e.rows, np.int8, (d.vocabulary, d.hidden))
    yield from _array(f"{e.name}.multiplier", e.multiplier, np.int32, (d.vocabulary,), 1, _LIMIT)
    yield from _number(f"{e.name}: shift", e.shift, 0, MAX_SHIFT)
    yield from _number(f"{e.name}: exponent", e.exponent, -128, 127)
    yield from _names("norms", q.norms, [norm.name for norm in d.norms])
    gain = (1 << (GAIN_BITS - 1)) - 1
    for norm in d.norms:
        n = q.norms[norm.name]
        yield from _array(f"{n.name}.gain", n.gain, np.int32, (norm.channels // norm.groups,), -gain, gain)
        yield from _number(f"{n.name}: gain_shift", n.gain_shift, 0, MAX_SHIFT)
        yield from _number(f"{n.name}: epsilon", n.epsilon, 0, 1 << EPSILON_BITS)
        yield from _number(f"{n.name}: exponent", n.exponent, -128, 127)
    yield from _names("attentions", q.attentions, [layer.attention.name for layer in d.layers])
    for layer in d.layers:
        yield from _attention_problems(layer.attention, q.attentions[layer.attention.name])
    yield from _names("residuals", q.residuals, list(d.residuals))
    for name, exponent in q.residuals.items():
        yield from _number(f"residual '{name}'", exponent, -128, 127)
    shape = (len(q.cosines), len(d.inverse_frequencies))
    yield from _array(COSINES, q.cosines, np.int16, shape)
    yield from _array(SINES, q.sines, np.int16, shape)
    yield from _names("linears", q.linears, list(d.linears))


def _attention_problems(a: Attention, q: QuantizedAttention) -> Iterator[str]:
    half = a.head_dim // 2
    for part, heads in (("query", a.heads), ("key", a.kv_heads), ("value", a.kv_heads)):
        yield from _array(f"{a.name}.{part}.exponents", getattr(q, f"{part}_exponents"), np.int8, (heads * half,))
    yield from _array(f"{a.name}.multiplier", q.multiplier, np.int32, (a.heads,), 1, _LIMIT)
    yield from _number(f"{a.name}: shift", q.shift, 0, MAX_SHIFT)
    yield from _number(f"{a.name}: cache_bits", q.cache_bits, 2, 16)
    width = QUERY_BITS + q.cache_bits - 2 + (a.head_dim - 1).bit_length()
    if width > ACC_BITS - 1:
        yield f"'{a.name}': expected scores of at most {ACC_BITS} bits, got {width + 1}; use fewer cache bits"
    query = q.query_exponents.reshape(a.heads, half).astype(np.int64)
    sums = query + np.repeat(q.key_exponents.reshape(a.kv_heads, half), a.heads // a.kv_heads, axis=0)
    for head in np.flatnonzero(np.ptp(sums, axis=1)):
        yield (
            f"'{a.name}': expected query and key exponents that add up to one number in head {head}, "
            f"got {sums[head].min()}..{sums[head].max()}"
        )


def _misfits(q: QuantizedDecoder) -> Iterator[str]:
    """Linears whose shape or shared input is not the structure's."""
    d = q.decoder
    for layer in d.layers:
        a = layer.attention
        inner, cached = a.heads * a.head_dim, a.kv_heads * a.head_dim
        yield from _readers(q, {a.query: inner, a.key: cached, a.value: cached}, d.hidden)
        yield from _readers(q, {a.output: d.hidden}, inner)
        yield from _readers(q, {layer.gate: layer.intermediate, layer.up: layer.intermediate}, d.hidden)
        yield from _readers(q, {layer.down: d.hidden}, layer.intermediate)
    yield from _readers(q, {d.head: d.vocabulary}, d.hidden)


def _readers(q: QuantizedDecoder, outputs: dict[str, int], inputs: int) -> Iterator[str]:
    sources = {name: q.linears[name].input_name for name in outputs}
    if len(set(sources.values())) > 1:
        yield f"expected {', '.join(outputs)} to read one input, got {', '.join(sources.values())}"
    for name, wanted in outputs.items():
        got = q.linears[name].outputs, 2 * q.linears[name].pairs
        if got != (wanted, inputs):
            yield f"'{name}': expected {wanted} outputs of {inputs} inputs, got {got[0]} of {got[1]}"


def _array(
    name: str, array: Any, dtype: type, shape: tuple[int, ...], low: int | None = None, high: int | None = None
) -> Iterator[str]:
    if array.dtype != dtype or array.shape != shape:
        yield f"'{name}': expected {np.dtype(dtype)} {list(shape)}, got {array.dtype} {list(array.shape)}"
    elif low is not None and high is not None and array.size and not low <= array.min() <= array.max() <= high:
        yield f"'{name}': expected values in {low}..{high}, got {array.min()}..{array.max()}"


def _number(name: str, value: Any, low: int, high: int) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        yield f"{name}: expected a whole number in {low}..{high}, got {value!r}"


def _names(what: str, got: dict, wanted: list[str]) -> Iterator[str]:
    """Names must be the structure's; the first that is missing or unknown is told."""
    odd = [n for n in wanted if n not in got] or [n for n in got if n not in wanted]
    if odd:
        state = "is missing" if odd[0] in wanted else "is unknown"
        yield f"{what}: expected those of the {len(wanted)} in the structure, got {len(got)}: '{odd[0]}' {state}"
