"""Speed of the job and of its alternatives, on the same files, in one run.

    python -m benchmarks.speed --images 'photos/*.png'

For each network (--weights; 9-5-5 and 9-1-5 for x2 bilinear unless others are named) in evaluate
mode, images, figures and report written: the tutorial's procedure, a hand-written process pool with
ONNX Runtime or OpenCV's dnn module, and the job with each engine. Start-up is included. Then the
seconds of each stage in plain loops over the same functions, in one process or one per core,
whichever is quicker; their sum over the cores is the ideal, and the job's share of it leaves out
start-up. Loops and job start alike: a loop does not count its first image, and of the job's time
that of a run over as many images as there are cores is taken off. Last, the engines alone beside
the machine's rate of float32 matrix products, and the figures beside scikit-image's. With
--tutorial FILE, the tutorial's own weights as srcnn.convert imports them, also the job with them
and with the two shipped networks beside the tutorial's procedure with its own.
Without --images, photographs are made from one that scikit-image ships. --only_ideal leaves out
all but the stages and the share of the ideal, which `--mode restore` measures in that mode, with
`--without niqe` less that figure; its megapixels are those of the inputs.
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import mean_squared_error, structural_similarity
from tqdm import tqdm

from benchmarks.memory import ROOT, Measured, generate, measure
from srcnn import metrics
from srcnn.engines import cores, create_engine
from srcnn.tiling import DEFAULT_TILE
from srcnn.weights import load_weights
from weights import DIRECTORY

NETWORKS = [
    DIRECTORY / f"{architecture}_x2_bilinear.weights.h5"
    for architecture in ("srcnn-955", "srcnn-915")
]
PEERS = {
    "tutorial": "the tutorial's procedure (TensorFlow)",
    "onnxruntime": "process pool, ONNX Runtime",
    "opencv": "process pool, OpenCV dnn",
}
# A process runs Keras on one backend only.
_ENGINES = ("openvino", os.environ.get("KERAS_BACKEND", "tensorflow"))
_MATRIX = 2048


def repeated(paths: list[str], megapixels: float, directory: Path) -> float:
    """Copies images repeatedly up to a number of megapixels; returns the number of copies."""
    directory.mkdir()
    sizes = [cv2.imread(path).shape for path in paths]
    total, number = 0.0, 0
    while total < megapixels:
        for path, (height, width, _) in zip(paths, sizes, strict=True):
            shutil.copy(path, directory / f"{number:03}_{Path(path).name}")
            total += height * width / 1e6
        number += 1
    return total


def job(images: list[str], output: Path, *arguments: str) -> list[str]:
    """The command of a run without comparison pictures."""
    inputs = [part for pattern in images for part in ("--input", pattern)]
    return [
        sys.executable, "run_pipeline.py", *inputs, "--output", str(output),
        "--comparisons", "none", "--force", *arguments,
    ]  # fmt: skip


def ends_well(command: list[str]) -> Measured:
    """Measures a command that has to succeed."""
    measured = measure(command, interval=0.25)
    if measured.code:
        raise SystemExit(f"error: exit code {measured.code}: {' '.join(command)}")
    return measured


def compare(weights: Path, images: str, megapixels: float, scratch: Path) -> list[str]:
    """The table of one network: peers and engines."""
    commands = {
        title: [sys.executable, "-m", "benchmarks.peers", peer, "--input", images, "--weights",
                str(weights), "--output", str(scratch / peer)]
        for peer, title in PEERS.items()
    }  # fmt: skip
    for engine in _ENGINES:
        arguments = ("--weights", str(weights), "--engine", engine)
        commands[f"the job, {engine}"] = job([images], scratch / f"job-{engine}", *arguments)
    measured = {}
    for title, command in tqdm(commands.items(), desc=weights.name):
        measured[title] = ends_well(command)
    slowest = measured[PEERS["tutorial"]].seconds
    return [
        "| | wall, s | MP/s | times the tutorial | core-seconds/MP | peak, MB |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {title} | {m.seconds:.1f} | {megapixels / m.seconds:.2f} "
            f"| {slowest / m.seconds:.2f} | {m.core_seconds / megapixels:.2f} "
            f"| {m.peak / 1e6:.0f} |"
            for title, m in measured.items()
        ),
    ]


def beside_tutorial(weights: Path, images: str, megapixels: float, scratch: Path) -> list[str]:
    """The table of the job beside the tutorial's procedure with the tutorial's own network."""
    procedure = [
        sys.executable, "-m", "benchmarks.peers", "tutorial", "--input", images,
        "--weights", str(weights), "--output", str(scratch / "tutorial"),
    ]  # fmt: skip
    measured = {f"{PEERS['tutorial']}, {load_weights(weights).card.name}": ends_well(procedure)}
    for file in (weights, *NETWORKS):
        name = load_weights(file).card.name
        command = job([images], scratch / file.name, "--weights", str(file))
        measured[f"the job, {name}"] = ends_well(command)
    slowest = next(iter(measured.values())).seconds
    return [
        "| | wall, s | MP/s | times the tutorial |",
        "| --- | --- | --- | --- |",
        *(
            f"| {title} | {m.seconds:.1f} | {megapixels / m.seconds:.2f} "
            f"| {slowest / m.seconds:.2f} |"
            for title, m in measured.items()
        ),
    ]


@dataclass
class Taken:
    """Seconds that a network took in all rounds together.

    Attributes:
      start: of jobs over as many images as there are cores.
      wall: of jobs over these and all others.
      loops: of each stage in the loops, by their number of processes.
    """

    start: float = 0.0
    wall: float = 0.0
    loops: dict[int, Counter] = field(
        default_factory=lambda: {processes: Counter() for processes in (1, cores())}
    )

    def add_jobs(self, weights: Path, images: str, mode: list[str], scratch: Path) -> None:
        """Runs the job over the first images, and over all."""
        options = ("--weights", str(weights), *mode)
        with tempfile.TemporaryDirectory(dir=scratch) as output:
            start = job([f"{scratch}/first/*"], Path(output, "start"), *options)
            self.start += ends_well(start).seconds
            whole = job([f"{scratch}/first/*", images], Path(output, "whole"), *options)
            self.wall += ends_well(whole).seconds

    def add_loops(self, weights: Path, images: str, mode: list[str], scratch: Path) -> None:
        """Runs the stages without Beam."""
        for processes, stages in self.loops.items():
            loop = [
                sys.executable, "-m", "benchmarks.loop", "--input", images, *mode,
                "--weights", str(weights), "--output", str(scratch / "loop"),
                "--processes", str(processes),
            ]  # fmt: skip
            done = subprocess.run(
                loop, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
            )
            stages.update(json.loads(done.stdout)["seconds"])

    def table(self, megapixels: float, rounds: int) -> list[str]:
        """Markdown: where the seconds go, and the job's share of the ideal."""
        stages = min(self.loops.values(), key=Counter.total)
        total, start = stages.total() / rounds, self.start / rounds
        wall, best = self.wall / rounds - start, total / cores()
        return [
            "| stage | core-seconds/MP | |",
            "| --- | --- | --- |",
            *(
                f"| {name} | {seconds / rounds / megapixels:.4f} | {seconds / rounds / total:.1%} |"
                for name, seconds in stages.items()
            ),
            "",
            f"Ideal {best:.1f} s ({megapixels / best:.2f} MP/s), the job {wall:.1f} s "
            f"({megapixels / wall:.2f} MP/s) after a start-up of {start:.1f} s: "
            f"**{best / wall:.1%} of the ideal**.",
        ]


def ideal(
    networks: list[Path], images: str, megapixels: float, rounds: int, mode: list[str],
    scratch: Path,
) -> dict[Path, list[str]]:  # fmt: skip
    """The table of each network, see Taken.table; `mode` are options of job and loops.

    The loops run in one process and in one per core; the quicker is the ideal. Networks, jobs and
    loops take turns, because a machine's speed drifts; figures are means of all rounds.
    """
    first = scratch / "first"
    first.mkdir()
    for path in sorted(glob.glob(images))[: cores()]:
        shutil.copy(path, first / f"first_{Path(path).name}")
    taken = {weights: Taken() for weights in networks}
    for _ in tqdm(range(rounds), desc="ideal"):
        for weights, one in taken.items():
            one.add_jobs(weights, images, mode, scratch)
            one.add_loops(weights, images, mode, scratch)
    return {weights: one.table(megapixels, rounds) for weights, one in taken.items()}


def rate(function: Callable[[], float], seconds: float) -> float:
    """The counts of a function per second, called repeatedly in a thread per core."""
    counts = []

    def call(end: float) -> None:
        total = 0.0
        while time.perf_counter() < end:
            total += function()
        counts.append(total)

    started = time.perf_counter()
    callers = [threading.Thread(target=call, args=(started + seconds,)) for _ in range(cores())]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) / (time.perf_counter() - started)


def engines_alone(networks: list[Path]) -> list[str]:
    """The table of the engines beside matrix products, in turns; the best of each."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, _MATRIX, _MATRIX), np.float32)

    def multiply() -> float:
        left @ right
        return 2 * _MATRIX**3 / 1e9

    runs, models = {}, {}
    for file in networks:
        weights = load_weights(file)
        network = weights.card.name
        models[network] = weights.card.architecture
        side = DEFAULT_TILE + 2 * models[network].margin
        for name in _ENGINES:
            engine = create_engine(name, weights, 1)
            batch = rng.random((1, side, side, 1), np.float32)
            runs[network, name] = lambda e=engine, b=batch: e.run(b).size / 1e6
            runs[network, name]()
    best = dict.fromkeys(runs, 0.0)
    products = 0.0
    for _ in range(5):
        # Matrix products take all cores by themselves; engines one thread a call.
        started, work = time.perf_counter(), 0.0
        while time.perf_counter() < started + 2:
            work += multiply()
        products = max(products, work / (time.perf_counter() - started))
        for key, run in runs.items():
            best[key] = max(best[key], rate(run, 2))
    lines = [
        f"float32 matrix products of {_MATRIX} x {_MATRIX}: {products:.0f} GFLOP/s.",
        "",
        "| engine alone | MP/s | GFLOP/s | of matrix products |",
        "| --- | --- | --- | --- |",
    ]
    for (network, name), speed in best.items():
        work = speed * 2 * models[network].multiply_adds / 1e3
        lines.append(f"| {network}, {name} | {speed:.2f} | {work:.0f} | {work / products:.0%} |")
    return lines


def figures(path: str) -> list[str]:
    """SSIM and MSE of two comparisons of a one-megapixel colour image, beside scikit-image's."""
    cv2.setNumThreads(1)
    image = cv2.resize(cv2.imread(path), (1250, 800), interpolation=cv2.INTER_CUBIC)
    others = [cv2.GaussianBlur(image, (5, 5), 1), cv2.medianBlur(image, 3)]

    def ours() -> list[float]:
        errors = [metrics.mse(image, other) for other in others]
        return [*metrics.ssim(image, others), *errors]

    def theirs() -> list[float]:
        similarities = [structural_similarity(image, other, channel_axis=2) for other in others]
        return [*similarities, *(mean_squared_error(image, other) for other in others)]

    seconds: dict[Callable, float] = {}
    for _ in range(7):
        for way in (ours, theirs):
            started = time.process_time()
            way()
            took = time.process_time() - started
            seconds[way] = min(took, seconds.get(way, took))
    difference = np.abs(np.subtract(ours(), theirs())).max()
    return [
        f"SSIM and MSE of two comparisons, 1 megapixel in colour: {1e3 * seconds[ours]:.0f} ms, "
        f"scikit-image {1e3 * seconds[theirs]:.0f} ms: **{seconds[theirs] / seconds[ours]:.1f} "
        f"times as fast**; largest difference {difference:.0e}."
    ]


def main() -> int:
    """Runs the benchmark and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", nargs="*", help="globs; repeated to --megapixels")
    parser.add_argument("--megapixels", type=float, default=75)
    parser.add_argument("--weights", type=Path, nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of job and loops")
    parser.add_argument("--only_ideal", action="store_true", help="stages and share only")
    parser.add_argument("--mode", default="evaluate", choices=("evaluate", "restore"),
                        help="mode of the stages and the share of the ideal")  # fmt: skip
    parser.add_argument("--without", nargs="*", default=[],
                        help="figures that mode restore leaves out")  # fmt: skip
    parser.add_argument("--tutorial", type=Path, help="weights of the tutorial's own network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        paths = sorted(path for pattern in options.images or [] for path in glob.glob(pattern))
        if not options.images:
            generate(scratch / "made", 8, 700, 500)
            paths = sorted(str(path) for path in (scratch / "made").iterdir())
        if not paths:
            parser.error(f"no image matches {options.images}")
        megapixels = repeated(paths, options.megapixels, scratch / "in")
        images = f"{scratch}/in/*"
        print(f"{len(list((scratch / 'in').iterdir()))} images, {megapixels:.1f} megapixels, "
              f"{cores()} cores\n")  # fmt: skip
        if options.tutorial:
            lines = beside_tutorial(options.tutorial, images, megapixels, scratch / "own")
            print("### The tutorial's own network\n", *lines, "", sep="\n", flush=True)
        mode = ["--mode", options.mode]
        if options.without:
            mode += ["--without", *options.without]
        tables = ideal(options.weights, images, megapixels, options.rounds, mode, scratch)
        for weights, lines in tables.items():
            if not options.only_ideal:
                place = scratch / weights.name
                place.mkdir()
                lines = [*compare(weights, images, megapixels, place), "", *lines]
            print(f"### {load_weights(weights).card.name}\n", *lines, "", sep="\n", flush=True)
        if not options.only_ideal:
            lines = [*engines_alone(options.weights), "", *figures(paths[0])]
            print("### Engines and figures alone\n", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
