"""The list of runs and the comparison of two, against pandas on the same reports."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import near_identity, write_images

from pipeline import history
from pipeline.reporting.history import compare, compare_rows, find_run, gates, list_runs
from srcnn.architectures import Architecture, ConvLayer
from srcnn.figures import FIGURES, Column
from srcnn.weights import save_weights
from storage.store import OutputStore

PSNR = [Column(FIGURES["psnr"], "enhanced")]


@pytest.fixture
def folder(tmp_path, photo):
    write_images(tmp_path / "in", {f"{i:02}.png": photo[i * 9 : i * 9 + 40, :50] for i in range(8)})
    return tmp_path / "in"


@pytest.fixture
def other_weights(tmp_path):
    layers = tuple(ConvLayer(kernel=k, filters=f) for k, f in ((5, 4), (1, 3), (3, 1)))
    architecture = Architecture(name="tiny-513", layers=layers)
    return save_weights(
        tmp_path / "weights", near_identity(architecture, seed=1), name="other_x2_bilinear",
        architecture=architecture, scale=2, kernel="bilinear", protocol="opencv",
    )  # fmt: skip


def rows_of(output, run_id) -> pd.DataFrame:
    rows = pd.read_parquet(output / "metrics" / f"run_id={run_id}")
    return rows.set_index("relative_path").sort_index()


def test_comparison_of_two_weights_equals_pandas(run_job, folder, other_weights, capfd, tmp_path):
    run_job("--input", f"{folder}/*.png", "--run_id", "a")
    job = run_job("--input", f"{folder}/*.png", "--run_id", "b", "--weights", other_weights)
    a, b = (rows_of(job.output, run) for run in "ab")
    store = OutputStore(str(job.output), "")
    found = compare(store, find_run(store, "a"), find_run(store, "b"))
    difference = (b.psnr_enhanced - a.psnr_enhanced).sort_values()
    assert list(found.images.relative_path) == list(difference.index)
    np.testing.assert_array_equal(found.images.difference, difference)
    for name in ("psnr_enhanced", "psnr_gain", "ssim_enhanced", "psnr_y_enhanced"):
        expected = (a[name].mean(), b[name].mean(), (b[name] - a[name]).mean())
        assert found.means[name] == pytest.approx(expected, abs=1e-12)
    assert set(found.settings) >= {"model.name", "model.weights_sha256", "weights"}
    mean, worst = difference.mean(), difference.min()
    assert gates(found, mean - 1e-6, -worst + 1e-6) == []
    assert len(gates(found, mean + 1e-6, None)) == 1
    assert len(gates(found, None, -worst - 1e-6)) == 1 or worst > 0

    csv = tmp_path / "differences.csv"
    words = ["compare", "a", "b", "--csv", str(csv), "--min_psnr_gain", str(mean + 1)]
    capfd.readouterr()
    assert history.main([str(job.output), *words]) == 5
    out, err = capfd.readouterr()
    assert f"{mean:+12.4f}" in out
    assert err.startswith("gate failed: mean psnr_enhanced changes by")
    # Names and settings hold paths of any length.
    table = out[out.index("mean over images of both") : out.index("settings that differ")]
    assert max(map(len, table.splitlines())) <= 80
    np.testing.assert_allclose(pd.read_csv(csv).difference, difference, rtol=1e-12)
    assert history.main([str(job.output), "--json", "compare", "previous", "latest"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert (content["a"], content["b"]) == ("a", "b")
    assert content["means"]["psnr_gain"][2] == pytest.approx((b.psnr_gain - a.psnr_gain).mean())


def test_skipped_images_are_compared_by_their_written_rows(run_job, folder, photo):
    run_job("--input", f"{folder}/*.png", "--run_id", "a")
    good = (folder / "01.png").read_bytes()
    write_images(folder, {"new.png": photo[:30, :30], "02.png": photo[50:90, :50]})
    (folder / "01.png").write_bytes(good[:60])
    (folder / "03.png").unlink()
    job = run_job("--input", f"{folder}/*.png", "--run_id", "b")
    (folder / "01.png").write_bytes(good)
    run_job("--input", f"{folder}/*.png", "--run_id", "c")
    store = OutputStore(str(job.output), "")
    runs = {run.run_id: run for run in list_runs(store)}
    ab = compare(store, runs["a"], runs["b"])
    assert (ab.appeared, ab.vanished) == (["new.png"], ["03.png"])
    assert (ab.newly_failed, ab.newly_written) == (["01.png"], [])
    changed = ab.images[ab.images.difference != 0]
    assert list(changed.relative_path) == ["02.png"]
    assert len(ab.images) == 6, "the skipped ones have their figures"
    assert "1 images failed" in gates(ab, None, 100.0)[0]
    bc = compare(store, runs["b"], runs["c"])
    assert (bc.newly_failed, bc.newly_written) == ([], ["01.png"])
    assert (bc.images.difference == 0).all()
    assert gates(bc, 0.0, 0.0) == []


def test_runs_with_different_measurements_are_not_compared(run_job, folder, capfd):
    run_job("--input", f"{folder}/*.png", "--run_id", "a")
    job = run_job("--input", f"{folder}/*.png", "--run_id", "b", "--protocol", "matlab",
                  "--kernel", "bicubic")  # fmt: skip
    capfd.readouterr()
    assert history.main([str(job.output), "compare", "a", "b"]) == 2
    assert "protocol is 'opencv' in a and 'matlab' in b" in capfd.readouterr().err


def test_infinite_figures_count_as_equal_or_are_left_out(tmp_path):
    def rows(*values):
        return pd.DataFrame(
            {"relative_path": [f"{i}.png" for i in range(len(values))], "source_uri": "x",
             "status": "written", "psnr_enhanced": values}
        )  # fmt: skip

    a, b = rows(30.0, math.inf, math.inf, 20.0, None), rows(31.0, math.inf, 40.0, math.inf, 10.0)
    found = compare_rows(a, b, PSNR, {})
    differences = dict(zip(found.images.relative_path, found.images.difference, strict=True))
    assert differences == {"0.png": 1.0, "1.png": 0.0, "2.png": -math.inf, "3.png": math.inf}
    assert found.means["psnr_enhanced"] == (30.0, 31.0, 1.0)
    assert found.infinite == 3
    assert "-inf" in gates(found, None, 1.0)[0]


def test_equal_paths_of_different_sources_are_distinguished(tmp_path):
    names = {"relative_path": ["x.png", "x.png"], "source_uri": ["a/x.png", "b/x.png"]}
    a = pd.DataFrame(names | {"status": "written", "psnr_enhanced": [10.0, 20.0]})
    b = pd.DataFrame(names | {"status": "written", "psnr_enhanced": [11.0, 19.0]})
    assert list(compare_rows(a, b, PSNR, {}).images.difference) == [-1.0, 1.0]


def test_list_shows_the_state_of_each_run(run_job, folder, capfd):
    job = run_job("--input", f"{folder}/*.png", "--run_id", "a")
    for name, manifest in (("b", "{"), ("c", '{"state": 1}')):
        (job.output / "runs" / name).mkdir()
        (job.output / "runs" / name / "manifest.json").write_text(manifest)
    second = run_job("--input", f"{folder}/*.png", "--run_id", "d")
    manifest = second.output / "runs/d/manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"interrupted"'))
    capfd.readouterr()
    assert history.main([str(job.output)]) == 0
    out = capfd.readouterr().out
    lines = {line.split()[0]: line.split() for line in out.splitlines()[1:] if line}
    assert lines["a"][1:5] == ["complete", "8", "0", "0"]
    assert [lines[n][1] for n in "bcd"] == ["damaged", "damaged", "interrupted"]
    assert max(map(len, out.splitlines())) <= 80
    assert history.main([str(job.output), "--limit", "1", "--json"]) == 0
    assert [run["run_id"] for run in json.loads(capfd.readouterr().out)] == ["d"]


@pytest.mark.parametrize("name", ["nothing", "a-", "latest"])
def test_unknown_runs_are_refused_listing_the_existing_ones(tmp_path, name, capfd):
    store = OutputStore(str(tmp_path), "")
    for run_id in ("a-1", "a-2"):
        store.write(f"runs/{run_id}/manifest.json", b"{}")
    assert history.main([str(tmp_path), "compare", name, "a-1"]) == 2
    assert "a-1, a-2" in capfd.readouterr().err


def test_output_without_runs_is_reported(tmp_path, capfd):
    assert history.main([str(tmp_path)]) == 2
    assert "has no runs" in capfd.readouterr().err
