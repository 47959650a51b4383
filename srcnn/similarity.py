"""The sums of SSIM over windows of equal weights, compiled when it is first needed.

NumPy takes some twenty passes over as many arrays for them, and in each of them other threads wait
for Python's lock; compiled, it is one pass, a seventh of the time, and no lock.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

SIDE = 7
_PIXELS = SIDE * SIDE


def _compiled(function: Callable) -> Callable:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no directory may be written to: each process compiles it anew
        return njit(**options)(function)


@_compiled
def _sum_across(columns, pairs, sums, step):
    """sums[j] = the seven columns[j], columns[j + step], ..., by sums of two and of four."""
    # Views, for an index that may be negative keeps a loop from being vectorised.
    second, last = columns[step:], columns[6 * step :]
    for j in range(second.size):
        pairs[j] = columns[j] + second[j]
    third, fifth = pairs[2 * step :], pairs[4 * step :]
    for j in range(sums.size):
        sums[j] = pairs[j] + third[j] + fifth[j] + last[j]


@_compiled
def _similarities_by_column(x, y, dtype, step, c1, c2):
    """The sum of the similarities of the windows that begin in each column.

    With sums over the n = 49 samples of a window in place of means, everything but the constants
    and the quotient is an exact integer below 2 ** 53: sums Sx, Sy, Sxx + Syy, Sxy make
    (2 Sx Sy + n^2 C1) (2 (n Sxy - Sx Sy) + n (n - 1) C2) /
    ((Sx^2 + Sy^2 + n^2 C1) (n (Sxx + Syy) - Sx^2 - Sy^2 + n (n - 1) C2)).
    """
    height, width = x.shape
    inner = width - (SIDE - 1) * step
    c1, c2 = _PIXELS**2 * c1, _PIXELS * (_PIXELS - 1) * c2
    # Made here: arrays that might overlap keep a loop from being vectorised.
    xs, ys = np.zeros(width, dtype), np.zeros(width, dtype)
    squares, products = np.zeros(width, dtype), np.zeros(width, dtype)
    pairs = np.empty(width, dtype)
    sum_x, sum_y = np.empty(inner, dtype), np.empty(inner, dtype)
    sum_squares, sum_products = np.empty(inner, dtype), np.empty(inner, dtype)
    totals = np.zeros(inner, np.float64)
    for row in range(height):
        new_x, new_y = x[row], y[row]
        for j in range(width):
            a, b = np.int32(new_x[j]), np.int32(new_y[j])
            xs[j] += a
            ys[j] += b
            squares[j] += a * a + b * b
            products[j] += a * b
        if row >= SIDE:
            old_x, old_y = x[row - SIDE], y[row - SIDE]
            for j in range(width):
                a, b = np.int32(old_x[j]), np.int32(old_y[j])
                xs[j] -= a
                ys[j] -= b
                squares[j] -= a * a + b * b
                products[j] -= a * b
        if row < SIDE - 1:
            continue
        _sum_across(xs, pairs, sum_x, step)
        _sum_across(ys, pairs, sum_y, step)
        _sum_across(squares, pairs, sum_squares, step)
        _sum_across(products, pairs, sum_products, step)
        for j in range(inner):
            a, b = np.float64(sum_x[j]), np.float64(sum_y[j])
            product, square = a * b, a * a + b * b
            covariance = _PIXELS * np.float64(sum_products[j]) - product
            variances = _PIXELS * np.float64(sum_squares[j]) - square
            totals[j] += ((2 * product + c1) * (2 * covariance + c2)) / (
                (square + c1) * (variances + c2)
            )
    return totals


def sum_of_similarities(
    reference: np.ndarray, candidate: np.ndarray, c1: float, c2: float
) -> float:
    """The sum of SSIM over all windows of 7 x 7 that lie wholly inside, and over the channels.

    Equal weights and sample covariance, as scikit-image's default.

    Args:
      reference: (h, w) or (h, w, c), uint8 or uint16, at least 7 x 7.
      candidate: same shape and type.
      c1, c2: SSIM's constants (K L)^2 on the scale of the samples.
    """
    height, step = len(reference), reference[0, 0].size
    x = np.ascontiguousarray(reference).reshape(height, -1)
    y = np.ascontiguousarray(candidate).reshape(height, -1)
    # Of 16-bit samples the sums of squares need more than 32 bits.
    dtype = np.dtype(np.int32 if reference.dtype == np.uint8 else np.int64)
    return float(_similarities_by_column(x, y, dtype, step, c1, c2).sum())
