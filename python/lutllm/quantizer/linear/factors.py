"""The Cholesky factor of an inverse: a positive definite float64 matrix in, an upper triangle out.

In blocks whose products are those of `products`, so that the bits depend on the matrix alone, as LAPACK's do not.
"""

import numpy as np
from numba import njit

from lutllm.errors import NumericsError
from lutllm.quantizer.products import multiply

BLOCK = 64
STRIP = 512  # columns of the rest that are brought up to date at a time


def inverse_factor(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle U with U.T @ U the inverse of `matrix`, whose lower triangle is read.

    With both axes turned round, matrix = U^-1 U^-T is the factorization of Cholesky, so nothing is inverted twice.
    """
    lower = np.array(matrix.T[::-1, ::-1], np.float64, order="C")
    inverses = _factor(lower)
    for row in range(len(lower)):
        lower[row, row + 1 :] = 0.0
    for at in range(0, len(lower), BLOCK):
        here = slice(at, at + BLOCK)
        inverse = inverses[at // BLOCK]
        if at:
            lower[here, :at] = -multiply(inverse, multiply(lower[here, :at], lower[:at, :at]))
        lower[here, here] = inverse
    return lower[::-1, ::-1]


def _factor(a: np.ndarray) -> list[np.ndarray]:
    """The Cholesky factor into the lower triangle of `a`; the inverses of its diagonal blocks."""
    inverses = []
    for at in range(0, len(a), BLOCK):
        end = min(at + BLOCK, len(a))
        inverse = np.zeros((end - at, end - at))
        place = _factor_block(a[at:end, at:end], inverse)
        if place >= 0:
            raise NumericsError(
                f"Hessian: expected a positive definite matrix, got pivot {len(a) - 1 - at - place} not above 0; "
                "damp it more"
            )
        inverses.append(inverse)
        a[end:, at:end] = multiply(a[end:, at:end], inverse.T)
        for start in range(end, len(a), STRIP):
            rows, columns = slice(start, None), slice(start, start + STRIP)
            a[rows, columns] -= multiply(a[rows, at:end], a[columns, at:end].T)
    return inverses


@njit(cache=True, nogil=True)
def _factor_block(a, inverse):
    """`_factor` of one block, and its inverse; the first pivot that is not positive, or -1."""
    for j in range(len(a)):
        for i in range(j, len(a)):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i == j:
                if not total > 0.0:
                    return j
                a[j, j] = np.sqrt(total)
            else:
                a[i, j] = total / a[j, j]
    for j in range(len(a)):
        inverse[j, j] = 1.0 / a[j, j]
        for i in range(j + 1, len(a)):
            total = 0.0
            for k in range(j, i):
                total -= a[i, k] * inverse[k, j]
            inverse[i, j] = total / a[i, i]
    return -1
