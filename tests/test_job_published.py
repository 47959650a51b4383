"""The whole job reproduces published figures with published weights."""

import json

import pytest
from conftest import SHARED

from srcnn.convert import convert


def matlab_weights() -> list:
    """The names of the authors' weights; one of them is quick."""
    path = SHARED / "golden/paper_luma_psnr.json"
    if not path.exists():
        return ["(not here)"]
    names = sorted(json.loads(path.read_text()))
    quick = "9-1-5_91_x4"
    return [pytest.param(n, marks=() if n == quick else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("border", ["keep", "shave"])
def test_tutorial_figures_of_the_bird_are_reproduced(run_job, shared, tmp_path, border):
    published = shared / "weights/published/3051crop_weight_200.h5"
    weights = convert(published, tmp_path, 2, "bilinear", "opencv")
    job = run_job(
        "--input", shared / "data/Set5/bird_GT.bmp", "--border", border, "--weights", weights
    )
    golden = json.loads((shared / "golden/seed_bird.json").read_text())
    row = job.rows.loc["bird_GT.bmp"]
    if border == "keep":
        expected = golden["degraded_full_image"]
        degraded = expected["psnr"], expected["mse"], expected["ssim"]
    else:
        expected = golden["srcnn_reproduced_without_the_dropped_column"]
        degraded = tuple(expected[f"degraded_{name}"] for name in ("psnr", "mse", "ssim"))
    assert row.psnr_degraded == pytest.approx(degraded[0], abs=1e-6)
    assert row.mse_degraded == pytest.approx(degraded[1], abs=1e-6)
    assert row.ssim_degraded == pytest.approx(degraded[2], abs=1e-6)
    if border == "shave":
        expected = golden["srcnn_reproduced_rounded_half_to_even_instead_of_truncated"]
        assert row.psnr_enhanced == pytest.approx(expected["psnr"], abs=0.002)
        assert row.mse_enhanced == pytest.approx(expected["mse"], abs=0.02)
        assert row.ssim_enhanced == pytest.approx(expected["ssim"], abs=0.0001)


@pytest.mark.slow
@pytest.mark.parametrize("name", matlab_weights())
def test_tables_of_the_paper_are_reproduced(run_job, shared, tmp_path, name):
    """Every set of the authors' weights on Set5 and Set14, within 0.01 dB."""
    golden = json.loads((shared / "golden/paper_luma_psnr.json").read_text())[name]
    scale = int(name[-1])
    published = shared / f"weights/published/matlab/{name}.mat"
    weights = convert(published, tmp_path, scale, "bicubic", "matlab")
    job = run_job(
        "--input", f"{shared}/data/Set*/*.bmp", "--protocol", "matlab", "--scale", scale,
        "--weights", weights,
    )  # fmt: skip
    assert job.code == 0, job.err
    rows = job.rows
    for dataset in ("Set5", "Set14"):
        chosen = rows[rows.index.str.startswith(f"{dataset}/")]
        assert len(chosen) == {"Set5": 5, "Set14": 14}[dataset]
        expected = golden[dataset]
        assert chosen.psnr_y_degraded.mean() == pytest.approx(expected["mean_bicubic"], abs=0.01)
        assert chosen.psnr_y_enhanced.mean() == pytest.approx(expected["mean_srcnn"], abs=0.01)
        for image, pair in expected.get("per_image_bicubic_srcnn", {}).items():
            row = chosen.loc[f"Set5/{image}"]
            assert (row.psnr_degraded, row.psnr_enhanced) == pytest.approx(pair, abs=0.01)
