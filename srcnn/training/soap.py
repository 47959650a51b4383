"""The optimiser: Adam in the eigenbasis of the gradient's second moments (SOAP).

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade, "SOAP: Improving and
Stabilizing Shampoo using Adam", arXiv:2409.11321. The steps of Adam are scaled coordinate by
coordinate; in a basis in which the gradient's coordinates are uncorrelated, that comes close to a
step by the curvature. Importing this module imports Keras.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

_MOMENTUM = 0.9  # of the gradient
_POWER_DECAY = 0.99  # of its square in the eigenbasis
_MOMENT_DECAY = 0.95  # of the second moments that the bases belong to
_TINY = 1e-8


class Moments(NamedTuple):
    """The optimiser's state of one matrix of parameters, float32 tensors or arrays.

    Attributes:
      rows: (rows, rows), second moments of the gradient along its rows.
      columns: (columns, columns), the same along its columns.
      left: (rows, rows), about the eigenvectors of `rows`.
      right: (columns, columns), about the eigenvectors of `columns`.
      mean: (rows, columns), of the gradient.
      power: (rows, columns), mean square of the gradient in the basis.
    """

    rows: Any
    columns: Any
    left: Any
    right: Any
    mean: Any
    power: Any


def initial_moments(samples: Sequence[np.ndarray]) -> Moments:
    """The initial state.

    Args:
      samples: gradients of one matrix, float32 (rows, columns), each of other data.
    """
    stacked = np.stack(samples)
    rows = np.einsum("nik,njk->ij", stacked, stacked, optimize=True) / len(stacked)
    columns = np.einsum("nki,nkj->ij", stacked, stacked, optimize=True) / len(stacked)
    left, right = (np.linalg.eigh(moment)[1].astype(np.float32) for moment in (rows, columns))
    empty = np.zeros(stacked.shape[1:], np.float32)
    return Moments(rows, columns, left, right, empty, empty)


def step_direction(moments: Moments, gradient: Any, age: Any) -> tuple[Moments, Any]:
    """The step to subtract, of length about 1 in each coordinate of the basis.

    Args:
      moments: of the matrix.
      gradient: (rows, columns).
      age: number of this step, from 1.

    Returns:
      The moments after the step, and the step.
    """
    transposed = ops.transpose(gradient)
    mean = _blend(moments.mean, gradient, _MOMENTUM)
    power = _blend(moments.power, ops.square(_rotated(moments, gradient)), _POWER_DECAY)
    step = _rotated(moments, mean) / (1 - _MOMENTUM**age)
    step /= ops.sqrt(power / (1 - _POWER_DECAY**age)) + _TINY
    updated = moments._replace(
        rows=_blend(moments.rows, ops.matmul(gradient, transposed), _MOMENT_DECAY),
        columns=_blend(moments.columns, ops.matmul(transposed, gradient), _MOMENT_DECAY),
        mean=mean,
        power=power,
    )
    return updated, ops.matmul(ops.matmul(moments.left, step), ops.transpose(moments.right))


def turned(moments: Moments) -> Moments:
    """The moments with bases closer to those of the present second moments.

    One step of orthogonal iteration, which keeps each direction in its place. In NumPy, which gives
    every backend the same.
    """
    arrays = Moments(*map(ops.convert_to_numpy, moments))
    left, rows_order = _turned_basis(arrays.rows, arrays.left)
    right, columns_order = _turned_basis(arrays.columns, arrays.right)
    power = arrays.power[rows_order][:, columns_order]
    updated = {"left": left, "right": right, "power": np.ascontiguousarray(power)}
    return moments._replace(**{n: ops.convert_to_tensor(array) for n, array in updated.items()})


def _blend(old: Any, new: Any, share: float) -> Any:
    return share * old + (1 - share) * new


def _rotated(moments: Moments, matrix: Any) -> Any:
    return ops.matmul(ops.matmul(ops.transpose(moments.left), matrix), moments.right)


def _turned_basis(moment: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The turned basis, and the order of the old directions in it."""
    images = moment @ basis
    # By falling power, so that orthogonalising takes the weak out of the strong, not back.
    order = np.argsort(-np.einsum("ij,ij->j", basis, images), kind="stable")
    return np.linalg.qr(images[:, order])[0], order
