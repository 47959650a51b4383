"""The reference engine: TensorFlow through Keras."""

import numpy as np

from srcnn.engines.base import Engine
from srcnn.weights import Tensors


class TensorFlowEngine(Engine):
    """Runs the Keras model as one traced function for every shape, on a GPU where there is one."""

    name = "tensorflow"

    def _load(self, tensors: Tensors) -> None:
        # Imported here: it takes seconds, and nothing but this engine needs it.
        import tensorflow as tf

        from srcnn.network import build_network, set_tensors

        model = build_network(self.architecture)
        set_tensors(model, tensors)
        # Without a fixed signature every new tile shape would be traced anew.
        signature = [tf.TensorSpec((None, None, None, 1), tf.float32)]
        self._function = tf.function(
            lambda batch: model(batch, training=False), input_signature=signature
        )
        self._constant = tf.constant

    def run(self, batch: np.ndarray) -> np.ndarray:
        return self._function(self._constant(batch)).numpy()
