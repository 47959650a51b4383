"""Mean figures of a network on a set of images: `python -m srcnn.training.evaluate WEIGHTS GLOB`.

PSNR is measured on rounded images without their border: 6 pixels (opencv) or `scale` (matlab).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from srcnn.engines import create_engine
from srcnn.engines.base import Engine
from srcnn.errors import WeightsError
from srcnn.metrics import mse, psnr_of_mse
from srcnn.restoration import Restoration, restoration_of
from srcnn.training.config import TrainingError
from srcnn.training.data import find_images, read_image
from srcnn.training.pairs import Pair
from srcnn.weights import load_weights


def luma_figures(engine: Engine, pair: Pair, restoration: Restoration) -> dict[str, float]:
    """PSNR of the degraded and the restored luma in dB.

    Args:
      engine: the network.
      pair: as make_pair gives it.
      restoration: of the pair.

    Returns:
      `psnr_y_degraded` and `psnr_y_enhanced`.
    """
    original, degraded = restoration.shaved(pair.original), restoration.shaved(pair.interpolated)
    if degraded.dtype != original.dtype:
        degraded = restoration.round_luma(degraded, original.dtype)
    restored = restoration.restore_luma(engine, pair.seen, original.dtype)
    restored = restoration.plain_luma(restored, original.dtype)
    return {
        "psnr_y_degraded": psnr_of_mse(mse(original, degraded)),
        "psnr_y_enhanced": psnr_of_mse(mse(original, restored)),
    }


def image_figures(
    engine: Engine, image: np.ndarray, restoration: Restoration, path: str = ""
) -> dict[str, float]:
    """PSNR of an image in dB, degraded and restored, as the job measures it.

    Args:
      engine: the network.
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.
      restoration: of the image.
      path: decides the values that the image draws.

    Returns:
      `psnr_y_degraded` and `psnr_y_enhanced`, of luma; where the protocol measures all channels
      also `psnr_degraded` and `psnr_enhanced`, over B, G and R.
    """
    truth = restoration.ground_truth(image)
    small = restoration.degrade(truth, path)
    interpolated = restoration.interpolate(small, truth.shape[:2], truth.dtype)
    truth, interpolated = restoration.crop(truth), restoration.crop(interpolated)
    plane = restoration.network_input(small, interpolated, truth.dtype)
    luma = restoration.restore_luma(engine, plane, truth.dtype)
    measured = restoration.measured(
        restoration.shaved(truth),
        restoration.shaved_interpolated(interpolated),
        restoration.compose(interpolated, luma, truth.dtype),
        luma,
    )
    pictures = {"psnr_y": measured.lumas}
    if not restoration.protocol.measures_luma_only:
        pictures["psnr"] = measured.images
    return {
        f"{name}_{which}": psnr_of_mse(mse(original, other))
        for name, (original, *others) in pictures.items()
        for which, other in zip(("degraded", "enhanced"), others, strict=True)
    }


def evaluate(engine: Engine, paths: Sequence[Path], restoration: Restoration) -> dict[str, float]:
    """Mean figures over a set of images.

    Args:
      engine: the network.
      paths: undegraded images.
      restoration: of the images.

    Returns:
      `images` (their number), `border` (pixels left out on each side) and, in dB, `psnr_y_*`,
      for protocol `opencv` also `psnr_*` over B, G, R; `*` is degraded, enhanced and gain.
    """
    rows = [image_figures(engine, read_image(path), restoration, path.name) for path in paths]
    return {"images": len(rows), "border": restoration.measure_shave} | mean_figures(rows)


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
        restoration = restoration_of(weights.card, "shave")
        figures = evaluate(create_engine("auto", weights), paths, restoration)
    except (WeightsError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
