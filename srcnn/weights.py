"""Weights files and their model cards: load, verify, save, choose.

A weights file is an HDF5 file in the layout of Keras (`layers/conv2d_1/vars/0`), so that
`model.load_weights` reads it too; beside it stands the model card, JSON. Nothing here imports
TensorFlow or runs code from a file.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srcnn.architecture import Architecture
from srcnn.errors import WeightsError

WEIGHTS_SUFFIX = ".weights.h5"
CARD_SUFFIX = ".json"
_MAX_FILE_BYTES = 256 * 1024 * 1024

Tensors = tuple[tuple[np.ndarray, np.ndarray], ...]


class ModelCard(BaseModel):
    """What stands beside a weights file.

    Attributes:
      name: file name without its ending, `<architecture>_x<scale>_<kernel>` for shipped weights.
      architecture: the network that the tensors fit.
      scale: enlargement that the network was trained for.
      kernel: interpolation of the degradation that it was trained for.
      protocol: whose interpolation and luma: `opencv` or `matlab`.
      sha256: hash of the weights file, hexadecimal.
      training: recipe, data and their terms; free form.
      figures: measured quality; free form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    architecture: Architecture
    scale: Annotated[int, Field(ge=1, le=16)]
    kernel: str
    protocol: Literal["opencv", "matlab"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    training: dict[str, Any] = {}
    figures: dict[str, Any] = {}

    @property
    def degradation(self) -> str:
        """What the weights undo, in words."""
        return f"x{self.scale} {self.kernel} ({self.protocol})"


@dataclass(frozen=True)
class Weights:
    """A verified model: its card and, for each layer, (kernel HWIO, bias), both float32."""

    card: ModelCard
    tensors: Tensors


def card_path(weights_path: Path) -> Path:
    """Where the model card of a weights file stands."""
    name = weights_path.name
    stem = name.removesuffix(WEIGHTS_SUFFIX) if name.endswith(WEIGHTS_SUFFIX) else None
    if stem is None:
        raise WeightsError(
            f"{weights_path}: a weights file's name ends in {WEIGHTS_SUFFIX}; "
            "other layouts are imported with `python -m srcnn.convert`"
        )
    return weights_path.with_name(stem + CARD_SUFFIX)


def load_card(path: Path) -> ModelCard:
    """Reads one model card.

    Raises:
      WeightsError: the card is missing or says something impossible.
    """
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: no model card beside the weights; `python -m srcnn.convert` writes one"
        ) from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the model card: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WeightsError(f"{path}: bad model card: {where}: {first['msg']}") from None


def load_weights(path: str | os.PathLike) -> Weights:
    """Loads and verifies a weights file by its model card.

    Raises:
      WeightsError: a file is missing, its hash is not the card's, it is damaged, or a tensor is
        missing, of another shape, or not finite.
    """
    path = Path(path)
    card = load_card(card_path(path))
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise WeightsError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB; not an SRCNN")
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from None
    # The structure is looked at before the hash, so that damage is called by its name.
    tensors = _read_tensors(path, content, card.architecture)
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise WeightsError(
            f"{path}: sha256 {digest[:12]}… is not the {card.sha256[:12]}… of its model card; "
            "the file was changed or mixed up"
        )
    return Weights(card, tensors)


def save_weights(directory: str | os.PathLike, tensors: Tensors, **card: Any) -> Path:
    """Writes a weights file and its model card.

    Args:
      directory: where; made if missing.
      tensors: for each layer (kernel HWIO, bias).
      **card: the fields of ModelCard but `sha256`.

    Returns:
      The path of the weights file.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars")
        for index, arrays in enumerate(tensors):
            for position, array in enumerate(arrays):
                file[f"{_group(index)}/{position}"] = np.asarray(array, np.float32)
    content = buffer.getvalue()
    checked = ModelCard(sha256=hashlib.sha256(content).hexdigest(), **card)
    _check_shapes(Path(checked.name), [tuple(a.shape for a in p) for p in tensors], checked)
    path = directory / (checked.name + WEIGHTS_SUFFIX)
    # The card goes last: a card never stands beside weights that are not there yet.
    for target, data in (
        (path, content),
        (card_path(path), (checked.model_dump_json(indent=1) + "\n").encode()),
    ):
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_bytes(data)
        temporary.replace(target)
    return path


def list_weights(directory: Path) -> dict[Path, ModelCard]:
    """The weights files of a directory with their model cards, sorted by file name."""
    return {
        path: load_card(card_path(path))
        for path in sorted(directory.glob(f"*{WEIGHTS_SUFFIX}"))
        if not path.name.startswith(".")
    }


def choose_weights(directory: Path, model: str, scale: int, kernel: str, protocol: str) -> Path:
    """The weights file for a job.

    Args:
      directory: where weights and cards stand.
      model: an architecture's name (`srcnn-955`), completed by scale, kernel and protocol, or the
        whole name of one weights file (`srcnn-955_x2_bilinear`), taken as it is.

    Raises:
      WeightsError: there is none; the message lists what exists.
    """
    shipped = list_weights(directory)
    for path, card in shipped.items():
        wanted = (card.architecture.name, card.scale, card.kernel, card.protocol)
        if card.name == model or wanted == (model, scale, kernel, protocol):
            return path
    existing = ", ".join(f"{card.name} ({card.protocol})" for card in shipped.values()) or "none"
    raise WeightsError(
        f"no weights for model {model!r}, x{scale}, {kernel}, protocol {protocol}; "
        f"there are: {existing}. Name one with --model, or give a file with --weights"
    )


def _group(index: int) -> str:
    return f"layers/conv2d{f'_{index}' if index else ''}/vars"


def _check_shapes(path: Path, shapes: list, card: ModelCard) -> None:
    expected = [(kernel, kernel[-1:]) for kernel in card.architecture.kernel_shapes]
    if [tuple(map(tuple, pair)) for pair in shapes] != expected:
        raise WeightsError(
            f"{path}: tensor shapes {shapes} do not fit {card.architecture.name}, "
            f"which has {expected}"
        )


def _read_tensors(path: Path, content: bytes, architecture: Architecture) -> Tensors:
    """Reads just the datasets that the architecture asks for, checking each before its data."""
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return _tensors_of(path, file, architecture)
    except WeightsError:
        raise
    except Exception as error:  # h5py raises whatever damage makes of it: KeyError, OverflowError
        raise WeightsError(f"{path}: damaged or not HDF5: {error}") from None


def _tensors_of(path: Path, file: h5py.File, architecture: Architecture) -> Tensors:
    layers = file["layers"] if _is_plain(file, "layers") else None
    names = list(layers) if isinstance(layers, h5py.Group) else []
    convolutions = [name for name in names if name.startswith("conv2d")]
    if len(convolutions) != len(architecture.layers):
        raise WeightsError(
            f"{path}: holds {len(convolutions)} convolutions, "
            f"{architecture.name} has {len(architecture.layers)}"
        )
    return tuple(
        (
            _read_dataset(path, file, f"{_group(index)}/0", shape),
            _read_dataset(path, file, f"{_group(index)}/1", shape[-1:]),
        )
        for index, shape in enumerate(architecture.kernel_shapes)
    )


def _is_plain(file: h5py.File, name: str) -> bool:
    """Whether something stands at a path that no soft or external link leads to."""
    parts = name.split("/")
    return all(
        isinstance(file.get("/".join(parts[:depth]), getlink=True), h5py.HardLink)
        for depth in range(1, len(parts) + 1)
    )


def _read_dataset(path: Path, file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    # A link could point anywhere; only plain content is followed.
    if not _is_plain(file, name):
        raise WeightsError(f"{path}: {name} is missing or is a link; plain datasets only")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise WeightsError(f"{path}: {name} is not a plain dataset")
    if dataset.shape != shape or dataset.dtype != np.float32:
        raise WeightsError(
            f"{path}: {name} is {dataset.dtype} {dataset.shape}, needed: float32 {shape}"
        )
    array = dataset[...]
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} holds values that are not finite")
    return array
