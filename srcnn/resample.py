"""Resizing and degrading images as OpenCV and MATLAB do.

OpenCV's kernels work in the image's own integer type and do not antialias (but `area`). MATLAB's
imresize antialiases when it shrinks; here it works in floating point, as the super-resolution
literature uses it.
"""

from functools import lru_cache

import cv2
import numpy as np
import scipy.sparse

from srcnn.colour import quantise_half_up
from srcnn.strips import strips

KERNELS = {
    "opencv": {
        "nearest": cv2.INTER_NEAREST,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
        "lanczos": cv2.INTER_LANCZOS4,
    },
    "matlab": {
        # name: (kernel function, width in samples)
        "bilinear": (lambda x: np.maximum(1 - np.abs(x), 0), 2),
        "bicubic": (lambda x: _keys_cubic(np.abs(x)), 4),
    },
}


def resize_opencv(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """cv2.resize.

    Args:
      image: (h, w) or (h, w, c), uint8 or uint16.
      size: (height, width) of the result.
      kernel: a name in KERNELS["opencv"].

    Returns:
      The resized image, same type and number of channels.
    """
    return cv2.resize(image, size[::-1], interpolation=KERNELS["opencv"][kernel])


def resize_matlab(plane: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """MATLAB's imresize of one plane with antialiasing, in double precision.

    Follows MATLAB's documented behaviour: the kernel (Keys' cubic, a = -0.5, or the triangle) is
    widened by the shrink factor, samples beyond the edge are mirrored, weights are normalised.

    Args:
      plane: (h, w), any real type and range.
      size: (height, width) of the result.
      kernel: a name in KERNELS["matlab"].

    Returns:
      float64 (height, width), not clipped and not rounded.
    """
    columns = _resize_matrix(plane.shape[1], size[1], kernel)
    result = np.empty(size)
    for strip in strips(result):
        first, rows = _strip_matrix(plane.shape[0], size[0], kernel, strip.start, strip.stop)
        source = plane[first : first + rows.shape[1]]
        result[strip] = (columns @ (rows @ source).T).T
    return result


def shrink_antialiased(
    image: np.ndarray, size: tuple[int, int], kernel: str = "bicubic"
) -> np.ndarray:
    """Shrinks an image as cameras do: antialiased, rounded to the image's type.

    Args:
      image: (h, w) or (h, w, c), uint8 or uint16.
      size: (height, width) of the result.
      kernel: `area`: the mean of the pixels covered; `bicubic`: see resize_matlab.
    """
    if kernel == "area":
        return resize_opencv(image, size, kernel)
    planes = [resize_matlab(plane, size, kernel) for plane in cv2.split(image)]
    return quantise_half_up(cv2.merge(planes), image.dtype)


def size_inside(shape: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of a picture shrunk to fit into a box.

    Args:
      shape: its (height, width).
      box: (width, height).
    """
    height, width = shape
    if width <= box[0] and height <= box[1]:
        return height, width
    if width * box[1] >= height * box[0]:
        return max(1, round(height * box[0] / width)), box[0]
    return box[1], max(1, round(width * box[1] / height))


def degrade_opencv(image: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """Shrinks by `scale` and enlarges to the old size, rounded to the image's type in between.

    Args:
      image: (h, w) or (h, w, c), uint8 or uint16, at least `scale` pixels on each side.
    """
    height, width = image.shape[:2]
    small = resize_opencv(image, (height // scale, width // scale), kernel)
    return resize_opencv(small, (height, width), kernel)


def degrade_matlab(plane: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """Shrinks a plane by `scale` and enlarges it to the old size, in double precision throughout.

    Args:
      plane: (h, w), any real type; sides that are multiples of `scale` (see modcrop).
    """
    height, width = plane.shape
    small = resize_matlab(plane, (height // scale, width // scale), kernel)
    return resize_matlab(small, (height, width), kernel)


def mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Indices of samples of a side that is mirrored beyond its ends; end samples are repeated."""
    places = np.mod(places, 2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Cuts the last rows and columns so that both sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def _keys_cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE ASSP-29, 1981), for x >= 0."""
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=64)
def _resize_matrix(length: int, target: int, kernel: str) -> scipy.sparse.csr_array:
    """The sparse (target, length) matrix that resizes one dimension as imresize does."""
    function, width = KERNELS["matlab"][kernel]
    scale = target / length
    stretch = min(scale, 1.0)  # widen the kernel when shrinking: antialiasing
    support = width / stretch
    centres = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(centres - support / 2).astype(np.int64)
    taps = first[:, None] + np.arange(int(np.ceil(support)) + 2)
    weights = stretch * function(stretch * (centres[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(target), taps.shape[1])
    return scipy.sparse.csr_array(
        (weights.ravel(), (rows, mirrored(taps, length).ravel())), shape=(target, length)
    )


@lru_cache(maxsize=256)
def _strip_matrix(
    length: int, target: int, kernel: str, start: int, stop: int
) -> tuple[int, scipy.sparse.csr_array]:
    """Rows of _resize_matrix without the columns that they ignore; the first column kept."""
    rows = _resize_matrix(length, target, kernel)[start:stop]
    first, last = rows.indices.min(), rows.indices.max() + 1
    return int(first), rows[:, first:last]
