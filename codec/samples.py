"""Depth, alpha and orientation of samples."""

import numpy as np

from srcnn.colour import peak_of, quantise_half_up
from srcnn.strips import map_strips

# (h, w, 3) RGB or (h, w), uint8 or uint16, upright; alpha or None.
Planes = tuple[np.ndarray, np.ndarray | None]


def scale_codes(codes: np.ndarray, bits: int, dtype: np.dtype | None = None) -> np.ndarray:
    """Scales codes of any depth to 8 or 16 bits; white stays white; rounded half up.

    Args:
      codes: integers of 0 to 2**bits - 1.
      bits: 1 to 16.
      dtype: uint8 or uint16; by default the smaller that holds the bits.
    """
    dtype = dtype or (np.uint8 if bits <= 8 else np.uint16)
    return scale_from_white(codes, 2**bits - 1, dtype)


def scale_from_white(codes: np.ndarray, white: int, dtype: np.dtype) -> np.ndarray:
    """Scales codes of 0 to `white` to 0 to the peak of `dtype`; larger ones become white."""
    peak = int(np.iinfo(dtype).max)
    if white == peak:
        return codes.astype(dtype, copy=False)
    table = (np.arange(white + 1, dtype=np.int64) * peak + white // 2) // white
    return table.astype(dtype)[np.minimum(codes, white)]


def split_alpha(channels: np.ndarray) -> Planes:
    """Splits gray, gray and alpha, RGB or RGBA into colours and alpha."""
    if channels.ndim == 2:
        return channels, None
    count = channels.shape[2]
    colours = channels[..., 0] if count < 3 else channels[..., :3]
    return colours, channels[..., -1] if count in (2, 4) else None


def straight_from_premultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divides colours by their alpha; black where alpha is 0.

    Args:
      colours: (h, w, channels), uint8 or uint16.
      alpha: (h, w) of the same type.
    """
    peak = peak_of(colours)

    def divide(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        divisor = alpha[..., np.newaxis]
        straight = np.zeros(colours.shape, np.float64)
        np.divide(colours * float(peak), divisor, out=straight, where=divisor > 0)
        return quantise_half_up(straight, colours.dtype)

    return map_strips(divide, colours.dtype, colours, alpha)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation, 1 to 8; other values leave the pixels as they are.

    Args:
      pixels: (h, w) or (h, w, channels).
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
