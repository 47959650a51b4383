"""The filter that sharpens the interpolated chroma, fitted to the training images.

The network restores the luma alone. A small linear filter recovers much of the detail that the
interpolation takes from Cr and Cb, at a thousandth of the network's cost.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.optimize import minimize

from srcnn.colour import middle, sharpen
from srcnn.restoration import Restoration

# Taps of the kernel on each side of its centre.
_REACH = 4
# Share of the best filter's change that is applied. Nearly all of the mean gain is left, and a
# picture with aliased chroma, which sharpening makes worse, loses little.
_SHARE = 0.7
# Penalty on large taps: nothing else bounds them at frequencies that the degradation removed.
_RIDGE = 0.02
# Side of each image's middle that is used, pixels.
_SIDE = 160
# Added to the mean squared errors, of 8-bit codes, so that nearly gray images count little.
_FAINT = 0.5


def fit_chroma_taps(images: Iterable[np.ndarray], restoration: Restoration) -> tuple[float, ...]:
    """Finds the separable symmetric kernel that lowers the mean log MSE of Cr and Cb most.

    Args:
      images: (h, w, 3) BGR, uint8 or uint16; gray and small ones are left out.
      restoration: their degradation.

    Returns:
      Half of the kernel of sum 1, from its centre outwards; empty without an image in colour.
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
        errors = [cv2.norm(sharpen(d, taps), o, cv2.NORM_L2SQR) / o.size for d, o in pairs]
        logarithms = [float(np.log(error + _FAINT)) for error in errors]
        return float(np.mean(logarithms) + _RIDGE * (outer @ outer))

    # The search begins with no filter, and with a tenth of each tap.
    simplex = np.vstack([np.zeros(_REACH), 0.1 * np.eye(_REACH)])
    best = minimize(
        mean_log_error, np.zeros(_REACH), method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 400, "xatol": 1e-4, "fatol": 1e-5},
    )  # fmt: skip
    return _kernel_half(_SHARE * best.x)


def _kernel_half(outer: np.ndarray) -> tuple[float, ...]:
    rounded = [round(float(tap), 6) for tap in outer]
    return (round(1 - 2 * sum(rounded), 6), *rounded)


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
