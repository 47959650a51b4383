"""Mean figures of a network on a set of images: `python -m srcnn.training.evaluate WEIGHTS GLOB`.

PSNR is taken from rounded images without their border: 6 pixels (opencv) or `scale` (matlab).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from srcnn.colour import replace_luma_opencv
from srcnn.engines import create_engine
from srcnn.engines.base import Engine
from srcnn.errors import WeightsError
from srcnn.metrics import mse, psnr_of_mse
from srcnn.resample import degrade_opencv, modcrop
from srcnn.tiling import restore_plane
from srcnn.training.config import TrainingError
from srcnn.training.data import find_images, read_image
from srcnn.training.degradation import Degradation, Pair, make_pair
from srcnn.weights import load_weights


def luma_figures(engine: Engine, pair: Pair, degradation: Degradation) -> dict[str, float]:
    """PSNR of the luma in dB, before and after.

    Args:
      engine: the network.
      pair: luma, degraded and original, as make_pair gives it.
      degradation: how the pair was made.

    Returns:
      `psnr_y_degraded` and `psnr_y_enhanced`.
    """
    original = _inner(pair.original, degradation)
    degraded = _inner(pair.interpolated, degradation)
    if degraded.dtype != original.dtype:
        degraded = degradation.quantise(degraded, original.dtype)
    return {
        "psnr_y_degraded": psnr_of_mse(mse(original, degraded)),
        "psnr_y_enhanced": psnr_of_mse(mse(original, _restored(engine, pair, degradation))),
    }


def colour_figures(
    engine: Engine,
    image: np.ndarray,
    pair: Pair,
    degradation: Degradation,
    chroma_taps: Sequence[float] = (),
) -> dict[str, float]:
    """PSNR over B, G and R in dB, before and after, in OpenCV's convention.

    Args:
      engine: the network.
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.
      pair: its luma, as make_pair gives it.
      degradation: how, protocol `opencv`.
      chroma_taps: see ModelCard.

    Returns:
      `psnr_degraded` and `psnr_enhanced`.
    """
    image = image[tuple(map(slice, pair.original.shape))]  # cut, if the network sees the small one
    original = _inner(image, degradation)
    degraded = degrade_opencv(image, degradation.scale, degradation.kernel)
    degraded = _cut(degraded, degradation)
    enhanced = replace_luma_opencv(degraded, _restored(engine, pair, degradation), chroma_taps)
    return {
        "psnr_degraded": psnr_of_mse(mse(original, _inner(degraded, degradation))),
        "psnr_enhanced": psnr_of_mse(mse(original, enhanced)),
    }


def evaluate(
    engine: Engine,
    paths: Sequence[Path],
    degradation: Degradation,
    chroma_taps: Sequence[float] = (),
) -> dict[str, float]:
    """Mean figures over a set of images.

    Args:
      engine: the network.
      paths: undegraded images.
      degradation: what is done to them.
      chroma_taps: see ModelCard.

    Returns:
      `images` (their number), `border` (pixels left out on each side) and, in dB, `psnr_y_*`,
      for protocol `opencv` also `psnr_*` over B, G, R; `*` is degraded, enhanced and gain.
    """
    rows = []
    for path in paths:
        image = read_image(path)
        pair = make_pair(image, degradation, engine.architecture.sees_small)
        row = luma_figures(engine, pair, degradation)
        if degradation.protocol == "opencv":
            row |= colour_figures(engine, image, pair, degradation, chroma_taps)
        rows.append(row)
    return {"images": len(rows), "border": degradation.border} | mean_figures(rows)


def mean_figures(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the images, in dB to four places, with the gains."""
    rows = list(rows)
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    for name in [key.removesuffix("_enhanced") for key in means if key.endswith("_enhanced")]:
        means[f"{name}_gain"] = means[f"{name}_enhanced"] - means[f"{name}_degraded"]
    return {key: round(value, 4) for key, value in means.items()}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m srcnn.training.evaluate",
        description="Print the mean PSNR of a model on a set of images, as JSON. Degradation and "
        "protocol are those of the model card.",
    )
    parser.add_argument("weights", type=Path, help="weights file with its model card beside it")
    parser.add_argument("images", nargs="+", help="files or globs of undegraded images")
    options = parser.parse_args(arguments)
    try:
        weights = load_weights(options.weights)
        paths = find_images(options.images)
        card = weights.card
        degradation = Degradation(card.protocol, card.scale, card.kernel)
        engine = create_engine("auto", weights)
        figures = evaluate(engine, paths, degradation, card.chroma_taps)
    except (WeightsError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


def _cut(plane: np.ndarray, degradation: Degradation) -> np.ndarray:
    """To multiples of the scale where the protocol cuts after degrading, as the job measures."""
    cuts = degradation.convention.crops_after_degrading
    return modcrop(plane, degradation.scale) if cuts else plane


def _inner(image: np.ndarray, degradation: Degradation) -> np.ndarray:
    image, border = _cut(image, degradation), degradation.border
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _restored(engine: Engine, pair: Pair, degradation: Degradation) -> np.ndarray:
    plane = pair.seen if engine.architecture.sees_small else _cut(pair.seen, degradation)
    values = restore_plane(engine, plane, shave=degradation.border)
    return degradation.quantise(values, pair.original.dtype)


if __name__ == "__main__":
    sys.exit(main())
