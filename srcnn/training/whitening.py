"""Coordinates in which a convolution's kernel is learnt quickly.

Neighbouring pixels are nearly equal, more so after a blur: a step along their mean changes the
output much, a step along their differences hardly at all, though these must be amplified to undo a
blur. Kernels are therefore learnt as whitening matrix times parameters. The product is an ordinary
kernel, so the finished weights do not show this.
"""

import numpy as np

# Directions with less than this share of the strongest one's power are not amplified further.
_FLOOR = 1e-4
# Length of a step along the strongest direction, against a step without whitening.
_REACH = 0.1


def whitening_matrix(luma: np.ndarray, side: int) -> np.ndarray:
    """The matrix from parameters to the taps of a square kernel.

    Args:
      luma: (n, h, w), floating point in [0, 1]; pictures like the network's input.
      side: side of the kernel in pixels.

    Returns:
      float32 (side * side, side * side), symmetric and invertible: the inverse square root of the
      second moments of the pictures' patches. The identity for 1 x 1 kernels.
    """
    if side == 1:
        return np.ones((1, 1), np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(luma, (side, side), axis=(1, 2))
    samples = patches[:, ::2, ::2].reshape(-1, side * side).astype(np.float64)
    power, directions = np.linalg.eigh(samples.T @ samples)
    gains = _REACH / np.sqrt(power / power[-1] + _FLOOR)
    return ((directions * gains) @ directions.T).astype(np.float32)


def parameters_of(kernel: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """The parameters of a kernel: the inverse of the whitening matrix times its taps.

    Args:
      kernel: float32 HWIO.
      whitening: float32 (H * W, H * W).

    Returns:
      float32 (H * W * I, O).
    """
    taps = kernel.reshape(len(whitening), -1).astype(np.float64)
    parameters = np.linalg.solve(whitening.astype(np.float64), taps)
    return parameters.reshape(-1, kernel.shape[-1]).astype(np.float32)
