"""Odd names, links and trees in the whole job."""

import errno
import os
import subprocess
import unicodedata
from pathlib import Path

import cv2
import pandas as pd
import pyarrow.dataset
import pytest
from conftest import files_below, write_images

from pipeline.preflight import _names_fold
from storage.store import open_file

ODD = (
    "with space.png", " .png ", "üñï.png", "per%41cent#hash?.png", "$x$ & <b>.png", "-rf.png",
    "--output.png", "..x.png", "...", "~.png", "a\\b.png", "it's \"it\".png", "日本\u3000語.png",
    "two\nlines.png", "tab\tbell\a.png", "\x1b[31mred\x1b[0m.png", "\u202egnp.png", "[a]*.png",
    os.fsdecode(b"not-\xff-unicode.png"), os.fsdecode(b"dir-\xfe/\xff.png"), "new\nline/a.png",
    "n" * 251 + ".png",
)  # fmt: skip


@pytest.fixture
def small(photo):
    return photo[40:80, 100:150]


def write_under(directory, names, image):
    """Writes the image as plain.png and under names that OpenCV cannot write."""
    content = cv2.imencode(".png", image)[1].tobytes()
    for name in ("plain.png", *names):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def snapshot(directory) -> dict[str, tuple]:
    """Everything below a directory: names, link targets, contents, times."""
    return {
        str(path): (
            os.readlink(path) if path.is_symlink() else None,
            path.read_bytes() if path.is_file() else None,
            path.lstat().st_mtime_ns,
        )
        for path in directory.rglob("*")
    }


def test_odd_names_pass_through_the_whole_job(run_job, tmp_path, small, recwarn):
    write_under(tmp_path / "in", ODD, small)
    (tmp_path / "in" / "bad\n\x1b[31m.png").touch()
    before = snapshot(tmp_path / "in")
    arguments = ("--input", f"{tmp_path}/in/**", "--input", f"{tmp_path}/in/.*")
    output = tmp_path / "o\nut"
    plan = run_job(*arguments, "--dry_run", output=output)
    job = run_job(*arguments, output=output)
    drawn = run_job("--input", f"{tmp_path}/in/*[\a\x1b\u202e\udcff]*", "--comparisons", "all")
    assert (plan.code, job.code, drawn.code) == (0, 3, 3), job.err
    assert len(files_below(drawn.output / "comparisons")) == 3, "a name not Unicode is escaped"
    assert not [w for w in recwarn if "missing from font" in str(w.message)]
    shown = plan.out + job.out + job.err + drawn.out + drawn.err
    assert not [c for c in shown if not c.isprintable() and c != "\n"]
    (line,) = [line for line in plan.out.splitlines() if "would fail" in line]
    assert line.endswith("/in/bad\\n\\x1b[31m.png: the file is empty")
    assert any(line.endswith("/in/bad\\n\\x1b[31m.png") for line in job.out.splitlines())
    written = {name if name.lower().endswith(".png") else name + ".png" for name in ODD}
    assert files_below(output / "images") == {*written, "plain.png"}
    assert snapshot(tmp_path / "in") == before
    table = pyarrow.dataset.dataset(output / "metrics").to_table()
    table.validate(full=True)  # UTF-8, too
    reported = set(table["relative_path"].to_pylist())
    escaped = {name.encode("utf-8", "backslashreplace").decode() for name in ODD}
    assert reported == {*escaped, "plain.png", "bad\n\x1b[31m.png"}


def test_non_unicode_directory_names_pass_through_the_job(run_job, tmp_path, small, monkeypatch):
    odd = os.fsdecode(b"\xff\xfe")
    write_under(tmp_path / odd, ["a.png"], small)
    job = run_job("--input", tmp_path / odd / "a.png", output=tmp_path / f"out{odd}")
    assert job.code == 0, job.err
    assert files_below(job.output / "images") == {"a.png"}
    monkeypatch.chdir(job.output)  # pandas cannot open its name
    (uri,) = pd.read_parquet("metrics").source_uri
    assert uri.endswith("/\\udcff\\udcfe/a.png")


def test_link_loops_and_unreadable_files_become_rows(run_job, tmp_path, small, monkeypatch):
    folder = tmp_path / "in"
    write_under(folder, ["sub/a.png", "locked/b.png", "n" * 251 + ".gif"], small)
    write_under(tmp_path / "elsewhere", ["c.png"], small)
    (folder / "sub/up").symlink_to("..")
    (folder / "sub/here.png").symlink_to("here.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "file.png").symlink_to(tmp_path / "elsewhere/c.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    arguments = ("--input", f"{folder}/**/*.png", "--input", f"{folder}/*.gif")
    plan = run_job(*arguments, "--dry_run")
    assert f"would fail: {folder}/locked: Permission denied" in plan.out
    assert "8 images matched" in plan.out
    job = run_job(*arguments)
    assert job.code == 3
    rows = job.rows
    assert set(rows.index[rows.status == "written"]) == {
        "sub/a.png", "linked/c.png", "linked/plain.png", "file.png", "plain.png",
    }  # fmt: skip
    failed = rows[rows.status == "failed"]
    assert dict(zip(failed.index, failed.stage + ": " + failed.error_message, strict=True)) == {
        "locked": "match: Permission denied",
        "sub/here.png": "read: Too many levels of symbolic links",
        "n" * 251 + ".gif": (
            "write: the result's name or path is too long for the file system of the output"
        ),
    }
    assert job.summary["counts"]["matched"] == len(rows) == 8


def test_tree_deeper_than_path_max_becomes_a_row(run_job, tmp_path, small, monkeypatch):
    content = cv2.imencode(".png", small)[1].tobytes()
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for depth in range(2100):
        if depth % 500 == 0 or depth == 2040:
            with open("x.png", "wb") as file:
                file.write(content)
        os.mkdir("d")
        os.chdir("d")
    os.chdir(tmp_path)
    try:
        job = run_job("--input", "in/**/x.png", output=tmp_path / "out")
        assert job.code == 3, job.err
        rows = job.rows
        assert set(rows.error_message.dropna()) == {
            "File name too long",  # the directory that cannot be entered
            "the result's name or path is too long for the file system of the output",
        }
        assert (rows.status == "written").sum() == 5
    finally:
        for name in ("in", "out"):  # shutil's recursion has an end
            subprocess.run(["rm", "-rf", tmp_path / name], check=True)


TWINS = {"A.png", "a.png", "sub/b.png", "Sub/b.png", "\u00e9.png", "e\u0301.png"}


def test_names_differing_in_case_or_composition_stay_distinct(run_job, tmp_path, small):
    write_under(tmp_path / "in", TWINS, small)
    if _names_fold(str(tmp_path)):
        pytest.skip("this file system takes them for the same")
    job = run_job("--input", f"{tmp_path}/in/**/*.png")
    assert job.code == 0, job.err
    assert files_below(job.output / "images") == {*TWINS, "plain.png"}


def test_first_name_keeps_the_output_on_folding_file_systems(run_job, tmp_path, small, monkeypatch):
    write_under(tmp_path / "in", TWINS, small)
    lexists, before = os.path.lexists, files_below(tmp_path)

    def fold(path):
        head, name = os.path.split(path)
        return lexists(os.path.join(head, unicodedata.normalize("NFC", name.lower())))

    monkeypatch.setattr(os.path, "lexists", fold)
    plan = run_job("--input", f"{tmp_path}/in/**/*.png", "--dry_run")
    assert (
        "7 images matched, 0.0 megapixels to restore; 3 clashing outputs, 0 unreadable" in plan.out
    )
    assert files_below(tmp_path) == before, "the probe leaves no trace"
    job = run_job("--input", f"{tmp_path}/in/**/*.png")
    assert job.code == 3
    clashes = job.rows[job.rows.status == "failed"]
    assert set(clashes.index) == {"a.png", "sub/b.png", "\u00e9.png"}
    assert (clashes.stage == "match").all()
    assert files_below(job.output / "images") == {"A.png", "Sub/b.png", "e\u0301.png", "plain.png"}


def test_links_in_the_output_are_replaced_or_refused_never_followed(run_job, tmp_path, small):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_under(folder, ["a.png", "b.png", "c.png", "sub/d.png", "sub/sub/e.png", "f/g.png"], small)
    (out / "images/f").mkdir(parents=True)
    (out / "images/a.png").symlink_to(folder / "a.png")
    (out / "images/b.png").symlink_to(tmp_path / "new.png")
    os.link(folder / "c.png", out / "images/c.png")
    (out / "images/sub").symlink_to(folder / "sub")
    (out / "images/f/g.png").mkdir()
    before = snapshot(folder)
    job = run_job("--input", f"{folder}/**/*.png", output=out)
    assert snapshot(folder) == before
    assert not (tmp_path / "new.png").exists()
    rows = job.rows
    assert set(rows.index[rows.status == "written"]) == {"a.png", "b.png", "c.png", "plain.png"}
    assert rows.loc["sub/d.png", "error_message"] == (
        "a link in the output leads elsewhere: images/sub"
    )
    assert rows.loc["sub/sub/e.png", "stage"] == "write"
    assert rows.loc["f/g.png", "error_message"] == "Is a directory"
    for name in ("a.png", "b.png", "c.png"):
        assert not (out / "images" / name).is_symlink()
        assert (out / "images" / name).read_bytes() != (folder / name).read_bytes()
    assert (out / "images/sub").is_symlink()


def test_output_may_itself_be_a_link(run_job, tmp_path, small):
    write_under(tmp_path / "in", [], small)
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    assert run_job("--input", f"{tmp_path}/in/*.png", output=tmp_path / "out").code == 0
    assert files_below(tmp_path / "disk/images") == {"plain.png"}


def test_links_from_the_input_into_the_output_are_refused(run_job, tmp_path, small):
    """Otherwise a second run would restore the results of the first in place."""
    folder, out = tmp_path / "in", tmp_path / "out"
    write_under(folder, ["a.png"], small)
    assert run_job("--input", f"{folder}/*.png", output=out).code == 0
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(out / "images/a.png")
    (folder / "all").symlink_to(tmp_path)
    results = snapshot(out / "images")
    results.pop(str(out / "images/plain.png"))
    job = run_job("--input", f"{folder}/**/*.png", "--run_id", "second", output=out)
    after = snapshot(out / "images")
    after.pop(str(out / "images/plain.png"))
    assert after == results
    rows = job.rows[job.rows.run_id == "second"]
    assert set(rows.index[rows.status == "failed"]) == {"a.png", "all/out"}
    assert set(rows.error_message.dropna()) == {"lies in the output directory"}


def test_sources_changed_after_listing_become_rows(run_job, tmp_path, small, monkeypatch):
    folder = tmp_path / "in"
    write_under(folder, ["gone.png", "directory.png", "cut.png", "other.png"], small)

    def change_first(uri):
        path = Path(uri)
        if path.name in ("gone.png", "directory.png"):
            path.unlink()
        if path.name == "directory.png":
            path.mkdir()
        if path.name == "cut.png":
            path.write_bytes(path.read_bytes()[:1000])
        if path.name == "other.png":
            write_images(folder, {path.name: small[:30, :30]})
        return open_file(uri)

    monkeypatch.setattr("storage.store.open_file", change_first)
    rows = run_job("--input", f"{folder}/*.png").rows
    failed = rows[rows.status == "failed"]
    assert set(failed.index) == {"gone.png", "directory.png", "cut.png"}
    assert (failed.stage == "read").all()
    assert failed.loc["gone.png", "error_message"] == "No such file or directory"
    assert rows.loc["other.png", "width"] == 30, "as it was when it was read"
