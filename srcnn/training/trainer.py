"""The optimiser's step and the state that it moves. Importing this module imports TensorFlow."""

import keras
import numpy as np
import tensorflow as tf

from srcnn.network import build_network, set_tensors
from srcnn.training.config import TrainingConfig
from srcnn.training.whitening import parameters_of, whitening_matrix
from srcnn.weights import Tensors


class Trainer:
    """Network, Adam and the running average of the weights.

    Adam moves parameters, of which the kernels are the whitened image (see whitening.py).

    The same steps from the same state give the same bits on the same machine: TensorFlow's
    operations are made deterministic for the whole process.
    """

    def __init__(self, config: TrainingConfig, tensors: Tensors, luma: np.ndarray):
        """Builds everything.

        Args:
          config: the run.
          tensors: weights to begin from.
          luma: (n, h, w), floating point in [0, 1]; degraded pictures to adapt the steps to.
        """
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_op_determinism()
        self._model = build_network(config.network)
        set_tensors(self._model, tensors)
        self.schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
        self._optimizer = keras.optimizers.Adam(self.schedule)
        self._whitenings = [
            tf.Variable(whitening_matrix(luma, layer.kernel), trainable=False)
            for layer in config.network.layers
        ]
        self._parameters = [
            tf.Variable(array)
            for (kernel, bias), whitening in zip(tensors, self._whitenings, strict=True)
            for array in (parameters_of(kernel, whitening.numpy()), bias)
        ]
        self._optimizer.build(self._parameters)
        self._averages = [tf.Variable(v.numpy()) for v in self._model.trainable_variables]
        self._decay = config.ema_decay
        # Compiled: on a CPU a step takes two thirds of the time (0.19 s for 9-5-5 on 2 cores).
        self._function = tf.function(
            self._step,
            jit_compile=True,
            input_signature=[tf.TensorSpec((config.batch, None, None, 1), tf.float32)] * 2,
        )

    def step(self, inputs: np.ndarray, targets: np.ndarray) -> tf.Tensor:
        """Takes one step of the optimiser.

        Args:
          inputs: float32 (batch, crop, crop, 1), nominally in [0, 1].
          targets: float32 (batch, side, side, 1), as large as the network's output.

        Returns:
          The mean squared error before the step, float32 scalar, luma in [0, 1].
        """
        return self._function(inputs, targets)

    @property
    def averaged(self) -> Tensors:
        """The running average of the weights: for each layer (kernel HWIO, bias), float32."""
        arrays = [variable.numpy() for variable in self._averages]
        return tuple(zip(arrays[0::2], arrays[1::2], strict=True))

    @property
    def state(self) -> list[np.ndarray]:
        """Everything that a step changes, to be given back to restore()."""
        return [np.asarray(variable.numpy()) for variable in self._variables]

    def restore(self, state: list[np.ndarray]) -> None:
        """Puts back what `state` gave."""
        for variable, array in zip(self._variables, state, strict=True):
            variable.assign(array)

    @property
    def _variables(self) -> list:
        return [
            *self._model.variables,
            *self._whitenings,
            *self._parameters,
            *self._optimizer.variables,
            *self._averages,
        ]

    def _step(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        variables = self._model.trainable_variables
        # The average follows closely at first, so that it forgets the untrained weights.
        age = tf.cast(self._optimizer.iterations, tf.float32)
        decay = tf.minimum(self._decay, (1 + age) / (10 + age))
        with tf.GradientTape() as tape:
            outputs = self._model(inputs, training=True)
            loss = tf.reduce_mean(tf.square(outputs - targets))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self._move(gradients)
        for average, variable in zip(self._averages, variables, strict=True):
            average.assign(decay * average + (1 - decay) * variable.value)
        return loss

    def _move(self, gradients: list[tf.Tensor]) -> None:
        """One step of Adam on the parameters, given the gradients of kernels and biases."""
        for index, whitening in enumerate(self._whitenings):
            taps = tf.reshape(gradients[2 * index], (whitening.shape[0], -1))
            gradients[2 * index] = tf.matmul(whitening, taps, transpose_a=True)
        self._optimizer.apply(gradients, self._parameters)
        for index, whitening in enumerate(self._whitenings):
            kernel, bias = self._model.trainable_variables[2 * index : 2 * index + 2]
            taps = tf.matmul(whitening, self._parameters[2 * index])
            kernel.assign(tf.reshape(taps, kernel.shape))
            bias.assign(self._parameters[2 * index + 1])
