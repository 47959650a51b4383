"""Written files, read by other programs: Pillow, tifffile, imagecodecs and OpenCV."""

import io
import re
import struct

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import quick, random_image

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES, EncodeSettings, encode_image
from codec.errors import ImageError

GRAY, COLOUR = (), (3,)
DEEP_SUFFIXES = (".png", ".tif", ".tiff")


def picture(shape, channels=COLOUR, dtype=np.uint8, has_alpha=False, seed=0):
    pixels = random_image((*shape, *channels), dtype, seed)
    return pixels, random_image(shape, dtype, seed + 1) if has_alpha else None


def stacked(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Gray or RGB samples followed by alpha, as most readers return them."""
    samples = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return samples if alpha is None else np.dstack([samples, alpha])


def content_of(pixels, alpha, suffix, **options) -> bytes:
    """The encoded file; asserts that there are no notes."""
    encoded = encode_image(pixels, alpha, suffix, **options)
    assert encoded.notes == ()
    return encoded.content


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def by_opencv(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def pnm_by_opencv(content: bytes) -> np.ndarray:
    """Pillow has no 16-bit colour."""
    pixels = by_opencv(content)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


READERS = {
    ".png": imagecodecs.png_decode,
    ".tif": lambda content: tifffile.imread(io.BytesIO(content)),
    ".tiff": imagecodecs.tiff_decode,
    ".bmp": by_pillow,
    ".dib": by_pillow,
    ".webp": by_pillow,
    ".ppm": pnm_by_opencv,
    ".pgm": pnm_by_opencv,
    ".pnm": pnm_by_opencv,
}

# Format, dtype, colour channels, alpha: the lossless combinations.
KEPT = [
    *(
        (suffix, dtype, channels, has_alpha)
        for suffix in DEEP_SUFFIXES
        for dtype in (np.uint8, np.uint16)
        for channels in (GRAY, COLOUR)
        for has_alpha in (False, True)
    ),
    *((suffix, np.uint8, c, False) for suffix in (".bmp", ".dib") for c in (GRAY, COLOUR)),
    *((suffix, np.uint8, COLOUR, True) for suffix in (".bmp", ".dib", ".webp")),
    (".webp", np.uint8, COLOUR, False),
    *(
        (suffix, dtype, channels, False)
        for suffix in (".ppm", ".pgm", ".pnm")
        for dtype in (np.uint8, np.uint16)
        for channels in (GRAY, COLOUR)
    ),
]


def kept_id(case) -> str:
    suffix, dtype, channels, has_alpha = case
    return f"{suffix}-{np.dtype(dtype)}{'-colour' * bool(channels)}{'-alpha' * has_alpha}"


@pytest.mark.parametrize("case", KEPT, ids=kept_id)
@settings(quick, max_examples=12)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
@example(height=1, width=1, seed=0)
@example(height=1, width=3001, seed=0)
@example(height=3001, width=1, seed=0)
def test_supported_pictures_round_trip_exactly(case, height, width, seed):
    suffix, dtype, channels, has_alpha = case
    pixels, alpha = picture((height, width), channels, dtype, has_alpha, seed)
    if has_alpha and suffix == ".webp":
        alpha[0, 0] = 7  # a fully opaque alpha is dropped
    expected = stacked(pixels, alpha)
    found = READERS[suffix](content_of(pixels, alpha, suffix))
    assert found.dtype == dtype
    assert found.size == expected.size
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_opencv_and_pillow_read_the_same_pixels(suffix, has_alpha):
    pixels, alpha = picture((9, 14), has_alpha=has_alpha)
    content = content_of(pixels, alpha, suffix)
    expected = stacked(pixels, alpha)
    np.testing.assert_array_equal(by_pillow(content), expected)
    if has_alpha and suffix == ".tif":
        return  # OpenCV premultiplies alpha that the file declares unassociated
    order = [2, 1, 0, 3][: expected.shape[2]]
    np.testing.assert_array_equal(by_opencv(content), expected[..., order])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_opencv_reads_16_bit_alpha(suffix):
    pixels, alpha = picture((9, 14), dtype=np.uint16, has_alpha=True)
    found = by_opencv(content_of(pixels, alpha, suffix))
    np.testing.assert_array_equal(found, np.dstack([pixels, alpha]))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("channels", "dtype", "has_alpha", "mode"),
    [
        (GRAY, np.uint8, False, "L"),
        (GRAY, np.uint16, False, "I;16"),
        (GRAY, np.uint8, True, "LA"),
        (COLOUR, np.uint8, False, "RGB"),
        (COLOUR, np.uint8, True, "RGBA"),
    ],
)
def test_pillow_reports_the_expected_mode(suffix, channels, dtype, has_alpha, mode):
    pixels, alpha = picture((4, 5), channels, dtype, has_alpha)
    assert Image.open(io.BytesIO(content_of(pixels, alpha, suffix))).mode == mode


def test_gray_with_alpha_stays_gray_in_16_bit_tiff():
    pixels, alpha = picture((4, 5), GRAY, np.uint16, True)
    with tifffile.TiffFile(io.BytesIO(content_of(pixels, alpha, ".tif"))) as file:
        page = file.pages.first
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.predictor == tifffile.PREDICTOR.HORIZONTAL
        assert not page.is_tiled


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (33, 700)])
def test_gray_becomes_equal_channels_in_webp(shape):
    for has_alpha in (False, True):
        pixels, alpha = picture(shape, GRAY, has_alpha=has_alpha)
        found = by_pillow(content_of(pixels, alpha, ".webp"))
        for channel in range(3):
            np.testing.assert_array_equal(found[..., channel], pixels)


def test_webp_keeps_colours_under_full_transparency():
    pixels, _ = picture((8, 8))
    found = by_pillow(content_of(pixels, np.zeros((8, 8), np.uint8), ".webp"))
    np.testing.assert_array_equal(found[..., :3], pixels[..., ::-1])


def test_bmp_header_declares_alpha():
    pixels, alpha = picture((3, 4), has_alpha=True)
    content = content_of(pixels, alpha, ".bmp")
    assert struct.unpack_from("<I", content, 14) == (108,)  # BITMAPV4HEADER
    assert Image.open(io.BytesIO(content)).mode == "RGBA"


# Pictures that a format cannot hold.


@pytest.mark.parametrize("suffix", [".jpg", ".ppm"])
def test_transparency_is_flattened_onto_white(suffix):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:] = (200, 100, 50)
    alpha = np.zeros((16, 32), np.uint8)
    alpha[:, 16:] = 51  # a fifth
    encoded = encode_image(pixels, alpha, suffix)
    name = {".jpg": "JPEG", ".ppm": "PNM"}[suffix]
    assert encoded.notes == (f"the transparency was flattened onto white: {name} cannot hold it",)
    found = by_pillow(encoded.content).astype(int)
    tolerance = 3 if suffix == ".jpg" else 0
    assert np.abs(found[:, :16] - 255).max() <= tolerance
    assert np.abs(found[:, 16:] - (214, 224, 244)).max() <= tolerance


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [GRAY, COLOUR])
def test_flattening_is_exact(dtype, channels):
    pixels, alpha = picture((300, 40), channels, dtype, True)
    peak = np.iinfo(dtype).max
    pixels[:2], alpha[0], alpha[1] = peak, peak, 0
    found = by_opencv(encode_image(pixels, alpha, ".pnm").content)
    opacity = alpha.astype(np.int64).reshape(300, 40, *[1] * len(channels))
    doubled = 2 * (pixels * opacity + peak * (peak - opacity))
    np.testing.assert_array_equal(found, (doubled + peak) // (2 * peak))


@pytest.mark.parametrize(("suffix", "name"), [(".bmp", "BMP"), (".webp", "WebP")])
def test_16_bits_are_rounded_to_8(suffix, name):
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    encoded = encode_image(pixels, None, suffix)
    assert encoded.notes == (f"16 bits per sample were rounded to 8: {name} cannot hold them",)
    found = by_pillow(encoded.content)
    found = found[..., 0] if found.ndim == 3 else found
    np.testing.assert_array_equal(found, np.floor(pixels * (255 / 65535) + 0.5))


def test_16_bit_alpha_is_rounded_with_the_colours():
    pixels, alpha = picture((9, 8), dtype=np.uint16, has_alpha=True)
    found = by_pillow(encode_image(pixels, alpha, ".bmp").content)
    expected = np.floor(stacked(pixels, alpha) * (255 / 65535) + 0.5)
    np.testing.assert_array_equal(found, expected)


def test_depth_reduction_and_flattening_are_both_noted():
    pixels, alpha = picture((8, 8), dtype=np.uint16, has_alpha=True)
    notes = encode_image(pixels, alpha, ".jpg").notes
    assert [re.sub(":.*", "", note) for note in notes] == [
        "the transparency was flattened onto white",
        "16 bits per sample were rounded to 8",
    ]


def test_gray_with_alpha_becomes_colour_in_bmp():
    pixels, alpha = picture((6, 5), GRAY, has_alpha=True)
    found = by_pillow(content_of(pixels, alpha, ".bmp"))
    np.testing.assert_array_equal(found, np.dstack([pixels, pixels, pixels, alpha]))


@pytest.mark.parametrize(
    ("suffix", "side", "message"),
    [
        (".webp", 16_384, "16384 x 1 pixels are too many for WebP: a side has at most 16,383"),
        (".jpg", 65_501, "65501 x 1 pixels are too many for JPEG: a side has at most 65,500"),
    ],
)
def test_images_too_large_for_a_format_are_refused(suffix, side, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        encode_image(np.zeros((1, side, 3), np.uint8), None, suffix)
    with pytest.raises(ImageError, match="too many"):
        encode_image(np.zeros((side, 1), np.uint8), None, suffix)
    content_of(np.zeros((1, side - 1, 3), np.uint8), None, suffix)


@pytest.mark.parametrize("suffix", [".tif", ".bmp"])
def test_files_over_4_gib_are_refused(suffix, monkeypatch):
    pixel = np.zeros((1, 1, 3), np.uint8)
    huge = np.lib.stride_tricks.as_strided(pixel, (40_000, 40_000, 3), (0, 0, 0))
    monkeypatch.setattr("codec.encode.cv2.cvtColor", lambda pixels, code: pixels)
    with pytest.raises(ImageError, match="40000 x 40000 pixels .* over 4 GiB"):
        encode_image(huge, None, suffix)


# Quality.


def tables_of(content: bytes) -> list[list[int]]:
    return [list(table) for table in Image.open(io.BytesIO(content)).quantization.values()]


def jpeg(quality: int, image: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or Image.new("RGB", (16, 16))).save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def jpeg_content(tables=(), channels=COLOUR, **chosen) -> bytes:
    pixels, _ = picture((16, 24), channels)
    settings_ = EncodeSettings(**chosen, jpeg_tables=tables)
    return encode_image(pixels, None, ".jpg", settings=settings_).content


@pytest.mark.parametrize("source", [None, 30, 75, 95])
def test_jpeg_quality_is_95_for_sources_up_to_95(source):
    tables = () if source is None else tuple(map(tuple, tables_of(jpeg(source))))
    assert tables_of(jpeg_content(tables)) == tables_of(jpeg(95))


@pytest.mark.parametrize("source", [97, 100])
def test_jpeg_quality_follows_a_better_source(source):
    fine = tables_of(jpeg(source))
    assert tables_of(jpeg_content(tuple(map(tuple, fine)))) == fine


def test_jpeg_quantises_no_frequency_coarser_than_the_source():
    luma = tuple(1 if index % 2 else 200 for index in range(64))
    chroma = tuple(200 if index % 2 else 1 for index in range(64))
    expected = [
        [min(steps) for steps in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(tables_of(jpeg(95)), (luma, chroma), strict=True)
    ]
    assert tables_of(jpeg_content((luma, chroma))) == expected


def test_single_quantisation_table_serves_luma_and_chroma():
    table = (1,) * 64
    assert tables_of(jpeg_content((table,))) == [[1] * 64] * 2


def test_finer_of_two_chroma_tables_is_used():
    one, two = (tuple(1 if index % 2 == odd else 99 for index in range(64)) for odd in (0, 1))
    assert tables_of(jpeg_content(((9,) * 64, one, two)))[1] == [1] * 64


@pytest.mark.parametrize("quality", [1, 60, 100])
def test_quality_can_be_chosen(quality):
    assert tables_of(jpeg_content(((1,) * 64,), quality=quality)) == tables_of(jpeg(quality))


@pytest.mark.parametrize("quality", [None, 70])
def test_jpeg_keeps_gray_and_full_chroma_resolution(quality):
    gray = Image.open(io.BytesIO(jpeg_content(channels=GRAY, quality=quality)))
    colour = Image.open(io.BytesIO(jpeg_content(quality=quality)))
    assert gray.mode == "L"
    assert {layer[1:3] for layer in colour.layer} == {(1, 1)}


def test_webp_is_lossless_by_default():
    pixels, _ = picture((64, 64))
    sizes = [
        len(content_of(pixels, None, ".webp", settings=EncodeSettings(quality=quality)))
        for quality in (None, 90, 10)
    ]
    assert sizes == sorted(sizes, reverse=True)
    lossy = content_of(pixels, None, ".webp", settings=EncodeSettings(quality=10))
    assert b"VP8 " in lossy and (by_pillow(lossy) != pixels[..., ::-1]).any()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_compression_effort_changes_size_not_pixels(suffix):
    pixels = cv2.GaussianBlur(random_image((200, 300, 3)), (0, 0), 3)
    sizes = {}
    for level in range(10):
        chosen = EncodeSettings(compression=level)
        content = content_of(pixels, None, suffix, settings=chosen)
        np.testing.assert_array_equal(by_pillow(content), pixels[..., ::-1])
        sizes[level] = len(content)
    assert sizes[0] > sizes[1] > sizes[6] > 0.99 * sizes[9]
    assert sizes[9] < sizes[1]
    assert len(content_of(pixels, None, suffix)) == sizes[1]


# Files.


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
def test_encoding_is_deterministic(suffix):
    pixels, alpha = picture((40, 30), has_alpha=True)
    contents = {encode_image(pixels.copy(), alpha, suffix).content for _ in range(2)}
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("suffixes", "file_format"),
    [
        ((".png",), "PNG"),
        ((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
        ((".webp",), "WEBP"),
        ((".tif", ".tiff"), "TIFF"),
        ((".bmp", ".dib"), "BMP"),
        ((".ppm", ".pgm", ".pnm"), "PPM"),
    ],
)
def test_suffixes_map_to_formats(suffixes, file_format):
    pixels, _ = picture((4, 5))
    for suffix in suffixes:
        content = content_of(pixels, None, suffix)
        assert Image.open(io.BytesIO(content)).format == file_format


def test_formats_map_to_suffixes():
    assert SUFFIXES_OF == {
        "png": (".png",),
        "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
        "webp": (".webp",),
        "tiff": (".tif", ".tiff"),
    }
    assert {s for suffixes in SUFFIXES_OF.values() for s in suffixes} <= WRITABLE_SUFFIXES


@pytest.mark.parametrize("suffix", sorted(WRITABLE_SUFFIXES))
@pytest.mark.parametrize("channels", [GRAY, COLOUR])
def test_encoding_does_not_modify_the_picture(suffix, channels):
    pixels, alpha = picture((7, 6), channels, np.uint16, True)
    before = pixels.copy(), alpha.copy()
    encode_image(pixels, alpha, suffix)
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(alpha, before[1])
