"""Colours other than RGB and gray, as sRGB."""

import imagecodecs
import numpy as np

from srcnn.colour import peak_of, quantise_half_up
from srcnn.strips import map_strips

_NO_PROFILE = "CMYK without a colour profile: converted to RGB by the plain formula"
_BAD_PROFILE = "the CMYK colour profile is damaged: converted to RGB by the plain formula"
# ICC.1: the white of profiles; and linear sRGB of XYZ relative to it (Bradford).
_WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
_LINEAR_FROM_XYZ = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def rgb_from_cmyk(inks: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, list[str]]:
    """CMYK as sRGB, through the file's ICC profile where there is one that works.

    Args:
      inks: (h, w, 4), uint8 or uint16; the largest value is full ink.
      profile: an ICC profile, or None.

    Returns:
      (h, w, 3) RGB of the same type; notes.
    """
    if profile:
        try:
            srgb = imagecodecs.cms_profile("srgb")
            return imagecodecs.cms_transform(
                np.ascontiguousarray(inks), profile, srgb, colorspace="cmyk", outcolorspace="rgb",
                outdtype=inks.dtype,
            ), []  # fmt: skip
        except (imagecodecs.CmsError, ValueError):
            return _plain(inks), [_BAD_PROFILE]
    return _plain(inks), [_NO_PROFILE]


def _plain(inks: np.ndarray) -> np.ndarray:
    """(1 - ink)(1 - black), rounded half up."""
    peak = np.uint32(peak_of(inks))
    light = peak - inks.astype(np.uint32)
    product = light[..., :3] * light[..., 3:]  # at most 65535 ** 2: below 2 ** 32
    return ((product // peak) + (product % peak > peak // 2)).astype(inks.dtype)


def rgb_from_lab(codes: np.ndarray, white: int, unit: int, zero: int) -> np.ndarray:
    """CIE L*a*b* of the white D50 as sRGB; colours that sRGB does not have are clipped.

    Args:
      codes: (h, w, 3), integers of 8 or 16 bits, with or without a sign.
      white: the code of L* = 100.
      unit: codes per unit of a* and b*.
      zero: the code of a* = b* = 0.

    Returns:
      (h, w, 3) RGB, uint8 or uint16.
    """
    dtype = np.dtype(np.uint8 if codes.itemsize == 1 else np.uint16)

    def converted(strip: np.ndarray) -> np.ndarray:
        lightness, a, b = np.moveaxis(strip.astype(np.float64), -1, 0)
        y = (lightness * (100 / white) + 16) / 116
        roots = np.stack([y + (a - zero) / (500 * unit), y, y - (b - zero) / (200 * unit)], -1)
        xyz = np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) * 3 * (6 / 29) ** 2)
        linear = np.clip((xyz * _WHITE_D50) @ _LINEAR_FROM_XYZ.T, 0, 1)
        curved = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
        return quantise_half_up(curved * np.iinfo(dtype).max, dtype)

    return map_strips(converted, dtype, codes)
