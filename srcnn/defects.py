"""Estimates, without a reference, of what is wrong with a picture: noise and blocks."""

from collections.abc import Iterator

import cv2
import numpy as np
import scipy.fft

from srcnn.colour import luma_opencv, peak_of
from srcnn.strips import strips

_SIDE = 8
_INDEX = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))
# Coefficients that tell how much is drawn in a block, and those that tell its noise. Noise is
# independent in both, so choosing blocks by the former does not bias the latter.
_DRAWN = (_INDEX >= 1) & (_INDEX <= 7)
_FINE = _INDEX >= 10
_SMOOTHEST = 0.02
_LEAST = 32


def noise_of(image: np.ndarray) -> float | None:
    """The standard deviation of white noise, as it is in each channel, in 8-bit codes.

    Measured in the high frequencies of the smoothest blocks, after Ponomarenko et al., "An
    automatic approach to lossy compression of AVIRIS images", IGARSS 2007. Texture that covers a
    whole picture counts as noise; JPEG takes noise away, also from this figure.

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
    energies = np.concatenate(list(_energies(plane)), axis=1)
    drawn, fine, is_clipped = energies
    if np.count_nonzero(is_clipped == 0) >= _LEAST:  # clipping takes noise away
        drawn, fine = drawn[is_clipped == 0], fine[is_clipped == 0]
    count = min(len(drawn), max(_LEAST, round(len(drawn) * _SMOOTHEST)))
    smoothest = np.argpartition(drawn, count - 1)[:count]
    return float(np.sqrt(np.median(fine[smoothest]))) * 255 / peak_of(plane)


def _energies(plane: np.ndarray) -> Iterator[np.ndarray]:
    """Of blocks, (3, n): squares of drawn and of fine coefficients, and which are clipped."""
    cosines = scipy.fft.dct(np.eye(_SIDE, dtype=np.float32), axis=0, norm="ortho")
    width = plane.shape[1] // _SIDE * _SIDE
    step = _SIDE * max(1, 65536 // (width * _SIDE))
    for top in range(0, plane.shape[0] // _SIDE * _SIDE, step):
        rows = plane[top : top + step]
        rows = rows[: len(rows) // _SIDE * _SIDE, :width]
        blocks = rows.reshape(-1, _SIDE, width // _SIDE, _SIDE).swapaxes(1, 2)
        blocks = blocks.reshape(-1, _SIDE, _SIDE)
        squares = (cosines @ blocks.astype(np.float32) @ cosines.T) ** 2
        is_clipped = ((blocks == 0) | (blocks == peak_of(plane))).any(axis=(1, 2))
        drawn, fine = squares[:, _DRAWN].sum(axis=1), squares[:, _FINE].mean(axis=1)
        yield np.stack([drawn, fine, is_clipped])


def blockiness_of(image: np.ndarray) -> float | None:
    """How much larger steps of the luma are on a grid of 8 pixels than beside it; 0: no larger.

    The grid is where steps are largest, for a picture may be cut from a JPEG. After Wang, Bovik,
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
