"""Weights files and their model cards: load, verify, save, choose.

A weights file is an HDF5 file in the layout of Keras (`layers/conv2d_1/vars/0`), so that
`model.load_weights` reads it too; the model card beside it is JSON. Nothing here imports TensorFlow
or runs code from a file.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from srcnn.architectures import DEFAULT_KERNEL, Architecture, ProtocolName
from srcnn.degradations import Degradation, parse_steps
from srcnn.errors import WeightsError, one_line
from srcnn.files import read_regular, replace_file
from srcnn.hdf5 import check_signature, is_plain, open_hdf5, plain_dataset
from srcnn.isolated import Tensors, parse_isolated

WEIGHTS_SUFFIX = ".weights.h5"
CARD_SUFFIX = ".json"
_MAX_CARD_BYTES = 1024 * 1024
_MAX_CARD_DEPTH = 16
# Beside the tensors: HDF5's own structure, and an optimiser's state if Keras wrote the file.
_MAX_EXTRA_BYTES = 1024 * 1024
_MAX_COPIES = 4

Reader = Callable[[str | os.PathLike, int], bytes]

_Tap = Annotated[float, Field(ge=-8, le=8)]
# A chain of degradations in its one text form.
Chain = Annotated[str, AfterValidator(lambda text: " ".join(map(str, parse_steps(text))))]


class ModelCard(BaseModel):
    """The description of a weights file.

    Attributes:
      name: file name without its ending, `<architecture>_x<scale>_<kernel>` for shipped weights.
      architecture: the network that the tensors fit.
      scale: enlargement that the network was trained for.
      kernel: interpolation of the degradation that it was trained for.
      protocol: whose interpolation and luma: `opencv` or `matlab`.
      sha256: hash of the weights file, hexadecimal.
      degrade: chains that degraded the training images, see srcnn.degradations; none: they were
        only shrunk.
      chroma_taps: filter that sharpens Cr and Cb where the network restores the luma, half of a
        symmetric kernel of sum 1 from its centre outwards; none: they stay interpolated.
      training: recipe, data and their terms; free form.
      figures: measured quality; free form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    architecture: Architecture
    scale: Annotated[int, Field(ge=1, le=16)]
    kernel: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    protocol: ProtocolName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    degrade: Annotated[tuple[Chain, ...], Field(max_length=64)] = ()
    chroma_taps: Annotated[tuple[_Tap, ...], Field(max_length=16)] = ()
    training: dict[str, Any] = {}
    figures: dict[str, Any] = {}

    @field_validator("chroma_taps")
    @classmethod
    def _keeps_even_colour(cls, taps: tuple[float, ...]) -> tuple[float, ...]:
        if taps and not math.isclose(taps[0] + 2 * sum(taps[1:]), 1, abs_tol=1e-6):
            raise ValueError(f"the kernel of half {list(taps)} does not sum to 1")
        return taps

    @property
    def degradation(self) -> Degradation:
        """The shrinking that the weights undo."""
        return Degradation(self.protocol, self.scale, self.kernel)

    @property
    def made_for(self) -> str:
        """The degradation that the weights undo, in words."""
        steps = {step.name for chain in self.degrade for step in parse_steps(chain)} - {"shrink"}
        return ", ".join([str(self.degradation), *sorted(steps)])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The trainings that led to the weights, the first one first; the last is their own."""
        own = {key: value for key, value in self.training.items() if key != "earlier"}
        return [*reversed(self.training.get("earlier", [])), own]


@dataclass(frozen=True)
class Weights:
    """A verified model: its card and its tensors, float32."""

    card: ModelCard
    tensors: Tensors


def card_path(weights_path: Path) -> Path:
    """The path of a weights file's model card."""
    return Path(_card_of(str(weights_path)))


def _card_of(weights: str) -> str:
    if not weights.endswith(WEIGHTS_SUFFIX):
        raise WeightsError(
            f"{weights}: a weights file's name ends in {WEIGHTS_SUFFIX}; "
            "other layouts are imported with `python -m srcnn.convert`"
        )
    return weights.removesuffix(WEIGHTS_SUFFIX) + CARD_SUFFIX


def load_card(path: str | os.PathLike, read: Reader = read_regular) -> ModelCard:
    """Reads one model card; see load_weights.

    Raises:
      WeightsError: the card is missing or invalid.
    """
    try:
        return ModelCard.model_validate(_parse_card(read(path, _MAX_CARD_BYTES)))
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: no model card beside the weights; `python -m srcnn.convert` writes one"
        ) from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the model card: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WeightsError(f"{path}: bad model card: {one_line(where)}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: bad model card: {one_line(error)}") from None


def load_weights(path: str | os.PathLike, read: Reader = read_regular) -> Weights:
    """Loads and verifies a weights file by its model card.

    Args:
      path: of the file, or a URI that `read` takes; the card's differs in its ending.
      read: as read_regular, for files elsewhere.

    Raises:
      WeightsError: a file is missing, too large for the card's network, its hash is not the
        card's, it is damaged, or a tensor is missing, of another shape, or not finite.
    """
    path = os.fspath(path)
    card = load_card(_card_of(path), read)
    size = 4 * card.architecture.parameters
    try:
        content = read(path, _MAX_COPIES * size + _MAX_EXTRA_BYTES)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from None
    check_signature(path, content)
    # HDF5 parses only bytes that match the card's hash.
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise WeightsError(
            f"{path}: sha256 {digest[:12]}… is not the {card.sha256[:12]}… of its model card; "
            "the file was changed, cut short or mixed up"
        )
    architecture = card.architecture.model_dump_json()
    return Weights(card, parse_isolated(parse_weights, path, content, architecture))


def save_weights(directory: str | os.PathLike, tensors: Tensors, **card: Any) -> Path:
    """Writes a weights file and its model card.

    Args:
      directory: made if missing.
      tensors: of the architecture's shapes.
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
            for name, array in zip(_datasets(index), arrays, strict=False):
                file[name] = np.asarray(array, np.float32)
    content = buffer.getvalue()
    checked = ModelCard(sha256=hashlib.sha256(content).hexdigest(), **card)
    network, shapes = checked.architecture, [tuple(a.shape for a in layer) for layer in tensors]
    if shapes != list(network.tensor_shapes):
        raise WeightsError(
            f"{checked.name}: tensor shapes {shapes} do not fit {network.name}, which has "
            f"{list(network.tensor_shapes)}"
        )
    path = directory / (checked.name + WEIGHTS_SUFFIX)
    replace_file(path, content)
    # The card goes last: where there is a card, there are its weights.
    replace_file(card_path(path), (checked.model_dump_json(indent=1) + "\n").encode())
    return path


def list_weights(directory: Path) -> dict[Path, ModelCard]:
    """The weights files of a directory with their model cards, sorted by file name."""
    return {
        path: load_card(card_path(path))
        for path in sorted(directory.glob(f"*{WEIGHTS_SUFFIX}"))
        if not path.name.startswith(".")
    }


def choose_weights(
    directory: Path,
    models: Sequence[str],
    scale: int,
    kernel: str | None = None,
    protocol: str | None = None,
) -> Path:
    """The weights file for a job.

    Args:
      directory: of weights and cards.
      models: in order of preference: architectures (`srcnn-955`), completed by scale, kernel and
        protocol, or full names of weights files (`srcnn-955_x2_bilinear`).
      scale: the enlargement.
      kernel: None: the usual one.
      protocol: None: the usual one. Without kernel and protocol, weights that undo more than
        shrinking fit with any.

    Raises:
      WeightsError: there are none; the message lists those that exist.
    """
    shipped = list_weights(directory)
    is_open = kernel is None and protocol is None
    protocol = protocol or "opencv"
    kernel = kernel or DEFAULT_KERNEL[protocol]
    for model in models:
        for path, card in shipped.items():
            fits = (card.kernel, card.protocol) == (kernel, protocol) or (card.degrade and is_open)
            of_scale = (card.architecture.name, card.scale) == (model, scale)
            if card.name == model or (of_scale and fits):
                return path
    existing = ", ".join(f"{card.name} ({card.protocol})" for card in shipped.values()) or "none"
    raise WeightsError(
        f"no weights for model {models[0]!r}, x{scale}, {kernel}, protocol {protocol}; "
        f"there are: {existing}. Name one with --model, or give a file with --weights"
    )


def _parse_card(content: bytes) -> Any:
    """JSON without equal keys, infinities, NaN and deep nesting, on which readers disagree."""
    card = json.loads(
        content.decode("utf-8"),
        object_pairs_hook=_without_duplicates,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=_finite,
    )
    if _depth(card) > _MAX_CARD_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_CARD_DEPTH} levels")
    return card


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r:.80} is given twice")
        values[key] = value
    return values


def _whole(text: str) -> int:
    if len(text) > 18:
        raise ValueError(f"{text:.80} is too large a number")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.80} is not a finite number")
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _datasets(index: int) -> tuple[str, str, str]:
    """Keras' names for kernel, bias and slopes of a layer."""
    suffix = f"_{index}" if index else ""
    convolution = f"layers/conv2d{suffix}/vars"
    return f"{convolution}/0", f"{convolution}/1", f"layers/p_re_lu{suffix}/vars/0"


def parse_weights(path: Path, content: bytes, architecture: str) -> Tensors:
    """Reads the datasets of an architecture; each is checked before its data is read.

    Args:
      path: for messages.
      content: the whole file.
      architecture: an Architecture as JSON.

    Raises:
      WeightsError: the file is damaged, or a tensor is missing, of another shape or not finite.
    """
    try:
        with open_hdf5(path, content) as file:
            return _tensors_of(path, file, Architecture.model_validate_json(architecture))
    except WeightsError:
        raise
    except Exception as error:  # h5py raises many kinds on damage: KeyError, OverflowError
        raise WeightsError(f"{path}: damaged HDF5: {one_line(error)}") from None


def _tensors_of(path: Path, file: h5py.File, architecture: Architecture) -> Tensors:
    layers = file["layers"] if is_plain(file, "layers") else None
    names = list(layers) if isinstance(layers, h5py.Group) else []
    convolutions = [name for name in names if name.startswith("conv2d")]
    if len(convolutions) != len(architecture.layers):
        raise WeightsError(
            f"{path}: holds {len(convolutions)} convolutions, "
            f"{architecture.name} has {len(architecture.layers)}"
        )
    return tuple(
        tuple(
            _read_tensor(path, file, name, shape)
            for name, shape in zip(_datasets(index), shapes, strict=False)
        )
        for index, shapes in enumerate(architecture.tensor_shapes)
    )


def _read_tensor(path: Path, file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    dataset = plain_dataset(path, file, name)
    if dataset.shape != shape or dataset.dtype != np.float32:
        raise WeightsError(
            f"{path}: {name} is {dataset.dtype} {dataset.shape}, needed: float32 {shape}"
        )
    array = dataset[...]
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} holds values that are not finite")
    return array
