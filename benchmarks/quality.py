"""Quality of the shipped weights against interpolation and against other weights.

    python -m benchmarks.quality --images 'Set5=Set5/*.png' 'Set14=Set14/*.png'
    python -m benchmarks.quality --images 'photos/*.jpg' --weights imported/*.weights.h5

Runs the stages' own functions on every image, without Beam, and prints Markdown tables: for each
degradation the interpolation, the weights given, and the shipped ones. Figures are means over the
images with the border shaved as published: PSNR in dB (`opencv`: B, G and R together; `matlab`:
luma) and SSIM.
"""

import argparse
import glob
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from codec.decode import decode_image
from srcnn.engines import create_engine
from srcnn.engines.base import Engine
from srcnn.errors import WeightsError
from srcnn.restoration import restoration_of
from srcnn.tiling import DEFAULT_TILE
from srcnn.weights import ModelCard, Weights, list_weights, load_weights
from transforms.crop import crop_to_luma
from transforms.degrade import degrade_image
from transforms.measure import measure_evaluated
from transforms.records import ImageRecord, ImageRef
from transforms.restore import merge_luma, restore_luma
from weights import DIRECTORY

_LARGEST_MEGAPIXELS = 256

Degradation = tuple[str, str, int]


def measure(engine: Engine, card: ModelCard, path: Path) -> dict[str, float | None]:
    """The report's figures of one image, degraded as on the weights' card.

    Args:
      engine: the network.
      card: of its weights.
      path: an undegraded image.
    """
    picture = decode_image(path.read_bytes(), _LARGEST_MEGAPIXELS)
    reference = ImageRef(str(path), path.name, path.name, 0, 0.0, 0)
    record = ImageRecord(reference, picture.pixels, picture.pixels.shape[:2], picture.alpha)
    restoration = restoration_of(card, "shave")
    record = crop_to_luma(degrade_image(record, restoration), restoration)
    (record,) = restore_luma([record], engine, restoration, DEFAULT_TILE)
    return measure_evaluated(merge_luma(record, restoration), restoration)


def compare(models: list[Weights], sets: dict[str, list[Path]]) -> list[str]:
    """The lines of a table for models of one degradation.

    Args:
      models: weights, in the order of the rows.
      sets: image files by name, a column each.
    """
    card = models[0].card
    heads = [f"{name} ({len(paths)})" for name, paths in sets.items()]
    lines = [
        f"### {card.degradation}",
        "",
        " | ".join(["| weights", "multiply-adds/px", *heads, "smallest gain, dB |"]),
        "| --- " * (len(sets) + 3) + "|",
    ]
    for index, weights in enumerate(models):
        engine = create_engine("tensorflow", weights)
        figures = {
            name: [
                measure(engine, weights.card, path)
                for path in tqdm(paths, desc=f"{weights.card.name} {name}", leave=False)
            ]
            for name, paths in sets.items()
        }
        if index == 0:
            means = [_means(rows, "degraded") for rows in figures.values()]
            lines.append(" | ".join([f"| {card.kernel} interpolation", "", *means, " |"]))
        means = [_means(rows, "enhanced") for rows in figures.values()]
        smallest = min(row["psnr_gain"] for rows in figures.values() for row in rows)
        cost = f"{weights.card.architecture.multiply_adds:,}"
        lines.append(" | ".join([f"| {weights.card.name}", cost, *means, f"{smallest:+.2f} |"]))
    return [*lines, ""]


def _means(rows: list[dict], which: str) -> str:
    psnr, ssim = (
        np.mean([row[f"{name}_{which}"] for row in rows], dtype=float) for name in ("psnr", "ssim")
    )
    return f"{psnr:.2f} / {ssim:.4f}"


def named_set(text: str) -> tuple[str, list[Path]]:
    """Name and image files of `[NAME=]GLOB`."""
    name, separator, pattern = text.partition("=")
    name, pattern = (name, pattern) if separator else ("images", text)
    paths = [Path(p) for p in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(p)]
    if not paths:
        raise argparse.ArgumentTypeError(f"no image matches {pattern!r}")
    return name, paths


def parser_of(description: str) -> argparse.ArgumentParser:
    """A command line with --images, sets of them by name."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument(
        "--images", nargs="+", type=named_set, required=True, metavar="[NAME=]GLOB",
        help="undegraded images, a column for each name",
    )  # fmt: skip
    return parser


def main() -> int:
    """Runs the benchmark; returns its exit code."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--weights", nargs="*", type=Path, default=[], metavar="FILE",
        help="further weights files with their model cards, such as imported ones",
    )  # fmt: skip
    options = parser.parse_args()
    by_degradation: dict[Degradation, list[Weights]] = {}
    try:
        for path in [*options.weights, *list_weights(DIRECTORY)]:
            weights = load_weights(path)
            card = weights.card
            if not card.degrade:  # others are made for more than shrinking
                key = (card.protocol, card.kernel, card.scale)
                by_degradation.setdefault(key, []).append(weights)
    except WeightsError as error:
        parser.error(str(error))
    for key in sorted(by_degradation):
        print("\n".join(compare(by_degradation[key], dict(options.images))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
