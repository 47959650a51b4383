"""The tasks that Keras leaves to its backend: gradients, compilation, determinism, threads.

Keras takes the backend that KERAS_BACKEND names when it is first imported, TensorFlow by default.
Importing this module imports both.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

# TensorFlow takes oneDNN's convolutions by itself only on processors with AVX-512 or newer; with
# AVX2 they are up to twice as fast as its own as well. It reads this when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras  # noqa: E402
import numpy as np  # noqa: E402

NAME: str = keras.backend.backend()

Loss = Callable[..., Any]


class _TensorFlow:
    compiles_each_shape = False

    def __init__(self):
        import tensorflow

        self.library = tensorflow

    def set_threads(self, threads: int) -> None:
        with suppress(RuntimeError):  # fixed since the first computation of the process
            self.library.config.threading.set_intra_op_parallelism_threads(threads)

    def make_deterministic(self) -> None:
        self.library.config.experimental.enable_op_determinism()

    def has_gpu(self) -> bool:
        return bool(self.library.config.list_physical_devices("GPU"))

    def inference(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        tf = self.library
        # Without a fixed signature every new tile shape would be traced again.
        signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32)]
        function = tf.function(lambda x: model(x, training=False), input_signature=signature)
        return lambda batch: function(tf.constant(batch)).numpy()

    def with_gradients(self, loss: Loss) -> Loss:
        def function(values, *arguments):
            with self.library.GradientTape() as tape:
                tape.watch(values)
                result = loss(values, *arguments)
            return result, tape.gradient(result, values)

        return function

    def compiled(self, function: Callable) -> Callable:
        return self.library.function(function)


class _Jax:
    compiles_each_shape = True

    def __init__(self):
        import jax

        self.library = jax

    def set_threads(self, threads: int) -> None:
        """XLA shares the threads of the process; there is nothing to set."""

    def make_deterministic(self) -> None:
        """XLA is, on CPUs; on GPUs with XLA_FLAGS=--xla_gpu_deterministic_ops=true."""

    def has_gpu(self) -> bool:
        return self.library.default_backend() == "gpu"

    def inference(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        values = [[v.value for v in model.trainable_variables], []]
        function = self.library.jit(lambda x: model.stateless_call(*values, x)[0])
        return lambda batch: np.asarray(function(batch))

    def with_gradients(self, loss: Loss) -> Loss:
        return self.library.value_and_grad(loss)

    def compiled(self, function: Callable) -> Callable:
        return self.library.jit(function)


class _Torch:
    compiles_each_shape = False

    def __init__(self):
        import torch

        self.library = torch

    def set_threads(self, threads: int) -> None:
        self.library.set_num_threads(threads)

    def make_deterministic(self) -> None:
        self.library.use_deterministic_algorithms(True)
        self.library.backends.cudnn.benchmark = False

    def has_gpu(self) -> bool:
        return self.library.cuda.is_available()

    def inference(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        def function(batch: np.ndarray) -> np.ndarray:
            with self.library.no_grad():
                return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(batch)))

        return function

    def with_gradients(self, loss: Loss) -> Loss:
        def function(values, *arguments):
            with self.library.enable_grad():
                leaves = [value.detach().requires_grad_() for value in values]
                result = loss(leaves, *arguments)
                return result.detach(), self.library.autograd.grad(result, leaves)

        return function

    def compiled(self, function: Callable) -> Callable:
        return self.library.no_grad()(function)


_backend = {"tensorflow": _TensorFlow, "jax": _Jax, "torch": _Torch}[NAME]()


def set_threads(threads: int) -> None:
    """Sets the threads that one operation may use, where the backend has such a setting."""
    _backend.set_threads(threads)


def make_deterministic(seed: int) -> None:
    """Seeds the generators, and makes equal steps give equal bits on the same machine."""
    keras.utils.set_random_seed(seed)
    _backend.make_deterministic()


def device() -> str:
    """`GPU` or `CPU`, and the backend."""
    return f"{'GPU' if _backend.has_gpu() else 'CPU'} ({NAME})"


def compiles_each_shape() -> bool:
    """Whether an input of another shape costs a compilation, a second or more."""
    return _backend.compiles_each_shape


def compiled_inference(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of float32 arrays of any shape that it takes."""
    return _backend.inference(model)


def with_gradients(loss: Loss) -> Callable[..., tuple[Any, Sequence[Any]]]:
    """A function that returns the loss and its gradients by the tensors of its first argument."""
    return _backend.with_gradients(loss)


def compiled(function: Callable) -> Callable:
    """The function, compiled where the backend does that: tensors in, tensors out."""
    return _backend.compiled(function)
