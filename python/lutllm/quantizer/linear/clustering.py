"""Codebooks by k-means: points of pairs in, centroids and their indices out. Compiled by numba, deterministic by seed.

Points are two float32 arrays (one a channel), so that the loop over points is vectorised; ties go to the lower
index, as everywhere in lutllm.
"""

import numpy as np
from numba import njit, prange

FAR = np.float32(3.0e38)
METRIC = {"l2": 0, "chebyshev": 1}
EXACT_FLOAT = (np.float64, np.float32)  # by metric: the narrowest in which the search of 16-bit integers is exact
FAST = {"contract"}


@njit(cache=True, nogil=True)
def uniform(state):
    """The next number in [0, 1) of a splitmix64 generator whose state is `state[0]`."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _distance(x, y, ax, ay, metric):
    dx, dy = x - ax, y - ay
    return dx * dx + dy * dy if metric == 0 else max(abs(dx), abs(dy))


@njit(cache=True, nogil=True, fastmath=FAST)
def _nearest_of(x, y, cx, cy, metric, best, index):
    """`nearest` for one metric, known when compiled. Four centroids a pass: passes cost loads and stores."""
    for i in range(len(x)):
        best[i] = FAR
        index[i] = 0
    even = len(cx) // 4 * 4
    for c in range(0, even, 4):
        x0, y0, x1, y1, x2, y2, x3, y3 = cx[c], cy[c], cx[c + 1], cy[c + 1], cx[c + 2], cy[c + 2], cx[c + 3], cy[c + 3]
        for i in range(len(x)):
            d0, d1 = _distance(x[i], y[i], x0, y0, metric), _distance(x[i], y[i], x1, y1, metric)
            d2, d3 = _distance(x[i], y[i], x2, y2, metric), _distance(x[i], y[i], x3, y3, metric)
            low = np.int32(c + 1) if d1 < d0 else np.int32(c)
            high = np.int32(c + 3) if d3 < d2 else np.int32(c + 2)
            d0 = d1 if d1 < d0 else d0
            d2 = d3 if d3 < d2 else d2
            low = high if d2 < d0 else low
            d0 = d2 if d2 < d0 else d0
            index[i] = low if d0 < best[i] else index[i]
            best[i] = d0 if d0 < best[i] else best[i]
    for c in range(even, len(cx)):
        for i in range(len(x)):
            d = _distance(x[i], y[i], cx[c], cy[c], metric)
            index[i] = np.int32(c) if d < best[i] else index[i]
            best[i] = d if d < best[i] else best[i]


@njit(cache=True, nogil=True)
def nearest(x, y, cx, cy, metric, best, index):
    """For each point the distance and the index of its nearest centroid."""
    if metric == 0:
        _nearest_of(x, y, cx, cy, 0, best, index)
    else:
        _nearest_of(x, y, cx, cy, 1, best, index)


@njit(cache=True, nogil=True)
def _draw(mass, state):
    """An index drawn with probability proportional to `mass`."""
    total = 0.0
    for m in mass:
        total += m
    left = uniform(state) * total
    for i in range(len(mass)):
        left -= mass[i]
        if left < 0.0:
            return i
    return len(mass) - 1


@njit(cache=True, nogil=True, fastmath=FAST)
def spread(x, y, weights, cx, cy, state):
    """k-means++: fill `cx, cy` with points drawn far from each other."""
    n = len(x)
    mass = np.empty(n, np.float32)
    near = np.full(n, FAR, np.float32)
    first = _draw(weights, state)
    cx[0], cy[0] = x[first], y[first]
    for c in range(1, len(cx)):
        ax, ay = cx[c - 1], cy[c - 1]
        for i in range(n):
            dx, dy = x[i] - ax, y[i] - ay
            d = dx * dx + dy * dy
            near[i] = d if d < near[i] else near[i]
            mass[i] = near[i] * weights[i]
        at = _draw(mass, state)
        cx[c], cy[c] = x[at], y[at]


@njit(cache=True, nogil=True)
def means(x, y, weights, index, cx, cy):
    """Move each centroid to the weighted mean of its points; one without points stays. How many stayed."""
    count = len(cx)
    sums = np.zeros((count, 3))
    for i in range(len(x)):
        c = index[i]
        w = np.float64(weights[i])
        sums[c, 0] += w * x[i]
        sums[c, 1] += w * y[i]
        sums[c, 2] += w
    empty = 0
    for c in range(count):
        if sums[c, 2] > 0.0:
            cx[c] = sums[c, 0] / sums[c, 2]
            cy[c] = sums[c, 1] / sums[c, 2]
        else:
            empty += 1
    return empty


@njit(cache=True, nogil=True)
def _refill(x, y, weights, index, best, cx, cy):
    """Put each centroid that has no points on the point that is worst served."""
    used = np.zeros(len(cx), np.bool_)
    for c in index:
        used[c] = True
    for c in range(len(cx)):
        if not used[c]:
            worst = 0
            for i in range(len(x)):
                if best[i] * weights[i] > best[worst] * weights[worst]:
                    worst = i
            cx[c], cy[c] = x[worst], y[worst]
            best[worst] = 0.0


@njit(cache=True, nogil=True)
def cluster(x, y, weights, cx, cy, rounds, metric, state, best, index):
    """k-means++ and `rounds` of Lloyd: fills the centroids and the points' indices."""
    spread(x, y, weights, cx, cy, state)
    for _ in range(rounds):
        nearest(x, y, cx, cy, metric, best, index)
        if means(x, y, weights, index, cx, cy) > 0:
            _refill(x, y, weights, index, best, cx, cy)
    nearest(x, y, cx, cy, metric, best, index)


@njit(cache=True, nogil=True)
def search(x, y, books, metric, best, index, rx, ry):
    """The hardware's search: stage by stage, each on what the stages before left. `books` [S, c, 2], `index` [S, n]."""
    rx[:] = x
    ry[:] = y
    for s in range(len(books)):
        cx, cy = books[s, :, 0].copy(), books[s, :, 1].copy()
        nearest(rx, ry, cx, cy, metric, best, index[s])
        for i in range(len(rx)):
            rx[i] -= cx[index[s, i]]
            ry[i] -= cy[index[s, i]]


@njit(cache=True, nogil=True)
def _refine(x, y, books, rounds, metric):
    """Alternate the search with a least-squares update of each stage given the others; keep the best books."""
    kept = books.copy()
    least = np.inf
    rx, ry, tx, ty, best = np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    weights, index = np.ones(len(x), np.float32), np.zeros((len(books), len(x)), np.int32)
    for step in range(rounds + 1):
        search(x, y, books, metric, best, index, rx, ry)
        loss = 0.0
        for i in range(len(x)):
            loss += rx[i] * rx[i] + ry[i] * ry[i]
        if loss < least:
            least = loss
            kept[:] = books
        if step == rounds:
            break
        for s in range(len(books)):
            cx, cy = books[s, :, 0].copy(), books[s, :, 1].copy()
            for i in range(len(x)):
                tx[i] = rx[i] + cx[index[s, i]]
                ty[i] = ry[i] + cy[index[s, i]]
            means(tx, ty, weights, index[s], cx, cy)
            for i in range(len(x)):
                rx[i] = tx[i] - cx[index[s, i]]
                ry[i] = ty[i] - cy[index[s, i]]
            books[s, :, 0] = cx
            books[s, :, 1] = cy
    books[:] = kept


@njit(cache=True, parallel=True)
def activation_books(points, stages, count, rounds, metric, seeds, every, refinements):
    """Codebooks [P, stages, count, 2] of `points` float32 [P, 2, n], one generator a pair.

    Stage by stage by k-means on one point of `every`, then refined on all of them.
    """
    pairs = len(points)
    books = np.zeros((pairs, stages, count, 2), np.float32)
    for p in prange(pairs):
        state = np.array([seeds[p]], np.uint64)
        x, y = points[p, 0], points[p, 1]
        rx, ry = x[::every].copy(), y[::every].copy()
        some = len(rx)
        weights, best, index = np.ones(some, np.float32), np.empty(some, np.float32), np.zeros(some, np.int32)
        cx, cy = np.empty(count, np.float32), np.empty(count, np.float32)
        for s in range(stages):
            cluster(rx, ry, weights, cx, cy, rounds, metric, state, best, index)
            books[p, s, :, 0] = cx
            books[p, s, :, 1] = cy
            for i in range(some):
                rx[i] -= cx[index[i]]
                ry[i] -= cy[index[i]]
        _refine(x, y, books[p], refinements, metric)
    return books


@njit(cache=True, parallel=True)
def coded(points, books, metric):
    """The sum of chosen centroids for `points` [P, 2, n]; both arguments `EXACT_FLOAT` of integers: hardware chooses
    the same."""
    pairs, _, n = points.shape
    out = np.empty_like(points)
    for p in prange(pairs):
        best, index = np.empty(n, points.dtype), np.empty((books.shape[1], n), np.int32)
        search(points[p, 0], points[p, 1], books[p], metric, best, index, out[p, 0], out[p, 1])
        for i in range(n):
            out[p, 0, i] = points[p, 0, i] - out[p, 0, i]
            out[p, 1, i] = points[p, 1, i] - out[p, 1, i]
    return out
