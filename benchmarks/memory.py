"""Peak memory of the job against the number and the size of images.

    python -m benchmarks.memory --images 50 500
    python -m benchmarks.memory --huge 12000x9000

Runs the command on generated photographs and prints the largest sum of the resident memory of its
processes. The images are cut from a photograph that scikit-image ships.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import skimage

ROOT = Path(__file__).resolve().parents[1]


def generate(directory: Path, number: int, width: int, height: int) -> None:
    """Writes images of a photograph, enlarged and shifted, each another."""
    directory.mkdir(parents=True)
    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / "coffee.png"))
    tiled = np.tile(photo, (2, 2, 1))
    rng = np.random.default_rng(0)
    for index in range(number):
        top, left = rng.integers(0, photo.shape[0]), rng.integers(0, photo.shape[1])
        part = tiled[top : top + photo.shape[0], left : left + photo.shape[1]]
        image = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(directory / f"{index:05}.png"), image)


def measure(command: list[str]) -> tuple[int, float, float]:
    """Runs a command; returns its exit code, peak resident bytes of its processes, and seconds."""
    started = time.monotonic()
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        total = 0
        for member in [process, *process.children(recursive=True)]:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.05)
    return process.returncode, peak, time.monotonic() - started


def main() -> int:
    """Runs the benchmark; returns the worst exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="*", default=[], help="numbers of images")
    parser.add_argument("--huge", nargs="*", default=[], help="sizes of a single image, WxH")
    parser.add_argument("--protocol", default="opencv")
    parser.add_argument("job", nargs="*", help="further arguments of the job, after --")
    options = parser.parse_args()
    cases = [(number, 1000, 1000) for number in options.images]
    cases += [(1, *map(int, size.split("x"))) for size in options.huge]
    worst = 0
    for number, width, height in cases:
        with tempfile.TemporaryDirectory() as scratch:
            images = Path(scratch) / "images"
            generate(images, number, width, height)
            code, peak, seconds = measure(
                [
                    sys.executable, "run_pipeline.py", "--input", f"{images}/*.png",
                    "--output", f"{scratch}/out", "--protocol", options.protocol, *options.job,
                ]
            )  # fmt: skip
        worst = max(worst, code)
        print(
            f"{number} x {width} x {height}: "
            f"peak {peak / 1e6:.0f} MB, {seconds:.0f} s, exit {code}",
            flush=True,
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
