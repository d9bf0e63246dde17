"""Rotary embedding, the KV cache and grouped-query attention: sizes and constants in, the text of a kernel out.

Each token has a position and, behind a pointer, a cache of its own: tokens may be of one sequence or of several.
"""

from __future__ import annotations

import numpy as np

from lutllm.functions import SOFTCAP_SHIFT
from lutllm.lowering.cpu.code import PTR, Code, Value, rescale, round_shift, saturate, vector
from lutllm.lowering.cpu.elementwise import elements
from lutllm.lowering.cpu.kernel import kernel, rows_of, share
from lutllm.lowering.cpu.layout import Packed
from lutllm.lowering.cpu.tables import exp2_negative, exp2_negative_words, exp2_words, reciprocal, tanh

LANES = 16
KEYS = 256  # whose weighted values are added up in 32 bits: 2**15 * 2**7 each


def rope(name: str, heads: int, channels: int, rotated: int, interleaved: bool, bits: int) -> str:
    """The first `rotated` channels of a head, of which the first kernel loop has a pair at a time; others stay."""
    code = kernel(name, "x", "position", "cosines", "sines", "y")
    a = code.arguments
    half = rotated // 2
    step, apart = (8, 4) if interleaved else (4, 4 * half)  # bytes from pair to pair, and within one
    with rows_of(code, a["tokens"] * heads, half) as (row, first, last):
        place = position_of(code, row // heads) * rotated
        cosines, sines = (code.at(a[n], place) for n in ("cosines", "sines"))
        x, y = (code.at(a[n], row * (4 * channels)) for n in ("x", "y"))
        with code.loop(first, last) as i:
            low, high = (code.load(x, i.index * step + part, "i32").to("i64") for part in (0, apart))
            cos, sin = (code.load(table, i.index * 2, "i16").to("i64") for table in (cosines, sines))
            for value, part in ((low * cos - high * sin, 0), (high * cos + low * sin, apart)):
                code.store(saturate(round_shift(value, 14), bits).to("i32"), y, i.index * step + part)
    if rotated < channels:
        with elements(code, a["tokens"] * heads, channels - rotated) as (i, _):
            place = (i // (channels - rotated) * rotated + rotated + i) * 4
            code.store(code.load(a["x"], place, "i32"), a["y"], place)
    return code.text()


def append(name: str, size: int) -> str:
    """Rows of `size` bytes, each into the cache of its token."""
    code = kernel(name, "cache", "new", "position")
    a = code.arguments
    with rows_of(code, a["tokens"], size) as (token, first, last):
        new, place = code.at(a["new"], token * size), position_of(code, token) * size
        cache = code.at(code.load(a["cache"], token * 8, PTR), place)
        with code.loop(first, last) as i:
            code.store(code.load(new, i.index, "i8"), cache, i.index)
    return code.text()


def position_of(code: Code, token: Value) -> Value:
    return code.load(code.arguments["position"], token * 4, "i32").to("i64")


def output_shifts(values: str, outputs: str, heads: int, kv_heads: int, channels: int) -> Packed:
    """Exponent of the value less exponent of the output, int16 [heads * channels]."""

    def pack(value: np.ndarray, output: np.ndarray) -> np.ndarray:
        of_head = np.repeat(value.astype(np.int16).reshape(kv_heads, -1), heads // kv_heads, axis=0)
        return np.repeat(of_head.reshape(-1) - output, 2).astype(np.int16)

    return Packed((values, outputs), 2 * heads * channels, pack)


def attention(
    name: str,
    heads: int,
    kv_heads: int,
    channels: int,
    bits: int,
    level: str,
    window: int | None = None,
    softcap: int = 0,
) -> str:
    """Tokens times heads are shared by the threads. Scratch: the scores of all rows seen, then sums of a head."""
    tables = ("exp2", "reciprocal", *(["sigmoid"] if softcap else []))
    pointers = ("query", "keys", "values", "position", "multiplier", "shifts", *tables, "y")
    code = kernel(name, *pointers, numbers=["shift"])
    a = code.arguments
    width = kv_heads * channels
    with code.loop(*share(code, a["tokens"] * heads)) as each:
        head, token = each.index % heads, each.index // heads
        seen = position_of(code, token) + 1
        query = code.at(a["query"], each.index * (2 * channels))
        first = head // (heads // kv_heads) * channels
        if window is not None:
            before = (seen - window).maximum(0)  # rows that lie beyond it
            seen, first = seen - before, first + before * width
        keys, values = (code.at(code.load(a[n], token * 8, PTR), first) for n in ("keys", "values"))
        sums = code.at(a["scratch"], 0)
        scores = code.at(a["scratch"], 8 * channels)
        most = _scores(code, query, keys, scores, seen, channels, width, level)
        multiplier = code.load(a["multiplier"], head * 4, "i32").to("i64")
        shift = a["shift"]
        if softcap:
            most = _soft_capped(code, scores, seen, multiplier)
            multiplier, shift = code.constant(softcap, "i64"), code.constant(SOFTCAP_SHIFT, "i64")
        weight = (_vector_weights if level == "avx512" else _weights)(code, scores, seen, most, multiplier, shift)
        _weighted_sums(code, values, scores, sums, seen, channels, width)
        r, length = reciprocal(weight, a["reciprocal"])
        with code.loop(0, channels) as c:
            value = code.load(sums, c.index * 8, "i64") * r
            away = code.load(a["shifts"], (head * channels + c.index) * 2, "i16").to("i64") - 15 - length
            code.store(saturate(rescale(value, away), bits).to("i16"), a["y"], (each.index * channels + c.index) * 2)
    return code.text()


def scratch_bytes(rows: int, channels: int) -> int:
    return 8 * channels + 4 * (rows + LANES)


def _lanes(channels: int, most: int) -> int:
    """The largest power of two up to `most` that divides a head."""
    return min(channels & -channels, most)


def _scores(
    code: Code, query: Value, keys: Value, scores: Value, seen: Value, channels: int, width: int, level: str
) -> Value:
    """Store the score of each row seen; the largest of them."""
    lanes = _lanes(channels, {"avx512": 32, "avx2": 16}.get(level, 16))
    words = (level, lanes) in (("avx512", 32), ("avx2", 16))  # a dot product of 16-bit pairs fills a register
    kind = "i16" if words else "i32"
    parts = [code.load(query, 2 * i, vector(lanes, "i16")).to(kind) for i in range(0, channels, lanes)]
    with code.loop(0, seen, code.constant(-(1 << 31), "i32")) as row:
        total = None
        for i, part in enumerate(parts):
            key = code.load(keys, row.index * width + i * lanes, vector(lanes, "i8")).to(kind)
            product = _dot(code, part, key) if words else part * key
            total = product if total is None else total + product
        assert total is not None
        score = total.reduce("add") if lanes > 1 else total
        code.store(score, scores, row.index * 4)
        row.next(row.carried[0].maximum(score))
    return row.results[0]


def _dot(code: Code, a: Value, b: Value) -> Value:
    if a.type == "vector<32xi16>":
        return code.intrinsic("llvm.x86.avx512.pmaddw.d.512", "vector<16xi32>", a, b)
    return code.intrinsic("llvm.x86.avx2.pmadd.wd", "vector<8xi32>", a, b)


def _soft_capped(code: Code, scores: Value, seen: Value, multiplier: Value) -> Value:
    """Replace scores by tanh of them; the largest."""
    a = code.arguments
    with code.loop(0, seen, code.constant(-(1 << 31), "i32")) as row:
        score = code.load(scores, row.index * 4, "i32").to("i64")
        capped = tanh(round_shift(score * multiplier, a["shift"]), a["sigmoid"]).to("i32")
        code.store(capped, scores, row.index * 4)
        row.next(row.carried[0].maximum(capped))
    return row.results[0]


def _weights(code: Code, scores: Value, seen: Value, most: Value, multiplier: Value, shift: Value) -> Value:
    """Replace scores by weights in units of 2**-15; their sum."""
    table = code.arguments["exp2"]
    with code.loop(0, seen, code.constant(0, "i64")) as row:
        away = most.to("i64") - code.load(scores, row.index * 4, "i32").to("i64")
        weight = exp2_negative(round_shift(away * multiplier, shift), table)
        code.store(weight.to("i32"), scores, row.index * 4)
        row.next(row.carried[0] + weight)
    return row.results[0]


def _vector_weights(code: Code, scores: Value, seen: Value, most: Value, multiplier: Value, shift: Value) -> Value:
    """As `_weights`, 16 at a time; lanes beyond the last row get no weight."""
    table = code.arguments["exp2"]
    lane = code.pattern(range(LANES), "i32")
    tables = exp2_words(table)
    with code.loop(0, seen, code.constant(0, vector(LANES, "i64")), step=LANES) as row:
        score = code.load(scores, row.index * 4, vector(LANES, "i32"))
        away = (most.splat(LANES) - score).unsigned_to("i64")  # at most 2**32 - 1
        weight = exp2_negative_words(round_shift(away * multiplier, shift), tables)
        weight = lane.compare("slt", (seen - row.index).minimum(LANES).to("i32")).select(weight, 0)
        code.store(weight, scores, row.index * 4)
        row.next(row.carried[0] + weight.to("i64"))
    return row.results[0].reduce("add")


def _weighted_sums(
    code: Code, values: Value, weights: Value, sums: Value, seen: Value, channels: int, width: int
) -> None:
    """Sums int64 [channels] of weight times value."""
    lanes = _lanes(channels, 16)
    starts = range(0, channels, lanes)
    for c in starts:
        code.store(code.constant(0, vector(lanes, "i64")), sums, c * 8)
    with code.loop(0, seen, step=KEYS) as block:
        zeros = [code.constant(0, vector(lanes, "i32"))] * len(starts)
        with code.loop(block.index, (block.index + KEYS).minimum(seen), *zeros) as row:
            weight = code.load(weights, row.index * 4, "i32").splat(lanes)
            parts = [code.load(values, row.index * width + c, vector(lanes, "i8")).to("i32") for c in starts]
            row.next(*(acc + weight * part for acc, part in zip(row.carried, parts, strict=True)))
        for c, acc in zip(starts, row.results, strict=True):
            code.store(code.load(sums, c * 8, vector(lanes, "i64")) + acc.to("i64"), sums, c * 8)
