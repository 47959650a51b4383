"""The filter that sharpens the interpolated chroma, fitted to the training images.

The network restores the luma alone. Much of what an interpolation takes from Cr and Cb a small
linear filter gives back, at a thousandth of the network's cost.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.optimize import minimize

from srcnn.colour import middle, sharpen
from srcnn.restoration import Restoration

# Taps of the kernel on each side of its centre.
_REACH = 4
# Share of the best filter's change that is made. Nearly all of the mean gain is left, and a
# picture whose chroma was aliased, which a sharpening makes worse, loses little.
_SHARE = 0.7
# Held against large taps, which frequencies that the degradation left out would let grow at will.
_RIDGE = 0.02
# Side of what is looked at of each image, pixels.
_SIDE = 160
# Added to the mean squared errors, of 8-bit codes: images that are nearly gray count little.
_FAINT = 0.5


def fit_chroma_taps(images: Iterable[np.ndarray], restoration: Restoration) -> tuple[float, ...]:
    """Finds the separable symmetric kernel that lowers the mean log MSE of Cr and Cb most.

    Args:
      images: (h, w, 3) BGR, uint8 or uint16; gray and small ones are left out.
      restoration: what is done to them.

    Returns:
      Half of the kernel, its centre first, of sum 1; empty without an image in colour.
    """
    pairs = [
        pair
        for image in images
        if image.ndim == 3 and min(image.shape[:2]) > 4 * restoration.scale
        for pair in _chroma_pairs(image, restoration)
    ]
    if not pairs:
        return ()

    def mean_log_error(outer: np.ndarray) -> float:
        taps = _kernel_half(outer)
        errors = [_log_error(sharpen(d, taps), o) for d, o in pairs]
        return float(np.mean(errors) + _RIDGE * (outer @ outer))

    best = minimize(
        mean_log_error, np.zeros(_REACH), method="Nelder-Mead",
        options={"initial_simplex": _simplex(), "maxfev": 400, "xatol": 1e-4, "fatol": 1e-5},
    )  # fmt: skip
    return _kernel_half(_SHARE * best.x)


def _kernel_half(outer: np.ndarray) -> tuple[float, ...]:
    rounded = [round(float(tap), 6) for tap in outer]
    return (round(1 - 2 * sum(rounded), 6), *rounded)


def _simplex() -> np.ndarray:
    """The points that the search begins with: no filter, and a tenth of each tap."""
    return np.vstack([np.zeros(_REACH), 0.1 * np.eye(_REACH)])


def _chroma_pairs(
    image: np.ndarray, restoration: Restoration
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Degraded and original Cr and Cb of an image's middle, float32 on the 8-bit scale."""
    protocol, dtype = restoration.protocol, image.dtype
    truth = restoration.ground_truth(image)
    size = truth.shape[:2]
    undegraded, degraded = (
        protocol.chroma(restoration.interpolate(small, size, dtype))
        for small in (truth, restoration.degrade(truth))
    )
    shape = tuple(min(side - 2 * restoration.scale, _SIDE) for side in size)
    for before, after in zip(undegraded, degraded, strict=True):
        yield middle(after, shape), middle(before, shape)


def _log_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.log(cv2.norm(one, other, cv2.NORM_L2SQR) / one.size + _FAINT))
