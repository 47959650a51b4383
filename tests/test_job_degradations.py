"""Degradations in the whole job: rows, figures, workers, scale 1."""

import re

import cv2
import numpy as np
import pytest
from conftest import ROOT, near_identity, write_images

from srcnn.architectures import stack
from srcnn.degradations import Degradation, parse_steps
from srcnn.metrics import mse, psnr_of_mse
from srcnn.weights import save_weights

CHAIN = "blur=0.2..1.2 shrink=area|bicubic noise=0..10 jpeg=40..95"


@pytest.fixture
def folder(tmp_path, photo):
    small = photo[40:101, 100:175]
    images = {f"{i}.png": photo[i * 40 : i * 40 + 61, :75] for i in range(4)}
    images |= {"gray.png": small[..., 1], "deep.png": small.astype(np.uint16) * 257}
    write_images(tmp_path / "in", images)
    return tmp_path / "in"


@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
def test_random_chains_do_not_depend_on_the_number_of_workers(run_job, folder, tmp_path, protocol):
    words = ["--input", f"{folder}/*.png", "--degrade", CHAIN, "--seed", 3]
    words += ["--protocol", protocol, "--kernel", "bicubic"]
    jobs = [
        run_job(*words, "--direct_num_workers", workers, output=tmp_path / str(workers))
        for workers in (1, 2)
    ]
    one, two = (job.rows for job in jobs)
    assert (one.status == "written").all()
    columns = ["degradation", "blur", "noise", "jpeg", "psnr_degraded", "psnr_enhanced"]
    assert one[columns].equals(two[columns])
    for name in one.index:
        first, second = ((job.output / "images" / name).read_bytes() for job in jobs)
        assert first == second
    page = (jobs[0].run / "index.html").read_text()
    for axis in ("size", "blur", "noise", "jpeg"):
        assert f"<figcaption>PSNR gain against {axis}</figcaption>" in page
        assert re.search(rf">{axis}(, \w+)?</text>", page)
    assert one.degradation.is_unique
    assert one.blur.between(0.2, 1.2).all() and one.noise.between(0, 10).all()
    assert one.jpeg.between(40, 95).all() and (one.jpeg % 1 == 0).all()
    for row in one.itertuples():
        assert f"blur={row.blur:g} " in row.degradation and f"jpeg={row.jpeg:g}" in row.degradation


def test_run_without_chain_has_no_drawn_columns(run_job, folder):
    job = run_job("--input", f"{folder}/?.png")
    assert job.rows[["blur", "noise", "jpeg"]].isna().all(axis=None)
    page = (job.run / "index.html").read_text()
    assert "against size" in page and "against noise" not in page


def test_stress_preset_evaluates_with_its_chain(run_job, folder):
    job = run_job("--config", ROOT / "configs/stress.yaml", "--input", f"{folder}/*.png")
    assert job.code == 0, job.err
    assert (job.rows.status == "written").all() and (job.rows.protocol == "matlab").all()
    assert (job.rows[["blur", "noise", "jpeg"]].nunique() == len(job.rows)).all()
    assert "degraded by blur=0..1 shrink=area|bicubic noise=0..10 jpeg=30..95" in job.out


@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
def test_scale_1_measures_cleaning_against_the_original(run_job, folder, tmp_path, photo, protocol):
    network = stack("tiny-511", (5, 4), (1, 3), (1, 1))
    weights = save_weights(
        tmp_path, near_identity(network), name="tiny-511_x1_photos", architecture=network,
        scale=1, kernel="bicubic", protocol=protocol,
    )  # fmt: skip
    words = ["--input", f"{folder}/*.png", "--scale", 1, "--weights", weights]
    job = run_job(*words, "--kernel", "bicubic", "--degrade", "jpeg=50", "--comparisons", 2)
    assert job.code == 0, job.err
    assert (job.rows.status == "written").all() and (job.rows.scale == 1).all()
    assert (job.rows.degradation == "jpeg=50").all() and (job.rows.jpeg == 50).all()
    assert (job.rows.output_width == 75).all() and (job.rows.output_height == 61).all()
    assert list((job.output / "comparisons").glob("*.png"))
    if protocol == "opencv":
        original = photo[:61, :75]
        made = Degradation("opencv", 1, "bicubic", parse_steps("jpeg=50")).apply(original)
        assert job.rows.psnr_degraded["0.png"] == psnr_of_mse(mse(original, made))
        written = cv2.imread(str(job.output / "images/0.png"))
        assert job.rows.psnr_enhanced["0.png"] == psnr_of_mse(mse(original, written))


def test_image_too_long_for_jpeg_is_a_failed_row(run_job, tmp_path):
    write_images(tmp_path / "in", {"long.png": np.zeros((2, 65_501), np.uint8)})
    job = run_job("--input", f"{tmp_path}/in/*", "--degrade", "jpeg=50 shrink")
    assert job.code == 3
    (row,) = job.rows.itertuples()
    assert (row.stage, row.error_type) == ("degrade", "ImageError") and "65500" in row.error_message
