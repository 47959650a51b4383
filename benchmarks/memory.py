"""Peak memory of the job against the number and the size of images.

    python -m benchmarks.memory --images 50 500
    python -m benchmarks.memory --huge 12000x9000

Runs the command on generated photographs and prints the largest sum of the resident memory of its
processes. The images are cut from a photograph that scikit-image ships.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Measured:
    """The cost of a command.

    Attributes:
      code: its exit code.
      peak: the largest sum of the resident memory of its processes, bytes.
      seconds: until it ended.
      core_seconds: of all its processes, in user and system mode.
    """

    code: int
    peak: int
    seconds: float
    core_seconds: float


def measure(command: list[str], interval: float = 0.05) -> Measured:
    """Runs a command and samples its processes.

    Args:
      command: its words.
      interval: seconds between two samples; each takes a little processor time itself.
    """
    started = time.monotonic()
    before = _seconds_of_children()
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, grandchildren = 0, {}
    while process.poll() is None:
        total = 0
        for member in [process, *process.children(recursive=True)]:
            try:
                total += member.memory_info().rss
                if "codec.worker" in member.cmdline():  # no process waits for them
                    grandchildren[member.pid] = sum(member.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(interval)
    seconds = time.monotonic() - started
    core_seconds = _seconds_of_children() - before + sum(grandchildren.values())
    return Measured(process.returncode, peak, seconds, core_seconds)


def _seconds_of_children() -> float:
    """Of the processes that were waited for, and of those that they waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
            measured = measure(
                [
                    sys.executable, "run_pipeline.py", "--input", f"{images}/*.png",
                    "--output", f"{scratch}/out", "--protocol", options.protocol, *options.job,
                ]
            )  # fmt: skip
        worst = max(worst, measured.code)
        print(
            f"{number} x {width} x {height}: "
            f"peak {measured.peak / 1e6:.0f} MB, {measured.seconds:.0f} s, exit {measured.code}",
            flush=True,
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
