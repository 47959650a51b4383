"""benchmarks.quality prints the figures of the job."""

import cv2
import pytest

from benchmarks import quality
from srcnn.weights import load_weights


@pytest.fixture
def photos(tmp_path, photo):
    for index, columns in enumerate((slice(0, 90), slice(100, 220))):
        path = tmp_path / "in" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), photo[:80, columns])
    return tmp_path / "in"


@pytest.mark.slow
def test_quality_prints_the_figures_of_the_job(run_job, photos, tiny_weights):
    job = run_job("--input", f"{photos}/*.png", "--weights", tiny_weights, "--border", "shave")
    means = job.rows[["psnr_degraded", "ssim_degraded", "psnr_enhanced", "ssim_enhanced"]].mean()
    sets = dict([quality.named_set(f"own={photos}/*.png")])
    title, _, head, _, before, after, _ = quality.compare([load_weights(tiny_weights)], sets)
    assert title == "### x2 bilinear (opencv)"
    assert "own (2)" in head
    assert f"{means.psnr_degraded:.2f} / {means.ssim_degraded:.4f}" in before
    assert f"{means.psnr_enhanced:.2f} / {means.ssim_enhanced:.4f}" in after
    assert after.endswith(f"{job.rows.psnr_gain.min():+.2f} |")


def test_quality_refuses_a_glob_without_images(photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["quality", "--images", f"{photos}/*.jpg"])
    with pytest.raises(SystemExit) as end:
        quality.main()
    assert end.value.code == 2
    assert "no image matches" in capsys.readouterr().err
