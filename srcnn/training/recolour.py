"""Colours that photographs seldom show.

Photographs rarely have saturated colours beside each other. A network that was trained on them
alone answers to graphics, charts and toys with values far outside of the range.
"""

import numpy as np

# Highest factor of a colour's distance from gray.
_VIVID = 4.0


def recolour(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Exchanges the channels of a picture, inverts some, and makes its colours vivid.

    Args:
      image: (h, w, 3), any channel order, or (h, w), uint8 or uint16.
      generator: of the random numbers.

    Returns:
      A new picture of the same shape and type, clipped to the type's range. A gray picture is
      inverted half of the time.
    """
    peak = np.iinfo(image.dtype).max
    if image.ndim == 2:
        return peak - image if generator.random() < 0.5 else image.copy()
    exchanged = image[..., generator.permutation(3)].astype(np.float32)
    inverted = generator.random(3) < 0.5
    exchanged = np.where(inverted, peak - exchanged, exchanged)
    gray = exchanged.mean(axis=-1, keepdims=True)
    vivid = gray + generator.uniform(1, _VIVID) * (exchanged - gray)
    return np.clip(np.rint(vivid), 0, peak).astype(image.dtype)
