"""The optimiser's step and the state that it moves. Importing this module imports TensorFlow."""

import keras
import numpy as np
import tensorflow as tf

from srcnn.network import build_network, set_tensors
from srcnn.training.config import TrainingConfig
from srcnn.training.data import Batch
from srcnn.training.soap import Soap
from srcnn.training.whitening import parameters_of, whitening_matrix
from srcnn.weights import Tensors

# Steps between two turns of the optimiser's bases.
_TURN_EVERY = 25


class Trainer:
    """Network, optimiser and the running average of the weights.

    The optimiser moves one matrix of parameters for each layer: its kernel in whitened coordinates
    (see whitening.py) and, as the last row, its bias.

    The same steps from the same state give the same bits on the same machine: TensorFlow's
    operations are made deterministic for the whole process.
    """

    def __init__(self, config: TrainingConfig, tensors: Tensors, samples: list[Batch]):
        """Builds everything.

        Args:
          config: the run.
          tensors: weights to begin from.
          samples: batches as step() takes them, to adapt the steps to.
        """
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_op_determinism()
        self._model = build_network(config.network)
        set_tensors(self._model, tensors)
        self.schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
        luma = np.concatenate([inputs for inputs, *_ in samples])[..., 0]
        self._whitenings = [
            tf.Variable(whitening_matrix(luma, layer.kernel), trainable=False)
            for layer in config.network.layers
        ]
        self._parameters = [
            tf.Variable(np.vstack([parameters_of(kernel, whitening.numpy()), bias]))
            for (kernel, bias), whitening in zip(tensors, self._whitenings, strict=True)
        ]
        self._averages = [tf.Variable(v.numpy()) for v in self._model.trainable_variables]
        self._decay = config.ema_decay
        self._steps = tf.Variable(0, dtype=tf.int64)
        gradients = [self._gradients(*map(tf.constant, sample))[1] for sample in samples]
        self._optimizer = Soap(
            [[g.numpy() for g in layer] for layer in zip(*gradients, strict=True)]
        )
        # Compiled: on a CPU a step takes two thirds of the time.
        self._function = tf.function(
            self._step,
            jit_compile=True,
            input_signature=[
                tf.TensorSpec((config.batch, None, None, 1), tf.float32),
                tf.TensorSpec((config.batch, None, None, 1), tf.float32),
                tf.TensorSpec((config.batch,), tf.float32),
            ],
        )

    def step(self, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tf.Tensor:
        """Takes one step of the optimiser.

        Args:
          inputs: float32 (batch, crop, crop, 1), nominally in [0, 1].
          targets: float32 (batch, side, side, 1), as large as the network's output.
          weights: float32 (batch,), of the crops' squared errors.

        Returns:
          The weighted mean squared error before the step, float32 scalar, luma in [0, 1].
        """
        loss = self._function(inputs, targets, weights)
        if int(self._steps) % _TURN_EVERY == 0:
            self._optimizer.turn_bases()
        return loss

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
            self._steps,
            *self._model.variables,
            *self._whitenings,
            *self._parameters,
            *self._optimizer.variables,
            *self._averages,
        ]

    def _step(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        done = self._steps.assign_add(1) - 1
        loss, gradients = self._gradients(inputs, targets, weights)
        self._optimizer.move(self._parameters, gradients, self.schedule(done))
        variables = self._model.trainable_variables
        for index, (whitening, parameters) in enumerate(
            zip(self._whitenings, self._parameters, strict=True)
        ):
            kernel, bias = variables[2 * index : 2 * index + 2]
            taps = tf.reshape(parameters[:-1], (whitening.shape[0], -1))
            kernel.assign(tf.reshape(tf.matmul(whitening, taps), kernel.shape))
            bias.assign(parameters[-1])
        # The average follows closely at first, so that it forgets the untrained weights.
        age = tf.cast(done, tf.float32)
        decay = tf.minimum(self._decay, (1 + age) / (10 + age))
        for average, variable in zip(self._averages, variables, strict=True):
            average.assign(decay * average + (1 - decay) * variable.value)
        return loss

    def _gradients(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss and its gradients by the matrices of parameters."""
        variables = [variable.value for variable in self._model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self._model(inputs, training=True)
            errors = tf.reduce_mean(tf.square(outputs - targets), axis=(1, 2, 3))
            loss = tf.reduce_mean(weights * errors)
        found = tape.gradient(loss, variables)
        gradients = []
        for whitening, kernel, bias in zip(self._whitenings, found[0::2], found[1::2], strict=True):
            taps = tf.reshape(kernel, (whitening.shape[0], -1))
            rows = tf.reshape(tf.matmul(whitening, taps, transpose_a=True), (-1, kernel.shape[-1]))
            gradients.append(tf.concat([rows, bias[tf.newaxis]], axis=0))
        return loss, gradients
