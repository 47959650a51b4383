"""NIQE: the distance of a picture's statistics from those of undistorted photographs.

Mittal, Soundararajan, Bovik, "Making a 'Completely Blind' Image Quality Analyzer", IEEE Signal
Processing Letters 20(3), 2013. Lower is nearer. The luma is normalised by its local mean and
deviation. Each block of 96 x 96 pixels, with its half size, gives 36 features, the parameters of
asymmetric generalised Gaussian distributions. The figure is the distance between the features' mean
and covariance and those of a pristine model; see srcnn.training.niqe.

Works on one row of blocks at a time, so that a 100-megapixel image needs little further memory.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from scipy.special import gamma

from srcnn import colour
from srcnn.compiled import compiled
from srcnn.errors import WeightsError
from srcnn.files import read_regular
from srcnn.resample import resize_matlab

BLOCK = 96  # pixels a side; half as many at half the size
FEATURES = 36
_RADIUS = 3
# Further rows above and below a row of blocks: the reach of the kernel and of the window.
_HALO = 16
_SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
_SHAPES = np.arange(0.2, 10.001, 0.001)
_LIMIT = 1 << 20


@dataclass(frozen=True)
class PristineModel:
    """The statistics of undistorted photographs.

    Attributes:
      mean: (36,), of the features.
      covariance: (36, 36).
      window: (7, 7), the weights of the local mean and deviation; sums to 1.
    """

    mean: np.ndarray
    covariance: np.ndarray
    window: np.ndarray


@dataclass(frozen=True)
class Blocks:
    """The blocks of a picture.

    Attributes:
      features: (n, 36) float64; NaN where a block is flat.
      sharpness: (n,), mean of the local deviation in codes.
    """

    features: np.ndarray
    sharpness: np.ndarray


def niqe(image: np.ndarray, model: PristineModel) -> float | None:
    """The figure of a picture.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16; its luma is MATLAB's.
      model: the statistics of undistorted photographs.

    Returns:
      The distance; None where fewer than two blocks have features.
    """
    return distance(blocks_of(image, model.window).features, model)


def distance(features: np.ndarray, model: PristineModel) -> float | None:
    """The distance of blocks' features, (n, 36), from a model; see niqe."""
    whole = features[np.isfinite(features).all(axis=1)]
    if len(whole) < 2:
        return None
    # As published, the mean is also of blocks that lack some feature.
    difference = model.mean - np.nanmean(np.where(np.isfinite(features), features, np.nan), axis=0)
    covariance = (model.covariance + np.cov(whole, rowvar=False)) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


def blocks_of(image: np.ndarray, window: np.ndarray) -> Blocks:
    """The features of a picture's whole blocks; the rest at the right and bottom is ignored."""
    height, width = (side // BLOCK * BLOCK for side in image.shape[:2])
    image = image[:height, :width]
    features, sharpness = [np.zeros((0, FEATURES))], [np.zeros(0)]
    for top in range(0, height if width else 0, BLOCK):
        (full, sharp), (half, _) = (
            _features(rows, side, window) for rows, side in _row_of_blocks(image, top)
        )
        features.append(np.concatenate([full, half], axis=1))
        sharpness.append(sharp)
    return Blocks(np.concatenate(features), np.concatenate(sharpness))


def _row_of_blocks(image: np.ndarray, top: int) -> Iterator[tuple[np.ndarray, int]]:
    """A row of blocks' luma, float64 codes, with the window's reach around it, in both sizes."""
    start, stop = max(0, top - _HALO), min(len(image), top + BLOCK + _HALO)
    luma = colour.luma_matlab(image[start:stop])
    luma = luma * (255 / colour.peak_of(image))
    size = (luma.shape[0] // 2, luma.shape[1] // 2)
    # Single precision makes flat parts equal again; the published values depend on it.
    half = resize_matlab(luma / 255, size, "bicubic").astype(np.float32) * np.float64(255)
    for plane, scale in ((luma, 1), (half, 2)):
        first, last = (top - start) // scale, (top + BLOCK - start) // scale
        top_rows, bottom_rows = max(0, _RADIUS - first), max(0, last + _RADIUS - len(plane))
        rows = plane[max(0, first - _RADIUS) : last + _RADIUS]
        beyond = (top_rows, bottom_rows, _RADIUS, _RADIUS)
        yield cv2.copyMakeBorder(rows, *beyond, cv2.BORDER_REPLICATE), BLOCK // scale


def _features(rows: np.ndarray, side: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 18) features and (n,) sharpness of a row of blocks with the window's reach around it."""
    normalised, deviation = _normalise(rows, rows * rows, window)
    count = normalised.shape[1] // side
    sums = _sums(normalised, side, count, np.array(_SHIFTS))
    sharpness = deviation.reshape(side, count, side).mean((0, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return _parameters(sums, side * side), sharpness


def _parameters(sums: np.ndarray, pixels: int) -> np.ndarray:
    """The 18 features of blocks by moment matching (Lasmar, Stitou, Berthoumieu, ICIP 2009).

    Args:
      sums: (n, 5, 5): of each shift the numbers below and above 0, the sums of squares of both, and
        the sum of magnitudes.
      pixels: of a block.
    """
    below, above, squares_below, squares_above, magnitudes = np.moveaxis(sums, 2, 0)
    left, right = np.sqrt(squares_below / below), np.sqrt(squares_above / above)
    ratio = left / right
    generalised = (magnitudes / pixels) ** 2 / ((squares_below + squares_above) / pixels)
    generalised *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = _shape_of(generalised)
    width = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    left, right = left * width, right * width
    mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
    own = np.stack([shape[:, 0], (left[:, 0] + right[:, 0]) / 2], axis=1)
    products = np.stack([shape, mean, left, right], axis=2)[:, 1:]
    return np.concatenate([own, products.reshape(len(own), -1)], axis=1)


def _shape_of(generalised: np.ndarray) -> np.ndarray:
    """The nearest shape on the published grid; NaN stays."""
    ratios = _ratios()
    after = np.searchsorted(ratios, generalised).clip(1, len(ratios) - 1)
    nearer = generalised - ratios[after - 1] <= ratios[after] - generalised
    return np.where(np.isnan(generalised), np.nan, _SHAPES[after - nearer])


@cache
def _ratios() -> np.ndarray:
    return gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


@compiled
def _add_weighted(row, weights, sums):
    """Adds to sums[j] the seven weights[b] * row[j + b], one after the other."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    w4, w5, w6 = weights[4], weights[5], weights[6]
    row1, row2, row3, row4, row5, row6 = row[1:], row[2:], row[3:], row[4:], row[5:], row[6:]
    for j in range(sums.size):
        total = sums[j] + w0 * row[j]
        total += w1 * row1[j]
        total += w2 * row2[j]
        total += w3 * row3[j]
        total += w4 * row4[j]
        total += w5 * row5[j]
        sums[j] = total + w6 * row6[j]


@compiled
def _normalise(rows, squares, window):
    """The picture minus its local mean, divided by the local deviation + 1; and that deviation.

    Sums term by term, as published implementations do: in flat parts the rounding errors of the
    mean decide the signs, and with them the figure.
    """
    height, width = rows.shape[0] - 2 * _RADIUS, rows.shape[1] - 2 * _RADIUS
    normalised, deviations = np.empty((height, width)), np.empty((height, width))
    mean, square = np.empty(width), np.empty(width)
    for i in range(height):
        mean[:] = 0
        square[:] = 0
        for a in range(2 * _RADIUS + 1):
            _add_weighted(rows[i + a], window[a], mean)
            _add_weighted(squares[i + a], window[a], square)
        middle = rows[i + _RADIUS, _RADIUS:]
        for j in range(width):
            deviation = np.sqrt(abs(square[j] - mean[j] * mean[j]))
            deviations[i, j] = deviation
            normalised[i, j] = (middle[j] - mean[j]) / (deviation + 1)
    return normalised, deviations


@compiled
def _sums(normalised, side, count, shifts):
    """See _parameters; the products of a block's pixels and those of the cyclically shifted block.

    Sums by column first: vectorised, and in the same order on every processor.
    """
    sums = np.zeros((count, len(shifts), 5))
    for block in range(count):
        own = np.ascontiguousarray(normalised[:, block * side : (block + 1) * side])
        for s in range(len(shifts)):
            columns = np.zeros((5, side))
            below, above, low, high, magnitude = (
                columns[0], columns[1], columns[2], columns[3], columns[4],
            )  # fmt: skip
            other = np.empty(side)
            for i in range(side):
                line, shifted = own[i], own[(i - shifts[s, 0]) % side]
                if s == 0:
                    other[:] = 1
                else:
                    across = shifts[s, 1] % side
                    other[across:] = shifted[: side - across]
                    other[:across] = shifted[side - across :]
                for j in range(side):
                    product = line[j] * other[j]
                    square = product * product
                    below[j] += product < 0
                    above[j] += product > 0
                    low[j] += square if product < 0 else 0.0
                    high[j] += square if product > 0 else 0.0
                    magnitude[j] += abs(product)
            for k in range(5):
                sums[block, s, k] = columns[k].sum()
    return sums


def load_pristine(path: Path) -> PristineModel:
    """Reads a pristine model, `NAME.npz` with the card `NAME.json` beside it.

    Raises:
      WeightsError: one of them is missing, or the file is not the one that the card is of.
    """
    try:
        card = json.loads(read_regular(path.with_suffix(".json"), _LIMIT))
        content = read_regular(path, _LIMIT)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read the pristine model: {error}") from None
    if hashlib.sha256(content).hexdigest() != card.get("sha256"):
        raise WeightsError(f"{path}: its hash is not the one on its card; the file is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return PristineModel(*(arrays[name] for name in ("mean", "covariance", "window")))
