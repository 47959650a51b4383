"""Synthetic cloth: gratings, many of them finer than the small picture can represent.

Shrunk without averaging, a fine weave is aliased to coarse stripes. A network that has seen few of
them sharpens those stripes, which makes it worse than the interpolation.
"""

import numpy as np

# Distances between two threads in pixels, from the finest that an original can represent; the
# coarsest is multiplied by the scale.
_FINEST = 2.0
_COARSEST_OF_SCALE = 3.0
# Heights of the waves, of the type's range.
_FAINT, _STRONG = 4 / 255, 80 / 255


def lay_grating(plane: np.ndarray, scale: int, generator: np.random.Generator) -> np.ndarray:
    """Adds a grating to a picture: stripes, crossed stripes or a chequered pattern.

    Direction, distance, contour and height are random; threads bend and fade in and out.

    Args:
      plane: (h, w), uint8 or uint16.
      scale: by which the picture will be shrunk.
      generator: of the random numbers.

    Returns:
      A new plane of the same shape and type, rounded and clipped to the type's range.
    """
    rows, columns = np.indices(plane.shape, dtype=np.float64)
    angle = generator.uniform(0, np.pi)
    distance = _log_uniform(generator, _FINEST, _COARSEST_OF_SCALE * scale)

    def wave(turn: float, length: float, bend: np.ndarray | float = 0.0) -> np.ndarray:
        along = columns * np.cos(angle + turn) + rows * np.sin(angle + turn)
        return np.sin(2 * np.pi * (along / length + bend + generator.uniform()))

    bend = generator.uniform(0, 1) * wave(1.0, generator.uniform(30, 120))
    threads = wave(0.0, distance, bend)
    if generator.random() < 0.4:
        across = wave(np.pi / 2 + 0.15, distance * generator.uniform(0.8, 1.25), bend)
        threads = threads * across if generator.random() < 0.5 else (threads + across) / 2
    if generator.random() < 0.5:  # from a sine towards an edge
        threads = np.tanh(threads * generator.uniform(0.5, 4))
    fading = (0.5 + 0.5 * wave(2.0, generator.uniform(40, 160))) ** generator.uniform(0, 1.5)
    peak = np.iinfo(plane.dtype).max
    height = peak * _log_uniform(generator, _FAINT, _STRONG)
    return np.clip(np.rint(plane + height * fading * threads), 0, peak).astype(plane.dtype)


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
