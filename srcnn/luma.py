"""OpenCV's luma of colour pictures, in a fifth of the time of converting all channels."""

import numpy as np

from srcnn.compiled import compiled

# Full-range BT.601 in units of 2 ** -14, as OpenCV's integer conversion has it.
_BLUE, _GREEN, _RED, _BITS = 1868, 9617, 4899, 14


def luma_of_bgr(image: np.ndarray) -> np.ndarray:
    """The first channel of cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb), bit by bit.

    Args:
      image: (h, w, 3) BGR, uint8 or uint16.

    Returns:
      (h, w), same type.
    """
    luma = np.empty(image.shape[:2], image.dtype)
    _fill(luma, np.ascontiguousarray(image).reshape(len(image), -1))
    return luma


@compiled
def _fill(luma, samples):
    half = 1 << (_BITS - 1)
    for y in range(luma.shape[0]):
        target, row = luma[y], samples[y]
        for x in range(target.size):
            blue, green, red = row[3 * x], row[3 * x + 1], row[3 * x + 2]
            total = _BLUE * np.int32(blue) + _GREEN * np.int32(green) + _RED * np.int32(red)
            target[x] = (total + half) >> _BITS
