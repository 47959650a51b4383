"""Sub-pixel networks in the whole job and in Python."""

import cv2
import numpy as np
import pytest
from conftest import ROOT, write_images
from support import random_tensors

from srcnn import load_model
from srcnn.architectures import architecture_for
from srcnn.metrics import mse, psnr_of_mse
from srcnn.resample import degrade_opencv
from srcnn.weights import save_weights


@pytest.fixture
def weights(tmp_path):
    """Random weights of a sub-pixel network whose output is close to its repeated input."""
    architecture = architecture_for("subpixel-small", 2)
    tensors = [[array / 8 for array in layer] for layer in random_tensors(architecture)]
    return save_weights(
        tmp_path / "weights", tensors, name="tiny_x2_bilinear", architecture=architecture,
        scale=2, kernel="bilinear", protocol="opencv", chroma_taps=(1.2, -0.1),
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
def test_originals_are_cropped_to_multiples_of_the_scale(
    run_job, tmp_path, photo, weights, protocol
):
    alpha = np.full((61, 47, 1), 200, np.uint8)
    images = {"odd.png": photo[:61, :47], "alpha.png": np.dstack([photo[40:101, 9:56], alpha])}
    write_images(tmp_path / "in", images)
    job = run_job(
        "--input", f"{tmp_path}/in/*", "--weights", weights, "--protocol", protocol,
        "--kernel", "bilinear", "--comparisons", "2",
    )  # fmt: skip
    assert job.code == 0, job.err
    assert (job.rows.output_width == 46).all() and (job.rows.output_height == 60).all()
    assert (job.rows.width == 47).all() and (job.rows.height == 61).all()
    written = cv2.imread(str(job.output / "images/alpha.png"), cv2.IMREAD_UNCHANGED)
    assert written.shape == (60, 46, 4) and (written[..., 3] == 200).all()
    assert (job.output / "comparisons/odd.png.png").exists()
    if protocol == "opencv":
        cut = images["odd.png"][:60, :46]
        expected = psnr_of_mse(mse(cut, degrade_opencv(cut, 2, "bilinear")))
        assert job.rows.psnr_degraded["odd.png"] == expected


def test_restore_keeps_the_whole_image_and_equals_the_python_api(run_job, tmp_path, photo, weights):
    images = {"colour.png": photo[:61, :47], "gray.png": photo[:61, :47, 1]}
    write_images(tmp_path / "in", images)
    job = run_job("--mode", "restore", "--input", f"{tmp_path}/in/*", "--weights", weights)
    assert job.code == 0, job.err
    for name, image in images.items():
        written = cv2.imread(str(job.output / "images" / name), cv2.IMREAD_UNCHANGED)
        assert written.shape[:2] == (122, 94)
        np.testing.assert_array_equal(load_model(weights).enlarge(image), written)


def test_ensemble_changes_pixels_and_fingerprint(run_job, tmp_path, photo, weights):
    write_images(tmp_path / "in", {"a.png": photo[:61, :47]})
    command = ("--mode", "restore", "--input", f"{tmp_path}/in/*", "--weights", weights)
    plain = run_job(*command, output=tmp_path / "plain")
    ensemble = run_job(*command, "--ensemble")
    assert ensemble.code == 0, ensemble.err
    assert (plain.rows.ensemble["a.png"], ensemble.rows.ensemble["a.png"]) == (1, 8)
    assert plain.rows.fingerprint["a.png"] != ensemble.rows.fingerprint["a.png"]
    written = cv2.imread(str(ensemble.output / "images/a.png"))
    expected = load_model(weights, ensemble=True).enlarge(photo[:61, :47])
    np.testing.assert_array_equal(written, expected)
    assert not np.array_equal(written, load_model(weights).enlarge(photo[:61, :47]))


def test_unreliable_pixels_keep_the_interpolation():
    """A network on luma and chroma is unreliable on saturated blocks."""
    blocks = np.random.default_rng(0).choice([0, 255], (12, 12, 3)).astype(np.uint8)
    blocks = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    for scale in (1, 2, 3, 4):
        restored = load_model("photo-large", scale).enlarge(blocks)
        expected = np.kron(blocks, np.ones((scale, scale, 1), np.uint8))
        middles = (slice(4 * scale, None, 8 * scale),) * 2
        assert np.abs(restored[middles].astype(int) - expected[middles]).max() < 60


@pytest.mark.parametrize(("preset", "scale"), [("photos", 2), ("cleanup", 1)])
def test_photograph_presets_bring_jpegs_closer_to_their_originals(
    run_job, tmp_path, photo, preset, scale
):
    truth = photo[:160, :192]
    small = cv2.resize(truth, (192 // scale, 160 // scale), interpolation=cv2.INTER_AREA)
    path = tmp_path / "in/a.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, 40])
    job = run_job(
        "--config", ROOT / f"configs/{preset}.yaml", "--input", path, "--model", "photo-large",
        "--output_format", "png",
    )  # fmt: skip
    assert job.code == 0, job.err
    assert job.rows.model["a.jpg"] == f"photo-large_x{scale}"
    assert job.rows.niqe_enhanced.notna().all()
    written = cv2.imread(str(job.output / "images" / job.rows.output_path["a.jpg"]))
    given = cv2.imread(str(path))
    np.testing.assert_array_equal(written, load_model("photo-large", scale).enlarge(given))
    before = cv2.resize(given, (192, 160), interpolation=cv2.INTER_CUBIC)
    for code in (cv2.COLOR_BGR2GRAY, cv2.COLOR_BGR2Lab):
        reference, old, new = (cv2.cvtColor(image, code) for image in (truth, before, written))
        assert cv2.PSNR(reference, new) > cv2.PSNR(reference, old) + 0.1


@pytest.mark.parametrize("scale", [1, 3])
def test_scale_other_than_the_networks_is_refused_before_the_run(run_job, tmp_path, weights, scale):
    write_images(tmp_path / "in", {"a.png": np.zeros((20, 20), np.uint8)})
    job = run_job(
        "--mode", "restore", "--scale", scale, "--input", f"{tmp_path}/in/*", "--weights", weights
    )
    assert job.code == 2 and not job.output.exists()
    assert f"scale: {scale}: tiny_x2_bilinear enlarges" in job.err


def test_improve_is_refused_for_enlarging_networks(photo, weights):
    with pytest.raises(ValueError, match="enlarges"):
        load_model(weights).improve(photo)
