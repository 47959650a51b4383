"""Work on large pictures in strips of rows, which needs little memory."""

from collections.abc import Callable, Iterator

import numpy as np

# Double-precision terms of a strip stay in a processor's cache.
_SAMPLES = 1 << 16
_LEAST_ROWS = 16


def strips(image: np.ndarray, halo: int = 0, samples: int | None = None) -> Iterator[slice]:
    """Cuts a picture into strips of rows.

    Args:
      image: (h, w) or (h, w, c).
      halo: rows that each strip shares with its neighbours on both sides.
      samples: of a strip, about; None: as many as a processor's cache holds in double precision.

    Yields:
      Slices of rows. Without the halo they partition the picture's rows but its first and last
      `halo`.
    """
    height = image.shape[0]
    step = max(_LEAST_ROWS, (samples or _SAMPLES) // max(1, image[0].size))
    for start in range(halo, height - halo, step):
        yield slice(start - halo, min(start + step, height - halo) + halo)


def map_strips(
    function: Callable[..., np.ndarray], dtype: np.dtype, *images: np.ndarray
) -> np.ndarray:
    """Applies a function that works row by row, strip by strip.

    Args:
      function: takes strips of the images, returns a strip of the result.
      dtype: of the result.
      *images: pictures of the same number of rows.

    Returns:
      The same as `function(*images)`.
    """
    result = None
    for rows in strips(images[0]):
        part = function(*(image[rows] for image in images))
        if result is None:
            result = np.empty((len(images[0]), *part.shape[1:]), dtype)
        result[rows] = part
    return result
