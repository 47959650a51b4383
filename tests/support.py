"""Helpers of several test modules: small networks, a reference network, images and files."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile
from hypothesis import settings
from PIL import Image

from srcnn.architectures import Architecture, ConvLayer
from srcnn.engines.base import Engine
from srcnn.tiling import DEFAULT_TILE, run_tiled
from srcnn.weights import ModelCard, Tensors, Weights

quick = settings(max_examples=40, deadline=None, derandomize=True)


def golden(shared: Path, name: str) -> dict:
    """The published figures in ../shared/golden/<name>.json."""
    return json.loads((shared / "golden" / f"{name}.json").read_text())


def stack(*layers: tuple, name: str = "small") -> Architecture:
    """An architecture of (kernel, filters[, padding]) layers."""
    return Architecture(
        name=name,
        layers=tuple(
            ConvLayer(kernel=k, filters=f, padding=p[0] if p else "valid") for k, f, *p in layers
        ),
    )


def restore_plane(
    engine: Engine, plane: np.ndarray, shave: int = 0, tile: int = DEFAULT_TILE
) -> np.ndarray:
    """Restores one plane by run_tiled, unrounded.

    Args:
      engine, plane, shave, tile: as for run_tiled.

    Returns:
      float32 (h * upscale - 2 * shave, w * upscale - 2 * shave[, planes]), nominally in [0, 1],
      not clipped.
    """
    height, width = (side * engine.architecture.upscale for side in plane.shape[:2])
    result = np.empty((height - 2 * shave, width - 2 * shave, *plane.shape[2:]), np.float32)
    for target, values in run_tiled(engine, plane, shave, tile):
        result[target] = values
    return result


def narrow(architecture: Architecture) -> Architecture:
    """The same kernels and padding with few filters and layers, so that plain numpy is fast."""
    *hidden, last = architecture.layers
    layers = [layer.model_copy(update={"filters": 3}) for layer in hidden[:3]]
    return architecture.model_copy(update={"layers": (*layers, last)})


def random_tensors(architecture: Architecture, seed: int = 0) -> Tensors:
    """Asymmetric kernels and biases of both signs; the output is of the order of the input."""
    generator = np.random.default_rng(seed)
    return tuple(
        (
            np.float32(generator.normal(size=kernel) / np.sqrt(np.prod(kernel[:3]))),
            *(np.float32(generator.normal(size=shape) / 4) for shape in vectors),
        )
        for kernel, *vectors in architecture.tensor_shapes
    )


def card_fields(architecture: Architecture, **changes) -> dict:
    """Arguments of save_weights for a model card."""
    fields = {
        "name": "small_x2_bicubic",
        "architecture": architecture,
        "scale": 2,
        "kernel": "bicubic",
        "protocol": "opencv",
    }
    return fields | changes


def random_weights(architecture: Architecture, seed: int = 0) -> Weights:
    """Weights without a file."""
    card = ModelCard(sha256="0" * 64, **card_fields(architecture))
    return Weights(card, random_tensors(architecture, seed))


def reference_network(
    tensors: Tensors, architecture: Architecture, plane: np.ndarray
) -> np.ndarray:
    """The network by its definition, in float64.

    Correlation, bias, activation except after the last layer, the input added to each pixel of its
    block, depth to space.
    """
    inputs = values = plane.reshape(*plane.shape[:2], -1).astype(np.float64)
    for layer, (kernel, bias, *slopes) in zip(architecture.layers, tensors, strict=True):
        if layer.padding != "valid":
            r = layer.radius
            mode = {"same": "constant", "replicate": "edge"}[layer.padding]
            values = np.pad(values, ((r, r), (r, r), (0, 0)), mode=mode)
        windows = np.lib.stride_tricks.sliding_window_view(values, kernel.shape[:2], axis=(0, 1))
        values = np.einsum("hwcij,ijco->hwo", windows, kernel.astype(np.float64), optimize=True)
        values = values + bias
        if layer is not architecture.layers[-1]:
            values = np.where(values > 0, values, values * slopes[0][0, 0] if slopes else 0)
    margin, side = architecture.margin, architecture.upscale
    if architecture.residual:
        height, width = plane.shape[:2]
        inner = inputs[margin : height - margin, margin : width - margin]
        values = values + np.concatenate([inner] * side**2, axis=-1)
    result = np.empty((values.shape[0] * side, values.shape[1] * side, architecture.planes))
    for block in range(side * side):
        planes = slice(block * architecture.planes, (block + 1) * architecture.planes)
        result[block // side :: side, block % side :: side] = values[..., planes]
    return result.reshape(*result.shape[:2], *plane.shape[2:])


class NumpyEngine(Engine):
    """An engine of the reference network that records the shapes of its calls."""

    name = "numpy"
    side_multiple = 12

    def _load(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.calls: list[tuple[int, ...]] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        planes = self.architecture.planes
        assert batch.dtype == np.float32 and batch.ndim == 4 and batch.shape[3] == planes
        self.calls.append(batch.shape[:3])
        return np.float32([reference_network(self.tensors, self.architecture, b) for b in batch])


def random_image(shape: tuple[int, ...], dtype=np.uint8, seed: int = 0) -> np.ndarray:
    """Random codes over the whole range."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def pillow_file(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff_file(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum
