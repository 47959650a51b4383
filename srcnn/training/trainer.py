"""The optimiser's step and its state. Importing this module imports Keras."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from srcnn import backend
from srcnn.isolated import Tensors
from srcnn.network import build_network
from srcnn.training.config import TrainingConfig
from srcnn.training.data import Batch
from srcnn.training.soap import Moments, initial_moments, step_direction, turned
from srcnn.training.whitening import parameters_of, whitening_matrix

# Steps between two turns of the optimiser's bases.
_TURN_EVERY = 25
# Added to a crop's loss, which the interpolation has near 1, before its logarithm: a crop without
# detail must not outweigh all others.
_LOSS_FLOOR = 0.1


class Trainer:
    """Network, optimiser and the running average of the weights.

    The optimiser moves one matrix of parameters for each layer: its kernel in whitened coordinates
    (see whitening.py) and, as further rows, its bias and the slopes of its PReLU.

    The same steps from the same state give the same bits on the same machine and backend.
    """

    def __init__(self, config: TrainingConfig, tensors: Tensors, samples: list[Batch]):
        """Builds everything.

        Args:
          config: the run.
          tensors: weights to begin from.
          samples: batches that no step takes, to adapt the steps to.
        """
        backend.make_deterministic(config.seed)
        self.schedule = learning_rates(config)
        self._decay = config.ema_decay
        self._architecture = config.network
        self._excess_weight, self._loss_mean = config.excess_weight, config.loss_mean
        self._ensemble_share = config.ensemble_share
        self._teacher = _tensors([array for layer in tensors for array in layer])
        self._model = build_network(config.network)
        # Chroma is left out: its statistics are those of a smoother luma.
        luma = np.concatenate([sample.inputs for sample in samples])[..., 0]
        whitenings = [whitening_matrix(luma, layer.kernel) for layer in config.network.layers]
        self._whitenings = _tensors(whitenings)
        self._gradients = backend.with_gradients(self._loss)
        self._function = backend.compiled(self._step)
        self._steps = 0
        self._parameters = _tensors(_matrices_of(tensors, whitenings))
        self._averages = _tensors([array for layer in tensors for array in layer])
        gradients = backend.compiled(self._gradients)
        found = [gradients(self._parameters, *_tensors(sample))[1] for sample in samples]
        self._moments = [
            Moments(*_tensors(initial_moments([ops.convert_to_numpy(g) for g in layer])))
            for layer in zip(*found, strict=True)
        ]

    def step(self, batch: Batch) -> Any:
        """Takes one step of the optimiser.

        Returns:
          The loss before the step, a float32 scalar of the backend.
        """
        rate = self.schedule(self._steps)
        age = float(self._steps + 1)
        # The average follows closely at first, so that it forgets the untrained weights.
        decay = min(self._decay, age / (9 + age))
        self._parameters, self._moments, self._averages, loss = self._function(
            self._parameters, self._moments, self._averages,
            *_tensors([np.float32(age), np.float32(rate), np.float32(decay)]),
            *_tensors(batch),
        )  # fmt: skip
        self._steps += 1
        if self._steps % _TURN_EVERY == 0:
            self._moments = [turned(moments) for moments in self._moments]
        return loss

    @property
    def averaged(self) -> Tensors:
        """The running average of the weights."""
        arrays = iter(map(ops.convert_to_numpy, self._averages))
        return tuple(
            tuple(next(arrays) for _ in shapes) for shapes in self._architecture.tensor_shapes
        )

    @property
    def state(self) -> list[np.ndarray]:
        """Everything that a step changes, for restore()."""
        moments = [array for layer in self._moments for array in layer]
        tensors = [*self._whitenings, *self._parameters, *self._averages, *moments]
        return [np.int64(self._steps), *map(ops.convert_to_numpy, tensors)]

    def restore(self, state: list[np.ndarray]) -> None:
        """Continues from a value of `state`."""
        arrays = iter(state)
        self._steps = int(next(arrays))
        self._whitenings = _tensors([next(arrays) for _ in self._whitenings])
        self._parameters = _tensors([next(arrays) for _ in self._parameters])
        self._averages = _tensors([next(arrays) for _ in self._averages])
        self._moments = [Moments(*_tensors([next(arrays) for _ in m])) for m in self._moments]

    def _step(self, parameters, moments, averages, age, rate, decay, *batch) -> tuple:
        """One step, as a pure function of tensors."""
        loss, gradients = self._gradients(parameters, *batch)
        moved, updated = [], []
        for matrix, old, gradient in zip(parameters, moments, gradients, strict=True):
            new, direction = step_direction(Moments(*old), gradient, age)
            updated.append(new)
            moved.append(matrix - rate * direction)
        averages = [
            decay * average + (1 - decay) * value
            for average, value in zip(averages, self._values(moved), strict=True)
        ]
        return moved, updated, averages, loss

    def _loss(self, parameters, inputs, targets, weights, interpolation_errors, views) -> Any:
        outputs, _ = self._model.stateless_call(self._values(parameters), [], inputs)
        errors = ops.mean(ops.square(outputs - targets), axis=(1, 2))
        if self._excess_weight:
            errors += self._excess_weight * ops.relu(errors - interpolation_errors)
        if share := self._ensemble_share:
            distances = ops.mean(ops.square(outputs - self._taught(inputs, views)), axis=(1, 2))
            errors = (1 - share) * errors + share * distances
        losses = ops.sum(weights * errors, axis=1)
        if self._loss_mean == "geometric":
            return ops.exp(ops.mean(ops.log(losses + _LOSS_FLOOR)))
        return ops.mean(losses)

    def _taught(self, inputs, views) -> Any:
        """What the weights that the run began from make of the crops, each seen in one view.

        Over many steps its gradient is that of the mean over all eight, at an eighth of the work.
        """
        seen = _turned(inputs, views, (0, 1, 2))
        outputs, _ = self._model.stateless_call(self._teacher, [], seen)
        return _turned(outputs, views, (2, 1, 0))

    def _values(self, parameters) -> list:
        """The network's tensors, in Keras' order, from the matrices of parameters."""
        values = []
        for shapes, whitening, matrix in zip(
            self._architecture.tensor_shapes, self._whitenings, parameters, strict=True
        ):
            (kernel, *vectors), rows = shapes, int(np.prod(shapes[0][:3]))
            taps = ops.reshape(matrix[:rows], (whitening.shape[0], -1))
            values.append(ops.reshape(ops.matmul(whitening, taps), kernel))
            values += [
                ops.reshape(matrix[rows + index], shape) for index, shape in enumerate(vectors)
            ]
        return values


def learning_rates(config: TrainingConfig) -> Callable[[int], float]:
    """The learning rate of each step: up along a line, then down to 0 along half a cosine."""

    def rate(step: int) -> float:
        if step < config.warmup:
            return config.learning_rate * (step + 1) / config.warmup
        done = (step - config.warmup) / (config.steps - config.warmup)
        return config.learning_rate * (1 + math.cos(math.pi * done)) / 2

    return rate


def _turned(images, views, order: tuple[int, ...]) -> Any:
    """Squares flipped down (0), flipped across (1) and transposed (2), where `views` has a 1."""
    for change in order:
        other = ops.flip(images, 1 + change) if change < 2 else ops.transpose(images, (0, 2, 1, 3))
        images = ops.where(ops.reshape(views[:, change], (-1, 1, 1, 1)) > 0, other, images)
    return images


def _matrices_of(tensors: Tensors, whitenings: list[np.ndarray]) -> list[np.ndarray]:
    return [
        np.vstack([parameters_of(kernel, whitening), *(v.reshape(1, -1) for v in vectors)])
        for (kernel, *vectors), whitening in zip(tensors, whitenings, strict=True)
    ]


def _tensors(arrays) -> list:
    return [ops.convert_to_tensor(array) for array in arrays]
