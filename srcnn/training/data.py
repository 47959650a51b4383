"""Training images in memory, degraded and original, and the crops of a step."""

import glob
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from srcnn.colour import quantise_half_even, unit_range
from srcnn.resample import mirrored, resize_matlab
from srcnn.training.config import TrainingConfig, TrainingError
from srcnn.training.gratings import lay_grating
from srcnn.training.pairs import make_pair
from srcnn.training.recolour import recolour

# Added to a degraded image's MSE: a hardly degraded one (above 40 dB) must not outweigh all others.
_FLAWLESS = 1e-4
# Added to a patch's MSE: an even patch must not outweigh those that are hard to restore.
_EVEN = 1e-3
# Weight of Cr and Cb; the luma's is 1.
_CHROMA_SHARE = 0.15
# Small pixels around a crop, against effects at edges and for varied phases of JPEG's blocks.
_MARGIN = 8


class Batch(NamedTuple):
    """The crops of one step.

    Attributes:
      inputs: of the network, float32 (batch, crop, crop, planes), nominally in [0, 1].
      targets: the originals' centres, float32 (batch, side, side, planes), as large as the
        network's output.
      weights: float32 (batch, planes), of the crops' squared errors.
      interpolation_errors: float32 (batch, planes), mean squared errors of the interpolation
        against `targets`; 0 if `excess_weight` is.
      views: float32 (batch, 3), 0 or 1, of the eight flips and turns that a self-ensemble sees a
        crop in: whether it is flipped down, flipped across and, after that, transposed.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    interpolation_errors: np.ndarray
    views: np.ndarray


@dataclass(frozen=True)
class Example:
    """One degraded copy of a training image, or a patch of one.

    Attributes:
      seen: the network's input, see Pair; continued beyond its edges if the run says so.
      original: the ground truth, `upscale` times as large.
      weights: float64 (planes,), of the squared errors of its crops: about the inverse of the mean
        squared error of its interpolation in [0, 1], so that steps lower the mean of the images'
        log MSE, which is their mean PSNR.
      interpolated: as large as the original, codes or in [0, 1]; None if `excess_weight` is 0.
    """

    seen: np.ndarray
    original: np.ndarray
    weights: np.ndarray
    interpolated: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.seen.shape[:2]


@dataclass(frozen=True)
class Original:
    """One copy of a training image; every crop of it is degraded separately.

    Attributes:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.
      shape: height and width of the network's input for the whole image.
    """

    image: np.ndarray
    shape: tuple[int, int]


@dataclass(frozen=True)
class TrainingSet:
    """The source of crops.

    Attributes:
      copies: one for each image and scaled copy that is large enough.
      shares: float64 (copies,), running total of their probabilities, up to 1.
      images: number of image files.
      sha256: hash over copies and shares, hexadecimal; a resumed run must have the same.
    """

    copies: tuple[Example | Original, ...]
    shares: np.ndarray
    images: int
    sha256: str


def find_images(patterns: Iterable[str]) -> list[Path]:
    """The files that globs match (`**` crosses directories), each once, sorted.

    Raises:
      TrainingError: a glob matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = {Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file()}
        if not matches:
            raise TrainingError(f"no image matches {pattern!r}")
        found |= matches
    return sorted(found)


def read_image(path: Path) -> np.ndarray:
    """Decodes one image file.

    Returns:
      (h, w, 3) BGR or (h, w), uint8 or uint16; alpha is dropped.

    Raises:
      TrainingError: it cannot be read or is not such an image.
    """
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise TrainingError(f"{path}: cannot read it: {error.strerror}") from None
    image = None
    if content.size:
        image = cv2.imdecode(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise TrainingError(f"{path}: not an image of 8 or 16 bits per sample")
    return image


def check_disjoint(training: Sequence[Path], held_out: Sequence[Path]) -> None:
    """Refuses to train on an image that the run is measured on.

    Raises:
      TrainingError: two files have the same bytes.
    """
    digests = {hashlib.sha256(path.read_bytes()).digest(): path for path in held_out}
    for path in training:
        twin = digests.get(hashlib.sha256(path.read_bytes()).digest())
        if twin is not None:
            raise TrainingError(
                f"{path} is a training image and, as {twin}, also an image to measure on"
            )


def hold_out(paths: Sequence[Path]) -> list[Path]:
    """Every tenth image, as validation images of a run that names none.

    Raises:
      TrainingError: there is only one image.
    """
    if len(paths) < 2:
        raise TrainingError(
            f"{paths[0]} is the only image; give more, or others to measure on with --validation"
        )
    return list(paths[::10])


def load_training_set(config: TrainingConfig, held_out: Collection[Path] = ()) -> TrainingSet:
    """Reads the training images, each at every factor of `config.copies`, and degrades them.

    Every glob of `config.images` is drawn from equally often, so that a small set of sharp images
    counts as much as a large one; within a glob every place of every picture is equally likely.

    Args:
      config: the run.
      held_out: images that the globs match but that are not trained on.

    Raises:
      TrainingError: a glob matches nothing, a file is not an image, or all images of a glob are
        smaller than a crop.
    """
    copies: list[Example | Original] = []
    chances: list[np.ndarray] = []
    seen = set(held_out)
    generator = np.random.default_rng(config.seed)
    images = 0
    for pattern in config.images:
        paths = [path for path in find_images([pattern]) if path not in seen]
        seen.update(paths)
        images += len(paths)
        group = [c for path in paths for c in _copies_of(read_image(path), config, generator)]
        group = [copy for copy in group if min(copy.shape) >= config.crop]
        if paths and not group:
            raise TrainingError(
                f"no image of {pattern!r} is as large as a crop of {config.crop} pixels"
            )
        places = np.array([_places(copy.shape, config.crop).prod() for copy in group], float)
        chances.append(places / places.sum())
        copies += group
    shares = np.cumsum(np.concatenate(chances))
    shares /= shares[-1]
    return TrainingSet(tuple(copies), shares, images, _digest_of(shares, copies))


def _digest_of(shares: np.ndarray, copies: list[Example | Original]) -> str:
    digest = hashlib.sha256(shares)
    for copy in copies:
        planes = [copy.image] if isinstance(copy, Original) else [copy.seen, copy.original]
        digest.update(str(planes[-1].shape).encode())
        for plane in planes:
            digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()


def sample_images(
    config: TrainingConfig, held_out: Collection[Path], count: int
) -> Iterator[np.ndarray]:
    """Up to `count` training images of each glob, evenly spaced, as read_image gives them."""
    for pattern in config.images:
        paths = [path for path in find_images([pattern]) if path not in held_out]
        for path in paths[:: -(-len(paths) // count) or 1]:
            yield read_image(path)


def draw_batch(training: TrainingSet, config: TrainingConfig, step: int) -> Batch:
    """The crops of one step, decided by (seed, step) alone.

    Crops are flipped and turned after the degradation, where it is symmetric. A share of them,
    `config.gratings`, gets a grating before it. If the degradation is more than shrinking, each
    crop draws its own.

    Args:
      training: source of the crops.
      config: the run.
      step: number of the step, from 0.
    """
    generator = np.random.default_rng((config.seed, step))
    chosen = np.searchsorted(training.shares, generator.random(config.batch), side="right")
    crops = [
        _draw_crop(training.copies[index], config, generator, f"{step}/{place}")
        for place, index in enumerate(chosen)
    ]
    parts = (np.stack(part, dtype=np.float32) for part in zip(*crops, strict=True))
    return Batch(*parts, views=generator.integers(2, size=(config.batch, 3)).astype(np.float32))


def _copies_of(
    image: np.ndarray, config: TrainingConfig, generator: np.random.Generator
) -> Iterator[Example | Original]:
    """All copies of an image, cut to random remainders modulo the scale.

    OpenCV resizes 481 pixels to 240 and back by a factor that is not quite 2, so that the
    degradation changes from place to place. A job's pictures have all sizes, while training images
    often share one. (`matlab` and networks on the small picture cut to multiples.)
    """
    scale = config.scale
    for factor in config.copies:
        copy = image if factor == 1 else _shrunk(image, factor)
        more = generator.integers(scale, size=2)
        sides = np.array(copy.shape[:2])
        height, width = sides - (sides - more) % scale
        if min(height, width) >= scale:
            yield _prepared(copy[:height, :width], config)


def _prepared(image: np.ndarray, config: TrainingConfig) -> Example | Original:
    if not config.degrades_crops:
        return _example(image, config)
    network, scale = config.network, config.scale
    shape = tuple(side // scale * scale // network.upscale for side in image.shape[:2])
    return Original(image, shape)


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    """A smaller copy, antialiased, same type."""
    size = tuple(max(1, round(side * factor)) for side in image.shape[:2])
    if image.ndim == 2:
        return quantise_half_even(resize_matlab(image, size, "bicubic"), image.dtype)
    planes = [resize_matlab(image[..., channel], size, "bicubic") for channel in range(3)]
    return quantise_half_even(np.stack(planes, axis=-1), image.dtype)


def _example(image: np.ndarray, config: TrainingConfig) -> Example:
    pair = make_pair(image, replace(config.restoration, border="keep"))
    error = np.mean(np.square(unit_range(pair.interpolated) - unit_range(pair.original)))
    beyond, upscale = config.edges * config.network.margin, config.network.upscale

    def continued(large: np.ndarray) -> np.ndarray:
        return np.pad(large, beyond * upscale, "symmetric")  # nothing is compared out there

    return Example(
        np.pad(pair.seen, beyond, "symmetric"),
        continued(pair.original),
        np.array([1 / (float(error) + _FLAWLESS)]),
        continued(pair.interpolated) if config.excess_weight else None,
    )


def _places(shape: tuple[int, ...], crop: int) -> np.ndarray:
    """How many rows and columns a crop can begin at."""
    return np.array(shape[:2]) - crop + 1


def _draw_crop(
    copy: Example | Original, config: TrainingConfig, generator: np.random.Generator, name: str
) -> tuple[np.ndarray, ...]:
    """The parts of a batch for one crop."""
    if isinstance(copy, Original):
        copy = _degraded_patch(copy.image, config, generator, name)
    elif config.gratings and generator.random() < config.gratings:
        copy = _with_grating(copy, config, generator)
    elif config.shifts:
        copy = _shifted_crop(copy, config, generator)
    margin, upscale = config.network.margin, config.network.upscale
    window = _draw_window(copy.shape, config.crop, generator)
    turns, flip = generator.integers((4, 2))
    seen = _with_planes(copy.seen[window])
    inner = tuple(
        slice((part.start + margin) * upscale, (part.stop - margin) * upscale) for part in window
    )
    target = _with_planes(copy.original[inner])
    interpolation_errors = np.zeros(len(copy.weights))
    if copy.interpolated is not None:
        errors = np.square(_with_planes(copy.interpolated[inner]) - target)
        interpolation_errors = errors.mean(axis=(0, 1))
    if config.restoration.degradation.is_symmetric:
        seen, target = (np.rot90(crop[:, ::-1] if flip else crop, turns) for crop in (seen, target))
    return seen, target, copy.weights, interpolation_errors


def _with_planes(codes: np.ndarray) -> np.ndarray:
    """Codes or floats, (h, w) or (h, w, planes), as float32 (h, w, planes) in [0, 1]."""
    return unit_range(codes.reshape(*codes.shape[:2], -1))


def _degraded_patch(
    image: np.ndarray, config: TrainingConfig, generator: np.random.Generator, name: str
) -> Example:
    """A part of an image a little larger than a crop, degraded by one of the chains."""
    scale = config.scale
    side = -(-config.crop * config.network.upscale // scale) + 2 * _MARGIN
    side = min(side * scale, *(length // scale * scale for length in image.shape[:2]))
    truth = np.ascontiguousarray(image[_draw_window(image.shape, side, generator)])
    if config.recolour and generator.random() < config.recolour:
        truth = recolour(truth, generator)
    chain = config.chains[generator.integers(len(config.chains))]
    restoration = replace(config.restoration, border="keep", seed=config.seed)
    restoration = restoration.degraded_by(chain)
    seen, original = restoration.input_and_target(restoration.degrade(truth, name), truth)
    large = cv2.resize(unit_range(seen), (side, side), interpolation=cv2.INTER_CUBIC)
    wanted = unit_range(original)
    errors = np.mean(np.square(large - wanted).reshape(side * side, -1), axis=0)
    shares = np.array([1, _CHROMA_SHARE, _CHROMA_SHARE][: len(errors)])
    interpolated = large if config.excess_weight else None
    return Example(seen, original, shares / (errors + _EVEN), interpolated)


def _with_grating(pair: Example, config: TrainingConfig, generator: np.random.Generator) -> Example:
    """A part of an image a little larger than a crop, degraded with a grating on it."""
    scale, upscale = config.scale, config.network.upscale
    side = config.crop * upscale + 2 * scale
    side = min(side - side % scale, *pair.original.shape)
    plane = pair.original[_draw_window(pair.original.shape, side, generator)]
    return _example(lay_grating(plane, scale, generator), config)


def _shifted_crop(pair: Example, config: TrainingConfig, generator: np.random.Generator) -> Example:
    """A crop that begins at any pixel of the original and is degraded as if the image began there.

    The whole image's small pixels lie on one grid; at x4 there are sixteen.
    """
    upscale, sides = config.network.upscale, pair.original.shape
    window, beyond = _draw_window(sides, config.crop * upscale, generator), _MARGIN * upscale
    rows, columns = (
        mirrored(np.arange(part.start - beyond, part.stop + beyond), length)
        for part, length in zip(window, sides, strict=True)
    )
    patch = pair.original[np.ix_(rows, columns)]
    degraded = make_pair(patch, replace(config.restoration, border="keep"))
    small, large = (slice(_MARGIN * step, -_MARGIN * step) for step in (1, upscale))
    return Example(
        degraded.seen[small, small],
        degraded.original[large, large],
        pair.weights,
        degraded.interpolated[large, large] if config.excess_weight else None,
    )


def _draw_window(
    shape: tuple[int, ...], side: int, generator: np.random.Generator
) -> tuple[slice, slice]:
    """A square somewhere in a picture."""
    top, left = generator.integers(_places(shape, side))
    return slice(top, top + side), slice(left, left + side)
