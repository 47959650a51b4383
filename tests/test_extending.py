"""Executes each block of docs/extending.md, and runs the job with its additions."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, write_images

import run_pipeline
from pipeline import history
from pipeline.runners import table
from srcnn import load_model
from srcnn.architectures import ARCHITECTURES
from srcnn.degradations import STEPS
from srcnn.figures import FIGURES
from srcnn.train import main as train

TEXT = (ROOT / "docs/extending.md").read_text()
SECTION = re.compile(r"^## (.+?)\n.*?```python\n(.+?)```", re.DOTALL | re.MULTILINE)
BLOCKS = dict(SECTION.findall(TEXT))
MOST_LINES = 30


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Removes a test's additions afterwards."""
    monkeypatch.setattr(table, "RUNNERS", table.RUNNERS)
    before = [(entries, dict(entries)) for entries in (ARCHITECTURES, STEPS, FIGURES)]
    yield
    for entries, old in before:
        entries.clear()
        entries.update(old)


@pytest.fixture
def folder(tmp_path, photo):
    write_images(tmp_path / "in", {f"{i}.png": photo[i * 70 : i * 70 + 61, :75] for i in range(3)})
    return tmp_path / "in"


def add(section: str) -> None:
    assert len(BLOCKS[section].splitlines()) <= MOST_LINES
    exec(compile(BLOCKS[section], f"docs/extending.md: {section}", "exec"), {"__name__": "added"})


def check_outputs(job, name: str, capfd) -> str:
    """Row, summary, page, comparison, history and dry run; returns the page."""
    assert job.code == 0, job.err
    assert (job.rows.status == "written").all()
    assert job.summary["counts"]["written"] == 3
    assert list((job.output / "comparisons").glob("*.png"))
    page = (job.run / "index.html").read_text()
    capfd.readouterr()
    assert history.main([str(job.output)]) == 0
    listed = capfd.readouterr().out
    assert name in job.out + page + listed
    return page


def test_every_section_of_the_page_is_executed_by_a_test():
    assert len(BLOCKS) == TEXT.count("```python") == TEXT.count("\n## ") == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("A network on the interpolated picture", "srcnn-713"),
        ("A network on the small picture", "subpixel-tiny"),
    ],
)
def test_documented_network_is_trained_and_runs_in_the_job(
    run_job, folder, tmp_path, capfd, photo, section, name
):
    add(section)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"scale: 2\nkernel: bilinear\nsteps: 12\nbatch: 2\ncrop: 24\ncheckpoint_every: 4\n"
        f"validate_every: 12\noutput: {tmp_path}/out\nimages: ['{folder}/*.png']\n"
    )
    assert train(["--config", str(config), "--architecture", name]) == 0
    weights = tmp_path / f"out/{name}_x2_bilinear.weights.h5"
    words = ["--input", f"{folder}/*.png", "--weights", weights, "--comparisons", 2]
    job = run_job(*words, output=tmp_path / "job")
    check_outputs(job, name, capfd)
    assert set(job.rows.model) == {f"{name}_x2_bilinear"}
    restored = load_model(weights).enlarge(photo[:20, :30])
    assert restored.shape == (40, 60, 3) and restored.dtype == np.uint8
    assert run_pipeline.main([*map(str, words), "--output", f"{tmp_path}/none", "--dry_run"]) == 0
    assert not (tmp_path / "none").exists()


def test_documented_degradation_step_is_drawn_for_each_image(run_job, folder, tmp_path, capfd):
    add("A degradation step")
    words = ["--input", f"{folder}/*.png", "--comparisons", 2]
    plain = run_job(*words, output=tmp_path / "plain")
    words += ["--degrade", "contrast=0.5..0.9 shrink"]
    job = run_job(*words, output=tmp_path / "job")
    check_outputs(job, "contrast=0.5..0.9 shrink", capfd)
    drawn = job.rows.degradation
    assert drawn.is_unique and drawn.str.fullmatch(r"contrast=0\.\d+ shrink").all()
    assert (job.rows.psnr_degraded < plain.rows.psnr_degraded).all()
    assert set(plain.rows.degradation) == {"shrink"}
    again = run_job(*words, output=tmp_path / "again")
    figures = ["psnr_degraded", "psnr_enhanced", "degradation"]
    pd.testing.assert_frame_equal(job.rows[figures], again.rows[figures])
    other = run_job(*words, "--seed", 1, output=tmp_path / "other")
    assert (other.rows.degradation != drawn).all()


@pytest.mark.parametrize(
    ("section", "mode", "column"),
    [
        ("A figure with a reference", "evaluate", "mae_enhanced"),
        ("A figure without a reference", "restore", "sharpness"),
    ],
)
def test_documented_figure_is_shown_everywhere(run_job, folder, capfd, section, mode, column):
    add(section)
    title = "MAE" if mode == "evaluate" else "sharpness"
    job = run_job("--mode", mode, "--input", f"{folder}/*.png", "--comparisons", 2)
    page = check_outputs(job, title, capfd)
    assert job.rows[column].notna().all()
    assert job.summary["means"][column]["mean"] == pytest.approx(job.rows[column].mean())
    assert title in page and title in job.out


def test_documented_runner_is_found_by_name(run_job, folder, tmp_path, capfd):
    add("A runner")
    words = ["--input", f"{folder}/*.png", "--comparisons", 2]
    job = run_job(*words, "--runner", "SingleThread", output=tmp_path / "one")
    check_outputs(job, "3 written", capfd)
    local = run_job(*words, output=tmp_path / "local")
    for name in job.rows.index:
        one, other = ((out / "images" / name).read_bytes() for out in (job.output, local.output))
        assert one == other
