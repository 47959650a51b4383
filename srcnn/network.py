"""SRCNN as a Keras model, built from its description. Importing this module imports TensorFlow."""

import keras
import numpy as np

from srcnn.architecture import Architecture


class ReplicatePadding(keras.layers.Layer):
    """Pads height and width with the edge's own values, as MATLAB's imfilter 'replicate' does."""

    def __init__(self, radius: int, **kwargs):
        super().__init__(**kwargs)
        self.radius = radius

    def call(self, inputs):
        for axis in (1, 2):
            size = keras.ops.shape(inputs)[axis]
            positions = keras.ops.arange(-self.radius, size + self.radius)
            inputs = keras.ops.take(inputs, keras.ops.clip(positions, 0, size - 1), axis=axis)
        return inputs


def build_network(architecture: Architecture) -> keras.Model:
    """Builds the untrained network.

    Returns:
      A model from float32 (n, h, w, 1), luma in [0, 1], to float32
      (n, h - 2 * margin, w - 2 * margin, 1), not clipped.
    """
    inputs = outputs = keras.Input((None, None, 1), name="luma")
    last = len(architecture.layers) - 1
    for index, layer in enumerate(architecture.layers):
        if layer.padding == "replicate" and layer.radius:
            outputs = ReplicatePadding(layer.radius, name=f"replicate_{index}")(outputs)
        outputs = keras.layers.Conv2D(
            layer.filters,
            layer.kernel,
            padding="same" if layer.padding == "same" else "valid",
            activation=None if index == last else "relu",
            name="conv2d" if index == 0 else f"conv2d_{index}",
        )(outputs)
    return keras.Model(inputs, outputs, name=architecture.name)


def set_tensors(model: keras.Model, tensors: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Puts (kernel, bias) of each convolution into a model of the same architecture."""
    model.set_weights([array for pair in tensors for array in pair])
