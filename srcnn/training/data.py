"""Training images, their degraded and original luma in memory, and the crops of a step."""

import glob
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from srcnn.colour import quantise_half_even
from srcnn.resample import resize_matlab
from srcnn.training.config import TrainingConfig, TrainingError
from srcnn.training.gratings import lay_grating
from srcnn.training.pairs import make_pair, unit_range

# Added to a degraded image's MSE: one that is hardly degraded (above 40 dB) must not outweigh all.
_FLAWLESS = 1e-4

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Example:
    """One copy of a training image.

    Attributes:
      seen: what the network takes, see Pair.
      original: its truth, `upscale` times as large.
      error: mean squared error of the interpolated luma, both in [0, 1].
    """

    seen: np.ndarray
    original: np.ndarray
    error: float


@dataclass(frozen=True)
class TrainingSet:
    """What crops are drawn from.

    Attributes:
      pairs: one for each image and scaled copy that is large enough.
      shares: float64 (pairs,), running total of the probabilities of the pairs, up to 1.
      weights: float64 (pairs,), of the squared errors of each pair's crops: the inverse of the MSE
        of its degraded luma, so that steps lower the mean of the images' log MSE, which is their
        mean PSNR. Scaled to leave the interpolation's own loss what it is without them.
      unit: what the inverse is multiplied by for that.
      images: number of image files behind them.
      sha256: hash over pairs and shares, hexadecimal; tells whether a run resumes on the same data.
    """

    pairs: tuple[Example, ...]
    shares: np.ndarray
    weights: np.ndarray
    unit: float
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
      TrainingError: it cannot be read or is no such image.
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
    """Refuses to train on an image that the run is measured on, whatever its name.

    Raises:
      TrainingError: two files have the same bytes.
    """
    digests = {hashlib.sha256(path.read_bytes()).digest(): path for path in held_out}
    for path in training:
        twin = digests.get(hashlib.sha256(path.read_bytes()).digest())
        if twin is not None:
            raise TrainingError(f"{path} is a training image and, as {twin}, one to measure on")


def hold_out(paths: Sequence[Path]) -> list[Path]:
    """Every tenth image, for a run that is given nothing to measure itself on.

    Raises:
      TrainingError: nothing would be left to train on.
    """
    if len(paths) < 2:
        raise TrainingError(
            f"{paths[0]} is the only image; give more, or others to measure on with --validation"
        )
    return list(paths[::10])


def load_training_set(config: TrainingConfig, held_out: Collection[Path] = ()) -> TrainingSet:
    """Reads and degrades the training images, each at every factor of `config.copies`.

    Every glob of `config.images` is drawn from equally often, so that a small set of sharp images
    holds its own beside a large one; within a glob every place of every picture is equally likely.

    Args:
      config: the run.
      held_out: images that the globs match but that are not trained on.

    Raises:
      TrainingError: a glob matches nothing, a file is no image, or none of a glob is as large as a
        crop.
    """
    pairs: list[Example] = []
    chances: list[np.ndarray] = []
    seen = set(held_out)
    generator = np.random.default_rng(config.seed)
    images = 0
    for pattern in config.images:
        paths = [path for path in find_images([pattern]) if path not in seen]
        seen.update(paths)
        images += len(paths)
        group = [
            pair
            for path in paths
            for pair in _examples_of(read_image(path), config, generator)
            if min(pair.seen.shape) >= config.crop
        ]
        if paths and not group:
            raise TrainingError(
                f"no image of {pattern!r} is as large as a crop of {config.crop} pixels"
            )
        places = np.array([_places(pair.seen, config.crop).prod() for pair in group], float)
        chances.append(places / places.sum())
        pairs += group
    odds = np.concatenate(chances)
    shares = np.cumsum(odds)
    shares /= shares[-1]
    errors = np.array([pair.error for pair in pairs])
    weights = 1 / (errors + _FLAWLESS)
    unit = float((odds @ errors) / max(odds @ (weights * errors), 1e-30))
    digest = hashlib.sha256(shares)
    for pair in pairs:
        digest.update(str(pair.original.shape).encode())
        digest.update(np.ascontiguousarray(pair.seen))
        digest.update(np.ascontiguousarray(pair.original))
    return TrainingSet(tuple(pairs), shares, unit * weights, unit, images, digest.hexdigest())


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

    Crops are flipped and turned after the degradation, where it allows that. On a share of them,
    `config.gratings`, a grating is laid before it.

    Args:
      training: what to draw from.
      config: the run.
      step: number of the step, from 0.

    Returns:
      Degraded crops, float32 (batch, crop, crop, 1), and the originals' centres, float32
      (batch, side, side, 1) as large as the network's output, both nominally in [0, 1]; the
      weights of the crops' squared errors, float32 (batch,).
    """
    generator = np.random.default_rng((config.seed, step))
    chosen = np.searchsorted(training.shares, generator.random(config.batch), side="right")
    inputs, targets, weights = zip(
        *(_draw_crop(training, index, config, generator) for index in chosen), strict=True
    )
    margin, upscale = config.network.margin, config.network.upscale
    inner = slice(margin * upscale, (config.crop - margin) * upscale)
    return (
        np.stack(inputs)[..., np.newaxis],
        np.stack(targets)[:, inner, inner, np.newaxis],
        np.array(weights, np.float32),
    )


def _examples_of(
    image: np.ndarray, config: TrainingConfig, generator: np.random.Generator
) -> Iterator[Example]:
    """Examples of all copies, cut to a multiple of the scale and a few pixels more.

    OpenCV resizes 481 pixels to 240 and back by a factor that is not quite 2, so that what is to be
    undone changes from place to place. The pictures of a job have all sizes; training images, which
    often share one, are given all remainders. (`matlab` and networks on the small picture cut to
    multiples.)
    """
    scale = config.scale
    for factor in config.copies:
        copy = image if factor == 1 else _shrunk(image, factor)
        more = generator.integers(scale, size=2)
        sides = np.array(copy.shape[:2])
        height, width = sides - (sides - more) % scale
        if min(height, width) >= scale:
            yield _example(copy[:height, :width], config)


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
    return Example(pair.seen, pair.original, float(error))


def _places(plane: np.ndarray, crop: int) -> np.ndarray:
    """How many rows and columns a crop can begin at."""
    return np.array(plane.shape) - crop + 1


def _draw_crop(
    training: TrainingSet, index: int, config: TrainingConfig, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """What the network sees of a crop, its truth, and the weight of its squared error."""
    pair, weight = training.pairs[index], training.weights[index]
    if config.gratings and generator.random() < config.gratings:
        pair = _with_grating(pair, config, generator)
        weight = training.unit / (pair.error + _FLAWLESS)
    upscale = config.network.upscale
    window = _draw_window(pair.seen, config.crop, generator)
    turns, flip = generator.integers((4, 2))
    seen = unit_range(pair.seen[window])
    original = unit_range(pair.original[_enlarged(window, upscale)])
    if config.restoration.degradation.is_symmetric:
        seen, original = (
            np.rot90(crop[:, ::-1] if flip else crop, turns) for crop in (seen, original)
        )
    return seen, original, weight


def _with_grating(pair: Example, config: TrainingConfig, generator: np.random.Generator) -> Example:
    """A part of a picture little larger than a crop with a grating on it, degraded anew."""
    scale, upscale = config.scale, config.network.upscale
    side = config.crop * upscale + 2 * scale
    side = min(side - side % scale, *pair.original.shape)
    plane = pair.original[_draw_window(pair.original, side, generator)]
    return _example(lay_grating(plane, scale, generator), config)


def _draw_window(
    plane: np.ndarray, side: int, generator: np.random.Generator
) -> tuple[slice, slice]:
    """A square somewhere in a picture."""
    top, left = generator.integers(_places(plane, side))
    return slice(top, top + side), slice(left, left + side)


def _enlarged(window: tuple[slice, slice], upscale: int) -> tuple[slice, ...]:
    return tuple(slice(part.start * upscale, part.stop * upscale) for part in window)
