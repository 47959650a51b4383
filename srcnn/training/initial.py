"""The weights that a training begins from."""

import numpy as np

from srcnn.architecture import Architecture
from srcnn.weights import Tensors

# Of He's spread for ReLU. Features as small as 1e-3 learn several times more slowly: they and the
# last layer's zeros hold each other's gradients down. At 1.0 the first steps undo the identity.
_GAIN = 0.3


def identity_tensors(architecture: Architecture, seed: int) -> Tensors:
    """Weights with which the network gives back its input, so that training starts at the baseline.

    Channel 0 of each layer is passed on by a centred delta and takes nothing else; the other
    filters are random features, which the last layer does not look at yet. Exact for luma >= 0,
    which ReLU keeps.

    Args:
      architecture: the network.
      seed: decides the random weights.

    Returns:
      For each layer (kernel HWIO, bias), float32.
    """
    generator = np.random.default_rng(seed)
    tensors = []
    for shape in architecture.kernel_shapes:
        height, width, inputs, _ = shape
        spread = _GAIN * np.sqrt(2 / (height * width * inputs))
        kernel = generator.normal(0, spread, shape).astype(np.float32)
        kernel[..., 0] = 0
        kernel[height // 2, width // 2, 0, 0] = 1
        tensors.append((kernel, np.zeros(shape[-1], np.float32)))
    return tuple(tensors)
