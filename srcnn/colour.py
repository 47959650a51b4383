"""Luma and chroma, in OpenCV's and in MATLAB's protocol.

OpenCV: full-range BT.601 YCrCb, in the image's integer type. MATLAB: studio-range BT.601 YCbCr
(luma 16 to 235 on the 8-bit scale), as rgb2ycbcr and ycbcr2rgb define it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from srcnn.strips import map_strips

# MATLAB's rgb2ycbcr on the 8-bit scale: offset + matrix @ (R, G, B) / 255.
_STUDIO_OFFSET = np.array([16.0, 128.0, 128.0])
_STUDIO_MATRIX = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
_STUDIO_INVERSE = np.linalg.inv(_STUDIO_MATRIX)


def peak_of(image: np.ndarray) -> int:
    """The largest code value of an integer image: 255 or 65535."""
    return int(np.iinfo(image.dtype).max)


def luma_plane(planes: np.ndarray) -> np.ndarray:
    """The luma, (h, w), of planes, (h, w, 3) with the luma first; or a plane (h, w) as it is."""
    return planes if planes.ndim == 2 else planes[..., 0]


def unit_range(plane: np.ndarray) -> np.ndarray:
    """Integer codes divided by their peak, floats as they are; float32 of the same shape."""
    values = plane.astype(np.float32)
    return values / np.float32(peak_of(plane)) if plane.dtype.kind == "u" else values


def luma_opencv(image: np.ndarray) -> np.ndarray:
    """Full-range luma of a BGR or grayscale image.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      (h, w), same type. A grayscale image is its own luma.
    """
    if image.ndim == 2:
        return image
    # Imported here: processes that only decode do not need it, and it takes a quarter of a second.
    from srcnn.luma import luma_of_bgr

    return luma_of_bgr(image)


def replace_luma_opencv(
    image: np.ndarray, luma: np.ndarray, chroma_taps: Sequence[float] = ()
) -> np.ndarray:
    """The image with another luma, and with its own Cr and Cb, sharpened.

    Args:
      image: (H, W, 3) BGR or (H, W), uint8 or uint16.
      luma: (h, w), same type; lies in the middle of a larger image.
      chroma_taps: see sharpen.

    Returns:
      An image of the luma's size.
    """
    if image.ndim == 2:
        return luma
    ycrcb = sharpen(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb), chroma_taps)
    ycrcb = np.ascontiguousarray(middle(ycrcb, luma.shape))
    cv2.insertChannel(luma, ycrcb, 0)
    return cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)


def sharpen(planes: np.ndarray, taps: Sequence[float]) -> np.ndarray:
    """Filters with a symmetric kernel along rows and columns; the edge is replicated.

    Args:
      planes: (h, w) or (h, w, c), uint8, uint16 or float32.
      taps: half of the kernel, from its centre outwards; empty: nothing is filtered.

    Returns:
      The same shape and type, integers rounded half to even and clipped.
    """
    if not taps:
        return planes
    kernel = np.array([*taps[:0:-1], *taps])
    return cv2.sepFilter2D(planes, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def middle(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A view of the middle (h, w) of an image (H, W[, c])."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], shape, strict=True))
    return image[top : top + shape[0], left : left + shape[1]]


def planes_matlab(image: np.ndarray) -> list[np.ndarray]:
    """Y, Cb, Cr of a BGR image by MATLAB's rgb2ycbcr; a grayscale image is its own luma.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      Planes (h, w), rounded half up to the image's type and range; one of a grayscale image.
    """
    if image.ndim == 2:
        return [image]
    return [_studio_plane(image, row) for row in range(3)]


def unrounded_planes_matlab(image: np.ndarray) -> np.ndarray:
    """Y, Cb, Cr as planes_matlab, but not rounded; the chroma of a gray image is constant.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      float32 (h, w, 3), codes divided by the type's peak.
    """
    values = unit_range(image)
    offset = np.float32(_STUDIO_OFFSET / 255)
    if image.ndim == 2:
        return np.dstack([values, np.full((*image.shape, 2), offset[1])])
    return values @ np.float32(_STUDIO_MATRIX[:, ::-1].T / 255) + offset


def luma_matlab(image: np.ndarray) -> np.ndarray:
    """The first of planes_matlab."""
    return image if image.ndim == 2 else _studio_plane(image, 0)


def image_from_planes_matlab(planes: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """BGR image of Y, Cb, Cr planes (ycbcr2rgb); a single plane is a grayscale image.

    Args:
      planes: (h, w) each: integer codes of any type, or floats, codes divided by the peak.
      dtype: uint8 or uint16.

    Returns:
      (h, w, 3) BGR or (h, w), rounded half up and clipped.
    """
    peak = np.iinfo(dtype).max
    factors = [peak / peak_of(plane) if plane.dtype.kind == "u" else peak for plane in planes]

    def compose(*strips: np.ndarray) -> np.ndarray:
        codes = [s * np.float64(factor) for s, factor in zip(strips, factors, strict=True)]
        if len(codes) == 1:
            return quantise_half_up(codes[0], dtype)
        offset = [o * peak / 255 for o in _STUDIO_OFFSET]
        centred = np.stack([c - o for c, o in zip(codes, offset, strict=True)], axis=-1)
        rgb = 255 * (centred @ _STUDIO_INVERSE.T)
        return quantise_half_up(rgb[..., ::-1], dtype)

    return map_strips(compose, dtype, *planes)


def _studio_plane(image: np.ndarray, row: int) -> np.ndarray:
    peak = peak_of(image)
    blue_green_red = _STUDIO_MATRIX[row, ::-1] / 255
    offset = _STUDIO_OFFSET[row] * peak / 255
    return map_strips(
        lambda strip: quantise_half_up(strip @ blue_green_red + offset, image.dtype),
        image.dtype,
        image,
    )


def blend(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Mixes two images.

    Args:
      one, other: (h, w) or (h, w, 3), of one shape and type, uint8 or uint16.
      share: of the other, 0 to 1.

    Returns:
      An image of the same type, rounded half to even.
    """

    def mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return quantise_half_even(a + share * (b.astype(np.float64) - a), a.dtype)

    return map_strips(mix, one.dtype, one, other)


def quantise_half_up(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounds half up and clips to an integer type's range, as MATLAB's uint8() does."""
    return np.clip(np.floor(values + 0.5), 0, np.iinfo(dtype).max).astype(dtype)


def quantise_half_even(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounds half to even and clips to an integer type's range, as OpenCV's saturate_cast does."""
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def eight_bit(samples: np.ndarray) -> np.ndarray:
    """16-bit code values times 255 / 65535, rounded (no half ever arises)."""
    return map_strips(lambda strip: (strip + np.uint32(128)) // 257, np.dtype(np.uint8), samples)


def fill_hidden(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives fully transparent pixels the colour of the nearest pixel that is not.

    Their own colours, often black or leftovers, would bleed into visible edges.

    Args:
      image: (h, w, 3) or (h, w).
      alpha: (h, w), integers; 0 is fully transparent.

    Returns:
      The filled image; the image itself where no pixel, or every pixel, is hidden.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return image
    _, nearest = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.empty((int(nearest.max()) + 1, *image.shape[2:]), image.dtype)
    colours[nearest[~hidden]] = image[~hidden]
    filled = image.copy()
    filled[hidden] = colours[nearest[hidden]]
    return filled
