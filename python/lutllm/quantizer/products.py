"""Matrix products whose bits depend on nothing but the operands: float32 or float64 arrays in, their product out.

A BLAS sums in an order that its kernel, the processor and the number of threads decide. Here each element is a chain of
fused multiply-adds over `DEPTH` terms, the chains added one after the other, whatever tile, vector or thread it falls
into. About nine tenths as fast as a BLAS for AVX2; `factors` has what else of LAPACK quantization needs.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from lutllm.errors import InputError

_asked: int | None = None  # threads

DEPTH = 192  # terms of a chain: part of what the product is; every other number here is about speed
ROWS, VECTORS, VECTOR_BYTES = 6, 2, 32  # of a tile, kept in the 16 registers of AVX2
TALL = 768  # rows worked on at once, which stay in the second cache
SHARE = 1 << 22  # multiplications that are worth a thread
SYMMETRIC = 256  # columns of `gram` at a time


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for matrices of one type, in any layout."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        raise ValueError(f"expected matrices [M, K] and [K, N] of one type, got {_say(a)} and {_say(b)}")
    rows, columns = len(a), b.shape[1]
    width = VECTORS * VECTOR_BYTES // a.itemsize
    high, wide = -(-rows // ROWS), -(-columns // width)  # in tiles
    out = np.zeros((high * ROWS, wide * width), a.dtype)
    shares = max(1, min(threads(), a.size * columns // SHARE))
    if wide * width >= high * ROWS:
        starts = [at * width for at in _cuts(wide, shares)]
        parts = [(a, b[:, at:end], out.reshape(-1), at, out.shape[1]) for at, end in pairwise(starts)]
    else:
        starts = [at * ROWS for at in _cuts(high, shares)]
        parts = [(a[at:end], b, out.reshape(-1), at * out.shape[1], out.shape[1]) for at, end in pairwise(starts)]
    spread(_compiled(a.dtype.name), parts)
    return np.ascontiguousarray(out[:rows, :columns])


def gram(x: np.ndarray) -> np.ndarray:
    """x.T @ x, little more than half of it worked out."""
    out = np.empty((x.shape[1], x.shape[1]), x.dtype)
    for at in range(0, len(out), SYMMETRIC):
        end = at + SYMMETRIC
        out[:end, at:end] = multiply(x.T[:end], x[:, at:end])
        out[at:end, :at] = out[:at, at:end].T
    return out


def norm(x: np.ndarray) -> float:
    """The root of the sum of squares, in the order of NumPy's own sums."""
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


def spread(work: Callable[..., Any], parts: Sequence[tuple]) -> None:
    """`work(*part)` for each part, on all threads; `work` must not call this again."""
    if len(parts) == 1:
        work(*parts[0])
    else:
        list(_pool().map(lambda part: work(*part), parts))


def use_threads(count: int) -> None:
    """From now on, so many threads."""
    if count < 1:
        raise InputError(f"expected at least 1 thread, got {count}; give more")
    global _asked
    _asked = count
    threads.cache_clear()
    _pool.cache_clear()


@functools.cache
def threads() -> int:
    """Those asked for, or that OMP_NUM_THREADS allows, else one a core there is. No result depends on it."""
    if _asked is not None:
        return _asked
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) else len(os.sched_getaffinity(0))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads(), "products")


def _cuts(length: int, shares: int) -> list[int]:
    return [length * i // shares for i in range(shares + 1)]


def _say(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


@functools.cache
def _compiled(dtype: str) -> Any:
    """`_product` for one type: compiled once, for any strides."""
    signature = f"void({dtype}[:, :], {dtype}[:, :], {dtype}[::1], intp, intp)"
    return njit(signature, nogil=True, cache=True)(_product)


def _product(a, b, out, base, row):
    """Add a @ b to the rows of `row` elements that start at `base` of `out`, which has room for whole tiles.

    Panels of a and b are copied in the order the tiles read them, padded by 0.
    """
    rows, depth = a.shape
    columns = b.shape[1]
    width = VECTORS * VECTOR_BYTES // a.itemsize
    left, right = np.empty((TALL + ROWS) * DEPTH, a.dtype), np.empty(width * DEPTH, a.dtype)
    for i in range(0, rows, TALL):
        tall = min(TALL, rows - i)
        for k in range(0, depth, DEPTH):
            deep = min(DEPTH, depth - k)
            for ii in range(0, tall, ROWS):
                _panel(a[i + ii : i + min(ii + ROWS, tall), k : k + deep].T, ROWS, left[ii * deep :])
            for j in range(0, columns, width):
                _panel(b[k : k + deep, j : min(j + width, columns)], width, right)
                for ii in range(0, tall, ROWS):
                    _tile(deep, left, ii * deep, right, 0, out, base + (i + ii) * row + j, row)


@njit(nogil=True)
def _panel(x, width, out):
    """Copy a matrix row by row, each padded to `width` elements by 0."""
    rows, columns = x.shape
    if columns < width:
        out[: rows * width] = 0.0
    if x.strides[0] < x.strides[1]:
        for c in range(columns):
            source, target = x[:, c], out[c:]
            for r in range(rows):
                target[r * width] = source[r]
    else:
        for r in range(rows):
            source, target = x[r], out[r * width :]
            for c in range(columns):
                target[c] = source[c]


@intrinsic
def _tile(_typing, depth, a, a_at, b, b_at, out, out_at, row):
    """out[r, n] += fma(a[k, r], b[k, n], ...), a chain over k that starts from 0, at offsets of flat arrays."""
    bits = a.dtype.bitwidth
    width = VECTOR_BYTES * 8 // bits
    array_types = (a, b, out)

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Sequence[ir.Value]) -> ir.Value:
        element = context.get_value_type(a.dtype)
        vector, size = ir.VectorType(element, width), values[0].type
        nothing = ir.Constant(vector, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
        fused = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{width}f{bits}")
        bases = [
            context.make_array(t)(context, builder, v).data
            for t, v in zip(array_types, (values[1], values[3], values[5]), strict=True)
        ]

        def vector_at(base: ir.Value, *offsets: ir.Value) -> ir.Value:
            return builder.bitcast(builder.gep(base, [functools.reduce(builder.add, offsets)]), vector.as_pointer())

        before = builder.block
        loop, done = builder.append_basic_block("terms"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(size)
        k.add_incoming(size(0), before)
        totals = [builder.phi(vector) for _ in range(ROWS * VECTORS)]
        at_a = builder.add(values[2], builder.mul(k, size(ROWS)))
        at_b = builder.add(values[4], builder.mul(k, size(VECTORS * width)))
        row = [builder.load(vector_at(bases[1], at_b, size(v * width)), align=bits // 8) for v in range(VECTORS)]
        sums = []
        for r in range(ROWS):
            factor = builder.load(builder.gep(bases[0], [builder.add(at_a, size(r))]))
            many = builder.shuffle_vector(builder.insert_element(nothing, factor, ir.IntType(32)(0)), nothing, first)
            for v in range(VECTORS):
                total = totals[r * VECTORS + v]
                sums.append(builder.call(fma, [many, row[v], total]))
                total.add_incoming(ir.Constant(vector, [0.0] * width), before)
                total.add_incoming(sums[-1], loop)
        following = builder.add(k, size(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, values[0]), loop, done)
        builder.position_at_end(done)
        for i, total in enumerate(sums):
            at = builder.add(values[6], builder.mul(values[7], size(i // VECTORS)))
            place = vector_at(bases[2], at, size(i % VECTORS * width))
            builder.store(builder.fadd(builder.load(place, align=bits // 8), total), place, align=bits // 8)
        return context.get_dummy_value()

    return types.void(types.intp, a, types.intp, b, types.intp, out, types.intp, types.intp), generate
