"""Fits the pristine model of NIQE to undistorted photographs (python -m srcnn.training.niqe).

As published, of each image the blocks are taken that are sharper than three quarters of its
sharpest one, in full-range luma. Published are 125 chosen photographs; here the choice is made by
the blocks themselves: in turns those farthest from the mean of all, by the covariance of all, are
left out, a tenth in all, such as print, graphics and what is out of focus. Cameras and websites
sharpen and shrink photographs by various amounts. So each image counts three times: as it is,
sharpened by an unsharp mask (sigma 1) of 0.15, and shrunk to 0.9 and sharpened by 0.25. What is
left out would have varied most, so the covariance is multiplied by 1.3.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from srcnn.colour import quantise_half_up
from srcnn.niqe import FEATURES, PristineModel, blocks_of
from srcnn.resample import shrink_antialiased
from srcnn.training.config import TrainingError
from srcnn.training.data import find_images, read_image

_SHARPNESS = 0.75
_SIGMA = 7 / 6
_TURNS, _KEPT = 10, 0.9  # the share that is kept in all
# By which the choice makes the covariance too small.
_WIDENED = 1.3
# Size and amount of sharpening of an image's versions.
_VERSIONS = ((1, 0), (1, 0.15), (0.9, 0.25))


def gaussian_window() -> np.ndarray:
    """The window of local means, (7, 7): MATLAB's fspecial('gaussian', 7, 7 / 6)."""
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * _SIGMA**2))
    return window / window.sum()


def fit(images: Iterable[np.ndarray]) -> tuple[PristineModel, int]:
    """The pristine model of images, (h, w[, 3]), uint8 or uint16, and of how many blocks it is.

    Raises:
      TrainingError: there are too few blocks for a covariance of full rank.
    """
    window = gaussian_window()
    features = np.concatenate([np.zeros((0, FEATURES)), *(_sharp(i, window) for i in images)])
    for _ in range(_TURNS):
        if len(features) <= 2 * FEATURES:
            raise TrainingError(
                f"{len(features)} blocks of 96 x 96 pixels; needed: more than {2 * FEATURES}"
            )
        centred = features - features.mean(axis=0)
        inverse = np.linalg.pinv(np.cov(features, rowvar=False))
        distances = np.einsum("ij,jk,ik->i", centred, inverse, centred)
        features = features[distances <= np.quantile(distances, _KEPT ** (1 / _TURNS))]
    covariance = _WIDENED * np.cov(features, rowvar=False)
    return PristineModel(features.mean(axis=0), covariance, window), len(features)


def _sharp(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The features of the sharp blocks of an image's versions."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    found = [np.zeros((0, FEATURES))]
    for size, amount in _VERSIONS:
        blocks = blocks_of(_version(gray, size, amount), window)
        sharp = blocks.sharpness > _SHARPNESS * blocks.sharpness.max(initial=0)
        found.append(blocks.features[sharp & np.isfinite(blocks.features).all(axis=1)])
    return np.concatenate(found)


def _version(gray: np.ndarray, size: float, amount: float) -> np.ndarray:
    """A grayscale image, shrunk to that size and sharpened by an unsharp mask."""
    if size != 1:
        height, width = gray.shape
        gray = shrink_antialiased(gray, (round(height * size), round(width * size)))
    plane = gray.astype(np.float32)
    plane += amount * (plane - cv2.GaussianBlur(plane, (0, 0), 1))
    return quantise_half_up(plane, gray.dtype)


def save(path: Path, model: PristineModel, training: dict[str, Any]) -> None:
    """Writes `NAME.npz` and its card `NAME.json`."""
    np.savez(path, mean=model.mean, covariance=model.covariance, window=model.window)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {"name": path.stem, "sha256": digest, "training": training}
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m srcnn.training.niqe",
        description="Fit the pristine model of NIQE to undistorted photographs.",
    )
    parser.add_argument("images", nargs="+", help="files or globs of photographs")
    parser.add_argument("--output", type=Path, default=Path("niqe.npz"), help="NAME.npz")
    parser.add_argument("--data", default="", help="for the card: description of the images")
    parser.add_argument("--terms", default="", help="for the card: the terms of the images")
    options = parser.parse_args(arguments)
    try:
        if options.output.suffix != ".npz":
            raise TrainingError(f"--output: {options.output}: must end in .npz")
        paths = find_images(options.images)
        model, blocks = fit(map(read_image, paths))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    recipe = " ".join(__doc__.split("\n\n", 1)[1].split())
    training = {"recipe": recipe, "data": options.data, "terms": options.terms}
    save(options.output, model, training | {"images": len(paths), "blocks": blocks})
    print(f"{options.output}: fitted to {blocks} blocks of {len(paths)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
