"""Decoding of every format: no silent loss, and oversized images are refused early."""

import functools
import io
import struct
import time
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from corpus import REFUSED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from support import pillow_file, png_chunk, quick, random_image, tiff_file

from codec.decode import decode_image
from codec.errors import ImageError
from codec.picture import Metadata, Picture
from codec.readers import READERS

LIMIT = 50.0  # megapixels


def png_file(width: int, height: int, depth: int, kind: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def decode(content: bytes) -> Picture:
    return decode_image(content, LIMIT)


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(content)
    return str(caught.value)


def assert_planes(picture: Picture, colours: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Colours are RGB or gray."""
    expected = colours[..., ::-1] if colours.ndim == 3 else colours
    assert picture.pixels.dtype == expected.dtype
    assert picture.pixels.flags.c_contiguous
    np.testing.assert_array_equal(picture.pixels, expected)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        assert picture.alpha.dtype == expected.dtype and picture.alpha.flags.c_contiguous
        np.testing.assert_array_equal(picture.alpha, alpha)


def codes_of(bits: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random codes over the whole range, with black and white."""
    codes = np.random.default_rng(seed).integers(0, 2**bits, shape)
    codes.flat[:2] = 0, 2**bits - 1
    return codes.astype(np.uint8 if bits <= 8 else np.uint16)


def as_shown(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes scaled by exact fractions so that white stays white, rounded half up."""
    dtype, peak = (np.uint8, 255) if bits <= 8 else (np.uint16, 65535)
    white = 2**bits - 1
    return ((codes.astype(np.int64) * peak * 2 + white) // (2 * white)).astype(dtype)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Rows of codes of few bits, each padded to whole bytes."""
    each = codes[..., np.newaxis] >> np.arange(bits)[::-1] & 1
    return np.packbits(each.reshape(len(codes), -1).astype(np.uint8), axis=1)


def split(channels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    if channels.ndim == 2:
        return channels, None
    count = channels.shape[2]
    colours = channels[..., 0] if count < 3 else channels[..., :3]
    return colours, channels[..., -1] if count in (2, 4) else None


CHANNELS = [(), (2,), (3,), (4,)]


# Several pictures.


def test_default_picture_of_an_animated_png_is_read():
    first, *others = (Image.fromarray(random_image((6, 7, 3), seed=seed)) for seed in range(3))
    content = pillow_file(
        first, "PNG", save_all=True, append_images=others, default_image=True, duration=10
    )
    picture = decode(content)
    assert_planes(picture, np.asarray(first))
    assert picture.notes == ("the file holds 3 pictures; only the first was used",)


def test_first_picture_of_an_animated_avif_is_read():
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    content = pillow_file(first, "AVIF", save_all=True, append_images=[second], quality=100)
    picture = decode(content)
    assert (picture.pixels[..., 2] > 240).all()
    assert picture.notes == ("the file holds 2 pictures; only the first was used",)


def test_single_picture_gives_no_note():
    assert decode(pillow_file(Image.new("RGB", (5, 5)), "PNG")).notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_previews_are_neither_read_nor_counted(dtype):
    preview, first, second = (random_image((size, size), dtype) for size in (4, 9, 8))

    def decoded(*others: np.ndarray) -> Picture:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            writer.write(preview, subfiletype=1, metadata=None)
            writer.write(first, metadata=None)
            writer.write(preview, subfiletype=1, metadata=None)
            for other in others:
                writer.write(other, metadata=None)
        return decode(buffer.getvalue())

    assert_planes(decoded(), first)
    assert decoded().notes == ()
    assert_planes(decoded(second), first)
    assert decoded(second).notes == ("the file holds 2 pictures; only the first was used",)


def tiff_directory(entries: dict[int, int], following: int = 0) -> bytes:
    fields = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items())
    )
    return struct.pack("<H", len(entries)) + fields + struct.pack("<I", following)


ONE_PIXEL = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 4, 277: 1, 278: 1, 279: 1}


def test_looping_tiff_pages_are_counted_once():
    content = b"II*\0\x08\0\0\0" + tiff_directory(ONE_PIXEL, following=8)
    assert decode(content).notes == ()


def test_counting_a_long_chain_of_tiff_pages_ends():
    length = len(tiff_directory(ONE_PIXEL))
    pages = (tiff_directory(ONE_PIXEL, 8 + (i + 1) * length) for i in range(50_000))
    content = b"II*\0\x08\0\0\0" + b"".join(pages) + tiff_directory(ONE_PIXEL)
    begun = time.process_time()
    picture = decode(content)
    assert time.process_time() - begun < 10
    assert picture.notes == ("the file holds at least 1000 pictures; only the first was used",)


def test_jpeg_quantisation_tables_are_kept():
    tables = [list(range(1, 65)), list(range(101, 165))]
    content = pillow_file(Image.new("RGB", (9, 9)), "JPEG", qtables=tables)
    assert decode(content).jpeg_tables == (tuple(tables[0]), tuple(tables[1]))
    assert decode(pillow_file(Image.new("RGB", (9, 9)), "PNG")).jpeg_tables == ()


# Depth.


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 3}])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@settings(quick, max_examples=4)
@given(seed=st.integers(0, 99), bigtiff=st.booleans(), predictor=st.booleans())
def test_tiff_of_16_bits_is_exact(compression, options, byteorder, seed, bigtiff, predictor):
    pixels = random_image((21, 18, 3), np.uint16, seed)
    content = tiff_file(
        pixels, photometric="rgb", compression=compression, byteorder=byteorder, bigtiff=bigtiff,
        predictor=predictor and compression is not None, **options,
    )  # fmt: skip
    assert_planes(decode(content), pixels)


@pytest.mark.parametrize(
    "compression",
    ["lzw", "zlib", "deflate", "packbits", "zstd", "lzma", "webp", "lerc", "png", "jpegxl"],
)
def test_tiff_of_8_bits_is_exact(compression):
    pixels = random_image((21, 18, 3))
    content = tiff_file(pixels, photometric="rgb", compression=compression)
    assert_planes(decode(content), pixels)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_tiff_of_9_to_15_bits_is_scaled_exactly(bits):
    codes = codes_of(bits, (9, 13))
    content = tiff_file(codes, photometric="minisblack", bitspersample=bits)
    assert_planes(decode(content), as_shown(codes, bits))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiff_below_8_bits_is_scaled_exactly(bits):
    codes = codes_of(bits, (9, 13))
    rows = packed(codes, bits)
    entries = {256: 13, 257: 9, 258: bits, 259: 1, 262: 1, 277: 1, 278: 9, 279: rows.size}
    start = 8 + len(tiff_directory({**entries, 273: 0}))
    content = b"II*\0\x08\0\0\0" + tiff_directory({**entries, 273: start}) + rows.tobytes()
    assert_planes(decode(content), as_shown(codes, bits))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_tiff_alpha_is_unpremultiplied(dtype, colours):
    stored = random_image((9, 13, colours + 1), dtype)
    stored[0, 0, -1] = 0
    peak, alpha = int(np.iinfo(dtype).max), stored[..., -1]
    options = {"photometric": "rgb" if colours == 3 else "minisblack", "planarconfig": "contig"}
    shown = stored[..., :3] if colours == 3 else stored[..., 0]
    straight = decode(tiff_file(stored, extrasamples=["unassalpha"], **options))
    assert_planes(straight, shown, alpha)
    wide_alpha = alpha.astype(np.int64)
    divisor = wide_alpha if colours == 1 else wide_alpha[..., np.newaxis]
    wide = shown.astype(np.int64)
    exact = np.where(divisor == 0, 0, (2 * wide * peak + divisor) // np.maximum(2 * divisor, 1))
    premultiplied = decode(tiff_file(stored, extrasamples=["assocalpha"], **options))
    assert_planes(premultiplied, np.minimum(exact, peak).astype(dtype), alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unspecified_channels_are_dropped_with_a_note(dtype):
    stored = random_image((9, 13, 6), dtype)
    kinds = ["unspecified", "unassalpha", "unspecified"]
    picture = decode(tiff_file(stored, photometric="rgb", extrasamples=kinds))
    assert_planes(picture, stored[..., :3], stored[..., 4])
    assert picture.notes == ("extra channels without a stated meaning were dropped: 2",)


@pytest.mark.parametrize(("factor", "dtype"), [(1, np.uint16), (257, np.uint8)])
def test_tiff_colour_maps_keep_their_depth(factor, dtype):
    colour_map = random_image((3, 256), np.uint16 if factor == 1 else np.uint8)
    indices = random_image((9, 13))
    stored = colour_map.astype(np.uint16) * np.uint16(factor)
    content = tiff_file(indices, photometric="palette", colormap=stored)
    assert_planes(decode(content), colour_map.T[indices].astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float32, "32-bit floating-point"),
        (np.int16, "16-bit signed integer"),
        (np.int32, "32-bit signed integer"),
        (np.uint32, "32-bit unsigned integer"),
        (np.complex64, "64-bit complex"),
    ],
)
def test_unsupported_sample_types_are_refused_by_name(dtype, kind):
    message = refusal(tiff_file(np.zeros((5, 5), dtype)))
    assert message == f"{kind} samples are not supported; convert them to 8 or 16 bits"


def test_missing_tiff_strips_are_an_error():
    entries = {**ONE_PIXEL, 257: 4, 258: 16, 278: 4, 273: 8, 279: 0}
    message = refusal(b"II*\0\x08\0\0\0" + tiff_directory(entries))
    assert message == "the image is damaged: strips or tiles are missing"


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("container", ["jp2", "j2k"])
def test_jpeg_2000_of_16_bits_is_exact(bits, channels, container):
    codes = codes_of(bits, (16, 20, *channels))
    content = imagecodecs.jpeg2k_encode(
        codes, level=0, bitspersample=bits, codecformat=container, reversible=True
    )
    assert_planes(decode(content), *split(as_shown(codes, bits)))


def test_sycc_jpeg_2000_of_16_bits_becomes_rgb():
    codes = codes_of(12, (8, 8, 3))
    content = imagecodecs.jpeg2k_encode(
        codes, level=0, bitspersample=12, reversible=True, colorspace="SRGB", mct=False
    )
    assert content.count(b"colr\x01\0\0\0\0\0\x10") == 1
    content = content.replace(b"colr\x01\0\0\0\0\0\x10", b"colr\x01\0\0\0\0\0\x12")
    y, cb, cr = np.moveaxis(codes.astype(float), -1, 0) - [[[0]], [[2048]], [[2048]]]
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    found = decode(content).pixels[..., ::-1] * (4095 / 65535)
    assert np.abs(found - np.clip(rgb, 0, 4095)).max() < 1.5  # of 4095: the library cuts


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_avif_of_10_and_12_bits_is_exact(bits, channels):
    codes = codes_of(bits, (16, 20, *channels))
    content = imagecodecs.avif_encode(codes, level=100, bitspersample=bits)
    assert_planes(decode(content), *split(as_shown(codes, bits)))


def test_jpeg_of_more_than_8_bits_is_refused_by_name():
    content = imagecodecs.jpeg8_encode(codes_of(12, (16, 20)), bitspersample=12)
    assert refusal(content) == "12-bit JPEG is not supported; convert it to PNG"


@pytest.mark.parametrize("white", [1, 15, 255, 1000, 65535])
@pytest.mark.parametrize("letters", [b"P2", b"P3"])
def test_ascii_pnm_is_exact(white, letters):
    shape = (4, 5, 3) if letters == b"P3" else (4, 5)
    codes = np.random.default_rng(0).integers(0, white + 1, shape)
    body = b" ".join(b"%d" % code for code in codes.ravel())
    peak, dtype = (65535, np.uint16) if white > 255 else (255, np.uint8)
    shown = ((2 * codes * peak + white) // (2 * white)).astype(dtype)
    assert_planes(decode(letters + b"\n5 4\n%d\n" % white + body + b"\n"), shown)


# Colour.


def plain_rgb(inks: np.ndarray) -> np.ndarray:
    peak = int(np.iinfo(inks.dtype).max)
    light = peak - inks.astype(np.int64)
    return ((2 * light[..., :3] * light[..., 3:] + peak) // (2 * peak)).astype(inks.dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_without_a_profile_is_converted_with_a_note(dtype):
    inks = random_image((9, 13, 4), dtype)
    picture = decode(tiff_file(inks, photometric="separated"))
    assert_planes(picture, plain_rgb(inks))
    assert picture.notes == (
        "CMYK without a colour profile: converted to RGB by the plain formula",
    )


def cmyk_profile() -> bytes:
    """An ICC profile whose colours differ from the plain formula's: mft1, CMYK to Lab."""
    steps = bytes(range(256))
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    lab = [
        (255 - 60 * c - 50 * m - 10 * y if not k else 0, 128 + (40 * m - 20 * c) * (1 - k),
         128 + (60 * y - 30 * c) * (1 - k))
        for c, m, y, k in corners
    ]  # fmt: skip
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += steps * 4 + b"".join(bytes(colour) for colour in lab) + steps * 3
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, body, offset = b"", b"", 128 + 4 + 3 * 12
    for name, value in ((b"desc", text), (b"wtpt", white), (b"A2B0", table)):
        tags += name + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4s24x3i44x", offset + len(body), b"lcms", 0x02100000, b"prtr", b"CMYK",
        b"Lab ", bytes(12), b"acsp", bytes(4), 63190, 65536, 54061,
    )  # fmt: skip
    header = header.ljust(128, b"\0")
    return header[:128] + struct.pack(">I", 3) + tags + body


@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_cmyk_is_converted_by_its_profile(file_format):
    inks = np.repeat(np.repeat(random_image((2, 3, 4)), 16, 0), 16, 1)
    profile = cmyk_profile()
    options = {"quality": 100} if file_format == "JPEG" else {}
    picture = decode(
        pillow_file(Image.fromarray(inks, "CMYK"), file_format, icc_profile=profile, **options)
    )
    expected = ImageCms.profileToProfile(
        Image.fromarray(inks, "CMYK"), io.BytesIO(profile), ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )  # fmt: skip
    difference = picture.pixels[..., ::-1].astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= (4 if file_format == "JPEG" else 1)
    assert picture.notes == ()
    assert np.abs(np.asarray(expected).astype(int) - plain_rgb(inks)).max() > 20


def test_cmyk_of_16_bits_is_converted_by_its_profile():
    inks = random_image((5, 6, 4))
    content = tiff_file(
        inks.astype(np.uint16) * np.uint16(257), photometric="separated", iccprofile=cmyk_profile()
    )
    shallow = tiff_file(inks, photometric="separated", iccprofile=cmyk_profile())
    found, expected = decode(content), decode(shallow).pixels
    assert found.pixels.dtype == np.uint16 and found.notes == ()
    assert np.abs(found.pixels / 257 - expected).max() < 1.5


def test_damaged_profile_is_noted():
    inks = random_image((9, 13, 4))
    picture = decode(tiff_file(inks, photometric="separated", iccprofile=b"x" * 200))
    assert_planes(picture, plain_rgb(inks))
    assert "profile is damaged" in picture.notes[0]


def test_cmyk_jpeg_is_not_inverted():
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 255  # cyan, as Pillow writes it: inverted, with Adobe's mark
    content = pillow_file(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in content
    blue, green, red = np.moveaxis(decode(content).pixels.astype(int), -1, 0)
    assert red.max() < 5 and green.min() > 250 and blue.min() > 250


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_rgb_profile_does_not_change_pixels(file_format):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(random_image((8, 8, 3)))
    options = {"lossless": True} if file_format == "WEBP" else {}
    found = decode(pillow_file(image, file_format, icc_profile=profile, **options))
    without = decode(pillow_file(image, file_format, **options))
    np.testing.assert_array_equal(found.pixels, without.pixels)


# More formats.


@pytest.mark.parametrize("file_format", ["QOI", "TGA", "BMP"])
def test_further_formats_are_decoded(file_format):
    pixels = random_image((8, 13, 3))
    picture = decode(pillow_file(Image.fromarray(pixels), file_format))
    assert picture.format == file_format
    assert_planes(picture, pixels)


@pytest.mark.parametrize("file_format", ["QOI", "TGA", "JPEG2000"])
def test_further_formats_keep_alpha(file_format):
    stored = random_image((8, 13, 4))
    picture = decode(pillow_file(Image.fromarray(stored), file_format))
    assert_planes(picture, *split(stored))


def bmp_file(size, bits, compression, body, masks=b"", palette=b"") -> bytes:
    offset = 54 + len(masks) + len(palette)
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", offset + len(body), 0, 0, offset, 40 + len(masks), *size, 1,
        bits, compression, len(body), 0, 0, len(palette) // 4, 0,
    )  # fmt: skip
    return header + masks + palette + body


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0xF800, 0x07E0, 0x001F, 0)),
        (16, (0x7C00, 0x03E0, 0x001F, 0)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    ],
)
def test_common_bmp_bit_fields_are_read(bits, masks, top_down):
    codes = np.random.default_rng(0).integers(0, 2**bits, (3, 6)).astype(f"<u{bits // 8}")
    body = codes if top_down else codes[::-1]
    content = bmp_file(
        (6, -3 if top_down else 3), bits, 3, body.tobytes(), struct.pack("<4I", *masks)
    )
    picture = decode(content)
    planes = (*np.moveaxis(picture.pixels[..., ::-1], -1, 0), picture.alpha)
    for plane, mask in zip(planes, masks, strict=True):
        if mask:
            white = mask // (mask & -mask)
            shown = (codes.astype(np.int64) & mask) // (mask & -mask) * (255 / white)
            # Pillow cuts where it makes 8 bits of 5 and 6.
            assert np.abs(plane - shown).max() < 1
        else:
            assert plane is None
    assert "truncated" in refusal(content[:-1])


RARE_BMPS = {
    "header of 16 bytes": bmp_file((2, 2), 8, 0, bytes(8))[:14] + b"\x10" + bytes(50),
    "header of 66 bytes": bmp_file((2, 2), 8, 0, bytes(8), bytes(26)),
    "4-bit run-length encoding": bmp_file((2, 2), 4, 2, b"\0\1", palette=bytes(64)),
    "holds a JPEG": bmp_file((2, 2), 0, 4, b"\xff\xd8"),
    "holds a PNG": bmp_file((2, 2), 0, 5, b"\x89PNG"),
    "bit fields and alpha": bmp_file(
        (2, 2), 16, 3, bytes(8), struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, 0x8000)
    ),
    "Unsupported BMP bitfields": bmp_file(
        (2, 2), 32, 3, bytes(16), struct.pack("<4I", 0x3FF00000, 0xFFC00, 0x3FF, 0)
    ),
}


@pytest.mark.parametrize("words", RARE_BMPS)
def test_rare_bmp_variants_are_refused_by_name(words):
    message = refusal(RARE_BMPS[words])
    assert words in message and "convert it to PNG" in message


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_formats_are_refused_by_name_with_a_remedy(name):
    assert refusal(REFUSED[name]) == f"{name} is not supported; convert it to PNG"


@pytest.mark.parametrize("name", REFUSED)
def test_no_reader_accepts_a_refused_format(name):
    assert not [each.name for each in READERS if each.signature.match(REFUSED[name])]


@pytest.mark.parametrize("photometric", [8, 9])
def test_lab_is_refused_by_name(photometric):
    content = bytearray(tiff_file(random_image((4, 4, 3)), photometric="rgb", metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        struct.pack_into("<H", content, file.pages[0].tags[262].valueoffset, photometric)
    message = refusal(bytes(content))
    assert "LAB" in message and "convert it to PNG" in message


# Orientation and odd sizes.


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("alpha", [False, True])
def test_orientation_of_avif_is_applied(orientation, alpha):
    stored = np.zeros((16, 24, 4 if alpha else 3), np.uint8)
    stored[:8, :12] = 255  # top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(pillow_file(Image.fromarray(stored), "AVIF", exif=exif.tobytes(), quality=100))
    upright = {  # rows and columns of the corner once shown
        2: (0, 1), 3: (1, 1), 4: (1, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0),
    }.get(orientation, (0, 0))  # fmt: skip
    height, width = (24, 16) if orientation in (5, 6, 7, 8) else (16, 24)
    assert found.pixels.shape[:2] == (height, width)
    y, x = upright[0] * (height - 1), upright[1] * (width - 1)
    for plane in (found.pixels[..., 0], *([found.alpha] if alpha else [])):
        bright = plane > 128
        assert bright[y, x] and bright.mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("size", [(1, 1), (100_000, 1), (1, 100_000)])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_extreme_sizes_are_decoded(size, file_format):
    pixels = random_image((*size, 3))
    assert_planes(decode(pillow_file(Image.fromarray(pixels), file_format)), pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_transparent_gray_below_8_bits_becomes_alpha(bits):
    codes = codes_of(bits, (5, 8))
    rows = packed(codes, bits)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    key = png_chunk(b"tRNS", struct.pack(">H", 1))
    content = png_file(8, 5, bits, 0, key, png_chunk(b"IDAT", body))
    alpha = np.where(codes == 1, 0, 255).astype(np.uint8)
    assert_planes(decode(content), as_shown(codes, bits), alpha)


# Guards.


def large_tiff(bits: int) -> bytes:
    entries = {**ONE_PIXEL, 256: 65535, 257: 65535, 258: bits, 278: 65535}
    return b"II*\0\x08\0\0\0" + tiff_directory(entries)


def patched(content: bytes, mark: bytes, shift: int, layout: str, *values: int) -> bytes:
    """The content with numbers replaced at `shift` after the first `mark`."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, content.index(mark) + shift, *values)
    return bytes(changed)


SMALL = Image.new("RGB", (5, 5))
LARGE_PNG = png_file(60_000, 60_000, 8, 2, png_chunk(b"IDAT", b""))


LARGE_JP2 = patched(pillow_file(SMALL, "JPEG2000"), b"ihdr", 4, ">II", 60_000, 60_000)
LARGE_JP2 = patched(LARGE_JP2, b"\xff\x4f\xff\x51", 8, ">II", 60_000, 60_000)
LARGE = {
    "png": LARGE_PNG,
    "png 16": png_file(60_000, 60_000, 16, 6, png_chunk(b"IDAT", b"")),
    "tiff": large_tiff(8),
    "tiff 16": large_tiff(16),
    "bmp": patched(pillow_file(SMALL, "BMP"), b"BM", 18, "<ii", 60_000, 60_000),
    "bmp bit fields": bmp_file((60_000, 60_000), 32, 3, b"", bytes(16)),
    "ppm": b"P6 60000 60000 255\n",
    "ppm 16": b"P6 60000 60000 65535\n",
    "gif": patched(pillow_file(SMALL.convert("P"), "GIF"), b"GIF8", 6, "<HH", 60_000, 60_000),
    "jpeg": patched(pillow_file(SMALL, "JPEG"), b"\xff\xc0", 5, ">HH", 60_000, 60_000),
    "jp2": LARGE_JP2,
    "tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 60_000, 60_000, 24, 0),
    "qoi": b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 3, 0),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_images_are_refused_at_once(name):
    begun = time.process_time()
    message = refusal(LARGE[name])
    assert time.process_time() - begun < 3
    assert "megapixels allowed (--max_megapixels)" in message


@pytest.mark.parametrize(
    "content",
    [
        png_file(0, 5, 8, 2, png_chunk(b"IDAT", b"")),
        patched(pillow_file(SMALL, "BMP"), b"BM", 18, "<ii", 0, 5),
        patched(pillow_file(SMALL, "JPEG"), b"\xff\xc0", 5, ">HH", 0, 5),
        b"II*\0\x08\0\0\0" + tiff_directory({**ONE_PIXEL, 256: 0}),
        b"qoif" + struct.pack(">IIBB", 0, 5, 3, 0),
    ],
    ids=["png", "bmp", "jpeg", "tiff", "qoi"],
)
def test_images_of_zero_size_are_refused_by_name(content):
    assert refusal(content) == "the image has no pixels: its width or height is 0"


def test_jpeg_2000_with_two_component_sizes_is_refused():
    content = imagecodecs.jpeg2k_encode(np.zeros((5, 5, 3), np.uint16), level=0, codecformat="jp2")
    large = patched(content, b"\xff\x4f\xff\x51", 8, ">II", 60_000, 60_000)
    assert "two sizes" in refusal(large)


def test_tiff_with_too_many_samples_is_refused():
    entries = {**ONE_PIXEL, 256: 5000, 257: 5000, 258: 16, 277: 65535, 278: 5000}
    assert refusal(b"II*\0\x08\0\0\0" + tiff_directory(entries)) == (
        "65535 samples per pixel are not supported"
    )


@functools.cache
def swelling() -> bytes:
    return zlib.compress(bytes(100_000_000), 9)


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("depth", [8, 16])
def test_metadata_decompression_bombs_are_left_out(kind, depth):
    start = b"x\0\1\0\0\0" if kind == b"iTXt" else b"x\0\0"
    pixel = png_chunk(b"IDAT", zlib.compress(bytes(1 + 3 * depth // 8)))
    content = png_file(1, 1, depth, 2, png_chunk(kind, start + swelling()), pixel)
    begun = time.process_time()
    picture = decode_image(content, 1)
    assert time.process_time() - begun < 5
    assert picture.pixels.shape == (1, 1, 3)
    assert picture.metadata == Metadata()
    assert picture.notes == ("the file is damaged outside its pixels; its metadata was left out",)


def test_dropped_content_is_noted():
    picture = Image.fromarray(random_image((9, 8, 3)))
    jpeg = pillow_file(picture, "JPEG", comment=b"by hand")
    assert decode(jpeg).notes == ("a comment was left out",)
    resources = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, 4) + b"\x1c\2\0\0"
    segment = b"\xff\xed" + struct.pack(">H", len(resources) + 2) + resources
    plain = pillow_file(picture, "JPEG")
    assert decode(plain).notes == ()
    assert decode(plain[:2] + segment + plain[2:]).notes == ("Photoshop or IPTC data was left out",)
    tiff = tiff_file(
        random_image((9, 8)), metadata=None, extratags=[(33922, "d", 6, (0.0,) * 6, True)]
    )
    assert decode(tiff).notes == ("the map position (GeoTIFF) was left out",)


# Damage.

TRUNCATABLE = {
    "tiff lzw": tiff_file(random_image((30, 40, 3), np.uint16), compression="lzw"),
    "tiff premultiplied": tiff_file(
        random_image((30, 40, 4)), photometric="rgb", extrasamples=["assocalpha"]
    ),
    "tiff palette": tiff_file(
        random_image((30, 40)), photometric="palette", colormap=random_image((3, 256), np.uint16)
    ),
    "jp2 16": imagecodecs.jpeg2k_encode(random_image((30, 40, 3), np.uint16), level=0),
    "avif 10": imagecodecs.avif_encode(codes_of(10, (30, 40, 3)), level=100, bitspersample=10),
    "jpeg lossless": imagecodecs.jpeg8_encode(random_image((30, 40, 3)), lossless=True),
    "qoi": pillow_file(Image.fromarray(random_image((30, 40, 3))), "QOI"),
}


@pytest.mark.parametrize("name", TRUNCATABLE)
def test_truncated_files_are_refused(name):
    content = TRUNCATABLE[name]
    decode(content)
    for fraction in (0.02, 0.1, 0.3, 0.5, 0.75, 0.9):
        refusal(content[: int(len(content) * fraction)])


@pytest.mark.parametrize("name", TRUNCATABLE)
@settings(quick, max_examples=25)
@given(data=st.data())
def test_damaged_file_decodes_or_raises_image_error(name, data):
    damaged = bytearray(TRUNCATABLE[name])
    position = data.draw(st.integers(0, min(400, len(damaged) - 1)))
    damaged[position] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(action="ignore"):
        try:
            picture = decode(bytes(damaged))
        except ImageError as error:
            assert str(error)
        else:
            assert picture.pixels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_jpeg_truncated_at_any_position_is_refused(photo, options):
    content = pillow_file(Image.fromarray(photo[:75, :100, ::-1].copy()), "JPEG", **options)
    for length in [*range(len(content) - 40, len(content)), *range(700, len(content), 97)]:
        assert "truncated" in refusal(content[:length])
