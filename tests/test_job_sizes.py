"""Options on the size and strength of results, and on images to skip."""

import json

import cv2
import numpy as np
import pytest
from conftest import write_images

from srcnn import load_model
from srcnn.colour import blend
from srcnn.resample import degrade_opencv, size_inside


@pytest.fixture
def folder(tmp_path, photo):
    alpha = np.full((61, 75, 1), 200, np.uint8)
    images = {
        "colour.png": photo[:61, :75],
        "deep.png": photo[40:101, :75].astype(np.uint16) * 257,
        "gray.png": photo[:61, :75, 1],
        "alpha.png": np.dstack([photo[100:161, :75], alpha]),
        "large.png": photo[:200, :300],
    }
    write_images(tmp_path / "in", images)
    return tmp_path / "in"


def written(job, name: str) -> np.ndarray:
    return cv2.imread(str(job.output / "images" / name), cv2.IMREAD_UNCHANGED)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
def test_strength_blends_interpolation_and_network(run_job, folder, tmp_path, protocol):
    words = ["--input", f"{folder}/*.png", "--protocol", protocol, "--kernel", "bilinear"]
    jobs = {
        s: run_job(*words, *(["--strength", s] if s else []), output=tmp_path / f"s{s}")
        for s in ("", "1", "0.5", "0")
    }
    rows = {s: job.rows for s, job in jobs.items()}
    for name in rows[""].index:
        pictures = {s: written(job, name).astype(int) for s, job in jobs.items()}
        assert np.array_equal(pictures[""], pictures["1"])
        assert np.abs(pictures["0.5"] * 2 - pictures["0"] - pictures["1"]).max() <= 1
    assert (rows[""].fingerprint == rows["1"].fingerprint).all()
    assert len({row.fingerprint.iloc[0] for row in rows.values()}) == 3
    assert (rows[""].strength == 1).all() and (rows["0.5"].strength == 0.5).all()
    assert rows["0"].psnr_enhanced.tolist() == pytest.approx(rows["0"].psnr_degraded.tolist())
    assert rows["0"].psnr_y_enhanced.equals(rows["0"].psnr_y_degraded)
    if protocol == "opencv":
        source = cv2.imread(str(folder / "colour.png"))
        expected = degrade_opencv(source, 2, "bilinear")
        np.testing.assert_array_equal(written(jobs["0"], "colour.png"), expected)
    assert "strength 0.5" in jobs["0.5"].out
    assert "strength 0.5" in (jobs["0.5"].run / "index.html").read_text()
    assert ", strength" not in jobs[""].out


def test_strength_in_python_equals_the_option(photo, tiny_weights):
    model, image = load_model(tiny_weights), photo[:30, :40]
    none, half, full = (model.enlarge(image, strength=s) for s in (0, 0.5, 1))
    np.testing.assert_array_equal(half, blend(none, full, 0.5))
    np.testing.assert_array_equal(none, cv2.resize(image, (80, 60), interpolation=cv2.INTER_LINEAR))
    with pytest.raises(ValueError, match="strength: 2"):
        model.enlarge(image, strength=2)


@pytest.mark.parametrize(
    ("shape", "box", "expected"),
    [
        ((100, 200), (200, 100), (100, 200)),
        ((100, 200), (3840, 2160), (100, 200)),
        ((1000, 2000), (300, 300), (150, 300)),
        ((2000, 1000), (300, 300), (300, 150)),
        ((3000, 4000), (3840, 2160), (2160, 2880)),
        ((1, 5000), (100, 100), (1, 100)),
        ((333, 1000), (100, 33), (33, 99)),
    ],
)
def test_picture_fits_inside_and_keeps_its_aspect_ratio(shape, box, expected):
    assert size_inside(shape, box) == expected


def test_results_are_shrunk_to_fit_and_never_enlarged(run_job, folder):
    words = ["--mode", "restore", "--input", f"{folder}/*.png", "--comparisons", 9]
    whole = run_job(*words, output=folder.parent / "whole")
    fitted = run_job(*words, "--fit", "160X200")
    assert fitted.code == 0, fitted.err
    sizes = fitted.rows[["output_width", "output_height"]]
    assert sizes.loc["large.png"].tolist() == [160, 107]
    assert (sizes.drop("large.png") == [150, 122]).all(axis=None)
    for name in fitted.rows.index:
        assert written(fitted, name).shape[1] == sizes.output_width[name]
    for name in ("colour.png", "alpha.png", "deep.png", "gray.png"):
        np.testing.assert_array_equal(written(fitted, name), written(whole, name))
    area = cv2.resize(written(whole, "large.png"), (160, 107), interpolation=cv2.INTER_AREA)
    assert np.abs(written(fitted, "large.png").astype(float) - area).mean() < 3
    assert fitted.rows.fingerprint.iloc[0] != whole.rows.fingerprint.iloc[0]
    assert len(list((fitted.output / "comparisons").glob("*.png"))) == 5
    assert "fit 160x200" in fitted.out
    smaller = run_job(*words, "--fit", "40x40", output=folder.parent / "smaller")
    assert smaller.rows.output_width.tolist() == [40] * 5
    assert written(smaller, "alpha.png").shape == (33, 40, 4)
    assert written(smaller, "deep.png").dtype == np.uint16


def test_images_already_large_enough_are_skipped_and_counted(run_job, folder):
    words = ["--mode", "restore", "--input", f"{folder}/*.png"]
    job = run_job(*words, "--skip_above", "0.05 mp")
    assert job.code == 0, job.err
    row = job.rows.loc["large.png"]
    assert (row.status, row.change, row.width, row.height) == ("skipped", "large enough", 300, 200)
    assert not (job.output / "images/large.png").exists()
    assert job.summary["counts"] == {"matched": 5, "written": 4, "skipped": 1, "failed": 0}
    assert job.summary["large_enough"] == 1
    assert "1 skipped: large enough, above 0.05MP" in job.out
    assert "large enough, above 0.05MP" in (job.run / "index.html").read_text()
    again = run_job(*words, "--skip_above", "0.05MP", "--run_id", "again")
    changes = json.loads((again.output / "runs/again/summary.json").read_text())
    assert changes["counts"]["skipped"] == 5 and changes["large_enough"] == 1
    plan = run_job(*words, "--skip_above", "0.05MP", "--dry_run")
    assert "1 would be skipped" in plan.out or "5 would be skipped" in plan.out
    # Without the limit the image is new.
    every = run_job(*words, "--run_id", "every")
    assert (
        json.loads((every.output / "runs/every/summary.json").read_text())["counts"]["written"] == 1
    )


def test_no_reference_figures_are_measured_and_shown(run_job, tmp_path, photo):
    jpeg = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 1)
    noise = np.random.default_rng(0).normal(0, 8, photo.shape)
    images = {
        "clean.png": photo, "jpeg.png": jpeg, "small.png": photo[:40, :40],
        "noise.png": np.clip(photo + noise, 0, 255).astype(np.uint8),
    }  # fmt: skip
    write_images(tmp_path / "in", images)
    words = ["--mode", "restore", "--input", f"{tmp_path}/in/*", "--comparisons", 4]
    job = run_job(*words)
    rows = job.rows
    assert rows.drop("small.png")[["niqe_degraded", "niqe_enhanced"]].notna().all(axis=None)
    assert np.isnan(rows.niqe_enhanced["small.png"])
    assert rows.noise_estimate["noise.png"] == pytest.approx(8, rel=0.15)
    assert rows.blockiness.idxmax() == "jpeg.png"
    assert "NIQE" in job.out and "noise of the input" in job.out
    page = (job.run / "index.html").read_text()
    assert "NIQE" in page and ">noise of the input, codes</text>" in page
    without = run_job(*words, "--without", "niqe", "--without", "blockiness", output=tmp_path / "w")
    assert without.rows[["niqe_degraded", "niqe_enhanced", "blockiness"]].isna().all(axis=None)
    assert without.rows.noise_estimate.equals(rows.noise_estimate)
