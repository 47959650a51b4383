"""Nights of a dataset: the cost of a second run, and the output of runs that were killed.

    python -m benchmarks.soak nightly [--images 2000]
    python -m benchmarks.soak kills [--images 200] [--kills 20] [--seed 0]

`nightly` restores a dataset of 320 x 240 pixels, adds 20 images, changes 5, removes 3 and runs
again, twice; of smaller pictures the second night is all start-up. `kills`, with 160 x 120 pixels,
ends runs with SIGKILL at random moments, each followed by the next, until one completes, and
compares the output with an undisturbed run's. Both exit with 1 if there is a problem.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Runs a soak test; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("test", choices=("nightly", "kills"))
    parser.add_argument("--images", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of images and moments")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="srcnn-soak-") as directory:
        if options.test == "nightly":
            problems = nightly(Path(directory), options.images or 2000, options.seed)
        else:
            number = options.images or 200
            problems = kills(Path(directory), number, options.kills, options.seed)
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


def nightly(directory: Path, number: int, seed: int) -> list[str]:
    """Three nights; returns the problems."""
    generator = np.random.default_rng(seed)
    source, output = directory / "in", directory / "out"
    write_photos(source, range(number), generator, 2)
    times, cores, problems = [], [], []
    for night in range(3):
        if night == 1:
            write_photos(source, range(number, number + 20), generator, 2)
            write_photos(source, range(0, 50, 10), generator, 2)
            for index in (1, 2, 3):
                (source / f"{index:05}.png").unlink()
        started, used = time.monotonic(), core_seconds()
        command = job_command(source, output, "--run_id", f"night-{night}")
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        times.append(time.monotonic() - started)
        cores.append(core_seconds() - used)
        rows = pd.read_parquet(output / "metrics" / f"run_id=night-{night}")
        counts = rows.status.value_counts().to_dict()
        print(
            f"night {night}: {times[-1]:7.1f} s, {cores[-1]:7.1f} core seconds, "
            f"exit {run.returncode}  {counts}",
            flush=True,
        )
        expected = (
            {"written": number},
            {"written": 25, "skipped": number - 8, "vanished": 3},
            {"skipped": number + 17, "vanished": 3},
        )[night]
        if run.returncode or counts != expected:
            problems.append(f"night {night}: {run.returncode}, {counts}; {run.stderr[-500:]}")
    print(
        f"second night / first night: {times[1] / times[0]:.3f} of the time, "
        f"{cores[1] / cores[0]:.3f} of the core seconds"
    )
    if times[1] > times[0] / 10:
        problems.append("the second night took more than a tenth of the first")
    return problems


def kills(directory: Path, number: int, wanted: int, seed: int) -> list[str]:
    """Kills runs at random moments; returns the problems."""
    moments = random.Random(seed)
    source = directory / "in"
    write_photos(source, range(number), np.random.default_rng(seed))
    started = time.monotonic()
    subprocess.run(
        job_command(source, directory / "undisturbed"), cwd=ROOT, check=True, capture_output=True
    )
    length = time.monotonic() - started
    undisturbed = contents(directory / "undisturbed/images")
    problems, killed = [], 0
    while killed < wanted:
        output = directory / f"out-{killed}"
        deaths = 0
        # Each output sees one to four deaths before a run is left alone.
        for _ in range(min(moments.randint(1, 4), wanted - killed)):
            process = subprocess.Popen(
                job_command(source, output), cwd=ROOT, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(moments.uniform(0.0, 1.1 * length))
            ended = process.poll() is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            deaths += 1
        killed += deaths
        run = subprocess.run(job_command(source, output), cwd=ROOT, capture_output=True, text=True)
        rows = pd.read_parquet(output / "metrics")
        written = rows[rows.status == "written"].relative_path.value_counts()
        left = [str(p) for p in output.rglob("*") if ".scratch" in p.parts or "rows" in p.parts]
        whole = contents(output / "images") == undisturbed
        once = len(written) == number and (written == 1).all()
        print(
            f"{killed:3} killed: exit {run.returncode}, images "
            f"{'identical' if whole else 'DIFFER'}, {len(written)} written rows"
            f"{'' if once else ', NOT ONE EACH'}, by {rows.run_id.nunique()} runs",
            flush=True,
        )
        if run.returncode or not whole or not once or left:
            problems.append(f"{output.name}: {run.returncode} {left[:3]} {run.stderr[-500:]}")
    return problems


def job_command(source: Path, output: Path, *more: str) -> list[str]:
    """The job's command line, 9-1-5 in restore mode without pictures beside."""
    return [
        sys.executable, "run_pipeline.py", "--input", f"{source}/*.png", "--output", str(output),
        "--mode", "restore", "--model", "srcnn-915", "--comparisons", "none", *more,
    ]  # fmt: skip


def write_photos(
    directory: Path, numbers: range, generator: np.random.Generator, factor: int = 1
) -> None:
    """Writes smooth random pictures of 160 x 120, or a multiple of it."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        coarse = generator.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(
            str(directory / f"{number:05}.png"), cv2.resize(coarse, (160 * factor, 120 * factor))
        )


def core_seconds() -> float:
    """Processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contents(directory: Path) -> dict[str, bytes]:
    """The files below a directory, by relative path."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*.png")}


if __name__ == "__main__":
    sys.exit(main())
