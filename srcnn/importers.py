"""Readers for weights that others published: the Keras 1 HDF5 layout and the authors' MATLAB files.

Both give tensors in this package's order: for each layer (kernel HWIO, bias), float32.
"""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from srcnn.architecture import Architecture
from srcnn.errors import WeightsError
from srcnn.weights import Tensors


def read_keras1(path: Path) -> Tensors:
    """Reads `model.save_weights` of Keras 1 with TensorFlow's dimension ordering.

    Layout: the attribute `layer_names` of the file lists the layers; each group's attribute
    `weight_names` its arrays, kernel (HWIO) before bias.

    Raises:
      WeightsError: the file is damaged or of another layout.
    """
    try:
        with h5py.File(path, "r") as file:
            pairs = []
            for layer in _names(file, "layer_names"):
                arrays = [file[layer][name] for name in _names(file[layer], "weight_names")]
                if not arrays:
                    continue  # an activation has no weights
                kernel, bias = arrays
                pairs.append((np.float32(kernel[...]), np.float32(bias[...])))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except Exception as error:  # h5py raises whatever damage makes of it: RuntimeError, TypeError
        raise WeightsError(f"{path}: not weights in the Keras 1 layout: {error}") from None
    return _checked(path, pairs)


def read_matlab(path: Path) -> Tensors:
    """Reads the SRCNN authors' MATLAB layout.

    Layout: `weights_conv1` (k1*k1, n1), `weights_conv2` (n1, k2*k2, n2), `weights_conv3`
    (n2, k3*k3), filters stored column-major and applied as correlation; `biases_conv1..3`.

    Raises:
      WeightsError: the file is damaged or of another layout.
    """
    try:
        # MatlabError, NotImplementedError (v7.3) and zlib's errors share no narrower base.
        with open(path, "rb") as file:
            content = scipy.io.loadmat(file)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except Exception as error:
        raise WeightsError(f"{path}: not a MATLAB file of version 5: {error}") from None
    pairs = []
    try:
        for index in (1, 2, 3):
            weights = np.asarray(content[f"weights_conv{index}"], np.float64)
            if index == 1:
                weights = weights[np.newaxis]  # (1, k*k, n)
            elif weights.ndim == 2:
                weights = weights[..., np.newaxis]  # (n, k*k, 1)
            inputs, area, outputs = weights.shape
            side = round(area**0.5)
            # Column-major: of the k*k values, the row index runs fastest.
            kernel = weights.reshape(inputs, side, side, outputs).transpose(2, 1, 0, 3)
            bias = np.asarray(content[f"biases_conv{index}"], np.float64).reshape(-1)
            pairs.append((np.float32(kernel), np.float32(bias)))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not weights in the authors' layout: {error}") from None
    return _checked(path, pairs)


def match_architecture(tensors: Tensors, known: dict[str, Architecture]) -> Architecture:
    """The known architecture whose kernels have these shapes.

    Raises:
      WeightsError: there is none.
    """
    shapes = tuple(kernel.shape for kernel, _ in tensors)
    for architecture in known.values():
        if architecture.kernel_shapes == shapes:
            return architecture
    raise WeightsError(f"no known architecture has kernels of shapes {shapes}")


def _names(group: h5py.Group, attribute: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs[attribute]]


def _checked(path: Path, pairs: list) -> Tensors:
    for kernel, bias in pairs:
        if kernel.ndim != 4 or bias.shape != kernel.shape[-1:]:
            raise WeightsError(f"{path}: kernel {kernel.shape} and bias {bias.shape} do not fit")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise WeightsError(f"{path}: holds values that are not finite")
    return tuple(pairs)
