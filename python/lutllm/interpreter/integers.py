"""What every `lut` op computes, one function each: integer arrays in, int64 arrays out.

Nothing is clipped except in requantize (and lutllm.numerics.quantize): what does not fit raises NumericsError.

Letters in shape comments: ... tokens (any leading dimensions), K channels, P = K/2 pairs, S activation stages, c_a and
c_w centroids, B blocks of G outputs, R weight stages, N outputs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutllm.numerics import check_fits, check_range, round_shift, saturate
from lutllm.scheme import ACC_BITS, MAX_PAIR_SHIFT, MAX_SHIFT, MULTIPLIER_BITS

_WRITE = "write the store again"


def centroid_search(x: np.ndarray, codebook: np.ndarray, metric: str) -> np.ndarray:
    """Index of the nearest centroid of every pair and stage; a later stage searches what is left over."""
    left = _pairs(x)  # [..., P, 2]
    book = codebook.astype(np.int64)  # [P, S, c_a, 2]
    indices = np.empty((*left.shape[:-1], book.shape[1]), dtype=np.int64)  # [..., P, S]
    for s in range(book.shape[1]):
        away = left[..., None, :] - book[:, s]  # [..., P, c_a, 2]
        distance = np.abs(away).max(axis=-1) if metric == "chebyshev" else np.square(away).sum(axis=-1)
        indices[..., s] = distance.argmin(axis=-1)  # the first, so the lowest, of equals
        left = left - book[np.arange(book.shape[0]), s, indices[..., s]]
    return indices


def build_tables(codebook: np.ndarray, weight_codebook: np.ndarray, shifts: np.ndarray, table_bits: int) -> np.ndarray:
    """The table of every pair, block and pair of stages: the rounded product of each centroid with each weight."""
    a = codebook.astype(np.int64)[:, None, None, :, :, None, :]  # [P, 1, 1, S, c_a, 1, 2]
    w = weight_codebook.astype(np.int64)[:, :, :, None, None, :, :]  # [P, B, R, 1, 1, c_w, 2]
    right, _ = _shifts(shifts)
    tables = round_shift(a[..., 0] * w[..., 0] + a[..., 1] * w[..., 1], right.reshape(-1, 1, 1, 1, 1, 1))
    return check_fits(tables, table_bits, "table entry [pair, block, stage, activation stage, centroid, weight] ")


def table_rows(indices: np.ndarray, tables: np.ndarray, shifts: np.ndarray, term_bits: int) -> np.ndarray:
    """The rows that the indices select from tables, stored or built, summed over the activation stages."""
    table = tables.astype(np.int64)  # [P, B, R, S, c_a, c_w]
    check_range(indices, 0, table.shape[4] - 1, "centroid indices", _WRITE)
    pair = np.arange(table.shape[0])
    rows = table[pair, :, :, 0, indices[..., 0]]  # [..., P, B, R, c_w]
    for s in range(1, table.shape[3]):
        rows += table[pair, :, :, s, indices[..., s]]
    return _shift_left(rows, shifts, term_bits)


def built_row(
    indices: np.ndarray,
    codebook: np.ndarray,
    weight_codebook: np.ndarray,
    shifts: np.ndarray,
    table_bits: int,
    term_bits: int,
) -> np.ndarray:
    """The same rows from the chosen centroids alone; entries no token reads are not computed, so not checked."""
    book = codebook.astype(np.int64)
    check_range(indices, 0, book.shape[2] - 1, "centroid indices", _WRITE)
    right, _ = _shifts(shifts)
    rows = np.zeros((*indices.shape[:-1], *weight_codebook.shape[1:4]), dtype=np.int64)
    for s in range(book.shape[1]):
        chosen = book[np.arange(book.shape[0]), s, indices[..., s]]  # [..., P, 2]
        products = round_shift(_products(chosen, weight_codebook), right.reshape(-1, 1, 1, 1))
        rows += check_fits(products, table_bits, "row entry [..., pair, block, stage, weight] ")
    return _shift_left(rows, shifts, term_bits)


def exact_row(
    x: np.ndarray, weight_codebook: np.ndarray, shifts: np.ndarray, table_bits: int, term_bits: int
) -> np.ndarray:
    """The rows of the activations themselves."""
    right, _ = _shifts(shifts)
    rows = round_shift(_products(_pairs(x), weight_codebook), right.reshape(-1, 1, 1, 1))
    check_fits(rows, table_bits, "unshifted row entry [..., pair, block, stage, weight] ")
    return _shift_left(rows, shifts, term_bits)


@dataclass(frozen=True)
class Terms:
    """What every pair adds to every output, [..., P, N], one pair at a time: whole they are tokens times the layer."""

    rows: np.ndarray  # [..., P, B, R, c_w]
    codes: np.ndarray  # [P, R, N]
    block: int  # G

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.rows.shape[:-3], self.codes.shape[2]

    def __iter__(self) -> Iterator[np.ndarray]:
        """The terms of each pair in turn, [N, tokens]."""
        blocks, stages, entries = self.rows.shape[-3:]
        first = np.arange(self.codes.shape[2]) // self.block * stages * entries
        where = first + np.arange(stages)[:, None] * entries + self.codes.astype(np.int64)  # [P, R, N]
        for p in range(self.rows.shape[-4]):
            row = np.ascontiguousarray(self.rows[..., p, :, :, :].reshape(-1, blocks * stages * entries).T)
            term = row[where[p, 0]]
            for r in range(1, stages):
                term += row[where[p, r]]
            yield check_fits(term, ACC_BITS, f"term of pair {p} [output, token] ")

    def array(self) -> np.ndarray:
        """All terms, [..., P, N]; for small layers."""
        return np.stack([term.T for term in self], axis=1).reshape(self.shape)


def table_lookup(rows: np.ndarray, codes: np.ndarray, block: int) -> Terms:
    """The row entries the weight codes select, summed over the weight stages."""
    check_range(codes, 0, rows.shape[-1] - 1, "weight codes", _WRITE)
    return Terms(rows, codes, block)


def prefix_sum(terms: Terms | np.ndarray, partial: np.ndarray | None = None) -> np.ndarray:
    """The last element of the running sum along the pairs, started at `partial`; each element must fit int32."""
    *leading, _, outputs = terms.shape
    running = np.zeros((outputs, math.prod(leading)), dtype=np.int64)
    if partial is not None:
        running += check_fits(partial, ACC_BITS, "partial sum ").reshape(-1, outputs).T
    each = terms if isinstance(terms, Terms) else _each_pair(terms)
    for p, term in enumerate(each):
        running += term
        check_fits(running, ACC_BITS, f"sum up to pair {p} [output, token] ")
    return np.ascontiguousarray(running.T).reshape(*leading, outputs)


def _each_pair(terms: np.ndarray) -> Iterator[np.ndarray]:
    """Terms given as one array, as `Terms` gives them."""
    for p in range(terms.shape[-2]):
        yield terms[..., p, :].reshape(-1, terms.shape[-1]).T


def requantize(acc: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, shift: int, out_bits: int) -> np.ndarray:
    """The accumulator at the output's exponent, saturated to `out_bits`."""
    check_range(np.array([shift]), 0, MAX_SHIFT, "requantizer shifts")
    check_range(multiplier, 1, (1 << (MULTIPLIER_BITS - 1)) - 1, "multipliers")
    check_fits(bias, ACC_BITS, "bias")
    check_fits(acc, ACC_BITS, "accumulator ")
    scaled = (acc.astype(np.int64) + bias.astype(np.int64)) * multiplier.astype(np.int64)
    return saturate(round_shift(scaled, shift), out_bits)


def _pairs(x: np.ndarray) -> np.ndarray:
    """Inputs [..., K] as pairs [..., P, 2]."""
    return x.astype(np.int64).reshape(*x.shape[:-1], x.shape[-1] // 2, 2)


def _products(values: np.ndarray, weight_codebook: np.ndarray) -> np.ndarray:
    """Integer dot products of [..., P, 2] with [P, B, R, c_w, 2]: [..., P, B, R, c_w]."""
    a = values[..., None, None, None, :]
    w = weight_codebook.astype(np.int64)
    return a[..., 0] * w[..., 0] + a[..., 1] * w[..., 1]


def _shifts(shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(right, left) of every pair, checked."""
    values = shifts.astype(np.int64)
    check_range(values, 0, MAX_PAIR_SHIFT, "shifts")
    return values[:, 0], values[:, 1]


def _shift_left(rows: np.ndarray, shifts: np.ndarray, term_bits: int) -> np.ndarray:
    _, left = _shifts(shifts)
    return check_fits(rows << left.reshape(-1, 1, 1, 1), term_bits, "row [..., pair, block, stage, weight] ")
