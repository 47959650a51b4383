"""The table of figures: an added entry appears wherever figures are shown."""

import json

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import write_images

from pipeline import history
from srcnn.figures import FIGURES, Figure, columns
from storage.store import OutputStore
from transforms.records import ReportRow


def mean_absolute_error(pair) -> float:
    return float(np.abs(pair.truth.astype(float) - pair.image).mean())


MAE = Figure("mae", "MAE", "mean absolute error", mean_absolute_error, higher_is_better=False)


@pytest.fixture
def folder(tmp_path, photo):
    write_images(tmp_path / "in", {f"{i}.png": photo[i * 50 : i * 50 + 40, :60] for i in range(2)})
    return tmp_path / "in"


def shown(run_job, folder, capfd, *arguments):
    """A job with an added figure: its outcome, page, list of runs and captions."""
    job = run_job("--input", f"{folder}/*.png", "--comparisons", 2, "--run_id", "b", *arguments)
    assert job.code == 0, job.err
    page = (job.output / "runs/b/index.html").read_text()
    captions = [json.loads(p.read_text()) for p in job.output.glob("runs/b/gallery/*.json")]
    capfd.readouterr()
    assert history.main([str(job.output), "--json"]) == 0
    (run,) = (run for run in json.loads(capfd.readouterr().out) if run["run_id"] == "b")
    return job, page, run["means"], "\n".join(word for c in captions for word in c["words"])


@pytest.mark.slow
def test_figure_with_a_reference_needs_one_entry(run_job, folder, monkeypatch, capfd):
    run_job("--input", f"{folder}/*.png", "--run_id", "old")
    monkeypatch.setitem(FIGURES, "mae", MAE)
    run_job("--input", f"{folder}/*.png", "--run_id", "a", "--force")
    job, page, means, captions = shown(run_job, folder, capfd, "--force")
    rows = pd.read_parquet(job.output / "metrics/run_id=b").set_index("relative_path")
    for name, row in rows.iterrows():
        before, after = (cv2.imread(str(d / name)) for d in (folder, job.output / "images"))
        assert row.mae_enhanced == np.abs(before.astype(float) - after).mean()
        assert f"MAE {row.mae_enhanced:.4f}" in captions
    mean = rows.mae_enhanced.mean()
    summary = json.loads((job.output / "runs/b/summary.json").read_text())
    assert summary["means"]["mae_enhanced"]["mean"] == pytest.approx(mean, abs=1e-12)
    assert means["mae_enhanced"] == pytest.approx(mean, abs=1e-12)
    assert f"{mean:.6f}" in job.out
    assert f"{mean:.6f}" in page
    assert "<figcaption>MAE</figcaption>" in page
    words = [str(job.output), "compare", "a", "b", "--figure", "mae"]
    assert history.main([*words, "--min_psnr_gain", "0", "--max_regression", "0"]) == 0
    assert "mae_enhanced: 0 better, 2 equal, 0 worse" in capfd.readouterr().out
    assert history.main([*words, "--min_psnr_gain", "0.1"]) == 5
    store = OutputStore(str(job.output), "")
    found = history.compare(store, *(history.find_run(store, name) for name in ("old", "b")))
    assert "mae_enhanced" not in found.means
    assert "psnr_enhanced" in found.means


def test_figure_without_a_reference_loads_its_model_once(run_job, folder, monkeypatch, capfd):
    loaded = []

    def load():
        loaded.append(np.float32([[0, 1, 0], [1, -4, 1], [0, 1, 0]]))
        return loaded[-1]

    def sharpness(result, kernel) -> float:
        return float(cv2.filter2D(result.restored, cv2.CV_64F, kernel).std())

    figure = Figure("sharpness", "sharpness", "how sharp it is", sharpness, load=load,
                    needs_reference=False, unit="codes", digits=1)  # fmt: skip
    monkeypatch.setitem(FIGURES, figure.name, figure)
    job, page, means, captions = shown(run_job, folder, capfd, "--mode", "restore")
    assert len(loaded) == 1
    mean = job.rows.sharpness.mean()
    for name, row in job.rows.iterrows():
        image = cv2.imread(str(job.output / "images" / name))
        assert row.sharpness == cv2.filter2D(image, cv2.CV_64F, loaded[0]).std()
        assert f"sharpness {row.sharpness:.1f} codes" in captions
    assert job.summary["means"]["sharpness"]["mean"] == means["sharpness"] == pytest.approx(mean)
    assert f"sharpness {mean:.3f} codes" in job.out
    assert f"<b>{mean:.1f} codes</b>mean sharpness" in page
    assert "<figcaption>Sharpness</figcaption>" in page and ">sharpness, codes</text>" in page
    assert history.main([str(job.output), "compare", "b", "b", "--figure", "sharpness"]) == 0
    assert "sharpness: 0 better, 2 equal, 0 worse" in capfd.readouterr().out


@pytest.mark.slow
def test_earlier_rows_lack_a_new_figure_until_images_are_redone(run_job, folder, monkeypatch):
    run_job("--input", f"{folder}/*.png", "--run_id", "old")
    monkeypatch.setitem(FIGURES, "mae", MAE)
    job = run_job("--input", f"{folder}/*.png", "--run_id", "skipped")
    assert "2 skipped" in job.out
    run_job("--input", f"{folder}/*.png", "--run_id", "redone", "--force")
    assert len(pd.read_parquet(job.output / "metrics")) == 6
    newest = pq.read_schema(job.output / "metrics/run_id=redone/part-00000.parquet")
    rows = pd.read_parquet(job.output / "metrics", schema=newest, partitioning=None)
    known = rows.mae_enhanced.notna().groupby(rows.run_id, observed=True).sum()
    assert known.to_dict() == {"old": 0, "skipped": 0, "redone": 2}


def test_gain_is_positive_where_a_lower_is_better_figure_falls():
    assert MAE.improvement(3.0, 1.0) == 2.0
    assert MAE.improvement(None, 1.0) is None
    assert FIGURES["psnr"].improvement(30.0, 31.0) == 1.0
    assert FIGURES["psnr"].improvement(np.inf, np.inf) is None


def test_figure_columns_are_unique_and_null_without_figures():
    names = [column.name for column in columns()]
    assert len(names) == len(set(names))
    assert ReportRow().figure(names[0]) is None
