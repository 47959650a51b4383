"""The source distribution, installed outside the checkout, runs the job."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, write_images

# Building and installing take half a minute.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A directory with the source distribution and a wheel built from it."""
    directory = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    subprocess.run([*build, "--outdir", directory, ROOT], check=True, stdout=subprocess.DEVNULL)
    return directory


def test_source_distribution_contains_package_and_weights(built):
    (archive,) = built.glob("*.tar.gz")
    assert re.fullmatch(r"srcnn[-_]beam-.+\.tar\.gz", archive.name), "as the Dockerfiles copy it"
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = {ROOT / name for name in ("LICENSE", "README.md", "configs/paper.yaml", "setup.py")}
    needed |= {
        *(ROOT / "weights").glob("*.[hj]*"),
        *(ROOT / "pipeline/reporting/templates").glob("*.j2"),
    }
    for package in ("pipeline", "transforms", "storage", "codec", "srcnn"):
        needed |= set((ROOT / package).rglob("*.py"))
    assert len(needed) > 60
    assert {str(path.relative_to(ROOT)) for path in needed} <= names


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The bin directory of an environment with the project as an installed package.

    The libraries are those of this environment, by a plain path: its link to the checkout is not
    followed.
    """
    directory = tmp_path_factory.mktemp("package")
    environment = directory / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    paths = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    libraries = Path(np.__file__).parents[1]
    (site / "libraries.pth").write_text(f"{libraries}\n")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--force-reinstall", wheel], check=True)
    return python.parent


def run_away(installed: Path, directory: Path, *command: object) -> str:
    """The output of a command of that environment, run in an empty directory."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [installed / str(command[0]), *map(str, command[1:])],
        cwd=directory, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_installed_package_runs_the_job(installed, tmp_path, photo):
    write_images(tmp_path / "in", {"a.png": photo[:80, :90], "b/c.png": photo[50:120, :64]})
    run_away(
        installed, tmp_path, "srcnn-beam", "--input", "in/**/*.png", "--output", "out",
        "--model", "srcnn-915", "--quiet",
    )  # fmt: skip
    rows = pd.read_parquet(tmp_path / "out" / "metrics")
    assert set(rows.status) == {"written"} and len(rows) == 2
    assert (rows.psnr_gain > 0).all()
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert (run / "_SUCCESS").exists()
    assert "<html" in (run / "index.html").read_text()
    assert json.loads((run / "summary.json").read_text())["exit_code"] == 0


def test_installed_package_uses_nothing_from_the_checkout(installed, tmp_path):
    program = (
        "import codec.worker, pipeline.run, pipeline.worker_pool, run_pipeline, srcnn.train\n"
        "import weights, sys\n"
        "from srcnn import load_model\n"
        "print(*(m.__file__ for m in (codec, pipeline, run_pipeline, srcnn, weights)), sep='\\n')\n"
        "print(load_model('srcnn-955_x2_bilinear').card.sha256)"
    )
    *files, digest = run_away(installed, tmp_path, "python", "-c", program).split()
    assert len(files) == 5
    assert all(Path(file).is_relative_to(installed.parent) for file in files)
    card = json.loads((ROOT / "weights" / "srcnn-955_x2_bilinear.json").read_text())
    assert digest == card["sha256"]
