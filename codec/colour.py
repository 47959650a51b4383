"""CMYK as sRGB."""

import imagecodecs
import numpy as np

from srcnn.colour import peak_of

_NO_PROFILE = "CMYK without a colour profile: converted to RGB by the plain formula"
_BAD_PROFILE = "the CMYK colour profile is damaged: converted to RGB by the plain formula"


def rgb_from_cmyk(inks: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Converts CMYK to sRGB by the file's ICC profile, or without a working one by a formula.

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
            ), ()  # fmt: skip
        except (imagecodecs.CmsError, ValueError):
            return _plain(inks), (_BAD_PROFILE,)
    return _plain(inks), (_NO_PROFILE,)


def _plain(inks: np.ndarray) -> np.ndarray:
    """(1 - ink)(1 - black), rounded half up."""
    peak = np.uint32(peak_of(inks))
    light = peak - inks.astype(np.uint32)
    product = light[..., :3] * light[..., 3:]  # at most 65535 ** 2: below 2 ** 32
    return ((product // peak) + (product % peak > peak // 2)).astype(inks.dtype)
