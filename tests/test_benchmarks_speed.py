"""All procedures compared by benchmarks.speed give the same pictures and figures."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, files_below, write_images
from support import restore_plane

from benchmarks import memory, peers, speed
from srcnn.engines import create_engine
from srcnn.weights import load_weights


@pytest.fixture
def photos(tmp_path, photo):
    images = {"a.png": photo[:80, :90], "b.png": photo[100:180, 100:220], "c.png": photo[:64, :64]}
    write_images(tmp_path / "in", images)
    return tmp_path / "in"


@pytest.mark.slow
@pytest.mark.parametrize("engine", peers.NETWORKS)
def test_scripts_give_the_images_and_figures_of_the_job(
    run_job, photos, tmp_path, tiny_weights, engine
):
    job = run_job("--input", f"{photos}/*.png")
    (tmp_path / "script").mkdir()
    paths = sorted(map(str, photos.iterdir()))
    rows = peers.script(engine, load_weights(tiny_weights), paths, tmp_path / "script")
    rows = pd.DataFrame(rows).sort_values("path")
    for ours, theirs in (
        ("psnr_degraded", "psnr_degraded"),
        ("mse_sample_degraded", "mse_degraded"),
        ("ssim_degraded", "ssim_degraded"),
        ("ssim_y_degraded", "ssim_degraded_y"),
    ):
        assert np.allclose(job.rows[ours], rows[theirs], rtol=1e-10)
    for ours, theirs in (
        ("psnr_enhanced", "psnr_enhanced"),
        ("psnr_y_enhanced", "psnr_enhanced_y"),
    ):
        assert np.allclose(job.rows[ours], rows[theirs], atol=1e-3)
    for name in files_below(photos):
        pictures = [
            np.int16(cv2.imread(str(place / name)))
            for place in (job.output / "images", tmp_path / "script")
        ]
        assert np.abs(pictures[0] - pictures[1]).max() <= 2  # a code of luma in B, G and R


def test_tutorial_procedure_truncates_and_shaves(photos, tmp_path, tiny_weights):
    weights = load_weights(tiny_weights)
    margin = weights.card.architecture.margin
    (tmp_path / "out").mkdir()
    (row,) = peers.tutorial(weights, [str(photos / "a.png")], tmp_path / "out")
    original = cv2.imread(str(photos / "a.png"))
    degraded = cv2.resize(cv2.resize(original, (45, 40)), (90, 80))
    ycrcb = cv2.cvtColor(degraded, cv2.COLOR_BGR2YCrCb)
    restored = restore_plane(create_engine("tensorflow", weights), ycrcb[..., 0], margin)
    inner = (slice(margin, -margin), slice(margin, -margin))
    ycrcb = ycrcb[inner]
    ycrcb[..., 0] = np.clip(restored * 255, 0, 255).astype(np.uint8)
    written = cv2.imread(str(tmp_path / "out/a.png")).astype(int)
    assert np.abs(written - cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)).max() <= 2
    mse = np.square(written - original[inner]).mean()
    assert row["mse_enhanced"] == pytest.approx(mse)
    assert row["mse_degraded"] == pytest.approx(
        np.square(degraded[inner] * 1.0 - original[inner]).mean()
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["evaluate", "restore"])
def test_plain_loop_writes_the_images_of_the_job(run_job, photos, tmp_path, tiny_weights, mode):
    job = run_job("--mode", mode, "--input", f"{photos}/*.png")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loop", "--mode", mode, "--input", f"{photos}/*.png",
         "--weights", str(tiny_weights), "--output", str(tmp_path / "loop")],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["pixels"] == 80 * 90 + 80 * 120 + 64 * 64
    assert all(seconds > 0 for seconds in found["seconds"].values())
    for name in files_below(photos):
        images = [place / "images" / name for place in (job.output, tmp_path / "loop")]
        assert images[0].read_bytes() == images[1].read_bytes()


def test_core_seconds_include_child_processes():
    busy = "import time\nwhile time.process_time() < 0.5: pass\n"
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\n{busy}"
    started = time.monotonic()
    measured = memory.measure([sys.executable, "-c", outer])
    assert measured.code == 0
    assert 1 <= measured.core_seconds < 2
    assert measured.core_seconds <= measured.seconds <= time.monotonic() - started
    assert measured.peak > 5e6


def test_images_are_repeated_to_a_size(photos, tmp_path):
    paths = sorted(map(str, photos.iterdir()))
    total = speed.repeated(paths, 0.05, tmp_path / "many")
    assert total == pytest.approx(3 * (80 * 90 + 80 * 120 + 64 * 64) / 1e6)
    assert len(files_below(tmp_path / "many")) == 9
