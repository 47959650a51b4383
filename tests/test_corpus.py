"""The corpus through the job: every good file is restored, every broken one is a failed row."""

import hashlib
import io
import resource

import corpus
import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import run_in_process
from PIL import Image

from codec.errors import ImageError
from codec.isolated import decode_isolated

GOOD = {case.name: case for case in corpus.good()}
BROKEN = {name: (content, words) for name, content, words in corpus.broken()}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    (directory / "good").mkdir()
    (directory / "broken" / "directory.png").mkdir(parents=True)
    for case in GOOD.values():
        (directory / "good" / case.name).write_bytes(case.content)
    for name, (content, _) in BROKEN.items():
        (directory / "broken" / name).write_bytes(content)
    return directory


def digest(directory) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def restored(inputs, tmp_path_factory, tiny_weights):
    """The whole corpus in restore mode, twice as large."""
    output = tmp_path_factory.mktemp("restored")
    before = digest(inputs)
    job = run_in_process(
        "--mode", "restore", "--input", f"{inputs}/**/*", "--weights", tiny_weights,
        "--comparisons", "none", output=output / "out",
    )  # fmt: skip
    assert digest(inputs) == before
    return job


@pytest.fixture(scope="module")
def rows(restored) -> pd.DataFrame:
    return restored.rows


def read_back(content: bytes) -> np.ndarray:
    """Samples of a written file at full depth."""
    if content.startswith(b"\x89PNG"):
        return imagecodecs.png_decode(content)
    if content.startswith((b"II", b"MM")):
        return tifffile.imread(io.BytesIO(content))
    if content.startswith((b"\0\0\0\x0cjP", b"\xff\x4f")):
        return imagecodecs.jpeg2k_decode(content)
    if content.startswith((b"P5", b"P6")):
        _, size, peak, samples = content.split(b"\n", 3)
        width, height = map(int, size.split())
        kind = np.dtype(">u2" if int(peak) > 255 else "u1")
        return np.squeeze(
            np.frombuffer(samples, kind).astype(kind.newbyteorder("=")).reshape(height, width, -1)
        )
    return np.asarray(Image.open(io.BytesIO(content)))


def test_every_file_has_its_expected_row(restored):
    rows = restored.rows
    assert restored.code == 3
    assert restored.summary["counts"] == {
        "matched": len(GOOD) + len(BROKEN) + 3,  # and three directories
        "written": len(GOOD),
        "skipped": 0,
        "failed": len(BROKEN) + 3,
    }
    good = rows[rows.index.str.startswith("good/")]
    assert set(good[good.status != "written"].index) == {"good"} & set(good.index)
    for name, (_, words) in BROKEN.items():
        row = rows.loc[f"broken/{name}"]
        assert (row.status, row.stage) == ("failed", "read"), name
        assert row.error_message and words in row.error_message, (name, row.error_message)
    assert "directory" in rows.loc["broken/directory.png", "error_message"]


@pytest.mark.parametrize("name", GOOD)
def test_good_file_is_restored_as_viewers_show_it(rows, name):
    case, row = GOOD[name], rows.loc[f"good/{name}"]
    height, width = case.samples.shape[:2]
    channels = case.samples.shape[2] if case.samples.ndim == 3 else 1
    assert (row.width, row.height, row.channels) == (width, height, channels)
    assert row.bit_depth == case.samples.itemsize * 8
    assert (row.output_width, row.output_height) == (2 * width, 2 * height)
    with open(row.output_uri, "rb") as file:
        found = read_back(file.read())
    lossy_name = name.endswith((".jpg", ".webp", ".bmp"))
    assert found.dtype == (np.uint8 if lossy_name else case.samples.dtype)
    assert found.shape[:2] == (2 * height, 2 * width)
    # The tiny network hardly changes its input; rotated, swapped or cropped results differ by far.
    peak = np.iinfo(found.dtype).max
    expected = np.repeat(np.repeat(case.samples, 2, 0), 2, 1) / np.iinfo(case.samples.dtype).max
    is_rough = name.startswith(("odd-palette", "odd-transparent", "odd-1-bit"))
    difference = np.abs(found / peak - expected)
    assert difference.mean() < (0.08 if is_rough else 0.04)


@pytest.mark.parametrize(
    "name", [name for name, case in GOOD.items() if case.has_exif or case.has_profile or case.dpi]
)
def test_metadata_is_kept(rows, name):
    case, row = GOOD[name], rows.loc[f"good/{name}"]
    lost = " ".join(row.warnings if row.warnings is not None else ())
    if name.endswith(".tif"):
        with tifffile.TiffFile(row.output_uri) as file:
            tags = {tag.code: tag.value for tag in file.pages[0].tags}
        profile, maker, orientation = tags.get(34675), tags.get(271), tags.get(274, 1)
        resolution = [tags[code][0] / tags[code][1] for code in (282, 283) if code in tags]
    else:
        with Image.open(row.output_uri) as image:
            exif = image.getexif()
            profile, maker = image.info.get("icc_profile"), exif.get(271)
            orientation = exif.get(274, 1)
            resolution = image.info.get("dpi")
    assert orientation == 1
    assert maker == (corpus.MAKER if case.has_exif else None)
    assert profile == (corpus.SRGB if case.has_profile else None)
    if case.dpi and not name.endswith(".webp"):
        assert resolution == pytest.approx([2 * value for value in case.dpi], rel=1e-3)
    assert "left out" not in lost, lost


def test_notes_are_in_the_row_and_in_the_summary(restored):
    warned = {name: list(w) for name, w in restored.rows.warnings.items() if w is not None}
    for name in ("odd-pages.tif", "odd-frames.webp", "odd-frames.png"):
        assert "the file holds 2 pictures; only the first was used" in warned[f"good/{name}"]
    for name in ("odd-text-bomb.png", "odd-text-sum.png"):
        assert warned[f"good/{name}"] == [
            "the file is damaged outside its pixels; its metadata was left out"
        ]
    for name in ("odd-cmyk.jpg", "odd-cmyk.tif"):
        assert any("CMYK" in note for note in warned[f"good/{name}"])
    assert warned["good/odd-png-named.jpg"] == [
        "the file is a PNG; it was written as JPEG because of its name"
    ]
    counted = sum(warning["count"] for warning in restored.summary["warnings"])
    assert counted == sum(map(len, warned.values()))


@pytest.mark.parametrize(
    ("output_format", "reader"),
    [("jpeg", "JPEG"), ("tiff", "TIFF")],  # without alpha, depth and PNG's chunks; with most
)
def test_every_kind_of_file_is_written_as_one_format_without_metadata(
    inputs, tmp_path, tiny_weights, output_format, reader
):
    job = run_in_process(
        "--mode", "restore", "--scale", 1,
        "--input", f"{inputs}/good/odd-*", "--input", f"{inputs}/good/*-o6-*",
        "--weights", tiny_weights, "--comparisons", "none",
        "--output_format", output_format, "--metadata", "strip", output=tmp_path / "out",
    )  # fmt: skip
    assert job.code == 0, job.err
    assert len(job.rows) == sum(name.startswith("odd-") or "-o6-" in name for name in GOOD)
    for name, row in job.rows.iterrows():
        if row.bit_depth == 16 and reader == "TIFF" and row.channels == 2:
            continue  # Pillow does not open it
        with Image.open(row.output_uri) as image:
            assert image.format == reader, name
            assert not image.info.get("icc_profile")
            assert 271 not in image.getexif()
            assert image.size == (row.width, row.height)
        if reader == "JPEG" and row.channels in (2, 4):
            assert any("transparency" in note for note in row.warnings)


def test_every_kind_of_file_is_measured(inputs, tmp_path, tiny_weights):
    job = run_in_process(
        "--input", f"{inputs}/good/odd*", "--input", f"{inputs}/good/*-o1.*",
        "--input", f"{inputs}/broken/*",
        "--weights", tiny_weights, "--comparisons", "none",
        output=tmp_path / "out",
    )  # fmt: skip
    assert job.code == 3
    rows = job.rows
    good = rows[rows.index.isin(GOOD)]
    assert set(good.status) == {"written"}
    assert (good.psnr_enhanced > 15).all()
    assert (rows[~rows.index.isin(GOOD)].status == "failed").all()
    assert not pd.isna(good.ssim_enhanced[good.height >= 7]).any()


@pytest.mark.parametrize("name", dict(corpus.giants()))
def test_giant_images_are_refused_by_their_header_without_using_memory(name):
    content = dict(corpus.giants())[name]
    with pytest.raises(ImageError):
        decode_isolated(b"", 256, 60)  # the child is there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="megapixels allowed"):
        decode_isolated(content, 256, 60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
