"""Pairs of a network's input and the ground truth, made as the job makes them."""

from dataclasses import dataclass

import numpy as np

from srcnn.restoration import Restoration


@dataclass(frozen=True)
class Pair:
    """The luma of an image, original and interpolated, and the network's input.

    Attributes:
      seen: see Restoration.network_input: uint8 or uint16 codes (opencv), or float32 nominally in
        [0, 1] (matlab).
      original: (h, w), uint8 or uint16 codes.
      interpolated: (h, w), see Protocol.network_luma.
    """

    seen: np.ndarray
    original: np.ndarray
    interpolated: np.ndarray


def make_pair(image: np.ndarray, restoration: Restoration, path: str = "") -> Pair:
    """Degrades an image and takes the luma of both.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
      restoration: its degradation; its border decides whether both are cropped.
      path: decides the values that the image draws.
    """
    protocol = restoration.protocol
    truth = restoration.ground_truth(image)
    luma = protocol.image_luma(truth)
    # Where planes are degraded separately, the luma suffices, as a grayscale image.
    source = luma if restoration.needs_luma_only else truth
    small = restoration.degrade(source, path)
    interpolated = restoration.interpolate(small, luma.shape, luma.dtype)
    interpolated = restoration.crop(interpolated)
    return Pair(
        restoration.network_input(small, interpolated, luma.dtype),
        restoration.crop(luma),
        protocol.network_luma(interpolated),
    )
