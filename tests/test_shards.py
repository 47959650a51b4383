"""Jobs over shards: output shards, rows per image, skipping."""

import io
import json
import os
import shutil
import signal
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import PATIENCE, Outcome, files_below, run_in_process, start_job
from shard_files import (
    decoded,
    info_of,
    parquet_bytes,
    parquet_table,
    picture,
    raw_tar,
    read_tar,
    sample_of,
    samples_of,
    sparse_header,
    tar_bytes,
)

from pipeline.reporting import report
from storage.store import OutputStore

KEYS = [f"{n:03}" for n in range(8)]
IMAGES = {key: picture(n, 24 + n) for n, key in enumerate(KEYS)}
NAMES = [f"{key}.jpg" for key in KEYS]


def write_data(root: Path) -> None:
    """The same images as files, in two tars and in two Parquet files."""
    (root / "loose").mkdir(parents=True)
    for key, image in IMAGES.items():
        (root / "loose" / f"{key}.jpg").write_bytes(image)
    (root / "sub").mkdir()
    images = list(IMAGES.values())
    (root / "a.tar").write_bytes(tar_bytes(samples_of(KEYS[:4], images[:4])))
    (root / "sub/b.tar").write_bytes(tar_bytes(samples_of(KEYS[4:], images[4:])))
    (root / "hf.parquet").write_bytes(parquet_bytes(parquet_table(images, NAMES), row_group_size=3))
    (root / "plain.parquet").write_bytes(parquet_bytes(parquet_table(images)))


def run(root: Path, weights: Path, *more: object, shards: str = "**/*.*", out: str = "out"):
    arguments = ["--input", f"{root}/in/{shards}", "--weights", weights, *more]
    if "--comparisons" not in more:
        arguments += ["--comparisons", "none"]
    return run_in_process(*arguments, output=root / out)


@dataclass
class Done:
    """A run over all shards, read by many tests."""

    root: Path
    weights: Path
    job: Outcome
    before: dict[str, bytes]

    @property
    def shards(self) -> Path:
        return self.job.output / "shards"


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in sorted(files_below(directory))}


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_weights) -> Done:
    root = tmp_path_factory.mktemp("shards")
    write_data(root / "in")
    before = contents(root / "in")
    job = run(root, tiny_weights, "--comparisons", "40", "--run_id", "first")
    assert job.code == 0, job.err
    return Done(root, tiny_weights, job, before)


def loose(done: Done) -> list[bytes]:
    return [(done.job.output / "images/loose" / name).read_bytes() for name in NAMES]


def test_output_tars_hold_the_same_samples_with_restored_images(done):
    made = loose(done)
    for name, start in (("a.tar", 0), ("sub/b.tar", 4)):
        before, after = read_tar(done.root / "in" / name), read_tar(done.shards / name)
        assert [one["__key__"] for one in after] == KEYS[start : start + 4]
        for number, (old, new) in enumerate(zip(before, after, strict=True), start):
            assert list(new) == list(old)
            assert new.pop("jpg") == made[number] != old.pop("jpg")
            assert new == old
    assert contents(done.root / "in") == done.before, "sources are never touched"


def test_output_tables_keep_their_rows_and_image_features(done, tmp_path):
    made = loose(done)
    for name in ("hf.parquet", "plain.parquet"):
        old, new = (pq.read_table(place / name) for place in (done.root / "in", done.shards))
        assert new.schema.equals(old.schema, check_metadata=True)
        assert new.drop_columns("image") == old.drop_columns("image")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(done.shards / "hf.parquet"), split="train",
        cache_dir=str(tmp_path),
    )  # fmt: skip
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == decoded(made[0]).shape[1::-1]
    plain = loaded.cast_column("image", datasets.Image(decode=False))
    assert plain["image"][:] == [
        {"bytes": image, "path": name} for image, name in zip(made, NAMES, strict=True)
    ]
    assert pq.read_table(done.shards / "plain.parquet")["image"].to_pylist() == made


def test_each_image_of_a_shard_has_a_row(done):
    rows = done.job.rows
    assert len(rows) == 4 * len(KEYS) == done.job.summary["counts"]["written"]
    assert done.job.summary["in_shards"] == 3 * len(KEYS)
    row, file = rows.loc["a.tar!001.jpg"], rows.loc["loose/001.jpg"]
    figures = [name for name in rows.columns if name.startswith(("psnr", "ssim", "mse"))]
    assert (row[figures] == file[figures]).all()
    assert row.source_uri == f"{done.root}/in/a.tar!001.jpg"
    assert row.output_uri == f"{done.shards}/a.tar!001.jpg"
    assert (row.shard, row.shard_images) == ("a.tar", 4)
    assert row.shard_bytes == len(done.before["a.tar"])
    assert row.shard_output_bytes == (done.shards / "a.tar").stat().st_size
    for place, start, size in (
        (done.root / "in/a.tar", row.source_offset, row.source_bytes),
        (done.shards / "a.tar", row.output_offset, row.output_bytes),
    ):
        content = place.read_bytes()[int(start) :][: int(size)]
        assert content in (IMAGES["001"], loose(done)[1])
    assert {"hf.parquet!0", "plain.parquet!7"} < set(rows.index)
    assert pd.isna(file.shard)


def test_comparisons_and_pages_show_images_of_shards(done):
    drawn = files_below(done.job.output / "comparisons")
    assert {"a.tar!001.jpg.png", "sub/b.tar!005.jpg.png", "hf.parquet!0.png"} < drawn
    assert len(drawn) == 4 * len(KEYS)
    page = (done.job.run / "index.html").read_text()
    assert "a.tar!001.jpg" in page
    assert "24 of them in shards" in done.job.out
    assert f"shards       {done.shards}/" in done.job.out


@pytest.mark.slow
def test_unchanged_shards_are_skipped_and_changed_ones_redone(done, tmp_path):
    shutil.copytree(done.root, tmp_path / "x", copy_function=shutil.copy2)
    root, before = tmp_path / "x", contents(done.shards)
    inputs = root / "in"
    # Sources are identified by name: those of the copy are different.
    first = run(root, done.weights, out="new")
    assert first.code == 0, first.err
    again = run(root, done.weights, "--run_id", "zz", out="new")
    rows = pd.read_parquet(again.output / "metrics/run_id=zz").set_index("relative_path")
    assert set(rows.status) == {"skipped"} and len(rows) == 32
    assert rows.loc["a.tar!001.jpg", "output_uri"] == f"{again.output}/shards/a.tar!001.jpg"
    assert contents(again.output / "shards") == before
    (inputs / "a.tar").write_bytes(tar_bytes(samples_of(["new"], [picture(99)])))
    (inputs / "sub/b.tar").unlink()
    (again.output / "shards/hf.parquet").unlink()
    plan = run(root, done.weights, "--dry_run", out="new")
    assert f"{inputs}/a.tar  1 samples  ->  shards/a.tar" in plan.out
    assert "9 of them are in shards" in plan.out
    last = run(root, done.weights, "--prune", "--run_id", "zzz", out="new")
    assert last.code == 0, last.err
    rows = pd.read_parquet(again.output / "metrics/run_id=zzz").set_index("relative_path")
    assert rows.change[rows.status == "written"].value_counts().to_dict() == {
        "output missing": 8, "source changed": 1,
    }  # fmt: skip
    assert rows.loc["sub/b.tar", "status"] == "pruned"
    assert files_below(again.output / "shards") == {"a.tar", "hf.parquet", "plain.parquet"}


def test_output_format_and_figures_are_written_into_shards(done):
    job = run(
        done.root, done.weights, "--mode", "restore", "--output_format", "png",
        "--figures_in", "shards", shards="[ah]*", out="restored",
    )  # fmt: skip
    assert job.code == 0, job.err
    first = read_tar(job.output / "shards/a.tar")[0]
    assert list(first) == ["__key__", "png", "json", "txt", "restoration.json"]
    assert decoded(first["png"]).shape == (48, 56, 3)
    assert json.loads(first["restoration.json"])["failure"] is None
    table = pq.read_table(job.output / "shards/hf.parquet")
    (row,) = table.slice(2, 1).to_pylist()
    assert row["image"]["path"] == "002.png"
    found = job.rows.loc["hf.parquet!2", "consistency_psnr"]
    assert row["restoration"]["consistency_psnr"] == found
    assert job.rows.loc["a.tar!001.jpg", "output_path"] == "a.tar!001.png"
    assert job.rows.loc["hf.parquet!2", "output_path"] == "hf.parquet!2"
    manifest = json.loads((job.run / "manifest.json").read_text())
    assert manifest["configuration"]["figures_in"] == "shards"


@pytest.mark.slow
def test_images_already_large_enough_are_copied(done):
    nights = [
        ("0.0007MP", {"large enough": 3, "new": 1}),
        ("0.0007MP", {"large enough": 3, "unchanged": 1}),
        ("0.0008MP", {"large enough": 1, "settings changed": 3}),
    ]
    for night, (limit, changes) in enumerate(nights):
        job = run(
            done.root, done.weights, "--skip_above", limit, "--run_id", f"n{night}",
            shards="a.tar", out="large",
        )  # fmt: skip
        assert job.code == 0, job.err
        rows = pd.read_parquet(job.output / f"metrics/run_id=n{night}").set_index("relative_path")
        assert rows.change.value_counts().to_dict() == changes
    old, new = read_tar(done.root / "in/a.tar"), read_tar(job.output / "shards/a.tar")
    same = [a["jpg"] == b["jpg"] for a, b in zip(old, new, strict=True)]
    assert same == [False, False, False, True]


@pytest.mark.slow
def test_restored_image_never_takes_another_members_name(done):
    source = done.root / "in2"
    source.mkdir()
    members = [("z.jpg", IMAGES["000"]), ("z.png", IMAGES["001"]), ("z.txt", b"")]
    (source / "z.tar").write_bytes(tar_bytes(members))
    job = run(
        done.root, done.weights, "--image_column", "jpg", "--output_format", "png",
        shards="../in2/z.tar", out="name",
    )  # fmt: skip
    assert job.code == 3
    assert "would overwrite another member, z.png" in job.rows.error_message["z.tar!z.jpg"]
    assert read_tar(job.output / "shards/z.tar") == read_tar(source / "z.tar")


@pytest.mark.slow
def test_shards_none_writes_only_the_report(done):
    for night, status in (("a", "written"), ("b", "skipped")):
        job = run(
            done.root, done.weights, "--shards", "none", "--run_id", night, "--comparisons", "2",
            shards="a.tar", out="none",
        )  # fmt: skip
        assert job.code == 0, job.err
        rows = pd.read_parquet(job.output / f"metrics/run_id={night}")
        assert set(rows.status) == {status} and rows.output_uri.isna().all()
        assert not (job.output / "shards").exists()
    assert "shards  " not in job.out


# Errors


def write_bad(root: Path) -> dict[str, tuple[int, str]]:
    """Bad shards: the good samples of each, and the error of the bad one."""
    images = list(IMAGES.values())[:3]
    good = samples_of(["x", "y"], images[:2])
    whole = tar_bytes(samples_of("xyz", images))
    files = [(info_of("x.jpg", len(images[0])), images[0])]
    table = parquet_table([images[0], None, images[2]], ["1.jpg", "2.jpg", "3.jpg"])
    damaged = bytearray(
        parquet_bytes(
            parquet_table(images * 3),
            row_group_size=3,
            write_page_checksum=True,
            use_dictionary=False,
            compression="none",
        )  # fmt: skip
    )
    page = pq.ParquetFile(io.BytesIO(bytes(damaged))).metadata.row_group(2).column(1)
    damaged[page.data_page_offset + page.total_compressed_size - 3] ^= 0xFF
    shards = {
        "cut.tar": (whole[: len(whole.rstrip(b"\0")) - 2000], 2, "cut off at byte"),
        "above.tar": (raw_tar(*files, (info_of("../../../x.jpg", 2), b"xx")), 1, "points outside"),
        "link.tar": (
            raw_tar(*files, (info_of("l.jpg", type=tarfile.SYMTYPE, linkname="/etc/x"), b"")),
            1, "is a link",
        ),
        "device.tar": (
            raw_tar(*files, (info_of("d.jpg", type=tarfile.CHRTYPE), b"")), 1, "is a device",
        ),
        "sparse.tar": (
            sparse_header() + raw_tar((info_of("y.jpg", len(images[0])), images[0])),
            1, "sparse file",
        ),
        "nested.tar": (raw_tar(*files, (info_of("n.tar", 2), b"xx")), 1, "a tar within a tar"),
        "none.tar": (tar_bytes([*good, ("z.txt", b"x")]), 2, "it has no image"),
        "twice.tar": (tar_bytes([*good, *sample_of("x", images[2])]), 2, "occurs earlier"),
        "two.tar": (tar_bytes([*good, ("z.a.jpg", b"x"), ("z.b.png", b"x")]), 2, "several images"),
        "bad.tar": (tar_bytes([*good, *sample_of("z", b"no image")]), 2, "not an image"),
        "null.parquet": (parquet_bytes(table), 2, "the image is missing (null)"),
        "type.parquet": (
            parquet_bytes(table.drop_columns("image")), 0, "no column holds images",
        ),
        "page.parquet": (bytes(damaged), 6, "row group 2 is damaged from row 6 on"),
        "no.parquet": (b"no table", 0, "not a readable Parquet file"),
        "empty.tar": (bytes(10240), 0, "it holds no samples"),
        "packed.tar.gz": (b"", 0, "compressed shards are not supported"),
    }  # fmt: skip
    root.mkdir()
    (root / "aa.tar").write_bytes(tar_bytes(good))
    for name, (content, _, _) in shards.items():
        (root / name).write_bytes(content)
    return {name: (number, said) for name, (_, number, said) in shards.items()}


DAMAGED = {"cut.tar", "page.parquet"}
NOT_READ = {"type.parquet", "no.parquet", "packed.tar.gz"}


@pytest.mark.parametrize("policy", ["keep", "drop", "fail"])
def test_bad_sample_does_not_affect_its_neighbours(tmp_path, tiny_weights, policy):
    expected = write_bad(tmp_path / "in")
    job = run(tmp_path, tiny_weights, "--on_failure", policy, "--max_failures", "99%")
    assert job.code == 0, job.err
    rows = job.rows
    written = files_below(job.output / "shards")
    for name, (good, said) in expected.items():
        of_it = rows[rows.index.str.startswith(name)]
        unwritten = of_it.error_message.fillna("").str.startswith("the shard was not written")
        assert said in " ".join(of_it[~unwritten].error_message.dropna()), name
        restored = policy == "drop" or policy == "keep" and name not in DAMAGED
        assert (of_it.status == "written").sum() == (good if restored else 0), name
        assert unwritten.sum() == (0 if restored else good), name
        empty = name == "empty.tar"
        assert (name in written) == (name not in NOT_READ and (restored or empty)), name
        if policy == "keep" and name in written and name.endswith(".tar") and name != "empty.tar":
            check_kept(tmp_path / "in" / name, job.output / "shards" / name)
    assert (rows.loc[["aa.tar!x.jpg", "aa.tar!y.jpg"], "status"] == "written").all()
    assert {name.partition("/")[0] for name in files_below(tmp_path)} == {"in", "out"}
    assert {name for name in files_below(job.output) if ".." in name} == set()
    if policy == "keep":
        check_next_night(job, tmp_path, tiny_weights)


def check_kept(source: Path, result: Path) -> None:
    """All members are kept in order; those of bad samples unchanged."""
    with tarfile.open(source) as old, tarfile.open(result) as new:
        pairs = list(zip(old, new, strict=True))
        assert [a.name for a, _ in pairs] == [b.name for _, b in pairs]
        for a, b in pairs:
            if a.isreg() and not a.name.endswith(".jpg"):
                assert old.extractfile(a).read() == new.extractfile(b).read()


def check_next_night(job: Outcome, root: Path, weights: Path) -> None:
    """Finished shards are skipped, and their failed images reported again."""
    again = run(root, weights, "--run_id", "zz")
    assert again.code == 3
    rows = pd.read_parquet(again.output / "metrics/run_id=zz").set_index("relative_path")
    assert rows.loc["bad.tar!x.jpg", "status"] == "skipped"
    bad = rows.loc["bad.tar!z.jpg"]
    assert (bad.status, bad.change) == ("failed", "unchanged")
    assert "not an image" in bad.error_message
    assert bad.done_run_id == rows.loc["bad.tar!x.jpg", "done_run_id"]
    assert rows.loc["cut.tar!x.jpg", "change"] == "failed before"


def test_invalid_shard_options_are_refused_before_the_run(done, tmp_path):
    for more, said in (
        (["--image_column", "label"], "image_column: 'label'"),
        (["--on_failure", "keeep"], "did you mean 'keep'"),
        (["--shards", "none", "--figures_in", "shards"], "no shards are written"),
    ):
        job = run(done.root, done.weights, *more, shards="*.parquet", out="wrong")
        assert (job.code, said in job.err) == (2, True), job.err
    job = run(done.root, done.weights, shards="*.tar.gz", out="wrong")
    assert job.code == 2 and "compressed shards" in job.err
    assert not (done.root / "wrong").exists()


def test_rows_of_an_incomplete_shard_are_left_out(done, tmp_path):
    shutil.copytree(done.job.output, tmp_path / "out")
    store = OutputStore(str(tmp_path / "out"), "first")
    (part,) = store.glob("metrics/run_id=first/*.parquet")
    rows = pq.read_table(tmp_path / "out" / part, partitioning=None)
    rows = rows.filter(pc.field("relative_path") != "a.tar!001.jpg")
    for start in (0, 10, 20):
        content = report.encode_table(rows.slice(start, 10 if start < 20 else None))
        store.write(f"runs/first/rows/{start}.parquet", content)
    assert report.compact_journal(store, "first") == 32 - 4
    kept = pd.read_parquet(tmp_path / "out/metrics").relative_path
    assert not kept.str.startswith("a.tar").any()


@pytest.mark.slow
def test_runs_killed_at_any_moment_are_completed_by_the_next(tmp_path, tiny_weights):
    generator = np.random.default_rng(5)
    (tmp_path / "in").mkdir()
    for shard in range(10):
        keys = [f"{shard}{n:02}" for n in range(30)]
        images = [picture(n, 200) for n in range(30)]
        (tmp_path / f"in/{shard}.tar").write_bytes(tar_bytes(samples_of(keys, images)))
    whole = run(tmp_path, tiny_weights, out="whole")
    assert whole.code == 0, whole.err
    expected = contents(whole.output / "shards")
    seconds, output = whole.summary["wall_seconds"], tmp_path / "out"
    arguments = ["--input", f"{tmp_path}/in/*.tar", "--weights", tiny_weights]
    arguments += ["--comparisons", "none", "--output", output]
    for _ in range(10):
        process = start_job(*arguments)
        time.sleep(generator.uniform(0.2, 1.3) * seconds / 2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        for name, content in contents(output / "shards").items():
            assert content == expected[name], "half-written, or another one"
    last = run(tmp_path, tiny_weights)
    assert last.code == 0, last.err
    assert contents(output / "shards") == expected
    rows = pd.read_parquet(output / "metrics")
    written = rows[rows.status == "written"]
    assert written.relative_path.is_unique and len(written) == 300
    assert not (output / ".scratch").exists()
