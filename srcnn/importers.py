"""Readers for weights that others published: the Keras 1 HDF5 layout and the authors' MATLAB files.

Both take a file's content and give tensors in this package's order: for each layer (kernel HWIO,
bias), float32. The libraries trust the file, so callers use srcnn.isolated.parse_isolated.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat

from srcnn.architectures import ARCHITECTURES, MAX_PARAMETERS, Architecture
from srcnn.errors import WeightsError, one_line
from srcnn.hdf5 import is_plain, open_hdf5, plain_dataset
from srcnn.weights import Tensors

# Room for double precision and the files' own structure.
MAX_SOURCE_BYTES = 8 * MAX_PARAMETERS + 1024 * 1024
_MAX_NAMES = 64


def read_keras1(path: Path, content: bytes) -> Tensors:
    """Reads files of Keras 1 (`model.save_weights`), in TensorFlow's dimension ordering.

    Layout: the file's attribute `layer_names` lists the layers; each group's attribute
    `weight_names` lists its arrays, kernel (HWIO) before bias.

    Args:
      path: for messages.
      content: the whole file.

    Raises:
      WeightsError: the file is damaged or of another layout.
    """
    try:
        with open_hdf5(path, content) as file:
            pairs = []
            for layer in _names(file, "layer_names"):
                if not is_plain(file, layer):
                    raise ValueError(f"layer {layer!r} is missing or is a link")
                names = [f"{layer}/{name}" for name in _names(file[layer], "weight_names")]
                if not names:
                    continue  # an activation has no weights
                kernel, bias = (_read_array(path, file, name) for name in names)
                pairs.append((kernel, bias))
    except WeightsError:
        raise
    except Exception as error:  # h5py raises many kinds on damage: RuntimeError, TypeError
        raise WeightsError(
            f"{path}: not weights in the Keras 1 layout: {one_line(error)}"
        ) from None
    return _checked(path, pairs)


def read_matlab(path: Path, content: bytes) -> Tensors:
    """Reads the SRCNN authors' MATLAB layout.

    Layout: `weights_conv1` (k1*k1, n1), `weights_conv2` (n1, k2*k2, n2), `weights_conv3`
    (n2, k3*k3), filters stored column-major and applied as correlation; `biases_conv1..3`.

    Args:
      path: for messages.
      content: the whole file.

    Raises:
      WeightsError: the file is damaged or of another layout.
    """
    names = [f"{kind}_conv{index}" for index in (1, 2, 3) for kind in ("weights", "biases")]
    try:
        # A name that occurs twice causes a warning.
        with warnings.catch_warnings(action="error", category=UserWarning):
            found = loadmat(io.BytesIO(content), variable_names=names)
    except Exception as error:  # SciPy raises many kinds on damage
        reason = one_line(error) or type(error).__name__
        raise WeightsError(f"{path}: not a MATLAB file of version 7 or before: {reason}") from None
    try:
        arrays = [_matlab_array(name, found[name]) for name in names]
        pairs = [
            (_matlab_kernel(weights, is_first=index == 0), _float32(biases.reshape(-1)))
            for index, (weights, biases) in enumerate(zip(arrays[::2], arrays[1::2], strict=True))
        ]
    except KeyError as error:
        raise WeightsError(
            f"{path}: not weights in the authors' layout: no array is called {error}"
        ) from None
    except ValueError as error:
        raise WeightsError(f"{path}: not weights in the authors' layout: {error}") from None
    return _checked(path, pairs)


def match_architecture(tensors: Tensors) -> Architecture:
    """The network on the interpolated picture whose kernels have these shapes.

    Raises:
      WeightsError: there is none.
    """
    shapes = tuple(kernel.shape for kernel, _ in tensors)
    for by_scale in ARCHITECTURES.values():
        for architecture in by_scale.values():
            if not architecture.residual and architecture.kernel_shapes == shapes:
                return architecture
    raise WeightsError(f"no known architecture has kernels of shapes {shapes}")


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of fixed-length texts; their size is checked before they are read."""
    declared = group.attrs.get_id(attribute)
    if declared.dtype.kind != "S" or declared.dtype.itemsize > 256:
        raise ValueError(f"{attribute} is {declared.dtype}; needed: texts of fixed length")
    if len(declared.shape) != 1 or declared.shape[0] > _MAX_NAMES:
        raise ValueError(f"{attribute} has shape {declared.shape}; at most {_MAX_NAMES} names")
    return [name.decode() for name in group.attrs[attribute]]


def _read_array(path: Path, file: h5py.File, name: str) -> np.ndarray:
    dataset = plain_dataset(path, file, name)
    if dataset.dtype.kind != "f" or not dataset.shape or len(dataset.shape) > 4:
        raise WeightsError(f"{path}: {name} is {dataset.dtype} {dataset.shape}; needed: floats")
    return _float32(dataset[...])


def _matlab_array(name: str, value: Any) -> np.ndarray:
    """The value of a variable, if it is an array of real numbers of bounded size."""
    # MATLAB stores whole numbers as integers. Cells, structures and texts are arrays too.
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise ValueError(f"{name!r} is not an array of real numbers")
    if value.size > MAX_PARAMETERS:
        raise ValueError(f"{name!r} has more than {MAX_PARAMETERS} values")
    return value


def _matlab_kernel(weights: np.ndarray, is_first: bool) -> np.ndarray:
    """The kernel, HWIO, of a layer's weights."""
    if is_first:
        weights = weights[np.newaxis]  # (1, k*k, n)
    elif weights.ndim == 2:
        weights = weights[..., np.newaxis]  # (n, k*k, 1)
    inputs, area, outputs = weights.shape
    side = round(area**0.5)
    # Column-major: of the k*k values, the row index runs fastest.
    return _float32(weights.reshape(inputs, side, side, outputs).transpose(2, 1, 0, 3))


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # _checked refuses infinities
        return np.float32(array)


def _checked(path: Path, pairs: list) -> Tensors:
    for kernel, bias in pairs:
        if kernel.ndim != 4 or bias.shape != kernel.shape[-1:]:
            raise WeightsError(f"{path}: kernel {kernel.shape} and bias {bias.shape} do not fit")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise WeightsError(f"{path}: holds values that are not finite")
    return tuple(pairs)
