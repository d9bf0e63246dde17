"""What LutLinear reads: a round and its linear, relaid, in; the bytes of the streams c, q and w out.

Each stream is laid out in exactly the order the engine consumes it, so that every burst is full. `B` below is a
beat of the port; words narrower than their beats are padded with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutllm.dialect.linears import parameters
from lutllm.errors import CapacityError, InputError, NumericsError
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.place.clusters import Linear
from lutllm.lowering.place.rounds import Round
from lutllm.numerics import fits
from lutllm.scheme import MULTIPLIER_BITS, PAIR_SHIFT_BITS, QuantizedLinear


def pack_bits(values: np.ndarray, bits: int, total_bits: int, *, signed: bool = True) -> np.ndarray:
    """[..., n] integers to [..., total_bits/8] bytes: `bits` each, first lowest, zero above. Raises `NumericsError`."""
    values = np.asarray(values)
    _check_width("memory image", values, bits, signed=signed)
    if values.shape[-1] * bits > total_bits:
        raise NumericsError(f"expected at most {total_bits} bits in a word, got {values.shape[-1] * bits}")
    packed = _packed(values, bits)
    image = np.zeros((*values.shape[:-1], total_bits // 8), np.uint8)
    image[..., : packed.shape[-1]] = packed
    return image


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    """[..., n] integers to bytes. Codes of 4 bits are most of a model, so widths that fill bytes go without flags."""
    if bits == 4:
        low, high = values[..., 0::2].astype(np.uint8) & 15, values[..., 1::2].astype(np.uint8) << 4
        low[..., : high.shape[-1]] |= high
        return low
    if bits in (8, 16, 32, 64):
        return np.ascontiguousarray(values.astype(f"<i{bits // 8}")).view(np.uint8)
    flags = ((values.astype(np.int64)[..., None] >> np.arange(bits)) & 1).astype(np.uint8)
    return np.packbits(flags.reshape(*values.shape[:-1], -1), axis=-1, bitorder="little")


def _check_width(what: str, values: np.ndarray, bits: int, *, signed: bool) -> None:
    if fits(values, bits) if signed else values.size == 0 or (fits(values, bits + 1) and values.min() >= 0):
        return
    kind = "signed" if signed else "unsigned"
    raise NumericsError(
        f"{what}: expected {kind} integers of {bits} bits, got {values.min()}..{values.max()}; "
        "quantize again, or for an engine of this width"
    )


def quantized_linear(linear: Linear, tensors: Mapping[str, np.ndarray]) -> QuantizedLinear:
    """The arrays of a linear as the IR names them."""
    parts = ("codes", "weight_codebook", "shifts", "multiplier", "bias")
    symbols = {part: parameters.of_weights(linear.name, part) for part in parts}
    symbols |= {"exponents": linear.exponents}
    if linear.codebook is not None:
        symbols["codebook"] = linear.codebook
    missing = next((symbol for symbol in symbols.values() if symbol not in tensors), None)
    if missing is not None:
        raise InputError(f"expected '{missing}' in the store, got none; give the store the module was made for")
    arrays: dict[str, Any] = {"codebook": None} | {part: tensors[symbol] for part, symbol in symbols.items()}
    if not linear.biased and arrays["bias"].any():
        raise InputError(
            f"'{symbols['bias']}': expected 0 throughout, as `unbiased` promises, got {arrays['bias'].max()}; remove "
            "the attribute, or give the store the module was made for"
        )
    return QuantizedLinear(
        name=linear.name,
        input_name="",
        scheme=linear.scheme,
        shift=linear.shift,
        out_exponent=linear.out_exponent,
        tables=tensors.get(parameters.of_weights(linear.name, "tables")),
        **arrays,
    )


def static_image(engine: EngineConfig, round_: Round, linear: QuantizedLinear) -> dict[str, np.ndarray]:
    """The bytes of the round's weight, centroid and requantizer regions, by region name; `linear` is relaid."""
    images = {
        round_.c: group_stream(engine, round_, linear),
        round_.q: output_stream(engine, round_, linear),
    }
    for port, name in enumerate(round_.w):
        images[name] = weight_stream(engine, round_, linear, port)
    return images


def group_stream(engine: EngineConfig, round_: Round, linear: QuantizedLinear) -> np.ndarray:
    """Stream c: for each group a word of shifts (right, left: 8 bits each), then, if it searches, the centroids.

    Word k holds, for each pair and stage, the centroid of every chain that ends at column chain_length - 1 - k.
    """
    _check_width(f"{linear.name}.shifts", linear.shifts, PAIR_SHIFT_BITS, signed=False)
    shifts = _grouped(engine, round_, linear.shifts).reshape(round_.groups, 1, -1)
    words = [_beats(engine, "c", shifts, 8)]
    if round_.row_source != "exact_row":
        words.append(_beats(engine, "c", _centroid_words(engine, round_, linear), engine.operand_bits))
    return np.concatenate([part.reshape(round_.groups, -1) for part in words], axis=1).reshape(-1)


def _centroid_words(engine: EngineConfig, round_: Round, linear: QuantizedLinear) -> np.ndarray:
    """[groups, chain_length, pairs * stages * chains * 2] in shifting order."""
    assert linear.codebook is not None
    pairs, stages, centroids, _ = linear.codebook.shape
    if stages > engine.act_stages or centroids > engine.centroids:
        raise CapacityError(
            f"{linear.name}: expected at most {engine.act_stages} activation stages of {engine.centroids} centroids, "
            f"got {stages} of {centroids}; use a larger engine"
        )
    # A missing centroid repeats the first, which wins every tie; a missing stage finds zero.
    full = np.zeros((pairs, engine.act_stages, engine.centroids, 2), np.int64)
    full[:, :stages] = linear.codebook[:, :, :1]
    full[:, :stages, :centroids] = linear.codebook
    full = _grouped(engine, round_, full)  # [groups, pairs, stages, centroids, 2]
    columns = full.reshape(round_.groups, engine.pairs, engine.act_stages, engine.chains, engine.chain_length, 2)
    return columns[..., ::-1, :].transpose(0, 4, 1, 2, 3, 5).reshape(round_.groups, engine.chain_length, -1)


def output_stream(engine: EngineConfig, round_: Round, linear: QuantizedLinear) -> np.ndarray:
    """Stream q: for each chunk and part of `requant_lanes` outputs a word of {bias, multiplier}, 32 bits each; without
    biases of multipliers of 16 bits."""
    _check_width(f"{linear.name}.multiplier", linear.multiplier, MULTIPLIER_BITS, signed=True)
    parts = [linear.bias, linear.multiplier] if engine.bias_bits else [linear.multiplier]
    parameters = np.stack(parts, axis=-1).astype(np.int64)
    lanes = _chunked(engine, round_, parameters[None])[0]  # [chunks, lanes, parts]
    bits = engine.word_bits["q"] // engine.requant_lanes // len(parts)
    return _beats(engine, "q", lanes.reshape(-1, engine.requant_lanes * len(parts)), bits)


def weight_stream(engine: EngineConfig, round_: Round, linear: QuantizedLinear, port: int) -> np.ndarray:
    """Stream w of one port: for each group, stage, block the codebooks or tables, then each chunk's codes.

    A beat holds one unit for each engine of the port.
    """
    share = slice(port * engine.engines_per_port, (port + 1) * engine.engines_per_port)
    codes = _chunked(engine, round_, linear.codes.reshape(-1, linear.outputs)).reshape(
        linear.pairs, round_.stages, round_.chunks, engine.lanes
    )
    codes = _grouped(engine, round_, codes)[:, share]
    rows = _grouped(engine, round_, _row_data(engine, round_, linear))[:, share]
    row_bits = engine.table_bits if round_.row_source == "stored_table" else engine.weight_bits
    row_units = engine.row_units if round_.row_source == "stored_table" else engine.codebook_units
    parts, chunk = [], 0
    for block in range(round_.blocks):
        # rows [groups, pairs, R, words, values]
        parts.append(_units(engine, rows[:, :, block], row_bits, row_units))
        size = round_.block_size(block)
        parts.append(
            _units(engine, codes[:, :, :, chunk : chunk + size], engine.code_bits, engine.codes_units, signed=False)
        )
        chunk += size
    return np.concatenate(parts, axis=2).reshape(-1)


def _units(engine: EngineConfig, values: np.ndarray, bits: int, units: int, *, signed: bool = True) -> np.ndarray:
    """[groups, pairs, stages, words, n] values to [groups, stages, words * units, pairs * unit bytes]."""
    packed = pack_bits(values, bits, units * engine.unit_bits, signed=signed)
    groups, pairs, stages, words, _ = packed.shape
    packed = packed.reshape(groups, pairs, stages, words * units, engine.unit_bits // 8)
    return packed.transpose(0, 2, 3, 1, 4).reshape(groups, stages, words * units, -1)


def _row_data(engine: EngineConfig, round_: Round, linear: QuantizedLinear) -> np.ndarray:
    """[pairs, blocks, R, words, values]: the codebook as one word, or a table as a word for each stage and centroid."""
    first = round_.first // linear.scheme.G
    blocks = slice(first, first + round_.blocks)
    if round_.row_source != "stored_table":
        books = linear.weight_codebook[:, blocks]
        full = np.zeros((*books.shape[:3], engine.row_entries, 2), books.dtype)
        full[:, :, :, : books.shape[3]] = books
        return full.reshape(*full.shape[:3], 1, -1)
    if linear.tables is None:
        raise InputError(
            f"{linear.name}: row source stored_table needs tables; make them with lutllm.interpreter.make_tables"
        )
    tables = linear.tables[:, blocks]
    pairs, count, stages, act_stages, centroids, entries = tables.shape
    full = np.zeros((pairs, count, stages, engine.act_stages, engine.centroids, engine.row_entries), tables.dtype)
    full[:, :, :, :act_stages, :centroids, :entries] = tables
    return full.reshape(pairs, count, stages, -1, engine.row_entries)


def _grouped(engine: EngineConfig, round_: Round, by_pair: np.ndarray) -> np.ndarray:
    """[P, ...] to [groups, engine.pairs, ...]; pairs past the end are zero."""
    full = np.zeros((round_.groups * engine.pairs, *by_pair.shape[1:]), by_pair.dtype)
    full[: by_pair.shape[0]] = by_pair
    return full.reshape(round_.groups, engine.pairs, *by_pair.shape[1:])


def _chunked(engine: EngineConfig, round_: Round, by_output: np.ndarray) -> np.ndarray:
    """[n, N, ...] to [n, chunks, lanes, ...] of the round's outputs."""
    mine = by_output[:, round_.first : round_.first + round_.outputs]
    return mine.reshape(by_output.shape[0], round_.chunks, engine.lanes, *by_output.shape[2:])


def _beats(engine: EngineConfig, stream: str, words: np.ndarray, bits: int) -> np.ndarray:
    return pack_bits(words, bits, engine.word_beats(stream) * engine.port_bits[stream]).reshape(-1)
