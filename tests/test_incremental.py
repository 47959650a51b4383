"""Repeated runs restore new and changed images and skip the others."""

import glob
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import Outcome, files_below, near_identity, run_in_process, write_images
from hypothesis import given
from hypothesis import strategies as st
from support import quick

from pipeline.config import JobConfig, load_config
from pipeline.job import prepare_job
from pipeline.reporting import report
from srcnn.architectures import Architecture, ConvLayer
from srcnn.degradations import STEPS, StepKind
from srcnn.weights import save_weights
from storage.errors import OutputFullError
from storage.store import OutputStore
from transforms.done import PastRow, change_of, last_written, matches
from transforms.records import ImageRef

COUNT = 12


class Nights:
    """Runs the job over a folder, night after night.

    Attributes:
      folder: the sources.
      output: where all nights write.
    """

    def __init__(self, run: Callable[..., Outcome], root: Path, begun: int = 0):
        self.folder, self.output = root / "in", root / "out"
        self._run, self._number = run, begun

    def __call__(self, *arguments) -> tuple[Outcome, pd.DataFrame, dict]:
        """Runs the next night; returns its outcome, rows and summary."""
        night = f"night-{self._number}"
        self._number += 1
        pattern = f"{self.folder}/*.png"
        job = self._run("--input", pattern, "--run_id", night, *arguments, output=self.output)
        return job, self.rows(night), self.summary(night)

    def rows(self, night: str) -> pd.DataFrame:
        path = self.output / f"metrics/run_id={night}"
        if not path.exists():
            return pd.DataFrame()
        return pd.read_parquet(path).set_index("relative_path").sort_index()

    def summary(self, night: str) -> dict:
        path = self.output / "runs" / night / "summary.json"
        return json.loads(path.read_text()) if path.exists() else {}


def write_folder(root: Path, photo) -> None:
    write_images(root / "in", {f"{i:03}.png": photo[i : i + 40, :50] for i in range(COUNT)})


@pytest.fixture
def night(run_job, tmp_path, photo) -> Nights:
    """Before the first night."""
    write_folder(tmp_path, photo)
    return Nights(run_job, tmp_path)


@pytest.fixture
def folder(night) -> Path:
    return night.folder


@pytest.fixture(scope="module")
def first_night(tmp_path_factory, photo, tiny_weights) -> tuple[Path, Path]:
    """A folder with the output of a first night, and a copy of it."""
    root = tmp_path_factory.mktemp("nights")
    write_folder(root / "now", photo)
    options = ("--weights", tiny_weights, "--comparisons", "none")
    job, _, _ = Nights(partial(run_in_process, *options), root / "now")()
    assert job.code == 0, job.err
    shutil.copytree(root / "now", root / "kept")
    return root / "now", root / "kept"


@pytest.fixture
def done(run_job, first_night) -> Nights:
    """After a complete first night, night-0."""
    now, kept = first_night
    shutil.rmtree(now)
    shutil.copytree(kept, now)
    return Nights(run_job, now, begun=1)


def contents(directory) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in files_below(directory)}


def times(directory) -> dict[str, int]:
    return {name: (directory / name).stat().st_mtime_ns for name in files_below(directory)}


def test_second_run_skips_everything_and_reports_it(done):
    before = times(done.output / "images")
    job, rows, totals = done()
    assert job.code == 0
    assert times(job.output / "images") == before
    assert totals["counts"] == {"matched": COUNT, "written": 0, "skipped": COUNT, "failed": 0}
    assert set(rows.status) == {"skipped"}
    assert set(rows.change) == {"unchanged"}
    assert set(rows.done_run_id) == {"night-0"}
    assert rows.engine.isna().all(), "no engine was at work"
    assert "nothing, all is done" in job.out
    _, rows, _ = done()
    assert set(rows.done_run_id) == {"night-0"}, "the run that wrote them, not one that skipped"


def test_new_changed_and_removed_sources_are_distinguished(done, photo):
    folder, first = done.folder, done.rows("night-0")
    write_images(folder, {f"new-{i}.png": photo[:30, i : i + 30] for i in range(4)})
    write_images(folder, {"003.png": photo[100:140, :50], "005.png": photo[100:150, :50]})
    for name in ("007.png", "008.png"):
        (folder / name).unlink()
    before = times(done.output / "images")
    job, rows, totals = done()
    assert job.code == 0
    assert totals["counts"] == {"matched": 14, "written": 6, "skipped": 8, "failed": 0}
    assert totals["changes"] == {"new": 4, "source changed": 2}
    assert totals["source_gone"]["vanished"] == 2
    assert "4 new, 2 source changed" in job.out
    assert "2 results whose source is gone" in job.out
    vanished = rows[rows.status == "vanished"]
    assert list(vanished.index) == ["007.png", "008.png"]
    assert set(vanished.done_run_id) == {"night-0"}
    after = times(job.output / "images")
    assert {name for name in after if after[name] != before.get(name)} == {
        "003.png", "005.png", "new-0.png", "new-1.png", "new-2.png", "new-3.png",
    }  # fmt: skip
    assert rows.loc["005.png", "height"] == 50
    assert first.loc["005.png", "height"] == 40


def test_prune_removes_results_of_removed_sources_as_announced_by_the_dry_run(done):
    comparison = done.output / "comparisons/007.png.png"
    comparison.parent.mkdir()
    comparison.touch()
    (done.folder / "007.png").unlink()
    before = contents(done.output)
    plan, _, _ = done("--prune", "--dry_run")
    assert f"would be removed, its source is gone: {done.output}/images/007.png" in plan.out
    assert contents(done.output) == before
    _, rows, totals = done("--prune")
    assert totals["source_gone"] == {
        "vanished": 0, "pruned": 1, "examples": [f"{done.output}/images/007.png"],
    }  # fmt: skip
    assert rows.loc["007.png", "status"] == "pruned"
    assert files_below(done.output / "images") == files_below(done.folder)
    assert not comparison.exists()
    _, rows, totals = done("--prune")
    assert totals["source_gone"]["pruned"] == 0
    assert "007.png" not in rows.index


def test_results_of_other_inputs_are_not_reported_as_vanished(run_job, done, tmp_path, photo):
    write_images(tmp_path / "other", {"x.png": photo[:30, :30]})
    (done.folder / "001.png").unlink()
    job = run_job("--input", f"{tmp_path}/other/*.png", "--prune", output=done.output)
    assert (done.output / "images/001.png").exists()
    assert "gone" not in job.out


CHANGES_PIXELS = {
    "mode": "restore", "scale": 3, "kernel": "area", "protocol": "matlab", "border": "shave",
    "output_format": "png", "quality": 80, "metadata": "strip", "degrade": "nothing shrink",
    "strength": 0.5, "ensemble": True, "fit": "9x9",
}  # fmt: skip
CHANGES_NO_PIXEL = {
    "input_list": "a.txt", "engine": "tensorflow", "engine_threads": 2, "tile": 64,
    "compression": 9, "comparisons": 3, "run_id": "x", "force": True, "retry_failed": True,
    "prune": True, "take_over": True, "fail_on_empty": True, "max_failures": "1%",
    "max_megapixels": 9, "max_seconds": 9, "seed": 1, "skip_above": "8MP",
    "without": "niqe",
}  # fmt: skip
CHANGES_SHARDS = {
    "image_column": "jpg", "shards": "none", "figures_in": "shards", "on_failure": "drop",
}  # fmt: skip
RESTORE_ONLY = {"fit", "without"}
PLACES = {"input", "input_root", "output", "model", "weights"}


def test_fingerprint_covers_exactly_the_settings_that_change_pixels(tiny_weights, monkeypatch):
    assert {*CHANGES_PIXELS, *CHANGES_NO_PIXEL, *CHANGES_SHARDS, *PLACES} == set(
        JobConfig.model_fields
    )
    monkeypatch.setitem(STEPS, "nothing", StepKind(lambda picture, *_: picture))
    given = {"input": "a.png", "output": "out", "weights": str(tiny_weights)}
    evaluated = prepare_job(load_config(given))
    restored = prepare_job(load_config(given | {"mode": "restore"}))
    of_shards = {*CHANGES_PIXELS, *CHANGES_SHARDS, "skip_above"}
    for name, value in (CHANGES_PIXELS | CHANGES_NO_PIXEL | CHANGES_SHARDS).items():
        job = restored if name in RESTORE_ONLY else evaluated
        mode = {"mode": job.config.mode} if name in RESTORE_ONLY else {}
        changed = replace(job, config=load_config(given | mode | {name: value}))
        assert (changed.fingerprint != job.fingerprint) == (name in CHANGES_PIXELS), name
        assert (changed.shard_fingerprint != job.shard_fingerprint) == (name in of_shards), name
    chains = [load_config(given | {"degrade": "nothing shrink", "seed": seed}) for seed in (0, 1)]
    assert len({replace(job, config=chain).fingerprint for chain in chains}) == 2


def test_changed_pixel_settings_redo_every_image(done):
    _, rows, _ = done("--border", "shave")
    assert set(rows.status) == {"written"}
    assert set(rows.change) == {"settings changed"}
    _, rows, _ = done()
    assert set(rows.change) == {"settings changed"}, "the files are now those of the other settings"


def test_other_changed_settings_redo_nothing(done):
    _, rows, _ = done("--tile", 64, "--comparisons", 3, "--direct_num_workers", 1)
    assert set(rows.status) == {"skipped"}


def test_new_weights_redo_every_image(done, tmp_path):
    layers = tuple(ConvLayer(kernel=k, filters=f) for k, f in ((5, 4), (1, 3), (3, 1)))
    architecture = Architecture(name="tiny-513", layers=layers)
    other = save_weights(
        tmp_path / "weights", near_identity(architecture, seed=1), name="other_x2_bilinear",
        architecture=architecture, scale=2, kernel="bilinear", protocol="opencv",
    )  # fmt: skip
    first = done.rows("night-0")
    _, second, _ = done("--weights", other)
    assert set(second.change) == {"settings changed"}
    assert (second.psnr_enhanced != first.psnr_enhanced).all()
    pd.testing.assert_series_equal(second.psnr_degraded, first.psnr_degraded)


def test_missing_and_damaged_results_are_regenerated(done):
    whole = contents(done.output / "images")
    (done.output / "images/002.png").unlink()
    (done.output / "images/004.png").write_bytes(b"cut")
    _, rows, _ = done()
    assert set(rows.index[rows.status == "written"]) == {"002.png", "004.png"}
    assert set(rows.change[rows.status == "written"]) == {"output missing"}
    assert contents(done.output / "images") == whole


def test_force_redoes_every_image(done):
    _, rows, _ = done("--force")
    assert set(rows.status) == {"written"}
    assert set(rows.change) == {"forced"}


def test_failed_images_are_retried_and_retry_failed_does_only_those(night, folder, photo):
    good = (folder / "001.png").read_bytes()
    for name in ("001.png", "002.png"):
        (folder / name).write_bytes(good[:50])
    job, rows, _ = night()
    assert job.code == 3
    assert rows.loc["001.png", "status"] == "failed"
    _, rows, _ = night()
    assert set(rows.index[rows.status == "failed"]) == {"001.png", "002.png"}
    assert set(rows.change[rows.status == "failed"]) == {"failed before"}
    (folder / "001.png").write_bytes(good)
    write_images(folder, {"new.png": photo[:30, :30]})
    job, rows, totals = night("--retry_failed")
    assert rows.loc["001.png", "status"] == "written"
    assert rows.loc["002.png", "status"] == "failed"
    assert (rows.loc["new.png", "status"], rows.loc["new.png", "change"]) == ("skipped", "new")
    assert not (job.output / "images/new.png").exists()
    assert totals["counts"] == {
        "matched": COUNT + 1, "written": 1, "skipped": COUNT - 1, "failed": 1,
    }  # fmt: skip


def test_changed_source_that_fails_is_not_skipped_afterwards(done):
    path = done.folder / "001.png"
    path.write_bytes(path.read_bytes()[:50])
    _, rows, _ = done()
    assert rows.loc["001.png", "status"] == "failed"
    _, rows, _ = done()
    assert (rows.loc["001.png", "status"], rows.loc["001.png", "change"]) == (
        "failed", "source changed",
    )  # fmt: skip


def test_non_unicode_names_are_recognised_by_the_next_run(run_job, tmp_path, photo):
    name = os.fsdecode(b"in/caf\xe9.png")
    write_images(tmp_path / "in", {"plain.png": photo[:30, :30]})
    os.rename(tmp_path / "in/plain.png", tmp_path / name)
    run_job("--input", f"{tmp_path}/in/*.png", "--run_id", "a")
    job = run_job("--input", f"{tmp_path}/in/*.png", "--run_id", "b")
    assert list(job.rows[job.rows.run_id == "b"].status) == ["skipped"]


def test_dry_run_reports_new_images(done, photo):
    write_images(done.folder, {"new.png": photo[:30, :30]})
    before = contents(done.output)
    plan, _, _ = done("--dry_run")
    assert "new.png  30 x 30" in plan.out
    assert "000.png" not in plan.out
    assert f"to restore: 1 new; {COUNT} would be skipped" in plan.out
    assert contents(done.output) == before


def test_run_id_cannot_be_reused(done):
    job, _, _ = done("--run_id", "night-0")
    assert job.code == 2
    assert "run_id: 'night-0' already exists" in job.err


def test_fail_on_empty_refuses_a_glob_that_matches_nothing(run_job, folder, tmp_path):
    arguments = ("--input", f"{folder}/*.png", "--input", f"{folder}/*.jpg")
    job = run_job(*arguments, "--fail_on_empty", output=tmp_path / "none")
    assert job.code == 4
    assert "*.jpg" in job.err
    assert not (tmp_path / "none").exists()


def test_force_and_retry_failed_contradict_each_other(run_job, folder):
    job = run_job("--input", f"{folder}/*.png", "--force", "--retry_failed")
    assert (job.code, job.output.exists()) == (2, False)
    assert "contradicts" in job.err


def test_rows_survive_a_crash_at_the_end_of_a_run(night, monkeypatch):
    def crash(*_):
        raise RuntimeError("at the worst moment")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.conclude.compact_journal", crash)
        job, rows, _ = night()
    assert job.code == 1
    assert rows.empty
    assert OutputStore(str(job.output), "").glob("runs/night-0/rows/*.parquet")
    plan, _, _ = night("--dry_run")
    assert f"to restore: nothing; {COUNT} would be skipped" in plan.out
    job, rows, _ = night()
    assert set(rows.status) == {"skipped"}
    assert set(rows.done_run_id) == {"night-0"}
    history = pd.read_parquet(job.output / "metrics")
    assert list(history[history.status == "written"].relative_path) == sorted(
        f"{i:03}.png" for i in range(COUNT)
    )
    assert not (job.output / "runs/night-0/rows").exists()


def test_run_killed_while_concluding_is_concluded_by_the_next(night, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.conclude.remove_journal", lambda *_: None)
        job, _, _ = night()
    (job.output / "runs/night-0/_SUCCESS").unlink()
    manifest = job.output / "runs/night-0/manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    job, rows, _ = night()
    assert set(rows.status) == {"skipped"}
    assert '"interrupted"' in manifest.read_text()
    assert len(pd.read_parquet(job.output / "metrics/run_id=night-0")) == COUNT


def test_truncated_journal_files_are_left_out(night, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.conclude.compact_journal", lambda *_: 1 / 0)
        job, _, _ = night("--direct_num_workers", "1")
    parts = sorted((job.output / "runs/night-0/rows").iterdir())
    report.pq.write_table(report.pq.read_table(parts[0]).slice(1), parts[0])
    (parts[0].parent / "cut.parquet").write_bytes(b"")
    (parts[0].parent / "half.parquet").write_bytes(parts[0].read_bytes()[:-9])
    job, rows, totals = night()
    assert job.code == 0
    assert totals["counts"] == {
        "matched": COUNT, "written": 1, "skipped": COUNT - 1, "failed": 0,
    }  # fmt: skip


def test_damaged_report_ends_the_run_with_a_remedy(done):
    (path,) = (done.output / "metrics/run_id=night-0").iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    job, _, _ = done()
    assert job.code == 1
    last = job.err.splitlines()[-1]
    assert last.startswith(f"error: the report of an earlier run is damaged: {path}")
    assert last.endswith("move it away and run it again: its images are restored again")
    assert "Traceback" not in job.err
    path.unlink()
    assert done()[0].code == 0


def test_crash_prints_one_line_and_keeps_its_traceback(night, monkeypatch):
    def crash(*_):
        raise KeyError("nobody thought of this")

    monkeypatch.setattr("transforms.write.encode_image", crash)
    job, _, _ = night()
    assert job.code == 1
    assert "Traceback" not in job.err
    last = job.err.splitlines()[-1]
    assert last.startswith("error: the job crashed: KeyError: ")
    assert "nobody thought of this" in last
    path = job.output / "runs/night-0/traceback.txt"
    assert str(path) in last
    assert "Traceback" in path.read_text()
    job, _, _ = night("--verbose")
    assert "Traceback" in job.err


def test_full_disk_ends_the_run_and_the_next_completes_it(night, monkeypatch, tmp_path):
    store_write, written = OutputStore.write, []

    def write(store, path, content):
        if path.startswith("images/"):
            written.append(path)
            if len(written) > 5:
                raise OutputFullError(f"output: {store.root!r}: No space left on device")
        return store_write(store, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(OutputStore, "write", write)
        job, _, _ = night()
    assert job.code == 1
    assert job.err.splitlines()[-1] == (
        f"error: output: '{job.output}': No space left on device; free some space and run it again"
    )
    assert '"state": "failed"' in (job.output / "runs/night-0/manifest.json").read_text()
    for path in (job.output / "images").rglob("*.png"):
        assert cv2.imread(str(path)) is not None
    job, rows, _ = night()
    assert job.code == 0
    history = pd.read_parquet(job.output / "metrics")
    assert (history[history.status == "written"].relative_path.value_counts() == 1).all()
    assert len(files_below(job.output / "images")) == COUNT


def test_old_rows_without_newer_columns_are_read(done):
    (path,) = (done.output / "metrics/run_id=night-0").iterdir()
    table = report.pq.read_table(path).drop_columns(["fingerprint", "output_path", "change"])
    report.pq.write_table(table, path)
    _, rows, _ = done()
    assert set(rows.change) == {"settings changed"}


# The rule that decides on a change

REF = ImageRef("in/a.png", "a.png", "a.png", 7, 1.0, 0)


def past(status="written", finished=0.0, **changes) -> PastRow:
    values = {
        "run_id": "r", "source_uri": "in/a.png", "relative_path": "a.png", "source_bytes": 7,
        "source_modified": 1.0, "same_settings": True, "output_path": "a.png", "output_bytes": 9,
    }  # fmt: skip
    return PastRow(status=status, finished=finished, **values | changes)


@pytest.mark.parametrize(
    ("rows", "size", "change"),
    [
        ([], None, "new"),
        ([], 9, "new"),
        ([past()], 9, "unchanged"),
        ([past()], None, "output missing"),
        ([past()], 8, "output missing"),
        ([past(source_bytes=8)], 9, "source changed"),
        ([past(source_modified=2.0)], 9, "source changed"),
        ([past(source_uri="other/a.png")], 9, "source changed"),
        ([past(same_settings=False)], 9, "settings changed"),
        ([past("failed")], None, "failed before"),
        ([past("pruned")], None, "new"),
        ([past(), past("pruned", 1.0)], 9, "new"),
        ([past("pruned", 1.0), past(finished=2.0)], 9, "unchanged"),
        ([past(), past("failed", 1.0)], 9, "unchanged"),
        ([past(finished=1.0), past(finished=2.0, same_settings=False)], 9, "settings changed"),
        ([past(finished=2.0), past(finished=1.0, same_settings=False)], 9, "unchanged"),
    ],
)
def test_change_follows_from_the_last_rows_and_the_size_of_the_result(rows, size, change):
    assert change_of(REF, rows, size) == change
    assert change_of(REF, rows[::-1], size) == change


def test_last_written_row_describes_the_file():
    assert last_written([]) is None
    assert last_written([past("failed")]) is None
    assert last_written([past(finished=2.0, run_id="b"), past(run_id="a")]).run_id == "b"


@pytest.mark.parametrize(
    ("pattern", "uri", "matching"),
    [
        ("in/*.png", "in/a.png", True),
        ("in/*.png", "in/b/a.png", False),
        ("in/*.png", "out/a.png", False),
        ("in/**/*.png", "in/a.png", True),
        ("in/**/*.png", "in/b/c/a.png", True),
        ("in/**/x/*.png", "in/b/c/a.png", False),
        ("in/**/x/**/*.png", "in/b/x/c/a.png", True),
        ("in/**", "in/b/a.png", True),
        ("/data/a.png", "/data/a.png", True),
        ("s3://b/in/**/*.png", "s3://b/in/x/a.png", True),
        ("in/[ab]?.png", "in/a1.png", True),
    ],
)
def test_pattern_matching_equals_globbing(pattern, uri, matching):
    assert matches(pattern, uri) == matching


@quick
@given(st.lists(st.sampled_from(["a", "b.png", "**", "*"]), min_size=1, max_size=5), st.data())
def test_random_patterns_match_exactly_the_globbed_paths(tmp_path_factory, pattern, data):
    root = tmp_path_factory.mktemp("tree")
    parts = data.draw(st.lists(st.sampled_from(["a", "b.png", "c"]), min_size=1, max_size=4))
    path = Path(root, *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = glob.glob("/".join(pattern), root_dir=root, recursive=True)
    if pattern[-1] != "**":
        assert matches("/".join(pattern), "/".join(parts)) == ("/".join(parts) in found)
