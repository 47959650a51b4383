"""PSNR, MSE and SSIM, in bounded memory.

All figures are on the 8-bit scale (peak 255): 16-bit samples are divided by 257 first, so that
figures of 8-bit and 16-bit images can stand in one column. Pictures are read in strips of rows, so
that a 100-megapixel image needs no more than a few megabytes beside itself.
"""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from srcnn.colour import peak_of
from srcnn.strips import strips

PEAK = 255.0

# The constants of SSIM.
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2

# A window is (radius, filter, covariance normalisation).
Window = tuple[int, Callable[[np.ndarray], np.ndarray], float]


def mse(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Mean squared error per sample, over all pixels and channels.

    Args:
      reference: (h, w) or (h, w, c), uint8 or uint16.
      candidate: same shape and type.

    Returns:
      The mean of the squared differences on the 8-bit scale.

    Raises:
      ValueError: shapes or types differ, or the images are empty.
    """
    _check_pair(reference, candidate)
    # Integers up to 2 ** 50 a strip, which rounding makes exact again.
    total = sum(
        round(cv2.norm(reference[rows], candidate[rows], cv2.NORM_L2SQR))
        for rows in strips(reference)
    )
    return total / reference.size * (PEAK / peak_of(reference)) ** 2


def psnr_of_mse(value: float) -> float:
    """PSNR in dB of a per-sample MSE, peak 255; infinite for identical images."""
    return math.inf if value == 0 else 20 * math.log10(PEAK / math.sqrt(value))


def ssim(
    reference: np.ndarray, candidates: Sequence[np.ndarray], window: str = "uniform"
) -> list[float | None]:
    """Mean structural similarity of several candidates with one reference.

    `uniform` is scikit-image's default definition: windows of 7 x 7 equal weights, sample
    covariance. `gaussian` is that of Wang et al. (IEEE TIP 13(4), 2004), which the
    super-resolution literature uses: 11 x 11, sigma 1.5, population covariance. Both take
    K1 = 0.01, K2 = 0.03, peak 255, average over the windows that lie wholly inside the image, and
    over the channels.

    Args:
      reference: (h, w) or (h, w, c), uint8 or uint16.
      candidates: images of the reference's shape and type.
      window: `uniform` or `gaussian`.

    Returns:
      One figure per candidate; None where the image is smaller than a window.

    Raises:
      ValueError: shapes or types differ, or the images are empty.
    """
    for candidate in candidates:
        _check_pair(reference, candidate)
    radius, smooth, normalisation = _WINDOWS[window]
    height, width = reference.shape[:2]
    if min(height, width) < 2 * radius + 1:
        return [None] * len(candidates)
    if window == "uniform" and reference.dtype == np.uint8:
        totals = _totals_in_integers(reference, candidates)
    else:
        totals = _totals_in_doubles(reference, candidates, radius, smooth, normalisation)
    channels = 1 if reference.ndim == 2 else reference.shape[2]
    windows = (height - 2 * radius) * (width - 2 * radius) * channels
    return [total / windows for total in totals]


def _totals_in_integers(reference: np.ndarray, candidates: Sequence[np.ndarray]) -> list[float]:
    """Sums of the similarities over all windows of 7 x 7, for 8-bit samples.

    With sums over the n = 49 samples of a window in place of means, everything but the constants
    and the quotient is an exact integer of 29 bits: sums Sx, Sy, Sxx, Syy, Sxy make
    (2 Sx Sy + n^2 c1) (2 (n Sxy - Sx Sy) + n (n - 1) c2) /
    ((Sx^2 + Sy^2 + n^2 c1) (n (Sxx + Syy) - Sx^2 - Sy^2 + n (n - 1) c2)).
    """
    radius, n = 3, 49
    c1, c2 = n * n * _C1, n * (n - 1) * _C2

    def sums(samples: np.ndarray) -> np.ndarray:
        """Over each window; those in the first and last three columns are not whole."""
        return cv2.boxFilter(samples, cv2.CV_32S, (7, 7), normalize=False)[radius:-radius]

    totals = [0.0] * len(candidates)
    for rows in strips(reference, radius):
        x = reference[rows].astype(np.uint16)
        sum_x, variance_x = sums(x), sums(x * x)
        square_x = sum_x * sum_x
        variance_x *= n
        variance_x -= square_x
        for index, candidate in enumerate(candidates):
            y = candidate[rows].astype(np.uint16)
            squares, covariance, variances = sums(y), sums(x * y), sums(y * y)
            products = sum_x * squares
            squares *= squares
            covariance *= n
            covariance -= products
            covariance *= 2
            products *= 2
            variances *= n
            variances -= squares
            variances += variance_x
            squares += square_x
            similarity = products + c1
            similarity *= covariance + c2
            below = squares + c1
            below *= variances + c2
            similarity /= below
            totals[index] += float(similarity[:, radius:-radius].sum())
    return totals


def _totals_in_doubles(
    reference: np.ndarray, candidates: Sequence[np.ndarray], radius: int,
    smooth: Callable[[np.ndarray], np.ndarray], normalisation: float,
) -> list[float]:  # fmt: skip
    """Sums of the similarities over all windows, for any samples and weights."""

    def inner_mean(samples: np.ndarray) -> np.ndarray:
        """Over each window, of the windows that lie wholly inside."""
        return smooth(samples)[radius:-radius, radius:-radius]

    totals = [0.0] * len(candidates)
    for rows in strips(reference, radius):
        x = _on_eight_bit_scale(reference[rows])
        mean_x, square_x = inner_mean(x), inner_mean(x * x)
        for index, candidate in enumerate(candidates):
            y = _on_eight_bit_scale(candidate[rows])
            mean_y = inner_mean(y)
            means, covariance = mean_x * mean_y, inner_mean(x * y)
            mean_squares, variances = mean_x * mean_x, inner_mean(y * y)
            mean_squares += mean_y * mean_y
            # ((2 means + c1) (2 covariance + c2)) / ((mean squares + c1) (variances + c2)), in
            # place: new arrays for each term would take longer than the windows.
            covariance -= means
            covariance *= 2 * normalisation
            covariance += _C2
            variances += square_x
            variances -= mean_squares
            variances *= normalisation
            variances += _C2
            means *= 2
            means += _C1
            mean_squares += _C1
            covariance *= means
            variances *= mean_squares
            covariance /= variances
            totals[index] += float(covariance.sum())
    return totals


def _gaussian(samples: np.ndarray) -> np.ndarray:
    positions = np.arange(-5, 6)
    weights = np.exp(-0.5 * (positions / 1.5) ** 2)
    weights /= weights.sum()
    return cv2.sepFilter2D(samples, cv2.CV_64F, weights, weights)


_WINDOWS: dict[str, Window] = {
    "uniform": (3, lambda samples: cv2.blur(samples, (7, 7)), 49 / 48),
    "gaussian": (5, _gaussian, 1.0),
}


def _on_eight_bit_scale(image: np.ndarray) -> np.ndarray:
    samples = image.astype(np.float64)
    return samples if image.dtype == np.uint8 else samples * (PEAK / peak_of(image))


def _check_pair(reference: np.ndarray, candidate: np.ndarray) -> None:
    if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
        raise ValueError(
            f"cannot compare {reference.dtype} {reference.shape} "
            f"with {candidate.dtype} {candidate.shape}"
        )
    if reference.size == 0:
        raise ValueError("cannot compare empty images")
