"""The whole job: images and arguments in; images, report, summary and exit code out."""

import errno
import gc
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Outcome, files_below, run_in_process, write_images
from PIL import Image, ImageCms
from support import random_weights

from codec.encode import encode_image
from pipeline.config import load_config
from pipeline.graph import build
from srcnn.architectures import Architecture, ConvLayer
from srcnn.degradations import Degradation
from srcnn.engines import choose_engine, create_engine
from srcnn.restoration import Restoration, restoration_of
from srcnn.weights import load_weights, save_weights
from storage.store import open_file
from transforms import restore
from transforms.crop import crop_to_luma
from transforms.degrade import degrade_image
from transforms.match import expand_glob
from transforms.measure import measure_evaluated, measure_restored
from transforms.read import read_image
from transforms.records import report_schema
from transforms.restore import merge_luma, restore_luma
from transforms.upscale import upscale_image


def engine_class() -> type:
    """The class of the engine that `--engine auto` chooses here."""
    architecture = Architecture(name="point", layers=(ConvLayer(kernel=1, filters=1),))
    return type(create_engine("auto", random_weights(architecture)))


def write_photos(directory: Path, photo: np.ndarray) -> Path:
    """Writes a small tree of photographs of several kinds."""
    small = photo[40:140, 100:231]
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    write_images(
        directory,
        {
            "colour.png": small,
            "sub/gray.png": gray,
            "sub/deep.png": small.astype(np.uint16) * 257,
            "sub/deeper/alpha.png": np.dstack([small, gray]),
            "photo.jpg": small,
        },
    )
    return directory


@pytest.fixture
def photos(tmp_path, photo) -> Path:
    return write_photos(tmp_path / "photos", photo)


@dataclass
class Evaluated:
    """A run that many tests read, and its sources as they were before: content and time."""

    photos: Path
    before: dict[str, tuple[bytes, int]]
    job: Outcome


def contents_and_times(directory: Path) -> dict[str, tuple[bytes, int]]:
    paths = {name: directory / name for name in files_below(directory)}
    return {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in paths.items()}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, photo, tiny_weights) -> Evaluated:
    root = tmp_path_factory.mktemp("evaluated")
    photos = write_photos(root / "photos", photo)
    before = contents_and_times(photos)
    job = run_in_process(
        "--input", f"{photos}/**/*.*", "--weights", tiny_weights, "--comparisons", "all",
        "--run_id", "first", "--json", output=root / "out",
    )  # fmt: skip
    assert job.code == 0, job.err
    return Evaluated(photos, before, job)


def test_garbage_collection_is_off_only_during_start_up(run_job, photos, monkeypatch):
    seen = {}

    def watch(place, function):
        def watched(*arguments, **options):
            seen[place] = gc.isenabled()
            return function(*arguments, **options)

        return watched

    monkeypatch.setattr("pipeline.run.build", watch("start-up", build))
    monkeypatch.setattr("transforms.write.encode_image", watch("work", encode_image))
    assert run_job("--input", f"{photos}/photo.jpg").code == 0
    assert seen == {"start-up": False, "work": True}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert run_job("--input", f"{photos}/none/*").code == 4
    assert gc.isenabled()


def test_evaluate_mirrors_the_tree_and_writes_one_row_per_image(evaluated):
    job, names = evaluated.job, set(evaluated.before)
    assert files_below(job.output / "images") == names
    assert files_below(job.output / "comparisons") == {f"{name}.png" for name in names}
    assert {name for name in files_below(job.run) if not name.startswith("gallery/")} == {
        "manifest.json", "summary.json", "index.html", "_SUCCESS", "totals.json",
    }  # fmt: skip
    assert not (job.output / ".scratch").exists()
    rows = job.rows
    assert set(rows.index) == names
    assert (rows.status == "written").all()
    assert rows.loc["sub/gray.png", "channels"] == 1
    assert rows.loc["sub/deep.png", "bit_depth"] == 16
    assert rows.loc["sub/deeper/alpha.png", "channels"] == 4
    assert (
        rows[["psnr_degraded", "ssim_enhanced", "psnr_y_enhanced", "mse_degraded"]]
        .notna()
        .all(axis=None)
    )
    assert rows.consistency_psnr.isna().all()


def test_evaluate_keeps_size_channels_depth_and_alpha(evaluated):
    for name in evaluated.before:
        before = cv2.imread(str(evaluated.photos / name), cv2.IMREAD_UNCHANGED)
        after = cv2.imread(str(evaluated.job.output / "images" / name), cv2.IMREAD_UNCHANGED)
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        if name.endswith("alpha.png"):
            assert np.array_equal(after[..., 3], before[..., 3])


@pytest.mark.parametrize(("scale", "kernel"), [(1, "bilinear"), (2, "lanczos"), (3, "area")])
def test_restore_enlarges_and_reports_consistency(run_job, photos, scale, kernel):
    job = run_job(
        "--mode", "restore", "--scale", scale, "--kernel", kernel, "--input", f"{photos}/**/*.png"
    )
    assert job.code == 0, job.err
    for name in files_below(job.output / "images"):
        before = cv2.imread(str(photos / name), cv2.IMREAD_UNCHANGED)
        after = cv2.imread(str(job.output / "images" / name), cv2.IMREAD_UNCHANGED)
        assert after.shape[:2] == (before.shape[0] * scale, before.shape[1] * scale)
        assert (after.shape[2:], after.dtype) == (before.shape[2:], before.dtype)
    rows = job.rows
    assert rows.consistency_psnr.between(15, 80).all()
    assert (
        rows[["psnr_degraded", "psnr_enhanced", "mse_enhanced", "ssim_enhanced"]]
        .isna()
        .all(axis=None)
    )


def with_chroma_taps(weights: Path, directory: Path, taps: tuple[float, ...]) -> Path:
    """The same network with a chroma filter on its card."""
    card, tensors = load_weights(weights).card, load_weights(weights).tensors
    fields = card.model_dump(exclude={"sha256", "chroma_taps", "architecture"})
    return save_weights(
        directory, tensors, architecture=card.architecture, chroma_taps=taps, **fields
    )


@pytest.mark.parametrize(("mode", "protocol"), [("evaluate", "opencv"), ("restore", "matlab")])
def test_chroma_filter_of_the_card_changes_only_the_chroma(
    run_job, tmp_path, tiny_weights, mode, protocol
):
    # Chroma changes where luma does not, far from the ends of the range.
    ycrcb = np.full((60, 60, 3), 128, np.uint8)
    ycrcb[:, 20:40, 1:] = (160, 100)
    cv2.imwrite(str(tmp_path / "colours.png"), cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR))
    pictures, rows = [], []
    for name, taps in (("plain", ()), ("sharp", (1.6, -0.3))):
        job = run_job(
            "--input", tmp_path / "colours.png", "--mode", mode, "--protocol", protocol,
            "--weights", with_chroma_taps(tiny_weights, tmp_path / name, taps),
            output=tmp_path / f"out_{name}",
        )  # fmt: skip
        assert job.code == 0, job.err
        image = cv2.imread(str(job.output / "images/colours.png"))
        pictures.append(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb).astype(int))
        rows.append(job.rows.iloc[0])
    plain, sharp = pictures
    assert np.abs(plain[..., 0] - sharp[..., 0]).max() <= 1
    for channel in (1, 2):
        steepest = [np.abs(np.diff(p[30, :, channel])).max() for p in (plain, sharp)]
        assert steepest[1] > 1.2 * steepest[0]
        assert np.abs(plain[:, [2, -3], channel] - sharp[:, [2, -3], channel]).max() <= 1
    assert rows[0].fingerprint != rows[1].fingerprint
    if mode == "evaluate":
        assert rows[1].psnr_y_enhanced == pytest.approx(rows[0].psnr_y_enhanced, abs=0.2)


@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
@pytest.mark.parametrize("border", ["keep", "shave"])
def test_evaluate_equals_a_direct_computation_bit_for_bit(
    run_job, photos, tiny_weights, tmp_path, protocol, border
):
    kernel, chroma_taps = "bicubic", (1.4, -0.3, 0.1)
    path = with_chroma_taps(tiny_weights, tmp_path / "weights", chroma_taps)
    job = run_job(
        "--input", f"{photos}/**/*.png", "--protocol", protocol, "--border", border,
        "--kernel", kernel, "--weights", path,
    )  # fmt: skip
    weights = load_weights(path)
    rows, engine = job.rows, create_engine("auto", weights)
    degradation = Degradation(protocol, 2, kernel)
    restoration = Restoration(weights.card.architecture, degradation, border, chroma_taps)
    for ref in expand_glob(f"{photos}/**/*.png"):
        record = degrade_image(read_image(ref, 100, 60), restoration)
        record = crop_to_luma(record, restoration)
        (record,) = restore_luma([record], engine, restoration, tile=512)
        record = merge_luma(record, restoration)
        for name, expected in measure_evaluated(record, restoration).items():
            assert rows.loc[ref.relative_path, name] == expected, (ref.relative_path, name)
        written = (job.output / "images" / ref.relative_path).read_bytes()
        assert written == encode_image(record.restored, record.alpha, ".png").content


def test_restore_equals_a_direct_computation_bit_for_bit(run_job, photos, tiny_weights):
    job = run_job("--mode", "restore", "--input", f"{photos}/**/*.png")
    weights = load_weights(tiny_weights)
    engine, restoration = create_engine("auto", weights), restoration_of(weights.card)
    for ref in expand_glob(f"{photos}/**/*.png"):
        record = upscale_image(read_image(ref, 100, 60), restoration, 100)
        record = crop_to_luma(record, restoration)
        (record,) = restore_luma([record], engine, restoration, tile=512)
        record = merge_luma(record, restoration)
        expected = measure_restored(record, restoration, weights.card.degradation)[
            "consistency_psnr"
        ]
        assert job.rows.loc[ref.relative_path, "consistency_psnr"] == expected
        written = (job.output / "images" / ref.relative_path).read_bytes()
        assert written == encode_image(record.restored, record.alpha, ".png").content


@pytest.mark.parametrize("mode", ["evaluate", "restore"])
@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
def test_colours_under_transparency_do_not_bleed_into_visible_pixels(
    run_job, tmp_path, mode, protocol
):
    picture = np.full((40, 40, 4), (90, 90, 90, 255), np.uint8)
    picture[:, 19:] = (255, 0, 255, 0)  # invisible magenta
    even = picture[..., :3].copy()
    even[:, 19:] = 90
    write_images(tmp_path / "in", {"cut.png": picture, "even.png": even})
    job = run_job("--mode", mode, "--protocol", protocol, "--input", f"{tmp_path}/in/*")
    assert job.code == 0, job.err
    cut = cv2.imread(str(job.output / "images/cut.png"), cv2.IMREAD_UNCHANGED)
    expected = cv2.imread(str(job.output / "images/even.png"))
    np.testing.assert_array_equal(cut[..., :3], expected)
    assert set(np.unique(cut[:, :18, 3])) == {255}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda batch: batch * np.float32("nan"), "not finite"),
        (lambda batch: batch * 0, "output is constant"),
    ],
)
def test_implausible_network_output_is_a_failed_row(
    run_job, tmp_path, photo, monkeypatch, values, message
):
    even = np.full((30, 30), 7, np.uint8)
    write_images(tmp_path / "in", {"photo.png": photo[:60, :70], "even.png": even})

    def run(engine, batch):
        margin = engine.architecture.margin
        inner = values(batch)[:, margin:-margin, margin:-margin]
        return inner if np.ptp(batch) else batch[:, margin:-margin, margin:-margin]

    monkeypatch.setattr(engine_class(), "run", run)
    job = run_job("--mode", "restore", "--input", f"{tmp_path}/in/*")
    assert job.code == 3, job.err
    failed = job.rows.loc["photo.png"]
    assert (failed.status, failed.stage) == ("failed", "restore")
    assert message in failed.error_message
    assert files_below(job.output / "images") == {"even.png"}


class Clock(threading.local):
    """A clock per thread that a test advances."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_image_that_exceeds_max_seconds_is_a_failed_row(run_job, tmp_path, photo, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(restore, "time", clock)
    write_images(tmp_path / "in", {"large.png": photo[:200, :300], "small.png": photo[:20, :20]})
    run, calls = engine_class().run, []

    def slow(engine, batch):
        calls.append(batch.shape)
        clock.now += 0.4 * (batch.shape[1] > 40)
        return run(engine, batch)

    monkeypatch.setattr(engine_class(), "run", slow)
    monkeypatch.setattr(restore, "BATCH_PIXELS", 1)  # every image is its own batch
    job = run_job(
        "--mode", "restore", "--scale", 1, "--input", f"{tmp_path}/in/*", "--tile", 64,
        "--max_seconds", 1.5,
    )  # fmt: skip
    assert job.code == 3, job.err
    failed = job.rows.loc["large.png"]
    assert (failed.status, failed.stage) == ("failed", "restore")
    assert "not restored within 1.5 seconds (--max_seconds)" in failed.error_message
    assert len(calls) < 8  # of the 20 tiles only the first few
    assert files_below(job.output / "images") == {"small.png"}


def test_output_format_quality_and_metadata_options_take_effect(run_job, tmp_path, photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    (tmp_path / "in").mkdir()
    Image.fromarray(photo[:40, :60, ::-1].copy()).save(
        tmp_path / "in/a.jpg", exif=exif.tobytes(), icc_profile=profile, dpi=(72, 144)
    )
    arguments = ("--mode", "restore", "--input", f"{tmp_path}/in/*.jpg")
    kept = run_job(*arguments, output=tmp_path / "kept")
    assert kept.code == 0, kept.err
    with Image.open(kept.output / "images/a.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (80, 120))
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get(0x0112, 1) == 1
        assert image.info["dpi"] == (288, 144)
    assert kept.rows.warnings.isna().all()
    assert kept.rows.loc["a.jpg", "format"] == "JPEG"
    job = run_job(
        *arguments, "--output_format", "webp", "--metadata", "strip", "--comparisons", "all",
        output=tmp_path / "stripped",
    )  # fmt: skip
    assert job.code == 0, job.err
    assert files_below(job.output / "images") == {"a.jpg.webp"}
    assert job.rows.loc["a.jpg", "output_uri"].endswith("a.jpg.webp")
    assert list(job.rows.loc["a.jpg", "warnings"]) == [
        "the colour profile was left out (--metadata strip)"
    ]
    assert "the colour profile was left out" in job.out
    assert (job.output / "comparisons/a.jpg.png").exists()
    with Image.open(job.output / "images/a.jpg.webp") as image:
        assert image.format == "WEBP"
        assert "icc_profile" not in image.info
        assert 0x010F not in image.getexif()
    coarse = run_job(*arguments, "--quality", 20, output=tmp_path / "coarse")
    sizes = [(done.output / "images/a.jpg").stat().st_size for done in (coarse, kept)]
    assert sizes[0] < sizes[1]


def test_batched_thumbnails_get_their_own_results(run_job, tmp_path, photo):
    """Whatever was batched with a thumbnail, it gets its own result."""
    thumbnails = {
        f"{y:03}_{x:03}.png": photo[y : y + 32, x : x + 32 - (x % 3)]
        for y in range(0, 260, 40)
        for x in range(0, 410, 41)
    }
    write_images(tmp_path / "thumbs", thumbnails)
    job = run_job("--input", f"{tmp_path}/thumbs/*.png")
    assert job.summary["counts"]["written"] == len(thumbnails)
    alone = run_job("--input", f"{tmp_path}/thumbs/120_*.png", output=tmp_path / "alone")
    assert len(alone.rows) > 2
    for name in alone.rows.index:
        together = (job.output / "images" / name).read_bytes()
        assert together == (alone.output / "images" / name).read_bytes()


def test_bad_images_become_failed_rows_and_the_others_are_written(
    run_job, photos, photo, monkeypatch
):
    jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
    (photos / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (photos / "empty.png").touch()
    (photos / "text.png").write_text("not an image\n")
    (photos / "directory.png").mkdir()
    (photos / "dangling.png").symlink_to("nowhere.png")
    os.mkfifo(photos / "pipe.png")
    write_images(photos, {"one.png": photo[:1, :1], "tiny.png": photo[:5, :4]})
    write_images(photos, {"locked.png": photo[:40, :40]})

    def refuse(uri):
        if uri.endswith("locked.png"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), uri)
        return open_file(uri)

    monkeypatch.setattr("storage.store.open_file", refuse)
    job = run_job("--input", f"{photos}/**/*.*")
    assert job.code == 3
    rows = job.rows
    failed = rows[rows.status == "failed"]
    expected = {
        "truncated.jpg": ("read", "truncated"),
        "empty.png": ("read", "empty"),
        "text.png": ("read", "not an image"),
        "directory.png": ("read", "directory"),
        "dangling.png": ("read", "No such file"),
        "pipe.png": ("read", "not a regular file"),
        "locked.png": ("read", "Permission denied"),
        "one.png": ("degrade", "1 x 1 pixels cannot be downscaled by 2"),
    }
    assert set(failed.index) == set(expected)
    for name, (stage, words) in expected.items():
        assert failed.loc[name, "stage"] == stage
        assert words in failed.loc[name, "error_message"]
        assert failed.loc[name, "source_uri"] == str(photos / name)
        assert not (job.output / "images" / name).exists()
    assert rows.loc["tiny.png", "status"] == "written"  # smaller than the receptive field
    assert pd.isna(rows.loc["tiny.png", "ssim_enhanced"])  # and than a window of SSIM
    counts = job.summary["counts"]
    assert counts == {"matched": 14, "written": 6, "skipped": 0, "failed": 8}
    assert "14 matched = 6 written + 0 skipped + 8 failed" in job.out
    assert job.summary["exit_code"] == 3
    assert {f["count"] for f in job.summary["failures"]} == {1}


def test_failures_within_max_failures_exit_with_0(run_job, photos):
    (photos / "empty.png").touch()
    assert run_job("--input", f"{photos}/**/*.png", "--max_failures", "20%").code == 0


@pytest.mark.parametrize(("budget", "allowed"), [("1", 1), ("20%", 1), ("19%", 0.95), ("0", 0)])
def test_max_failures_is_a_number_or_a_percentage(budget, allowed):
    config = load_config({"input": "a.png", "output": "out", "max_failures": budget})
    assert config.allowed_failures(5) == allowed


def test_clashing_outputs_keep_the_first_input_and_duplicates_count_once(run_job, tmp_path, photo):
    write_images(tmp_path, {"a/x.png": photo[:40, :40], "b/x.png": photo[:50, :50]})
    globs = ("--input", f"{tmp_path}/b/*.png", "--input", f"{tmp_path}/a/*.png")
    job = run_job(*globs, "--input", f"{tmp_path}/b/x*")
    assert job.summary["counts"] == {"matched": 2, "written": 1, "skipped": 0, "failed": 1}
    rows = job.rows.reset_index().set_index("source_uri")
    assert rows.loc[f"{tmp_path}/b/x.png", "status"] == "written"
    clash = rows.loc[f"{tmp_path}/a/x.png"]
    assert (clash.status, clash.stage) == ("failed", "match")
    assert f"{tmp_path}/b/x.png" in clash.error_message
    assert cv2.imread(str(job.output / "images/x.png")).shape == (50, 50, 3)


def test_sources_are_not_modified(evaluated):
    assert contents_and_times(evaluated.photos) == evaluated.before


def test_report_has_the_documented_schema(evaluated):
    (file,) = (evaluated.job.output / "metrics/run_id=first").iterdir()
    parquet = pq.ParquetFile(file)
    assert parquet.schema_arrow.equals(report_schema())
    assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"
    row = evaluated.job.rows.iloc[0]
    assert (row.run_id, row.model) == ("first", "tiny-513_x2_bilinear")
    assert (row.scale, row.border, row["mode"]) == (2, "keep", "evaluate")
    assert (row.protocol, row.kernel) == ("opencv", "bilinear")
    assert row.engine == choose_engine("auto")
    assert f"{row.engine} " in row.versions
    assert len(row.weights_sha256) == 64
    assert 0 < row.infer_seconds < row.total_seconds


def test_summary_means_equal_the_means_of_the_rows(evaluated):
    job = evaluated.job
    for name in ("psnr_degraded", "psnr_gain", "ssim_enhanced", "mse_enhanced", "psnr_y_enhanced"):
        mean = job.summary["means"][name]
        assert mean["mean"] == pytest.approx(job.rows[name].mean(), abs=1e-12)
        assert (mean["finite"], mean["infinite"], mean["missing"]) == (5, 0, 0)
    worst = [entry["relative_path"] for entry in job.summary["worst"]]
    assert worst == list(job.rows.psnr_gain.sort_values().index)
    manifest = json.loads((job.run / "manifest.json").read_text())
    assert manifest["state"] == "complete"
    assert manifest["configuration"]["kernel"] == "bilinear"


def test_infinite_psnr_is_in_the_row_and_left_out_of_the_mean(run_job, tmp_path):
    flat = np.full((40, 40, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    write_images(tmp_path / "in", {"flat.png": flat, "noise.png": noise})
    job = run_job("--input", f"{tmp_path}/in/*.png")
    assert job.rows.loc["flat.png", "psnr_degraded"] == np.inf
    mean = job.summary["means"]["psnr_degraded"]
    assert (mean["finite"], mean["infinite"]) == (1, 1)
    assert mean["mean"] == job.rows.loc["noise.png", "psnr_degraded"]
    assert "infinite PSNR (identical images), left out of the means" in job.out


def test_comparisons_show_the_worst_the_best_and_a_middle_image(run_job, tmp_path, photo):
    write_images(
        tmp_path / "in", {f"{i:02}.png": photo[i * 9 : i * 9 + 40, :60] for i in range(12)}
    )
    job = run_job("--input", f"{tmp_path}/in/*.png", "--comparisons", 3)
    order = list(job.rows.psnr_gain.sort_values().index)
    drawn = {name.removesuffix(".png") for name in files_below(job.output / "comparisons")}
    assert len(drawn) == 3
    assert {order[0], order[-1]} < drawn
    (middle,) = drawn - {order[0], order[-1]}
    assert middle in order[5:7]
    with Image.open(job.output / "comparisons" / f"{middle}.png") as picture:
        assert picture.width > 1000


def test_dry_run_lists_images_and_writes_nothing(run_job, photos):
    (photos / "empty.png").touch()
    job = run_job("--input", f"{photos}/**/*.png", "--dry-run")
    assert job.code == 0
    assert not job.output.exists()
    assert "131 x 100" in job.out
    assert "images/sub/deeper/alpha.png" in job.out
    assert "would fail" in job.out
    assert "tiny-513_x2_bilinear" in job.out
    assert "5 images matched, 0.1 megapixels" in job.out


def test_non_unicode_names_are_printed_escaped(run_job, tmp_path, photo):
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    os.rename(tmp_path / "in/a.png", os.fsencode(tmp_path / "in") + b"/\xff.png")
    job = run_job("--input", f"{tmp_path}/in/*.png", "--dry_run")
    assert job.code == 0, job.err
    assert "/in/\\udcff.png  40 x 40" in job.out


def test_oversized_image_is_refused_before_decoding(run_job, photos):
    job = run_job("--input", f"{photos}/**/*.png", "--max_megapixels", "0.01")
    assert job.code == 3
    assert (job.rows.stage == "read").all()
    assert job.rows.error_message.str.contains("megapixels allowed").all()


def test_programming_error_ends_the_run_with_code_1(run_job, photos, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("srcnn.resample.resize_opencv", broken)
    job = run_job("--input", f"{photos}/**/*.png")
    assert job.code == 1
    assert "ZeroDivisionError" in job.err
    assert json.loads((job.run / "manifest.json").read_text())["state"] == "failed"
    assert not (job.run / "_SUCCESS").exists()


@pytest.mark.slow
def test_two_worker_processes_give_the_same_results(run_job, evaluated):
    """Worker processes import the package from wherever the command was started."""
    one = evaluated.job
    two = run_job(
        "--input", f"{evaluated.photos}/**/*.*", "--direct_num_workers", 2,
        "--direct_running_mode", "multi_processing",
    )  # fmt: skip
    assert two.code == 0, two.err
    for name in files_below(one.output / "images"):
        assert (one.output / "images" / name).read_bytes() == (
            two.output / "images" / name
        ).read_bytes()
    figures = ["psnr_degraded", "psnr_enhanced", "ssim_enhanced", "mse_enhanced"]
    assert one.rows[figures].equals(two.rows[figures])


def test_no_image_is_encoded_to_cross_a_shuffle(run_job, photos, monkeypatch):
    def refuse(*_):
        raise AssertionError("a picture crosses a shuffle, or is pickled to tell its size")

    monkeypatch.setattr("transforms.records.ImageRecordCoder.encode", refuse)
    assert run_job("--input", f"{photos}/**/*.*").code == 0


def test_json_prints_only_the_summary(evaluated):
    assert json.loads(evaluated.job.out) == evaluated.job.summary


def test_quiet_prints_only_errors(run_job, photos):
    (photos / "empty.png").touch()
    job = run_job("--input", f"{photos}/**/*.*", "--quiet")
    assert (job.code, job.out) == (3, "")
    assert job.err.splitlines()[-1].startswith("error: 1 of 6 images failed")


def test_a_reader_of_the_summary_may_leave(photos, tiny_weights, tmp_path):
    """As in `run_pipeline.py ... | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "run_pipeline.py", "--input", f"{photos}/*.*", "--output",
         f"{tmp_path}/out", "--weights", str(tiny_weights)],
        cwd=ROOT, stdout=writing, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, b"error" in done.stderr) == (0, False)
    (manifest,) = (tmp_path / "out/runs").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["state"] == "complete"


def test_json_with_dry_run_is_refused(run_job, photos):
    job = run_job("--input", f"{photos}/**/*.*", "--json", "--dry_run")
    assert (job.code, job.output.exists()) == (2, False)
