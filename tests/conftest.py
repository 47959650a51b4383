"""Shared fixtures: paths, a small network, a photograph, functions that run the job."""

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage
from beam_caches import keep_answers
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import run_pipeline
from srcnn.architectures import Architecture, ConvLayer
from srcnn.isolated import parse_isolated
from srcnn.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# Seconds to wait for a process on a busy machine.
PATIENCE = 300
# Modules whose tests share expensive fixtures or depend on each other's order.
IN_ONE_WORKER = {"test_commands", "test_corpus", "test_package", "test_shards", "test_training"}
# Each file is parsed in a child process once: half a second less for every further job.
parse_once = functools.cache(parse_isolated)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Scheduling(LoadScopeScheduling):
    """Distributes single tests over the workers, but keeps some modules in one worker."""

    def _split_scope(self, nodeid: str) -> str:
        module = Path(nodeid.partition("::")[0]).stem
        return module if module in IN_ONE_WORKER else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names long bytes after their argument: some hold the time, and workers' ids must agree."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.fixture(scope="session", autouse=True)
def quick_beam():
    with pytest.MonkeyPatch.context() as monkeypatch:
        keep_answers(monkeypatch)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Published weights, figures and evaluation images, which are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the published data in ../shared, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph that scikit-image ships: chelsea, (300, 451, 3) uint8 BGR."""
    path = Path(skimage.__file__).parent / "data" / "chelsea.png"
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def near_identity(architecture: Architecture, seed: int = 0) -> list:
    """Tensors of a network that changes its input slightly."""
    rng = np.random.default_rng(seed)
    tensors = []
    for shape in architecture.kernel_shapes:
        kernel = rng.normal(0, 0.01, shape)
        kernel[shape[0] // 2, shape[1] // 2, 0, 0] += 1
        tensors.append((kernel.astype(np.float32), np.zeros(shape[-1], np.float32)))
    return tensors


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """Weights of a small, fast network for x2 bilinear (opencv)."""
    layers = [ConvLayer(kernel=k, filters=f) for k, f in ((5, 4), (1, 3), (3, 1))]
    architecture = Architecture(name="tiny-513", layers=tuple(layers))
    return save_weights(
        tmp_path_factory.mktemp("weights"),
        near_identity(architecture),
        name="tiny-513_x2_bilinear",
        architecture=architecture,
        scale=2,
        kernel="bilinear",
        protocol="opencv",
    )


@dataclass
class Outcome:
    """Exit code, streams and output of a run."""

    code: int
    out: str
    err: str
    output: Path

    @property
    def rows(self) -> pd.DataFrame:
        """The report, by relative path."""
        return pd.read_parquet(self.output / "metrics").set_index("relative_path").sort_index()

    @property
    def run(self) -> Path:
        """The directory of the only run."""
        (run,) = (self.output / "runs").iterdir()
        return run

    @property
    def summary(self) -> dict:
        return json.loads((self.run / "summary.json").read_text())


def run_in_process(*arguments: object, output: Path) -> Outcome:
    """Runs the command in this process and captures its output."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_pipeline.main([*map(str, arguments), "--output", str(output)])
    return Outcome(code, out.getvalue(), err.getvalue(), output)


def parse_here(parse: Callable, path: Path, content: bytes, *arguments: str) -> tuple:
    """Like srcnn.isolated.parse_isolated, but in this process."""
    return parse(path, content, *arguments)


@pytest.fixture
def parsing_here(monkeypatch) -> None:
    """Weights are parsed in this process: a child for each costs half a second."""
    for module in ("srcnn.weights", "srcnn.convert"):
        monkeypatch.setattr(f"{module}.parse_isolated", parse_here)


@pytest.fixture
def run_job(tmp_path, capfd, tiny_weights, monkeypatch) -> Callable[..., Outcome]:
    """Runs the command in this process, into tmp_path/out, with the tiny weights if none are named.

    Comparison pictures are off unless asked for.
    """
    monkeypatch.setattr("srcnn.weights.parse_isolated", parse_once)

    def run(*arguments: object, output: Path | None = None) -> Outcome:
        output = output or tmp_path / "out"
        words = [str(a) for a in arguments]
        if "--weights" not in words and "--model" not in words:
            words += ["--weights", str(tiny_weights)]
        if "--comparisons" not in words:
            words += ["--comparisons", "none"]
        capfd.readouterr()
        code = run_pipeline.main([*words, "--output", str(output)])
        out, err = capfd.readouterr()
        return Outcome(code, out, err, output)

    return run


def start_job(*arguments: object, cwd: Path = ROOT, **options) -> subprocess.Popen:
    """Starts the command in a new process and process group."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def write_images(directory: Path, images: dict[str, np.ndarray]) -> None:
    """Writes images by relative name, making directories."""
    for name, image in images.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)


def files_below(directory: Path) -> set[str]:
    """Relative paths of all files, hidden ones too."""
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if not p.is_dir()}
