"""Pairs of degraded and original luma, made by the functions that the pipeline degrades with."""

from dataclasses import dataclass

import numpy as np

from srcnn.colour import peak_of
from srcnn.protocols import PROTOCOLS, Protocol
from srcnn.resample import modcrop


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
    def convention(self) -> Protocol:
        """The protocol itself."""
        return PROTOCOLS[self.protocol]

    @property
    def border(self) -> int:
        """Pixels on each side that figures leave out."""
        return self.convention.measure_shave("shave", self.scale)

    @property
    def is_symmetric(self) -> bool:
        """Whether degrading a flipped or turned image flips or turns its degraded one.

        OpenCV's `nearest` takes the upper left pixel of a block, the others are centred.
        """
        return self.kernel != "nearest"

    def quantise(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Luma in [0, 1] as codes of an integer type, rounded as the protocol rounds."""
        return self.convention.round_luma(values.astype(np.float64), dtype)


@dataclass(frozen=True)
class Pair:
    """The luma of an image as it was, interpolated, and as the network sees it.

    Attributes:
      seen: what the network takes, `interpolated` or the small picture: uint8 or uint16 codes
        (opencv), or float32 nominally in [0, 1], never rounded (matlab).
      original: (h, w), uint8 or uint16 codes.
      interpolated: (h, w), of the type of `seen`.
    """

    seen: np.ndarray
    original: np.ndarray
    interpolated: np.ndarray


def make_pair(image: np.ndarray, degradation: Degradation, sees_small: bool = False) -> Pair:
    """Degrades an image and takes the luma of both.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
      degradation: how; `opencv` degrades the image in its integer type and keeps its size,
        `matlab` degrades the luma in floating point after cutting it to multiples of the scale.
      sees_small: whether the network sees the small picture; then both cut it so.
    """
    convention, scale, kernel = degradation.convention, degradation.scale, degradation.kernel
    original = convention.prepare(image, scale)
    if sees_small:
        original = modcrop(original, scale)
    luma = convention.image_luma(original)
    # Where planes are degraded apart, the luma goes alone, as a grayscale image.
    source = luma if convention.measures_luma_only else original
    interpolated = convention.network_luma(convention.degrade(source, scale, kernel))
    if not sees_small:
        return Pair(interpolated, luma, interpolated)
    small = convention.network_luma(convention.shrink(source, scale, kernel))
    return Pair(small, luma, interpolated)


def unit_range(plane: np.ndarray) -> np.ndarray:
    """Luma as the network takes it: integer codes divided by their peak, floats as they are.

    Returns:
      float32 of the same shape, nominally in [0, 1].
    """
    values = plane.astype(np.float32)
    return values / np.float32(peak_of(plane)) if plane.dtype.kind == "u" else values
