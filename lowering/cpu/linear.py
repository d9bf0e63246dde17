"""lut.linear on the CPU: rows of 16 entries for each slot, and 4-bit codes that select from them.

`lut.linear` sums integers whose order does not matter, so a row keeps 16 bits and its left shift becomes a factor of
the 16-bit dot product that adds a couple of entries to an output. Layout: `layout.LinearShape`.
"""

from __future__ import annotations

from collections.abc import Iterator

from lutllm.lowering.cpu.code import I64, Code, Value, round_shift, saturate
from lutllm.lowering.cpu.kernel import kernel, rows_of, share
from lutllm.lowering.cpu.layout import CHUNK, ENTRIES, LinearShape

TILES = (4, 2, 1)  # tokens for which indices are unpacked once
AHEAD = 8192  # bytes fetched before they are used: what the processor fetches by itself ends with a page
V16, V32 = "vector<16xi32>", "vector<32xi16>"


def search(name: str, pairs: int, stages: int, centroids: int, metric: str) -> str:
    """x [T, K] -> the values of the chosen centroids, int16 [T, P, S, 2]."""
    code = kernel(name, "x", "book", "chosen")
    x, book, chosen, tokens = (code.arguments[a] for a in ("x", "book", "chosen", "tokens"))
    padded = -(-centroids // ENTRIES) * ENTRIES
    wide = "i32" if metric == "chebyshev" else "i64"  # 10 bits of the index below a distance
    with code.loop(*share(code, tokens * pairs)) as each:
        rest = [code.load(x, each.index * 4 + 2 * i, "i16").to(wide) for i in (0, 1)]
        for stage in range(stages):
            here = (each.index % pairs * stages + stage) * (4 * padded)
            best = code.constant(-1, f"vector<16x{wide}>").shift_right_logical(1)
            with code.loop(0, padded, best, step=16) as lane:
                away = [
                    rest[i].splat(16)
                    - code.load(book, here + lane.index * 2 + i * 2 * padded, "vector<16xi16>").to(wide)
                    for i in (0, 1)
                ]
                if metric == "chebyshev":
                    distance = away[0].maximum(0 - away[0]).maximum(away[1].maximum(0 - away[1]))
                else:
                    distance = away[0] * away[0] + away[1] * away[1]
                index = code.pattern(range(16), wide) + code.resize(lane.index, wide, "arith.extsi")
                lane.next(lane.carried[0].minimum((distance << 10) | index))
            found = (lane.results[0].reduce("minsi") & 1023).to(I64)
            for i in (0, 1):
                value = code.load(book, here + found * 2 + i * 2 * padded, "i16")
                code.store(value, chosen, (each.index * stages + stage) * 4 + i * 2)
                rest[i] = rest[i] - value.to(wide)
    return code.text()


def rows(name: str, shape: LinearShape) -> str:
    """Rows of a few tokens, pairs shared by the threads: source (x or chosen centroids) -> rows [B, T, slots, 16]."""
    code = kernel(name, "source", "book", "shifts", "rows")
    a = code.arguments
    with rows_of(code, shape.blocks, shape.pairs) as (block, first, last):
        for token, size in _tiles(code, shape, code.constant(0, I64), a["tokens"]):
            sources, tables = _sources(code, shape, token, size), _tables(code, shape, block, token, size)
            for table in tables:
                _pad(code, shape, table)
            with code.loop(first, last) as pair:
                code.prefetch(a["book"], (block * shape.pairs + pair.index) * (2 * ENTRIES * shape.scheme.R) + AHEAD)
                _rows(code, shape, sources, pair.index, block, tables)
    return code.text()


def lookup(name: str, shape: LinearShape) -> str:
    """Outputs of a few tokens from their rows, chunks shared by the threads: a code is read once for all tokens."""
    code = kernel(name, "rows", "codes", "factors", "requantizer", "y", numbers=["shift"])
    with code.loop(*share(code, shape.chunks)) as each:
        for token, size in _tiles(code, shape, code.constant(0, I64), code.arguments["tokens"]):
            tables = _tables(code, shape, each.index // shape.block_chunks, token, size)
            _chunk(code, shape, each.index, tables, _outputs(code, shape, token, size))
    return code.text()


def many(name: str, shape: LinearShape) -> str:
    """Rows and outputs of any number of tokens, tokens shared by the threads."""
    code = kernel(name, "source", "book", "shifts", "codes", "factors", "requantizer", "y", numbers=["shift"])
    for token, size in _tiles(code, shape, *share(code, code.arguments["tokens"])):
        _tile(code, shape, token, size)
    return code.text()


def _tiles(code: Code, shape: LinearShape, start: Value, stop: Value) -> Iterator[tuple[Value, int]]:
    """Loops over tokens, tile by tile: (first token, how many)."""
    for size in TILES if shape.level == "avx512" and not shape.wide else TILES[-1:]:
        end = start + (stop - start) // size * size
        with code.loop(start, end, step=size) as each:
            yield each.index, size
        start = end


def _sources(code: Code, shape: LinearShape, token: Value, tokens: int) -> list[Value]:
    width = shape.pairs * 4 * max(shape.scheme.S, 1)
    return [code.at(code.arguments["source"], (token + t) * width) for t in range(tokens)]


def _tables(code: Code, shape: LinearShape, block: Value, token: Value, tokens: int) -> list[Value]:
    first = block * code.arguments["tokens"] + token
    return [code.at(code.arguments["rows"], (first + t) * shape.token_bytes) for t in range(tokens)]


def _outputs(code: Code, shape: LinearShape, token: Value, tokens: int) -> list[Value]:
    return [code.at(code.arguments["y"], (token + t) * (shape.outputs * 4)) for t in range(tokens)]


def _tile(code: Code, shape: LinearShape, first: Value, tokens: int) -> None:
    """All outputs of `tokens` tokens, block by block: the rows of a block stay in the cache of the core."""
    sources, outputs = _sources(code, shape, first, tokens), _outputs(code, shape, first, tokens)
    tables = [code.at(code.arguments["scratch"], t * shape.token_bytes) for t in range(tokens)]
    with code.loop(0, shape.blocks) as block:
        for table in tables:
            _pad(code, shape, table)
        with code.loop(0, shape.pairs) as pair:
            _rows(code, shape, sources, pair.index, block.index, tables)
        begin = block.index * shape.block_chunks
        with code.loop(begin, (begin + shape.block_chunks).minimum(shape.chunks)) as chunk:
            _chunk(code, shape, chunk.index, tables, outputs)


def _pad(code: Code, shape: LinearShape, table: Value) -> None:
    """Zeros for the slot that makes the last couple whole; rows that are not wide have a factor of zero there."""
    if shape.wide and shape.slots % 2:
        code.store(code.constant(0, V16), table, shape.slots * shape.row_bytes)


def _rows(code: Code, shape: LinearShape, sources: list[Value], pair: Value, block: Value, tables: list[Value]) -> None:
    """A pair's rows for one or several tokens: R slots, each from S dot products of its two values with 16 weights."""
    a, s = code.arguments, shape.scheme
    right, half, left = (code.load(a["shifts"], pair * 16 + 4 * i, "i32") for i in range(3))
    parts = max(s.S, 1)
    for stage in range(s.R):
        slot = pair * s.R + stage
        weights = _weights(code, shape, (block * shape.slots + slot) * (2 * ENTRIES))
        for source, table in zip(sources, tables, strict=True):
            products = (_dot(code, source, (pair * parts + part) * 4, weights) for part in range(parts))
            total = sum(((product + half) >> right for product in products), start=code.constant(0, V16))
            _store_row(code, shape, total << left, table, slot * shape.row_bytes)


def _weights(code: Code, shape: LinearShape, offset: Value) -> list[Value]:
    """One vector of word pairs, or the first and the second weights as two."""
    book = code.arguments["book"]
    if shape.interleaved:
        return [code.load(book, offset, "vector<32xi8>").to("i16")]
    return [code.load(book, offset + i * ENTRIES, "vector<16xi8>").to("i32") for i in (0, 1)]


def _dot(code: Code, source: Value, offset: Value, weights: list[Value]) -> Value:
    """int32 [16]: the pair of values at `source` times each pair of weights."""
    if len(weights) == 1:
        values = code.load(source, offset, "i32").splat(16).bitcast(V32)
        return code.intrinsic("llvm.x86.avx512.pmaddw.d.512", V16, weights[0], values)
    return sum(
        (weights[i] * code.load(source, offset + 2 * i, "i16").to("i32") for i in (0, 1)),
        start=code.constant(0, V16),
    )


def _store_row(code: Code, shape: LinearShape, row: Value, table: Value, offset: Value) -> None:
    if shape.wide:
        code.store(row, table, offset)
    elif shape.bytes_layout:
        code.store(row.to("i8"), table, offset)
        code.store((row >> 8).to("i8"), table, offset + ENTRIES)
    else:
        code.store(row.to("i16"), table, offset)


def _chunk(code: Code, shape: LinearShape, chunk: Value, tables: list[Value], outputs: list[Value]) -> None:
    """One chunk of outputs of one or several tokens."""
    s = shape.scheme
    codes = code.at(code.arguments["codes"], chunk * (shape.couples * CHUNK))
    requantizer = code.at(code.arguments["requantizer"], chunk * (CHUNK * 8))
    block, within = chunk // shape.block_chunks, chunk % shape.block_chunks
    first = block * s.G + within * CHUNK
    count = None if shape.whole_chunks else ((block + 1) * s.G).minimum(shape.outputs) - first
    ys = [code.at(y, first * 4) for y in outputs]
    if shape.wide:
        for table, y in zip(tables, ys, strict=True):
            _wide_sums(code, shape, codes, table, requantizer, y, count)
        return
    sums = _byte_sums(code, shape, codes, tables) if shape.bytes_layout else _word_sums(code, shape, codes, tables)
    for each, y in zip(sums, ys, strict=True):
        lanes = CHUNK // len(each)
        for v, acc in enumerate(each):
            _requantize(code, s.out_bits, acc, requantizer, y, v * lanes, count)


def _word_sums(code: Code, shape: LinearShape, codes: Value, tables: list[Value]) -> list[list[Value]]:
    """AVX-512: a 32-entry table of words holds a couple's rows; a dot product of words adds both to an output."""
    low, second = code.constant(15, V32), code.pattern([0, 16] * 16, "i16")
    zero = code.constant(0, V16)
    with code.loop(0, shape.couples, *[zero] * (4 * len(tables))) as couple:
        code.prefetch(codes, couple.index * CHUNK + AHEAD)
        packed = code.load(codes, couple.index * CHUNK, V32)
        indices = [(packed.shift_right_logical(4 * k) if k else packed) & low | second for k in range(4)]
        factor = code.load(code.arguments["factors"], couple.index * 4, "i32").splat(16).bitcast(V32)
        sums = []
        for t, table in enumerate(tables):
            row = code.load(table, couple.index * (2 * shape.row_bytes), V32)
            for k, index in enumerate(indices):
                entries = code.intrinsic("llvm.x86.avx512.permvar.hi.512", V32, row, index)
                acc = couple.carried[4 * t + k]
                sums.append(code.intrinsic("llvm.x86.avx512.vpdpwssd.512", V16, acc, entries, factor))
        couple.next(*sums)
    return [couple.results[4 * t : 4 * t + 4] for t in range(len(tables))]


def _byte_sums(code: Code, shape: LinearShape, codes: Value, tables: list[Value]) -> list[list[Value]]:
    """AVX2: low and high bytes of a row are looked up apart, then unpacked to words and to couples of words."""
    (table,) = tables
    zero = code.constant(0, "vector<8xi32>")
    with code.loop(0, shape.couples, *[zero] * 8) as couple:
        code.prefetch(codes, couple.index * CHUNK + AHEAD)
        factor = code.load(code.arguments["factors"], couple.index * 4, "i32").splat(8).bitcast("vector<16xi16>")
        words: list[list[Value]] = []
        for slot in (0, 1):
            offset = couple.index * (2 * shape.row_bytes) + slot * shape.row_bytes
            halves = [_both_lanes(code, code.load(table, offset + i * ENTRIES, "vector<16xi8>")) for i in (0, 1)]
            packed = code.load(codes, couple.index * CHUNK + slot * 32, "vector<32xi8>")
            for index in (packed & 15, packed.shift_right_logical(4) & 15):
                found = [code.intrinsic("llvm.x86.avx2.pshuf.b", "vector<32xi8>", h, index) for h in halves]
                words.append(
                    [_unpack(code, found[0], found[1], high).bitcast("vector<16xi16>") for high in (False, True)]
                )
        sums: list[Value] = []
        for half in (0, 1):
            for bytes_high in (0, 1):
                a, b = words[half][bytes_high], words[2 + half][bytes_high]
                for high in (False, True):
                    pair = _unpack(code, a, b, high)
                    product = code.intrinsic("llvm.x86.avx2.pmadd.wd", "vector<8xi32>", pair, factor)
                    sums.append(couple.carried[len(sums)] + product)
        couple.next(*sums)
    return [couple.results]


def _both_lanes(code: Code, value: Value) -> Value:
    mask = [*range(16), *range(16)]
    text = f"vector.shuffle {value.name}, {value.name} {mask} : {value.type}, {value.type}"
    return code.emit(text, "vector<32xi8>")


def _unpack(code: Code, a: Value, b: Value, high: bool) -> Value:
    """x86 unpack of a 256-bit vector: elements of the low or high half of each 128-bit lane, interleaved."""
    lanes = 32 if a.type == "vector<32xi8>" else 16
    half = lanes // 4
    mask = [
        i + source * lanes
        for lane in (0, lanes // 2)
        for i in range(lane + high * half, lane + high * half + half)
        for source in (0, 1)
    ]
    return code.emit(f"vector.shuffle {a.name}, {b.name} {mask} : {a.type}, {a.type}", a.type)


def _requantize(
    code: Code, bits: int, acc: Value, requantizer: Value, y: Value, first: int, count: Value | None
) -> None:
    bias = code.load(requantizer, first * 4, acc.type)
    multiplier = code.load(requantizer, CHUNK * 4 + first * 4, acc.type)
    scaled = round_shift((acc + bias).to("i64") * multiplier.to("i64"), code.arguments["shift"])
    value = saturate(scaled, bits).to("i32")
    if count is None:
        code.store(value, y, first * 4)
    else:
        code.store_first(value, (count - first).maximum(0), y, first * 4)


def _wide_sums(
    code: Code,
    shape: LinearShape,
    codes: Value,
    table: Value,
    requantizer: Value,
    y: Value,
    count: Value | None,
) -> None:
    """Any processor, any width: entries one by one, four outputs and a couple at a time."""
    zero = code.constant(0, "i32")
    with code.loop(0, 16) as j:
        with code.loop(0, shape.couples, *[zero] * 4) as couple:
            packed = code.load(codes, couple.index * CHUNK + j.index * 4, "i32")
            row = code.at(table, couple.index * (2 * shape.row_bytes))
            sums = []
            for k in range(4):
                acc = couple.carried[k]
                for slot in (0, 1):
                    entry = (packed.shift_right_logical(16 * slot + 4 * k) & 15).unsigned_to(I64)
                    acc = acc + code.load(row, entry * 4 + slot * shape.row_bytes, "i32")
                sums.append(acc)
            couple.next(*sums)
        for k, acc in enumerate(couple.results):
            place = j.index * 4 + k * 64
            bias = code.load(requantizer, place, "i32")
            multiplier = code.load(requantizer, place + CHUNK * 4, "i32")
            scaled = round_shift((acc + bias).to("i64") * multiplier.to("i64"), code.arguments["shift"])
            value = saturate(scaled, shape.scheme.out_bits).to("i32")
            if count is None:
                code.store(value, y, place)
            else:
                with code.when((j.index + 16 * k).compare("slt", count)):
                    code.store(value, y, place)
