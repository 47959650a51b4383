"""The chain's own functions in plain loops, one process per core, without Beam.

    python -m benchmarks.loop --input 'photos/*.png' --output DIRECTORY

Prints, as JSON, the seconds of each stage, summed over the processes, and the pixels read. The
processes start together once each has loaded its network.
"""

import argparse
import glob
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from codec.encode import EncodeSettings
from srcnn.engines import cores, create_engine
from srcnn.restoration import restoration_of
from srcnn.tiling import DEFAULT_TILE
from srcnn.weights import load_weights
from storage.store import OutputStore
from transforms.crop import crop_to_luma
from transforms.degrade import degrade_image
from transforms.measure import measure_evaluated, measure_restored
from transforms.read import read_image
from transforms.records import ImageRef
from transforms.restore import merge_luma, restore_luma
from transforms.upscale import upscale_image
from transforms.write import WriteImages

_MEGAPIXELS, _SECONDS = 256.0, 600.0

Stages = dict[str, Callable[[Any], Any]]


def stages_of(
    mode: str, weights_file: Path, engine_name: str, output: str, without: tuple[str, ...] = ()
) -> Stages:
    """The stages by name, each a function of the previous one's result."""
    weights = load_weights(weights_file)
    card = weights.card
    restoration = restoration_of(card)
    engine = create_engine(engine_name, weights, 1)
    store = OutputStore(output, "loop")

    def interpolate(record):
        if mode == "evaluate":
            return degrade_image(record, restoration)
        return upscale_image(record, restoration, _MEGAPIXELS)

    def measure(record):
        if mode == "evaluate":
            return replace(record, figures=measure_evaluated(record, restoration))
        figures = measure_restored(record, restoration, card.degradation, without)
        return replace(record, figures=figures)

    return {
        "read": lambda ref: read_image(ref, _MEGAPIXELS, _SECONDS),
        "interpolate": interpolate,
        "crop": lambda record: crop_to_luma(record, restoration),
        "network": lambda r: restore_luma([r], engine, restoration, DEFAULT_TILE)[0],
        "merge": lambda record: merge_luma(record, restoration),
        "measure": measure,
        "write": WriteImages(store, EncodeSettings(), True).apply,
    }


def _work(paths: list[str], arguments: tuple, start: Any, results: Any) -> None:
    cv2.setNumThreads(1)
    stages = stages_of(*arguments)
    seconds: Counter = Counter()
    pixels = 0
    for number, path in enumerate([paths[0], *paths]):
        element = ImageRef(path, Path(path).name, Path(path).name, 1, 0.0, 0)
        if number == 1:  # the first image was for warming up
            start.wait()
            seconds, pixels = Counter(), 0
        for name, stage in stages.items():
            before = time.perf_counter()
            element = stage(element)
            seconds[name] += time.perf_counter() - before
        pixels += element.width * element.height
    results.put((seconds, pixels))


def main() -> int:
    """Runs the loops."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--mode", default="evaluate", choices=("evaluate", "restore"))
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--processes", type=int, default=cores())
    options = parser.parse_args()
    paths = sorted(glob.glob(options.input))
    number = min(options.processes, len(paths))
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(number), context.Queue()
    arguments = (
        options.mode, options.weights, options.engine, options.output, tuple(options.without),
    )  # fmt: skip
    workers = [
        context.Process(target=_work, args=(paths[first::number], arguments, start, results))
        for first in range(number)
    ]
    for worker in workers:
        worker.start()
    seconds: Counter = Counter()
    pixels = 0
    for _ in workers:
        part, some = results.get()
        seconds += part
        pixels += some
    for worker in workers:
        worker.join()
    print(json.dumps({"seconds": dict(seconds), "pixels": pixels}))
    return max(worker.exitcode for worker in workers)


if __name__ == "__main__":
    sys.exit(main())
