"""A whole linear by the ops of lutllm.interpreter.integers: a QuantizedLinear and integer inputs in, integers out."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lutllm.errors import InputError
from lutllm.interpreter.integers import (
    build_tables,
    built_row,
    centroid_search,
    exact_row,
    prefix_sum,
    requantize,
    table_lookup,
    table_rows,
)
from lutllm.numerics import check_fits
from lutllm.scheme import QuantizedLinear, Scheme

GROUP_ELEMENTS = 1 << 22  # size of the largest intermediate array; bounds memory, never changes a result


def make_tables(q: QuantizedLinear) -> np.ndarray:
    """The tables of a vq linear as the store keeps them, [P, B, R, S, c_a, c_w]: int8, int32 when wider than 8 bits."""
    if q.codebook is None:
        raise InputError(f"'{q.name}': expected a scheme of kind 'vq' to make tables, got '{q.scheme.kind}'")
    tables = build_tables(q.codebook, q.weight_codebook, q.shifts, q.scheme.table_bits)
    return tables.astype(np.int8 if q.scheme.table_bits <= 8 else np.int32)


def linear(q: QuantizedLinear, x: np.ndarray, row_source: str | None = None) -> np.ndarray:
    """The integers a linear puts out, [..., N], for integer inputs [..., K].

    Without `row_source` the scheme's last is taken; all of a scheme's give the same. `stored_table` reads `q.tables`,
    or tables made now where there are none.
    """
    scheme = q.scheme
    source = row_source or scheme.row_sources[-1]
    if source not in scheme.row_sources:
        raise InputError(f"'{q.name}': expected row source {' or '.join(scheme.row_sources)}, got '{source}'")
    if x.shape[-1] != 2 * q.pairs:
        raise InputError(f"'{q.name}': expected inputs [..., {2 * q.pairs}], got {list(x.shape)}")
    tokens = check_fits(x, scheme.x_bits, "input").reshape(-1, x.shape[-1])
    acc = np.zeros((tokens.shape[0], q.outputs), dtype=np.int64)
    for start, stop in _pair_groups(q, tokens.shape[0]):
        part = _pairs_of(q, start, stop)
        rows = rows_of(part, tokens[:, 2 * start : 2 * stop], source)
        acc = prefix_sum(table_lookup(rows, part.codes, scheme.G), acc)
    y = requantize(acc, q.multiplier, q.bias, q.shift, scheme.out_bits)
    return y.reshape(*x.shape[:-1], q.outputs)


def rows_of(q: QuantizedLinear, x: np.ndarray, row_source: str) -> np.ndarray:
    """The rows of all pairs of a linear for inputs [..., K], from the given source."""
    s = q.scheme
    if q.codebook is None:
        return exact_row(x, q.weight_codebook, q.shifts, s.table_bits, s.term_bits)
    indices = centroid_search(x, q.codebook, s.metric)
    if row_source == "built_row":
        return built_row(indices, q.codebook, q.weight_codebook, q.shifts, s.table_bits, s.term_bits)
    if row_source == "stored_table" and q.tables is not None:
        tables = check_fits(q.tables, s.table_bits, "stored table entry")
    else:
        tables = build_tables(q.codebook, q.weight_codebook, q.shifts, s.table_bits)
    return table_rows(indices, tables, q.shifts, s.term_bits)


def _pair_groups(q: QuantizedLinear, tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of pairs whose rows, tables and search distances stay below GROUP_ELEMENTS."""
    s: Scheme = q.scheme
    entries = q.blocks * s.R * s.c_w
    each = max(tokens * entries * 2, tokens * s.c_a * 2, s.S * s.c_a * entries, 1)
    step = max(1, GROUP_ELEMENTS // each)
    for start in range(0, q.pairs, step):
        yield start, min(start + step, q.pairs)


def _pairs_of(q: QuantizedLinear, start: int, stop: int) -> QuantizedLinear:
    """The linear restricted to a range of its pairs."""
    return replace(
        q,
        exponents=q.exponents[start:stop],
        codebook=None if q.codebook is None else q.codebook[start:stop],
        weight_codebook=q.weight_codebook[start:stop],
        codes=q.codes[start:stop],
        shifts=q.shifts[start:stop],
        tables=None if q.tables is None else q.tables[start:stop],
    )
