"""Networks as Keras models, built from their descriptions.

Importing this module imports Keras with its backend, which takes seconds.
"""

import keras
import numpy as np

from srcnn.architectures import Architecture


class ReplicatePadding(keras.layers.Layer):
    """Pads height and width by replicating the edge, as MATLAB's imfilter 'replicate' does."""

    def __init__(self, radius: int, **kwargs):
        super().__init__(**kwargs)
        self.radius = radius

    def call(self, inputs):
        for axis in (1, 2):
            size = keras.ops.shape(inputs)[axis]
            positions = keras.ops.arange(-self.radius, size + self.radius)
            inputs = keras.ops.take(inputs, keras.ops.clip(positions, 0, size - 1), axis=axis)
        return inputs


class PixelShuffle(keras.layers.Layer):
    """Arranges channels as blocks of pixels.

    Channel (r * i + j) * planes + p becomes row i, column j of r * r in plane p.
    """

    def __init__(self, upscale: int, planes: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.upscale, self.planes = upscale, planes

    def call(self, inputs):
        side, planes = self.upscale, self.planes
        _, height, width, _ = keras.ops.shape(inputs)
        blocks = keras.ops.reshape(inputs, (-1, height, width, side, side, planes))
        rows = keras.ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return keras.ops.reshape(rows, (-1, height * side, width * side, planes))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], None, None, self.planes), inputs.dtype)


def build_network(architecture: Architecture) -> keras.Model:
    """Builds the untrained network.

    Returns:
      A model from float32 (n, h, w, planes) in [0, 1] to float32
      (n, (h - 2 * margin) * upscale, (w - 2 * margin) * upscale, planes), not clipped.
    """
    inputs = outputs = keras.Input((None, None, architecture.planes), name="planes")
    last = len(architecture.layers) - 1
    for index, layer in enumerate(architecture.layers):
        if layer.padding == "replicate" and layer.radius:
            outputs = ReplicatePadding(layer.radius, name=f"replicate_{index}")(outputs)
        is_rectified = architecture.activation == "relu" and index < last
        outputs = keras.layers.Conv2D(
            layer.filters,
            layer.kernel,
            padding="same" if layer.padding == "same" else "valid",
            activation="relu" if is_rectified else None,
            name="conv2d" if index == 0 else f"conv2d_{index}",
        )(outputs)
        if architecture.activation == "prelu" and index < last:
            name = "p_re_lu" if index == 0 else f"p_re_lu_{index}"
            outputs = keras.layers.PReLU(shared_axes=(1, 2), name=name)(outputs)
    if architecture.residual:
        inner = keras.layers.Cropping2D(architecture.margin)(inputs)
        outputs = outputs + keras.ops.tile(inner, (1, 1, 1, architecture.upscale**2))
    if architecture.upscale > 1:
        shuffle = PixelShuffle(architecture.upscale, architecture.planes, name="pixel_shuffle")
        outputs = shuffle(outputs)
    return keras.Model(inputs, outputs, name=architecture.name)


def set_tensors(model: keras.Model, tensors: list[tuple[np.ndarray, ...]]) -> None:
    """Sets the tensors of each layer of a model of the same architecture."""
    model.set_weights([array for layer in tensors for array in layer])
