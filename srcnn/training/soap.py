"""The optimiser: Adam in the eigenbasis of the gradient's second moments (SOAP).

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade, "SOAP: Improving and
Stabilizing Shampoo using Adam", arXiv:2409.11321. The steps of Adam are scaled coordinate by
coordinate; in a basis in which the coordinates of the gradient are uncorrelated, that comes close
to what the curvature asks for. Importing this module imports TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_MOMENTUM = 0.9  # of the gradient
_POWER_DECAY = 0.99  # of its square in the eigenbasis
_MOMENT_DECAY = 0.95  # of the second moments that the bases belong to
_TINY = 1e-8


class Soap:
    """The state of the optimiser for a list of matrices."""

    def __init__(self, gradients: Sequence[Sequence[np.ndarray]]):
        """Begins with the bases of some gradients.

        Args:
          gradients: for each matrix gradients of it, float32 (rows, columns), each of other data.
        """
        self._steps = tf.Variable(0, dtype=tf.int64)
        self._matrices = [_Matrix(np.stack(samples)) for samples in gradients]

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that a step changes."""
        return [self._steps, *(v for matrix in self._matrices for v in matrix.variables)]

    def move(
        self,
        parameters: Sequence[tf.Variable],
        gradients: Sequence[tf.Tensor],
        rate: float | tf.Tensor,
    ) -> None:
        """Takes one step; may be traced into a graph.

        Args:
          parameters: float32 (rows, columns) each, in the order of the constructor.
          gradients: of them, same shapes.
          rate: length of the step.
        """
        age = tf.cast(self._steps.assign_add(1), tf.float32)
        for matrix, parameter, gradient in zip(self._matrices, parameters, gradients, strict=True):
            parameter.assign_sub(rate * matrix.direction(gradient, age))

    def turn_bases(self) -> None:
        """Brings the bases closer to those of the present second moments; costs as much as a step.

        One step of orthogonal iteration, which keeps each direction in its place.
        """
        for matrix in self._matrices:
            matrix.turn_bases()


class _Matrix:
    """Moments and bases of one matrix of parameters."""

    def __init__(self, samples: np.ndarray):
        rows, columns = samples.shape[1:]
        moments = (
            np.einsum("nik,njk->ij", samples, samples, optimize=True) / len(samples),
            np.einsum("nki,nkj->ij", samples, samples, optimize=True) / len(samples),
        )
        self._moments = [tf.Variable(moment) for moment in moments]
        self._bases = [tf.Variable(np.linalg.eigh(m)[1].astype(np.float32)) for m in moments]
        self._mean = tf.Variable(tf.zeros((rows, columns)))
        self._power = tf.Variable(tf.zeros((rows, columns)))

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self._moments, *self._bases, self._mean, self._power]

    def direction(self, gradient: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
        for moment, transposed in zip(self._moments, (False, True), strict=True):
            product = tf.matmul(
                gradient, gradient, transpose_a=transposed, transpose_b=not transposed
            )
            moment.assign(_MOMENT_DECAY * moment + (1 - _MOMENT_DECAY) * product)
        mean = self._mean.assign(_MOMENTUM * self._mean + (1 - _MOMENTUM) * gradient)
        power = self._power.assign(
            _POWER_DECAY * self._power + (1 - _POWER_DECAY) * tf.square(self._rotated(gradient))
        )
        step = self._rotated(mean) / (1 - _MOMENTUM**age)
        step /= tf.sqrt(power / (1 - _POWER_DECAY**age)) + _TINY
        left, right = self._bases
        return tf.matmul(tf.matmul(left, step), right, transpose_b=True)

    def _rotated(self, gradient: tf.Tensor) -> tf.Tensor:
        left, right = self._bases
        return tf.matmul(tf.matmul(left, gradient, transpose_a=True), right)

    def turn_bases(self) -> None:
        power = self._power.numpy()
        for axis, (moment, basis) in enumerate(zip(self._moments, self._bases, strict=True)):
            old = basis.numpy()
            images = moment.numpy() @ old
            # By falling power, so that orthogonalising takes the weak out of the strong, not back.
            order = np.argsort(-np.einsum("ij,ij->j", old, images), kind="stable")
            basis.assign(np.linalg.qr(images[:, order])[0])
            power = np.take(power, order, axis)
        self._power.assign(power)
