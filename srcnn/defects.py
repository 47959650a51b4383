"""Estimates, without a reference, of the noise and the JPEG blocks in a picture."""

import cv2
import numpy as np
import scipy.fft
from scipy.special import gammaincinv

from srcnn.colour import luma_opencv, peak_of
from srcnn.compiled import compiled
from srcnn.strips import strips

_SIDE = 8
_COSINES = scipy.fft.dct(np.eye(_SIDE, dtype=np.float32), axis=0, norm="ortho")
# The sum of a coefficient's indices. Low ones measure the drawing in a block, high ones its noise.
# Noise is independent in both, so choosing blocks by the former does not bias the latter.
_LARGEST_DRAWN, _LEAST_FINE = 7, 10
_FINE_NUMBER = np.count_nonzero(np.add.outer(range(_SIDE), range(_SIDE)) >= _LEAST_FINE)
# Blocks overlap in pictures that have fewer of them side by side.
_MANY_BLOCKS = 8192
# Clipping takes noise away: blocks with more pixels at black or white do not count.
_CLIPPED = 3
# Blocks that noise is measured in: a share of the smoothest, and the quantile of these.
_SMOOTHEST, _LEAST = 0.01, 32
_QUANTILE = 0.4
# That quantile of the chi-squared distribution; importing scipy.stats takes 45 MB.
_EXPECTED = 2 * gammaincinv(_FINE_NUMBER / 2, _QUANTILE) / _FINE_NUMBER


def noise_of(image: np.ndarray) -> float | None:
    """The standard deviation of white noise in each channel, in 8-bit codes.

    Measured in the high frequencies of the smoothest blocks, after Ponomarenko et al., "An
    automatic approach to lossy compression of AVIRIS images", IGARSS 2007. A photograph's own grain
    counts as noise, and so does texture that covers a whole picture; JPEG removes noise, from this
    figure too.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      The mean over channels; None where there is no whole block.
    """
    if min(image.shape[:2]) < _SIDE:
        return None
    channels = [image] if image.ndim == 2 else cv2.split(image)
    return float(np.mean([_noise_of_plane(plane) for plane in channels]))


def _noise_of_plane(plane: np.ndarray) -> float:
    blocks = (plane.shape[0] // _SIDE) * (plane.shape[1] // _SIDE)
    step = _SIDE if blocks >= _MANY_BLOCKS else _SIDE // 2
    drawn, fine, clipped = _energies(plane, step, peak_of(plane), _COSINES)
    if np.count_nonzero(clipped <= _CLIPPED) >= _LEAST:
        drawn, fine = drawn[clipped <= _CLIPPED], fine[clipped <= _CLIPPED]
    count = min(len(drawn), max(_LEAST, round(len(drawn) * _SMOOTHEST)))
    smoothest = np.argpartition(drawn, count - 1)[:count]
    variance = np.quantile(fine[smoothest], _QUANTILE) / _EXPECTED
    return float(np.sqrt(variance)) * 255 / peak_of(plane)


@compiled
def _energies(plane, step, peak, cosines):
    """Measures blocks, a row of them at a time.

    Returns:
      (3, n): the sum of squares of drawn coefficients, the mean of squares of fine ones, and the
      number of clipped pixels.
    """
    rows = (plane.shape[0] - _SIDE) // step + 1
    columns = (plane.shape[1] - _SIDE) // step + 1
    energies = np.zeros((3, rows, columns), np.float32)
    at_ends = np.empty(plane.shape[1], np.float32)
    pixels = np.empty((_SIDE, columns), np.float32)
    for row in range(rows):
        part = plane[row * step : row * step + _SIDE]
        drawn, fine, clipped = energies[0, row], energies[1, row], energies[2, row]
        at_ends[:] = 0
        for line in part:
            for x in range(line.size):
                at_ends[x] += (line[x] == 0) | (line[x] == peak)
        for block in range(columns):
            clipped[block] = at_ends[block * step : block * step + _SIDE].sum()
        upright = _upright(part, cosines)
        for i in range(_SIDE):
            for k in range(_SIDE):  # blocks side by side, so that loops go over them
                for block in range(columns):
                    pixels[k, block] = upright[i, block * step + k]
            for j in range(_SIDE):
                if i + j >= _LEAST_FINE:
                    _add_squares(fine, pixels, cosines[j])
                elif 1 <= i + j <= _LARGEST_DRAWN:
                    _add_squares(drawn, pixels, cosines[j])
        fine /= _FINE_NUMBER
    return energies.reshape(3, -1)


@compiled
def _upright(part, cosines):
    """The cosine transform of each column of 8 pixels."""
    coefficients = np.zeros(part.shape, np.float32)
    for i in range(_SIDE):
        for k in range(_SIDE):
            for x in range(part.shape[1]):
                coefficients[i, x] += cosines[i, k] * part[k, x]
    return coefficients


@compiled
def _add_squares(sums, pixels, cosine):
    """Adds the square of a coefficient of each block, given the blocks' pixels (8, blocks)."""
    p0, p1, p2, p3 = pixels[0], pixels[1], pixels[2], pixels[3]
    p4, p5, p6, p7 = pixels[4], pixels[5], pixels[6], pixels[7]
    c0, c1, c2, c3 = cosine[0], cosine[1], cosine[2], cosine[3]
    c4, c5, c6, c7 = cosine[4], cosine[5], cosine[6], cosine[7]
    for block in range(sums.size):
        value = p0[block] * c0 + p1[block] * c1
        value += p2[block] * c2
        value += p3[block] * c3
        value += p4[block] * c4
        value += p5[block] * c5
        value += p6[block] * c6
        value += p7[block] * c7
        sums[block] += value * value


def blockiness_of(image: np.ndarray) -> float | None:
    """How much larger steps of the luma are on a grid of 8 pixels than beside it; 0: no larger.

    The grid is where steps are largest: a picture may be cropped from a JPEG. After Wang, Bovik,
    Evans, "Blind measurement of blocking artifacts in images", ICIP 2000, in the spatial domain.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.

    Returns:
      The mean of both directions of the steps' ratio less 1; None below two blocks a side.
    """
    if min(image.shape[:2]) < 2 * _SIDE:
        return None
    across = np.zeros(image.shape[1] - 1)
    down = np.zeros(image.shape[0] - 1)
    luma = luma_opencv(image)
    for rows in strips(luma):
        part = luma[rows.start : rows.stop + 1].astype(np.float32)
        across += np.abs(np.diff(part[: rows.stop - rows.start], axis=1)).sum(axis=0)
        down[rows.start : rows.start + len(part) - 1] = np.abs(np.diff(part, axis=0)).sum(axis=1)
    return float(np.mean([_ratio(across), _ratio(down)])) - 1


def _ratio(steps: np.ndarray) -> float:
    """The mean step on the grid of the largest steps, by the mean of all others."""
    phases = np.arange(len(steps)) % _SIDE
    means = np.bincount(phases, steps) / np.bincount(phases)
    largest = means.argmax()
    others = np.delete(means, largest).mean()
    return means[largest] / others if others else 1.0
