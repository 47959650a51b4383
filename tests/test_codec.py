"""Decoding and encoding: no silent loss, and damage is an ImageError."""

import io
import os
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import pillow_file, png_chunk, quick, random_image, tiff_file

from codec.decode import decode_image, read_header
from codec.encode import WRITABLE_SUFFIXES, encode_image
from codec.errors import ImageError
from storage.errors import PathError
from transforms.match import expand_glob
from transforms.read import read_image
from transforms.records import ImageRef

LIMIT = 1.0  # megapixels
GRAY, COLOUR = (), (3,)


def smooth_image(shape, dtype=np.uint8, seed=0) -> np.ndarray:
    return cv2.GaussianBlur(random_image(shape, dtype, seed), (0, 0), 2)


def png_16(samples: np.ndarray, kind: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A 16-bit PNG by its specification: kind 0 gray, 2 RGB, 4 gray with alpha, 6 RGBA.

    `before` and `after` are chunks that stand before and after the pixels.
    """
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(rows))
        + after
        + png_chunk(b"IEND", b"")
    )


def orientation_chunk(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))


def planes_of(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    picture = decode_image(content, LIMIT)
    return picture.pixels, picture.alpha


def encoded(image: np.ndarray, alpha: np.ndarray | None, suffix: str) -> bytes:
    return encode_image(image, alpha, suffix).content


def decode_plain(content: bytes) -> np.ndarray:
    """Decodes an image that has no alpha."""
    pixels, alpha = planes_of(content)
    assert alpha is None
    assert pixels.flags.c_contiguous
    return pixels


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def refusal(content: bytes, limit: float = LIMIT) -> str:
    """The message of the ImageError that decoding raises."""
    with pytest.raises(ImageError) as caught:
        decode_image(content, limit)
    message = str(caught.value)
    assert message and "Traceback" not in message
    return message


# Round trips.

# Format, dtype, colour channels, alpha: the lossless combinations.
KEPT = [
    *(
        (suffix, dtype, c, alpha)
        for suffix in (".png", ".tif")
        for dtype in (np.uint8, np.uint16)
        for c in (GRAY, COLOUR)
        for alpha in (False, True)
    ),
    *(
        (suffix, dtype, c, False)
        for suffix in (".ppm", ".pgm", ".pnm")
        for dtype in (np.uint8, np.uint16)
        for c in (GRAY, COLOUR)
    ),
    *((suffix, np.uint8, COLOUR, alpha) for suffix in (".bmp", ".webp") for alpha in (False, True)),
    (".bmp", np.uint8, GRAY, False),
]


def kept_id(case) -> str:
    suffix, dtype, channels, alpha = case
    return f"{suffix}-{np.dtype(dtype)}{'-colour' * bool(channels)}{'-alpha' * alpha}"


@pytest.mark.parametrize("case", KEPT, ids=kept_id)
@settings(quick, max_examples=10)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_written_files_are_read_back(case, height, width, seed):
    suffix, dtype, channels, has_alpha = case
    image = random_image((height, width, *channels), dtype, seed)
    alpha = None
    if has_alpha:  # from 1: WebP drops colours under full transparency
        alpha = np.maximum(random_image((height, width), dtype, seed + 1), 1)
    pixels, found = planes_of(encoded(image, alpha, suffix))
    assert_same(pixels, image)
    if has_alpha:
        assert_same(found, alpha)
    else:
        assert found is None


@pytest.mark.parametrize("suffix", [".webp", ".bmp"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_gray_keeps_its_values_where_it_becomes_colour(suffix, has_alpha):
    gray = random_image((9, 14))
    alpha = random_image((9, 14), seed=1) if has_alpha else None
    pixels, found = planes_of(encoded(gray, alpha, suffix))
    channels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    for index in range(channels.shape[2]):
        assert_same(channels[..., index], gray)
    assert (found is None) == (alpha is None)
    if has_alpha:
        assert_same(found, alpha)


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
def test_every_writable_format_encodes_a_plain_picture(suffix):
    image = smooth_image((20, 30, 3))
    assert decode_plain(encoded(image, None, suffix)).shape == image.shape


# Files written by other programs.


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
@pytest.mark.parametrize("channels", [GRAY, COLOUR])
def test_files_written_by_pillow_are_read(file_format, channels):
    pixels = random_image((8, 13, *channels))
    found = decode_plain(pillow_file(Image.fromarray(pixels), file_format))
    assert_same(found, pixels[..., ::-1] if channels else pixels)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_files_written_by_tifffile_are_read(options, dtype, byteorder):
    pixels = random_image((8, 13, 3), dtype)
    content = tiff_file(pixels, photometric="rgb", byteorder=byteorder, **options)
    assert_same(decode_plain(content), pixels[..., ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planar_tiff_is_read(dtype):
    pixels = random_image((3, 8, 13), dtype)
    content = tiff_file(pixels, photometric="rgb", planarconfig="separate")
    assert_same(decode_plain(content), np.moveaxis(pixels, 0, 2)[..., ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_tiff_is_not_inverted(dtype):
    stored = random_image((6, 7), dtype)
    found = decode_plain(tiff_file(stored, photometric="miniswhite"))
    assert_same(found, np.iinfo(dtype).max - stored)


@pytest.mark.parametrize("largest", [1, 15, 200, 255, 256, 1000, 65535])
@pytest.mark.parametrize("letters", [b"P5", b"P6"])
def test_pnm_of_any_depth_maps_white_to_white(largest, letters):
    shape = (4, 5, 3) if letters == b"P6" else (4, 5)
    samples = np.random.default_rng(0).integers(0, largest + 1, shape)
    samples[0, 0] = largest
    header = letters + b"\n5 4\n%d\n" % largest
    found = decode_plain(header + samples.astype(">u2" if largest > 255 else "u1").tobytes())
    peak = 65535 if largest > 255 else 255
    exact = samples * (peak / largest)
    assert found.dtype == (np.uint16 if largest > 255 else np.uint8)
    assert np.abs(found - (exact[..., ::-1] if letters == b"P6" else exact)).max() <= 0.5 + 1e-9


def test_palette_images_become_colour():
    colours = Image.fromarray(random_image((10, 10, 3))).quantize(16)
    expected = np.asarray(colours.convert("RGB"))[..., ::-1]
    for file_format in ("PNG", "GIF", "BMP"):
        assert_same(decode_plain(pillow_file(colours, file_format)), expected)


def test_palette_transparency_becomes_alpha():
    image = Image.fromarray(random_image((10, 10, 3))).quantize(16)
    pixels, alpha = planes_of(pillow_file(image, "PNG", transparency=3))
    indices = np.asarray(image)
    assert pixels.shape == (10, 10, 3)
    assert_same(alpha, np.where(indices == 3, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_gray_value_becomes_alpha(dtype):
    gray = np.array([[0, 7, 9], [7, 255, 3]], dtype)
    if dtype == np.uint8:
        content = pillow_file(Image.fromarray(gray), "PNG", transparency=7)
    else:
        content = png_16(gray, 0, png_chunk(b"tRNS", struct.pack(">H", 7)))
    pixels, alpha = planes_of(content)
    assert_same(pixels, gray)
    assert_same(alpha, np.where(gray == 7, 0, np.iinfo(dtype).max).astype(dtype))


def test_transparent_16_bit_colour_becomes_alpha():
    rgb = random_image((3, 4, 3), np.uint16)
    content = png_16(rgb, 2, png_chunk(b"tRNS", rgb[1, 2].astype(">u2").tobytes()))
    pixels, alpha = planes_of(content)
    assert_same(pixels, rgb[..., ::-1])
    expected = np.full((3, 4), 65535, np.uint16)
    expected[1, 2] = 0
    assert_same(alpha, expected)


def test_gray_with_alpha_of_16_bits_stays_gray():
    samples = random_image((5, 6, 2), np.uint16)
    pixels, alpha = planes_of(png_16(samples, 4))
    assert_same(pixels, samples[..., 0])
    assert_same(alpha, samples[..., 1])


def test_one_bit_images_become_gray():
    bits = random_image((9, 11)) > 127
    for file_format in ("PNG", "TIFF", "BMP", "PPM"):
        found = decode_plain(pillow_file(Image.fromarray(bits), file_format))
        assert_same(found, bits.astype(np.uint8) * 255)


@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_cmyk_becomes_colour(file_format):
    image = Image.fromarray(smooth_image((32, 32, 3))).convert("CMYK")
    options = {"quality": 100} if file_format == "JPEG" else {}
    found = decode_plain(pillow_file(image, file_format, **options)).astype(int)
    expected = np.asarray(image.convert("RGB"))[..., ::-1].astype(int)
    assert np.abs(found - expected).max() <= (8 if file_format == "JPEG" else 0)


# EXIF orientation: where the picture's top left comes from, by the standard's table.
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "JPEG"])
def test_exif_orientation_is_applied(orientation, file_format):
    stored = smooth_image((24, 40, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = pillow_file(Image.fromarray(stored), file_format, exif=exif.tobytes(), **options)
    found = decode_plain(content)
    expected = SHOWN[orientation](stored)[..., ::-1]
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < (5 if file_format == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [GRAY, COLOUR])
def test_orientation_of_tiff_is_applied(orientation, dtype, channels):
    stored = random_image((4, 7, *channels), dtype)
    options = {"photometric": "rgb"} if channels else {}
    found = decode_plain(tiff_file(stored, extratags=[(274, "H", 1, orientation, True)], **options))
    expected = SHOWN[orientation](stored)
    assert_same(found, expected[..., ::-1] if channels else expected)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("position", ["before", "after"])
def test_orientation_of_deep_png_is_applied(orientation, position):
    stored = random_image((4, 7, 4), np.uint16)
    content = png_16(stored, 6, **{position: orientation_chunk(orientation)})
    pixels, alpha = planes_of(content)
    expected = SHOWN[orientation](stored)
    assert_same(pixels, expected[..., 2::-1])
    assert_same(alpha, expected[..., 3])


# Refusals before decoding.


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (pillow_file(Image.new("L", (7, 5)), "PNG"), "PNG"),
        (pillow_file(Image.new("RGB", (7, 5)), "JPEG"), "JPEG"),
        (pillow_file(Image.new("1", (7, 5)), "TIFF"), "TIFF"),
        (png_16(np.zeros((5, 7, 4)), 6), "PNG"),
        (tiff_file(np.zeros((5, 7, 3), np.uint16), photometric="rgb"), "TIFF"),
        (b"P6 7 5 65535\n", "PPM"),
    ],
)
def test_header_gives_format_and_size(content, name):
    for source in (content, io.BytesIO(content)):
        header = read_header(source)
        assert (header.format, header.width, header.height) == (name, 7, 5)
    assert header.megapixels == pytest.approx(35e-6)


def test_headers_of_truncated_files_are_read():
    content = pillow_file(Image.fromarray(random_image((50, 60, 3))), "PNG")
    assert read_header(content[:200]).width == 60


@pytest.mark.parametrize("depth", [8, 16])
def test_large_images_are_refused_before_decoding(depth):
    """The header promises more than the file holds: decoding would fail otherwise."""
    header = struct.pack(">IIBBBBB", 50_000, 40_000, depth, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")
    message = refusal(content, limit=100)
    assert "50000 x 40000" in message
    assert "100 megapixels" in message and "--max_megapixels" in message


def test_image_of_exactly_the_limit_is_allowed():
    content = encoded(np.zeros((10, 100), np.uint8), None, ".png")
    assert decode_image(content, 0.001).pixels.shape == (10, 100)
    assert "100 x 10 pixels" in refusal(content, 0.000999)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_of_several_pictures_is_read_with_a_note(file_format):
    frames = [Image.fromarray(random_image((8, 8, 3), seed=seed)) for seed in range(3)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = pillow_file(
        frames[0], file_format, save_all=True, append_images=frames[1:], **options
    )
    picture = decode_image(content, LIMIT)
    assert picture.notes == ("the file holds 3 pictures; only the first was used",)
    found = picture.pixels[..., ::-1]
    # A GIF has 256 colours: enough for 64 pixels.
    assert_same(found, np.asarray(frames[0]))


def test_photograph_is_read_from_a_camera_jpeg_with_previews():
    photograph, preview = (smooth_image((size, size, 3)) for size in (32, 8))
    content = pillow_file(
        Image.fromarray(photograph), "MPO", save_all=True,
        append_images=[Image.fromarray(preview)],
    )  # fmt: skip
    assert decode_plain(content).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a list of things to do\n" * 50, "not an image"),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"\xff\xd8\xff", ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not supported"),
        (pillow_file(Image.new("RGB", (5, 5)), "EPS"), "PostScript or EPS is not supported"),
        (pillow_file(Image.new("F", (5, 5)), "TIFF"), "32-bit floating-point samples"),
        (tiff_file(np.zeros((5, 5), np.int32)), "32-bit signed integer samples"),
    ],
    ids=["empty", "text", "PNG magic", "JPEG magic", "SVG", "EPS", "float", "32 bits"],
)
def test_unsupported_content_is_refused(content, message):
    assert message in refusal(content)


@quick
@given(st.binary(min_size=1, max_size=400))
def test_random_bytes_are_refused(content):
    refusal(content)


# Damage.


def damageable() -> dict[str, bytes]:
    colour, deep = smooth_image((60, 80, 3)), smooth_image((60, 80, 3), np.uint16)
    gray, deep_gray = colour[..., 0].copy(), deep[..., 0].copy()
    picture = Image.fromarray(colour)
    return {
        "png": encoded(colour, None, ".png"),
        "png alpha": encoded(colour, gray, ".png"),
        "png 16": encoded(deep, None, ".png"),
        "png 16 alpha": encoded(deep, deep_gray, ".png"),
        "png 16 gray": encoded(deep_gray, None, ".png"),
        "png palette": pillow_file(picture.quantize(64), "PNG"),
        "jpeg": encoded(colour, None, ".jpg"),
        "jpeg gray": encoded(gray, None, ".jpg"),
        "jpeg progressive": pillow_file(picture, "JPEG", progressive=True),
        "bmp": encoded(colour, None, ".bmp"),
        "bmp gray": encoded(gray, None, ".bmp"),
        "webp": encoded(colour, None, ".webp"),
        "webp lossy": pillow_file(picture, "WEBP", quality=80),
        "webp alpha": encoded(colour, gray, ".webp"),
        "tiff": encoded(colour, None, ".tif"),
        "tiff plain": pillow_file(picture, "TIFF"),
        "tiff jpeg": tiff_file(colour, photometric="ycbcr", compression="jpeg", subsampling=(2, 2)),
        "tiff 16": encoded(deep, None, ".tif"),
        "tiff 16 zlib": tiff_file(deep, photometric="rgb", compression="zlib"),
        "ppm": encoded(colour, None, ".ppm"),
        "ppm 16": encoded(deep, None, ".ppm"),
        "pgm 16": encoded(deep_gray, None, ".pgm"),
        "gif": pillow_file(picture, "GIF"),
        "jp2": pillow_file(picture, "JPEG2000"),
    }


DAMAGEABLE = damageable()


@pytest.mark.parametrize("name", DAMAGEABLE)
def test_truncated_image_returns_no_partial_picture(name):
    content = DAMAGEABLE[name]
    decode_image(content, LIMIT)
    fractions = (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.97)
    for length in {4, 16, *(int(len(content) * fraction) for fraction in fractions)}:
        refusal(content[:length])


@pytest.mark.parametrize("name", DAMAGEABLE)
def test_damaged_file_raises_image_error_or_decodes(name):
    """Not every format detects damage, but each gives a picture or an ImageError."""
    content = DAMAGEABLE[name]
    generator = np.random.default_rng(0)
    # Damaged directories and headers break decoders in more ways than damaged pixels.
    edges = np.r_[0:200, max(0, len(content) - 200) : len(content)]
    for position in generator.choice(edges, 60):
        damaged = bytearray(content)
        damaged[position] = generator.integers(0, 256)
        try:
            with warnings.catch_warnings(action="ignore"):
                pixels, _ = planes_of(bytes(damaged))
        except ImageError as error:
            assert str(error)
        else:
            assert pixels.dtype in (np.uint8, np.uint16)


def test_decoder_exceptions_become_image_errors(monkeypatch):
    content = encoded(smooth_image((5, 5, 3)), None, ".png")

    def stumble(*arguments):
        raise TypeError("Missing\n dimensions \x1b")  # a message may hold parts of the file

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", stumble)
    meaning = "it ends early or holds impossible values (TypeError: Missing dimensions ?)"
    assert refusal(content) == f"the image is damaged: {meaning}"


def test_memory_error_is_not_reported_as_damage(monkeypatch):
    content = encoded(smooth_image((5, 5, 3)), None, ".png")

    def run_out(*arguments):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", run_out)
    with pytest.raises(MemoryError):
        decode_image(content, LIMIT)


# Files.


def ref_to(path) -> ImageRef:
    return ImageRef(str(path), path.name, path.name, 0, 0.0, 0)


def test_file_is_read_into_a_record(tmp_path):
    image, alpha = random_image((7, 9, 3)), random_image((7, 9), seed=1)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image, alpha, ".png"))
    record = read_image(ref_to(path), LIMIT, 60)
    assert record.ref == ref_to(path)
    assert record.source_shape == (7, 9)
    assert_same(record.original, image)
    assert_same(record.alpha, alpha)


def test_format_is_detected_by_content_not_by_name(tmp_path):
    image = random_image((7, 9, 3))
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(image, None, ".png"))
    assert_same(read_image(ref_to(path), LIMIT, 60).original, image)


def test_oversized_file_is_not_read(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(10**13)  # a hole
    (ref,) = expand_glob(f"{tmp_path}/*.png")
    with pytest.raises(ImageError, match=r"a file of 10000.0 GB is larger than an image of 256"):
        read_image(ref, 256, 60)


def test_directories_and_pipes_are_refused(tmp_path):

    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PathError, match="is not a regular file"):
        read_image(ref_to(tmp_path / "pipe.png"), LIMIT, 60)
    with pytest.raises(PathError, match="is a directory"):
        read_image(ref_to(tmp_path), LIMIT, 60)
    with pytest.raises(FileNotFoundError):
        read_image(ref_to(tmp_path / "none.png"), LIMIT, 60)
