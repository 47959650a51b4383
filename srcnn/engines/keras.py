"""The reference engine: Keras on TensorFlow, PyTorch or JAX, on a GPU where there is one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from srcnn.engines.base import Engine
from srcnn.isolated import Tensors


class KerasEngine(Engine):
    """Runs the Keras model as one function, on the backend that KERAS_BACKEND names."""

    def _load(self, tensors: Tensors) -> None:
        # Imported here: it takes seconds, and nothing but this engine needs it.
        with _silent_if_asked():
            from srcnn import backend
        backend.set_threads(self.threads)
        from srcnn.network import build_network, set_tensors

        self.name = backend.NAME
        self._model = build_network(self.architecture)
        set_tensors(self._model, tensors)
        self._function = backend.compiled_inference(self._model)
        if backend.compiles_each_shape():
            self.side_multiple = 32

    def run(self, batch: np.ndarray) -> np.ndarray:
        return self._function(batch)


@contextmanager
def _silent_if_asked() -> Iterator[None]:
    """Keeps standard error quiet where TensorFlow's log level is for errors only.

    Its native code prints a greeting while it is imported, before it reads that level.
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
