"""The cost of decoding in a child process, as a share of the whole work on an image.

    python -m benchmarks.isolation

Decodes a photograph of one megapixel, as JPEG and as PNG, in this process and in the child, in
turns; then runs the chain's own functions on it with the fast weights (9-1-5), evaluate mode, the
cheapest way through the job. Prints medians in milliseconds, and the share that the child adds.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2

from benchmarks.loop import stages_of
from benchmarks.memory import generate
from codec.decode import decode_image
from codec.isolated import decode_isolated
from transforms.records import ImageRef
from weights import DIRECTORY

_LIMITS = (256.0, 600.0)  # megapixels, seconds


def seconds_of(function: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    weights = DIRECTORY / "srcnn-915_x2_bilinear.weights.h5"
    cv2.setNumThreads(1)
    print("| | decoded in process, ms | in the child, ms | whole image, ms | overhead |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory) / "in", 1, 1250, 800)
        (png,) = (Path(directory) / "in").iterdir()
        jpeg = png.with_suffix(".jpg")
        cv2.imwrite(str(jpeg), cv2.imread(str(png)))
        stages = stages_of("evaluate", weights, "auto", f"{directory}/out")
        for path in (jpeg, png):
            ref = ImageRef(str(path), path.name, path.name, 0, 0.0, 0)
            content = path.read_bytes()

            def chain(ref: ImageRef = ref) -> None:
                element = ref
                for stage in stages.values():
                    element = stage(element)

            ways = (
                lambda content=content: decode_image(content, _LIMITS[0]),
                lambda content=content: decode_isolated(content, *_LIMITS),
                chain,
            )
            times = [[seconds_of(way) for way in ways] for _ in range(rounds)]
            here, isolated, whole = (1e3 * median(column) for column in zip(*times, strict=True))
            share = (isolated - here) / whole
            print(f"| {path.suffix} | {here:.1f} | {isolated:.1f} | {whole:.0f} | {share:.1%} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
