"""The reference engine: TensorFlow through Keras."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from srcnn.engines.base import Engine
from srcnn.weights import Tensors


class TensorFlowEngine(Engine):
    """Runs the Keras model as one traced function for every shape, on a GPU where there is one."""

    name = "tensorflow"

    def _load(self, tensors: Tensors) -> None:
        # Imported here: it takes seconds, and nothing but this engine needs it.
        with _silent_if_asked():
            import tensorflow as tf
        with suppress(RuntimeError):  # fixed since the first computation of the process
            tf.config.threading.set_intra_op_parallelism_threads(self.threads)

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


@contextmanager
def _silent_if_asked() -> Iterator[None]:
    """Keeps standard error quiet where TensorFlow's log level asks for errors only.

    Its native code greets while it is imported, before it reads that level.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
