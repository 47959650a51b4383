"""Initial weights of a training."""

import numpy as np

from srcnn.architectures import Architecture
from srcnn.isolated import Tensors

# Shares of He's spread for ReLU. Features as small as 1e-3 learn several times more slowly, since
# they and the last layer's zeros keep each other's gradients small. At 1.0 the first steps undo the
# identity. The second is for the inner layers of a residual network, beside their identity.
_GAIN, _INNER_GAIN = 0.3, 0.5
# Of a PReLU, for negative values.
_SLOPE = 0.25


def initial_tensors(architecture: Architecture, seed: int) -> Tensors:
    """Weights with which the network returns its input, so that training starts at the baseline.

    Without a residual, channel 0 of each layer is a centred delta on channel 0; the other filters
    are random features, which the last layer ignores at first. Exact for luma >= 0, which ReLU
    keeps. With a residual the last layer is zero, and the inner layers add random features to their
    input.

    Args:
      architecture: the network.
      seed: decides the random weights.
    """
    generator = np.random.default_rng(seed)
    layers = _residual if architecture.residual else _passing_on
    return tuple(
        (kernel, *_vectors(shapes[1:]))
        for kernel, shapes in zip(
            layers(architecture, generator), architecture.tensor_shapes, strict=True
        )
    )


def _passing_on(architecture: Architecture, generator: np.random.Generator) -> list[np.ndarray]:
    kernels = []
    for shape in architecture.kernel_shapes:
        kernel = _random(shape, _GAIN, generator)
        kernel[..., 0] = 0
        kernel[shape[0] // 2, shape[1] // 2, 0, 0] = 1
        kernels.append(kernel)
    return kernels


def _residual(architecture: Architecture, generator: np.random.Generator) -> list[np.ndarray]:
    first, *inner, last = architecture.kernel_shapes
    kernels = [_random(first, 1, generator)]
    for shape in inner:
        kernel = _random(shape, _INNER_GAIN, generator)
        kernel[shape[0] // 2, shape[1] // 2] += np.eye(*shape[2:], dtype=np.float32)
        kernels.append(kernel)
    return [*kernels, np.zeros(last, np.float32)]


def _random(shape: tuple[int, ...], gain: float, generator: np.random.Generator) -> np.ndarray:
    height, width, inputs, _ = shape
    spread = gain * np.sqrt(2 / (height * width * inputs))
    return generator.normal(0, spread, shape).astype(np.float32)


def _vectors(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    """Biases and, if there are any, slopes."""
    values = zip(shapes, (0, _SLOPE), strict=False)
    return [np.full(shape, value, np.float32) for shape, value in values]
