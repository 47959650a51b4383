"""Luma and chroma, in OpenCV's and in MATLAB's convention.

OpenCV: full-range BT.601 YCrCb, in the image's integer type. MATLAB: studio-range BT.601 YCbCr
(luma 16 to 235 on the 8-bit scale), as rgb2ycbcr and ycbcr2rgb define it.
"""

import cv2
import numpy as np

# MATLAB's rgb2ycbcr on the 8-bit scale: offset + matrix @ (R, G, B) / 255.
_STUDIO_OFFSET = np.array([16.0, 128.0, 128.0])
_STUDIO_MATRIX = np.array(
    [
        [65.481, 128.553, 24.966],
        [-37.797, -74.203, 112.0],
        [112.0, -93.786, -18.214],
    ]
)
_STUDIO_INVERSE = np.linalg.inv(_STUDIO_MATRIX)


def peak_of(image: np.ndarray) -> int:
    """The largest code value of an integer image: 255 or 65535."""
    return int(np.iinfo(image.dtype).max)


def luma_opencv(image: np.ndarray) -> np.ndarray:
    """Full-range luma of a BGR or grayscale image.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      (h, w), same type. A grayscale image is its own luma.
    """
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0]


def replace_luma_opencv(image: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The image with another luma and its own Cr and Cb.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.
      luma: (h, w), same type.
    """
    if image.ndim == 2:
        return luma
    ycrcb = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
    ycrcb[..., 0] = luma
    return cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)


def planes_matlab(image: np.ndarray) -> list[np.ndarray]:
    """Y, Cb, Cr of a BGR image as MATLAB's rgb2ycbcr gives them; a grayscale image's luma alone.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      Planes (h, w), rounded half up to the image's own type and range. A grayscale image is taken
      as its own luma, as the literature does.
    """
    if image.ndim == 2:
        return [image]
    peak = peak_of(image)
    planes = []
    for offset, (red, green, blue) in zip(_STUDIO_OFFSET, _STUDIO_MATRIX, strict=True):
        plane = np.full(image.shape[:2], offset * peak / 255)
        for channel, factor in ((0, blue), (1, green), (2, red)):
            plane += (factor / 255) * image[..., channel]
        planes.append(quantise_half_up(plane, image.dtype))
    return planes


def image_from_planes_matlab(planes: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """BGR image of Y, Cb, Cr planes (ycbcr2rgb); a single plane is a grayscale image.

    Args:
      planes: (h, w) each, on the range of `dtype`, integer or floating point.
      dtype: uint8 or uint16.

    Returns:
      (h, w, 3) BGR or (h, w), rounded half up and clipped.
    """
    if len(planes) == 1:
        return quantise_half_up(planes[0], dtype)
    peak = np.iinfo(dtype).max
    image = np.empty((*planes[0].shape, 3), dtype)
    for channel, row in ((2, 0), (1, 1), (0, 2)):  # red, green, blue
        value = np.zeros(planes[0].shape)
        for plane, factor, offset in zip(planes, _STUDIO_INVERSE[row], _STUDIO_OFFSET, strict=True):
            value += (255 * factor) * (plane - offset * peak / 255)
        image[..., channel] = quantise_half_up(value, dtype)
    return image


def quantise_half_up(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounds half up and clips to an integer type's range, as MATLAB's uint8() does."""
    return np.clip(np.floor(values + 0.5), 0, np.iinfo(dtype).max).astype(dtype)


def quantise_half_even(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounds half to even and clips to an integer type's range, as OpenCV's saturate_cast does."""
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)
