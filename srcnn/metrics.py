"""PSNR, MSE and SSIM, in bounded memory.

All figures are on the 8-bit scale (peak 255): 16-bit samples are divided by 257 first, so that
figures of 8-bit and 16-bit images can stand in one column. Pictures are read in strips of rows, so
that a 100-megapixel image needs no more than a few megabytes beside itself.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from srcnn.colour import peak_of
from srcnn.strips import strips

PEAK = 255.0

# The constants of SSIM.
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2

# Half the side of a window, less the pixel in its middle.
_RADIUS = {"uniform": 3, "gaussian": 5}
# Strips of equal weights are copied only where a picture's rows do not lie side by side.
_COPIED_SAMPLES = 1 << 22


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
    radius = _RADIUS[window]
    height, width = reference.shape[:2]
    if min(height, width) < 2 * radius + 1:
        return [None] * len(candidates)
    totals = _uniform_totals if window == "uniform" else _gaussian_totals
    channels = 1 if reference.ndim == 2 else reference.shape[2]
    windows = (height - 2 * radius) * (width - 2 * radius) * channels
    return [total / windows for total in totals(reference, candidates, radius)]


def load_ssim() -> None:
    """Loads or compiles what `ssim` of 8-bit images needs, for the first image not to wait."""
    image = np.zeros((7, 7, 3), np.uint8)
    ssim(image, [image])


def _uniform_totals(
    reference: np.ndarray, candidates: Sequence[np.ndarray], radius: int
) -> list[float]:
    """Sums of the similarities over all windows of equal weights."""
    # Not wanted in restore mode, and a quarter of a second to import.
    from srcnn.similarity import sum_of_similarities

    scale = (peak_of(reference) / PEAK) ** 2
    totals = [0.0] * len(candidates)
    for rows in strips(reference, radius, _COPIED_SAMPLES):
        for index, candidate in enumerate(candidates):
            totals[index] += sum_of_similarities(
                reference[rows], candidate[rows], _C1 * scale, _C2 * scale
            )
    return totals


def _gaussian_totals(
    reference: np.ndarray, candidates: Sequence[np.ndarray], radius: int
) -> list[float]:
    """Sums of the similarities over all windows of Gaussian weights."""
    positions = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (positions / 1.5) ** 2)
    weights /= weights.sum()

    def inner_mean(samples: np.ndarray) -> np.ndarray:
        """Over each window, of the windows that lie wholly inside."""
        means = cv2.sepFilter2D(samples, cv2.CV_64F, weights, weights)
        return means[radius:-radius, radius:-radius]

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
            covariance *= 2
            covariance += _C2
            variances += square_x
            variances -= mean_squares
            variances += _C2
            means *= 2
            means += _C1
            mean_squares += _C1
            covariance *= means
            variances *= mean_squares
            covariance /= variances
            totals[index] += float(covariance.sum())
    return totals


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
