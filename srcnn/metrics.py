"""PSNR, MSE and SSIM, in bounded memory.

All figures are on the 8-bit scale (peak 255): 16-bit samples are divided by 257 first, so that
figures of both depths are comparable. Pictures are read in strips of rows, so that a 100-megapixel
image needs only some 20 megabytes more than itself.
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
_WEIGHTS = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_WEIGHTS /= _WEIGHTS.sum()
# Samples of a strip whose squared errors double precision adds exactly.
_EXACT_SAMPLES = 1 << 18
# Samples of a strip, which is copied where a picture's rows are not contiguous.
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
    # Integers up to 2 ** 50 or so a strip: rounding makes the sum exact.
    total = sum(
        round(cv2.norm(reference[rows], candidate[rows], cv2.NORM_L2SQR))
        for rows in strips(reference, samples=_EXACT_SAMPLES)
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
    # Imported here: restore mode does not need it, and it takes a quarter of a second.
    from srcnn.similarity import sum_uniform, sum_weighted

    scale = (peak_of(reference) / PEAK) ** 2
    constants = (_C1 * scale, _C2 * scale)
    totals = [0.0] * len(candidates)
    for rows in strips(reference, radius, _COPIED_SAMPLES):
        for index, candidate in enumerate(candidates):
            pair = reference[rows], candidate[rows]
            if window == "uniform":
                totals[index] += sum_uniform(*pair, *constants)
            else:
                totals[index] += sum_weighted(*pair, _WEIGHTS, *constants)
    channels = 1 if reference.ndim == 2 else reference.shape[2]
    windows = (height - 2 * radius) * (width - 2 * radius) * channels
    return [total / windows for total in totals]


def load_ssim(window: str) -> None:
    """Compiles `ssim` of 8-bit images, so that the first image does not wait."""
    image = np.zeros((11, 11), np.uint8)
    ssim(image, [image], window)


def _check_pair(reference: np.ndarray, candidate: np.ndarray) -> None:
    if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
        raise ValueError(
            f"cannot compare {reference.dtype} {reference.shape} "
            f"with {candidate.dtype} {candidate.shape}"
        )
    if reference.size == 0:
        raise ValueError("cannot compare empty images")
