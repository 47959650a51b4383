"""Pairs of degraded and original luma, made by the functions that the pipeline degrades with."""

from dataclasses import dataclass

import numpy as np

from srcnn.colour import luma_opencv, peak_of, planes_matlab, quantise_half_even, quantise_half_up
from srcnn.resample import degrade_matlab, degrade_opencv, modcrop

# The tutorial's SRCNN loses 6 pixels on each side, and its figures leave them out.
_OPENCV_BORDER = 6


@dataclass(frozen=True)
class Degradation:
    """What a network undoes.

    Attributes:
      protocol: whose interpolation and luma: `opencv` or `matlab`.
      scale: factor by which the image is shrunk and enlarged again.
      kernel: a name in KERNELS[protocol].
    """

    protocol: str
    scale: int
    kernel: str

    @property
    def border(self) -> int:
        """Pixels on each side that figures leave out."""
        return _OPENCV_BORDER if self.protocol == "opencv" else self.scale

    @property
    def is_symmetric(self) -> bool:
        """Whether degrading a flipped or turned image flips or turns its degraded one.

        OpenCV's `nearest` takes the upper left pixel of a block, the others are centred.
        """
        return self.kernel != "nearest"

    def quantise(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Luma in [0, 1] as codes of an integer type, rounded as the protocol rounds."""
        rounded = quantise_half_even if self.protocol == "opencv" else quantise_half_up
        return rounded(values.astype(np.float64) * np.iinfo(dtype).max, dtype)


@dataclass(frozen=True)
class Pair:
    """The luma of an image, degraded and as it was.

    Attributes:
      degraded: (h, w), uint8 or uint16 codes (opencv), or float32 nominally in [0, 1], never
        rounded (matlab).
      original: (h, w), uint8 or uint16 codes.
    """

    degraded: np.ndarray
    original: np.ndarray


def make_pair(image: np.ndarray, degradation: Degradation) -> Pair:
    """Degrades an image and takes the luma of both.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
      degradation: how; `opencv` degrades the image in its integer type and keeps its size,
        `matlab` degrades the luma in floating point after cutting it to multiples of the scale.
    """
    if degradation.protocol == "opencv":
        degraded = degrade_opencv(image, degradation.scale, degradation.kernel)
        return Pair(luma_opencv(degraded), luma_opencv(image))
    luma = modcrop(planes_matlab(image)[0], degradation.scale)
    degraded = degrade_matlab(luma, degradation.scale, degradation.kernel) / peak_of(luma)
    return Pair(degraded.astype(np.float32), luma)


def unit_range(plane: np.ndarray) -> np.ndarray:
    """Luma as the network takes it: integer codes divided by their peak, floats as they are.

    Returns:
      float32 of the same shape, nominally in [0, 1].
    """
    values = plane.astype(np.float32)
    return values / np.float32(peak_of(plane)) if plane.dtype.kind == "u" else values
