"""Cost of an image against how many there are, and of a megapixel against an image's size.

    python -m benchmarks.scaling --images 200 10000
    python -m benchmarks.scaling --sizes 64 256 1024 3200 10000
    python -m benchmarks.scaling --thumbnails 20000

Runs the job on generated photographs and prints core-seconds of all processes, those of a run over
one tiny image left out, and peak memory. `--thumbnails` compares with a plain loop over the same
functions in one process, restore mode.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.memory import Measured, generate
from benchmarks.speed import ends_well, job
from weights import DIRECTORY

_SIDE = 256
_THUMBNAIL = 64
# The least number of megapixels of a size, so that a run is long enough to be measured.
_MEGAPIXELS = 20


def run(scratch: Path, number: int, side: int, *arguments: str) -> Measured:
    """Runs the job on a number of square images."""
    images = scratch / f"{number}-{side}"
    if not images.exists():
        generate(images, number, side, side)
    return ends_well(job([f"{images}/*.png"], scratch / f"out-{number}-{side}", *arguments))


def main() -> int:
    """Runs the benchmark and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="*", default=[], help="numbers of images")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="sides, pixels")
    parser.add_argument("--thumbnails", type=int, default=0, help="number of them")
    parser.add_argument("job", nargs="*", help="further arguments of the job, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        start = run(scratch, 1, 32, *options.job)
        print(f"start-up: {start.seconds:.1f} s, {start.core_seconds:.1f} core-seconds\n")
        cases = [(number, _SIDE) for number in options.images]
        cases += [(max(1, round(_MEGAPIXELS * 1e6 / side**2)), side) for side in options.sizes]
        if cases:
            print("| images | megapixels each | core-seconds/image | core-seconds/MP | peak, MB |")
            print("| --- | --- | --- | --- | --- |")
        for number, side in cases:
            measured = run(scratch, number, side, *options.job)
            each, size = (measured.core_seconds - start.core_seconds) / number, side**2 / 1e6
            print(
                f"| {number:,} | {size:.4g} | {each:.4f} | {each / size:.2f} "
                f"| {measured.peak / 1e6:.0f} |",
                flush=True,
            )
        if options.thumbnails:
            arguments = ("--mode", "restore", "--model", "srcnn-915")
            measured = run(scratch, options.thumbnails, _THUMBNAIL, *arguments)
            loop = ends_well(
                [
                    sys.executable, "-m", "benchmarks.loop", "--mode", "restore",
                    "--input", f"{scratch}/{options.thumbnails}-{_THUMBNAIL}/*.png",
                    "--weights", str(DIRECTORY / "srcnn-915_x2_bilinear.weights.h5"),
                    "--output", f"{scratch}/loop", "--processes", "1",
                ]
            )  # fmt: skip
            print(
                f"\n{options.thumbnails:,} thumbnails of {_THUMBNAIL} x {_THUMBNAIL}, restored "
                f"with srcnn-915: {measured.core_seconds:.0f} core-seconds, plain loop "
                f"{loop.core_seconds:.0f}: {measured.core_seconds / loop.core_seconds:.2f} times"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
