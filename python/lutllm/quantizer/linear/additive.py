"""One pair of a weight matrix in additive stages of integer centroids: targets and a metric in, codes and entries out.

A pair's columns w [2, N] are compared in the metric of a 2x2 matrix: z = w @ inverse, w = z @ forward, and the loss
is |z - z'|^2. Codebooks are fitted on z, one for each block of outputs and stage; entries are rounded as weights,
with one power-of-two exponent for all blocks and stages of the pair. Compiled by numba.
"""

import numpy as np
from numba import njit

from lutllm.quantizer.linear.clustering import cluster, means, nearest


@njit(cache=True, nogil=True)
def _without(x, y, books, index, skip_a, skip_b, tx, ty):
    """The points less every stage but the two given."""
    tx[:] = x
    ty[:] = y
    for r in range(len(books)):
        if r != skip_a and r != skip_b:
            for i in range(len(x)):
                tx[i] -= books[r, index[r, i], 0]
                ty[i] -= books[r, index[r, i], 1]


@njit(cache=True, nogil=True)
def assign(x, y, books, sweeps, best, index, tx, ty):
    """Indices [R, n] that bring the sum of stages nearest: exact for R <= 2, then two stages at a time, in `sweeps`."""
    stages, count, _ = books.shape
    if stages == 1:
        nearest(x, y, books[0, :, 0].copy(), books[0, :, 1].copy(), 0, best, index[0])
        return
    sx, sy = np.empty(count * count, np.float32), np.empty(count * count, np.float32)
    joint = np.empty(len(x), np.int32)
    for _ in range(1 if stages == 2 else sweeps):
        for a in range(stages - 1):
            for i in range(count):
                for j in range(count):
                    sx[i * count + j] = books[a, i, 0] + books[a + 1, j, 0]
                    sy[i * count + j] = books[a, i, 1] + books[a + 1, j, 1]
            _without(x, y, books, index, a, a + 1, tx, ty)
            nearest(tx, ty, sx, sy, 0, best, joint)
            for i in range(len(x)):
                index[a, i] = joint[i] // count
                index[a + 1, i] = joint[i] % count


@njit(cache=True, nogil=True)
def _begin(x, y, weights, books, state, best, index, tx, ty):
    """Stage after stage, k-means of what is left."""
    tx[:] = x
    ty[:] = y
    count = books.shape[1]
    cx, cy = np.empty(count, np.float32), np.empty(count, np.float32)
    for r in range(len(books)):
        cluster(tx, ty, weights, cx, cy, 8, 0, state, best, index[r])
        books[r, :, 0] = cx
        books[r, :, 1] = cy
        for i in range(len(x)):
            tx[i] -= cx[index[r, i]]
            ty[i] -= cy[index[r, i]]


@njit(cache=True, nogil=True)
def _improve(x, y, weights, books, rounds, best, index, tx, ty):
    """Alternate joint assignment with weighted least squares of each stage given the others (two sweeps)."""
    stages = len(books)
    for _ in range(rounds):
        assign(x, y, books, 1, best, index, tx, ty)
        for _sweep in range(min(stages, 2)):
            for r in range(stages):
                cx, cy = books[r, :, 0].copy(), books[r, :, 1].copy()
                _without(x, y, books, index, r, r, tx, ty)
                means(tx, ty, weights, index[r], cx, cy)
                books[r, :, 0] = cx
                books[r, :, 1] = cy


@njit(cache=True, nogil=True)
def exponent_for(peak, limit):
    """The smallest e with peak <= limit * 2**e."""
    if peak <= 0.0:
        return -126
    return max(-126, int(np.ceil(np.log2(peak / limit))))


@njit(cache=True, nogil=True)
def solve_pair(w, forward, inverse, weights, block, limit, rounds, warm, state, entries, codes, q, error):
    """Quantize one pair: fills `entries` int32 [B, R, c, 2], `codes` uint8 [R, N], `q` [2, N] and the whitened `error`.

    `warm` is None-like (-1000) to start from k-means, or the exponent of the `entries` given, to start from those.
    Returns (exponent of the entries, loss).
    """
    blocks, stages, count, _ = entries.shape
    outputs = w.shape[1]
    z = np.empty((2, outputs), np.float32)
    for i in range(outputs):
        z[0, i] = w[0, i] * inverse[0, 0] + w[1, i] * inverse[1, 0]
        z[1, i] = w[0, i] * inverse[0, 1] + w[1, i] * inverse[1, 1]
    best, tx, ty = np.empty(outputs, np.float32), np.empty(outputs, np.float32), np.empty(outputs, np.float32)
    index = np.zeros((stages, outputs), np.int32)
    books = np.empty((blocks, stages, count, 2), np.float32)
    fitted = np.empty((blocks, stages, count, 2))
    for b in range(blocks):
        at = slice(b * block, min(outputs, (b + 1) * block))
        x, y, g = z[0, at], z[1, at], weights[at]
        part = np.zeros((stages, len(x)), np.int32)  # contiguous, for the loops of the search
        if warm == -1000:
            _begin(x, y, g, books[b], state, best[at], part, tx[at], ty[at])
        else:
            _change(entries[b] * 2.0**warm, inverse, books[b])
        _improve(x, y, g, books[b], rounds, best[at], part, tx[at], ty[at])
        index[:, at] = part
        _change(books[b].astype(np.float64), forward, fitted[b])
    exponent = exponent_for(np.abs(fitted).max(), limit)
    step = 2.0**exponent
    for at4 in np.ndindex(fitted.shape):
        entries[at4] = int(np.floor(fitted[at4] / step + 0.5))
    loss = 0.0
    for b in range(blocks):
        at = slice(b * block, min(outputs, (b + 1) * block))
        _change(entries[b] * step, inverse, books[b])
        part = index[:, at].copy()
        assign(z[0, at], z[1, at], books[b], 2, best[at], part, tx[at], ty[at])
        index[:, at] = part
    for i in range(outputs):
        a, c = 0, 0
        for r in range(stages):
            codes[r, i] = index[r, i]
            a += entries[i // block, r, index[r, i], 0]
            c += entries[i // block, r, index[r, i], 1]
        q[0, i], q[1, i] = a * step, c * step
        d0, d1 = w[0, i] - q[0, i], w[1, i] - q[1, i]
        error[0, i] = d0 * inverse[0, 0] + d1 * inverse[1, 0]
        error[1, i] = d0 * inverse[0, 1] + d1 * inverse[1, 1]
        loss += weights[i] * (error[0, i] ** 2 + error[1, i] ** 2)
    return exponent, loss


@njit(cache=True, nogil=True)
def _change(points, matrix, out):
    """points @ matrix for arrays [R, c, 2]."""
    for r in range(points.shape[0]):
        for c in range(points.shape[1]):
            a, b = points[r, c, 0], points[r, c, 1]
            out[r, c, 0] = a * matrix[0, 0] + b * matrix[1, 0]
            out[r, c, 1] = a * matrix[0, 1] + b * matrix[1, 1]


@njit(cache=True, nogil=True)
def feed_forward(w, upper, weights, block, limit, rounds, state, entries, exponents, codes, q, error):
    """Quantize the pairs of a chunk in order, each one's error pushed into the columns after it (inside the chunk).

    `w` [2m, N] is overwritten by the targets, `upper` [2m, 2m] is the chunk of the Cholesky factor of H^-1. `error`
    is what the caller pushes into later chunks.
    """
    for p in range(len(exponents)):
        i = 2 * p
        forward = upper[i : i + 2, i : i + 2].copy()
        a, b, d = forward[0, 0], forward[0, 1], forward[1, 1]
        inverse = np.array([[1.0 / a, -b / (a * d)], [0.0, 1.0 / d]])
        exponents[p], _ = solve_pair(
            w[i : i + 2], forward, inverse, weights, block, limit, rounds, -1000, state,
            entries[p], codes[p], q[i : i + 2], error[i : i + 2],
        )  # fmt: skip
        for j in range(i + 2, w.shape[0]):
            u0, u1 = upper[i, j], upper[i + 1, j]
            for n in range(w.shape[1]):
                w[j, n] -= u0 * error[i, n] + u1 * error[i + 1, n]


@njit(cache=True, nogil=True)
def descend(gradient, hessian, weights, block, limit, rounds, state, entries, exponents, codes, q, change):
    """Coordinate descent over the pairs of a chunk: each pair's best target given all others, kept if it is better.

    `gradient` [2m, N] = ((W - Q) H) of the chunk's columns, kept up to date inside the chunk; `change` [2m, N] is how
    `q` changed, for the caller to update the rest.
    """
    outputs = q.shape[1]
    target, new, error = np.empty((2, outputs)), np.empty((2, outputs)), np.empty((2, outputs))
    fresh = np.empty_like(codes[0])
    for p in range(len(exponents)):
        i = 2 * p
        h00, h10, h11 = hessian[i, i], hessian[i + 1, i], hessian[i + 1, i + 1]
        l00 = np.sqrt(h00)
        l10 = h10 / l00
        l11 = np.sqrt(max(h11 - l10 * l10, 1e-12 * h11))
        inverse = np.array([[l00, 0.0], [l10, l11]])  # z = w @ L
        forward = np.array([[1.0 / l00, 0.0], [-l10 / (l00 * l11), 1.0 / l11]])
        det = l00 * l00 * l11 * l11
        old = 0.0
        for n in range(outputs):
            g0, g1 = gradient[i, n], gradient[i + 1, n]
            t0, t1 = (g0 * h11 - g1 * h10) / det, (g1 * h00 - g0 * h10) / det
            target[0, n], target[1, n] = q[i, n] + t0, q[i + 1, n] + t1
            old += weights[n] * ((t0 * l00 + t1 * l10) ** 2 + (t1 * l11) ** 2)
        trial = entries[p].copy()
        exponent, loss = solve_pair(
            target, forward, inverse, weights, block, limit, rounds, exponents[p], state, trial, fresh, new, error
        )
        if loss >= old:
            change[i : i + 2] = 0.0
            continue
        for n in range(outputs):
            change[i, n], change[i + 1, n] = new[0, n] - q[i, n], new[1, n] - q[i + 1, n]
            q[i, n], q[i + 1, n] = new[0, n], new[1, n]
        exponents[p] = exponent
        entries[p] = trial
        codes[p] = fresh
        for j in range(gradient.shape[0]):
            a, b = hessian[i, j], hessian[i + 1, j]
            for n in range(outputs):
                gradient[j, n] -= a * change[i, n] + b * change[i + 1, n]
