"""The weights that a training begins from."""

import numpy as np

from srcnn.architecture import Architecture
from srcnn.weights import Tensors

_SPREAD = 1e-3


def identity_tensors(architecture: Architecture, seed: int) -> Tensors:
    """Weights with which the network gives back its input, so that training starts at the baseline.

    Channel 0 of each layer is passed on by a centred delta and takes nothing else; all other
    weights are small and random, the last layer's are 0. Exact for luma >= 0, which ReLU keeps.

    Args:
      architecture: the network.
      seed: decides the random weights.

    Returns:
      For each layer (kernel HWIO, bias), float32.
    """
    generator = np.random.default_rng(seed)
    tensors = []
    for shape in architecture.kernel_shapes:
        kernel = generator.normal(0, _SPREAD, shape).astype(np.float32)
        kernel[..., 0] = 0
        kernel[shape[0] // 2, shape[1] // 2, 0, 0] = 1
        tensors.append((kernel, np.zeros(shape[-1], np.float32)))
    return tuple(tensors)
