"""Kinds of files that viewers show and common libraries read in part or wrongly."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from support import pillow_file, png_chunk, random_image, tiff_file

from codec.apart import decode_apart
from codec.decode import decode_image, read_header
from codec.errors import ImageError
from codec.picture import Picture


def decode(content: bytes) -> Picture:
    return decode_image(content, 1.0)


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(content)
    return str(caught.value)


def rgb(picture: Picture) -> np.ndarray:
    return picture.pixels[..., ::-1] if picture.pixels.ndim == 3 else picture.pixels


# PSD, by the published specification of the format.


def psd_file(
    channels: np.ndarray,
    mode: int,
    bits: int,
    layers: int | None = None,
    palette: bytes = b"",
    resources: tuple[tuple[int, bytes], ...] = (),
    compression: int = 0,
    large: bool = False,
) -> bytes:
    """Channels are (count, h, w[/8])."""
    count, height, width = channels.shape
    width = width * 8 if bits == 1 else width
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1 + large, count, height, width, bits, mode)
    blocks = b""
    for kind, body in resources:
        blocks += b"8BIM" + struct.pack(">HHI", kind, 0, len(body)) + body + bytes(len(body) % 2)
    length = ">Q" if large else ">I"
    about = b""
    if layers is not None:
        about = struct.pack(length, 2) + struct.pack(">h", layers)
    about = struct.pack(length, len(about)) + about
    stored = channels.astype(channels.dtype.newbyteorder(">"))
    if compression == 0:
        body = stored.tobytes()
    elif compression == 2:
        body = zlib.compress(stored.tobytes())
    else:
        rows = [imagecodecs.packbits_encode(r.tobytes()) for plane in stored for r in plane]
        body = b"".join(struct.pack(">I" if large else ">H", len(row)) for row in rows)
        body += b"".join(rows)
    sizes = struct.pack(">I", len(palette)) + palette + struct.pack(">I", len(blocks)) + blocks
    return header + sizes + about + struct.pack(">H", compression) + body


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_psd_keeps_its_depth(dtype, bits, compression, large):
    planes = random_image((3, 6, 7), dtype)
    content = psd_file(planes, 3, bits, compression=compression, large=large)
    picture = decode(content)
    np.testing.assert_array_equal(rgb(picture), np.moveaxis(planes, 0, -1))
    header = read_header(content)
    assert (header.format, header.bit_depth, header.width, header.height) == ("PSD", bits, 7, 6)
    gray = decode(psd_file(planes[:1], 1, bits, compression=compression, large=large))
    np.testing.assert_array_equal(gray.pixels, planes[0])


def test_colours_of_a_psd_that_are_mixed_with_white_are_taken_apart():
    colours, alpha = random_image((3, 4, 4)), random_image((1, 4, 4), seed=1) | 128
    mixed = np.rint((colours * (alpha / 255)) + 255 - alpha).astype(np.uint8)
    planes = np.concatenate([mixed, alpha])
    picture = decode(psd_file(planes, 3, 8, layers=-1))
    np.testing.assert_allclose(rgb(picture), np.moveaxis(colours, 0, -1), atol=2)
    np.testing.assert_array_equal(picture.alpha, alpha[0])
    straight = decode(psd_file(planes, 3, 8))  # says nothing of mixing
    np.testing.assert_array_equal(rgb(straight), np.moveaxis(mixed, 0, -1))


def test_large_transparent_psds_fit_into_the_childs_memory():
    planes = np.full((4, 5000, 8000), 200, np.uint8)
    content = psd_file(planes, 3, 8, layers=-1, compression=2)
    picture = decode_apart(content, 50, 60)
    assert picture.pixels.shape == (5000, 8000, 3)


def test_other_modes_of_psd():
    bits = np.array([[[0b10000001], [0]]], np.uint8)
    np.testing.assert_array_equal(
        decode(psd_file(bits, 0, 1)).pixels, [[0, *[255] * 6, 0], [255] * 8]
    )
    palette = random_image((3, 256))
    indices = random_image((1, 5, 5))
    content = psd_file(
        indices, 2, 8, palette=palette.tobytes(), resources=((1047, struct.pack(">H", 0)),)
    )
    np.testing.assert_array_equal(rgb(decode(content)), palette.T[indices[0]])
    indices[0, 0, :2] = 0, 1
    picture = decode(
        psd_file(indices, 2, 8, palette=palette.tobytes(), resources=((1047, b"\0\0"),))
    )
    np.testing.assert_array_equal(picture.alpha == 0, indices[0] == 0)
    white = np.full((4, 2, 2), 65535, np.uint16)  # no ink
    picture = decode(psd_file(white, 4, 16))
    assert (picture.pixels == 65535).all() and picture.pixels.dtype == np.uint16
    assert any("CMYK" in note for note in picture.notes)
    (note,) = decode(psd_file(indices, 8, 8)).notes
    assert "duotone" in note


def test_what_stands_beside_the_pixels_of_a_psd_comes_along():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    resolution = struct.pack(">IHHIHH", 300 << 16, 1, 1, 150 << 16, 1, 1)
    content = psd_file(
        random_image((3, 4, 4)), 3, 8,
        resources=((1005, resolution), (1039, profile), (1058, block), (1060, b"<x:xmpmeta/>")),
    )  # fmt: skip
    metadata = decode(content).metadata
    assert metadata.dpi == (300, 150)
    assert metadata.icc == profile
    assert b"A maker" in metadata.exif
    assert metadata.xmp == b"<x:xmpmeta/>"


def test_psds_that_are_not_read_say_why():
    plane = np.zeros((1, 2, 2), np.float32)
    assert "32-bit floating-point" in refusal(psd_file(plane, 1, 32))
    assert "spot colours" in refusal(psd_file(np.zeros((2, 2, 2), np.uint8), 7, 8))
    whole = psd_file(random_image((3, 40, 40)), 3, 8)
    assert "the file is truncated" in refusal(whole[:-1])
    huge = psd_file(random_image((3, 1, 1)), 3, 8)
    assert "megapixels allowed" in refusal(huge[:14] + struct.pack(">II", 2**31, 2**31) + huge[22:])


# JPEG XL


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_jpeg_xl_keeps_depth_and_channels(channels, bits):
    codes = random_image((9, 11, channels), np.uint16) >> (16 - bits)
    codes = codes.astype(np.uint8 if bits == 8 else np.uint16)
    content = imagecodecs.jpegxl_encode(
        codes[..., 0] if channels == 1 else codes, bitspersample=bits, lossless=True
    )
    picture = decode(content)
    peak = 255 if bits == 8 else 65535
    expected = np.rint(codes.astype(np.float64) * peak / (2**bits - 1))
    found = rgb(picture).reshape(9, 11, -1)
    if channels in (2, 4):
        found = np.dstack([found, picture.alpha])
    np.testing.assert_array_equal(found, expected)
    header = read_header(content)
    assert (header.width, header.height) == (11, 9)
    assert header.bit_depth == (8 if bits == 8 else 16)
    assert picture.notes == ()


def test_a_jpeg_xl_in_boxes_brings_exif_and_xmp():
    codes = random_image((8, 8, 3))
    codestream = imagecodecs.jpegxl_encode(codes, lossless=True, usecontainer=False)
    exif = Image.Exif()
    exif[0x010F] = "A maker"

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    content = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    content += box(b"Exif", bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"))
    content += box(b"xml ", b"<x:xmpmeta/>") + box(b"jxlc", codestream)
    picture = decode(content)
    np.testing.assert_array_equal(rgb(picture), codes)
    assert b"A maker" in picture.metadata.exif
    assert picture.metadata.xmp == b"<x:xmpmeta/>"


def test_jpeg_xls_that_are_not_read_say_why():
    codes = random_image((30, 30, 3))
    whole = imagecodecs.jpegxl_encode(codes)
    assert "floating-point" in refusal(imagecodecs.jpegxl_encode(np.float32(codes) / 255))
    assert "damaged" in refusal(whole[:20])
    assert "truncated" in refusal(b"\xff\x0a\x00")
    for end in range(3, len(whole), 40):
        refusal(whole[:end])


# XPM and XBM


def test_xpm_in_all_its_ways_of_naming_colours():
    source = b"""/* XPM */
static char *x[] = {
"4 2 8 2 0 0",
"aa c #F00", "bb m white c #00ff00", "cc c #00000000FFFF",
"dd s hole c None", "ee c light blue", "ff c gray50",
"gg g4 black c #123456", "hh c White",
/* pixels */
"aabbccdd",
"eeffgghh"};
"""
    picture = decode(source)
    expected = [
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)],
        [(173, 216, 230), (128, 128, 128), (0x12, 0x34, 0x56), (255, 255, 255)],
    ]
    np.testing.assert_array_equal(rgb(picture), expected)
    np.testing.assert_array_equal(picture.alpha, [[255, 255, 255, 0], [255] * 4])


def test_damaged_xpms_say_why():
    head = b'/* XPM */ static char *x[] = {"2 2 1 1", "a c %s", '
    assert "truncated" in refusal(head % b"red" + b'"aa"};')
    assert "truncated" in refusal(head % b"red" + b'"aa", "a"};')
    assert "'bluish'" in refusal(head % b"bluish" + b'"aa", "aa"};')
    assert "not in its palette" in refusal(head % b"red" + b'"aa", "ab"};')
    assert "megapixels allowed" in refusal(b'/* XPM */ static char *x[] = {"99999 99999 1 1"};')


def test_the_foreground_of_an_xbm_is_black():
    source = b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {\n0x03};\n"
    np.testing.assert_array_equal(decode(source).pixels, [[0, 0, *[255] * 6]])


# TIFF


def test_unsigned_32_bit_samples_are_rounded_to_16():
    deep = random_image((6, 7, 3), np.uint16)
    deep.flat[:2] = 0, 65535
    codes = deep.astype(np.uint32) * 65537 + np.where(deep % 2, 32768, 0)
    codes = np.minimum(codes, 2**32 - 1).astype(np.uint32)
    picture = decode(tiff_file(codes, photometric="rgb"))
    expected = np.minimum(np.floor(codes / 65537 + 0.5), 65535)
    np.testing.assert_array_equal(rgb(picture), expected)
    assert picture.notes == ("32 bits per sample were rounded to 16",)
    gray = decode(tiff_file(codes[..., 0], photometric="minisblack"))
    np.testing.assert_array_equal(gray.pixels, expected[..., 0])


def test_a_palette_of_one_bit_shows_its_colours():
    bits = random_image((5, 9)) > 127
    image = Image.fromarray(bits.astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    body = np.packbits(bits, axis=1).tobytes()
    colour_map = np.array([[10, 200], [20, 100], [30, 50]]) * 257
    tags = [
        (256, 3, 1, 9), (257, 3, 1, 5), (258, 3, 1, 1), (259, 3, 1, 1), (262, 3, 1, 3),
        (273, 4, 1, 200), (277, 3, 1, 1), (278, 3, 1, 5), (279, 4, 1, 10), (320, 3, 6, 220),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    content = (b"II*\0\x08\0\0\0" + directory + bytes(4)).ljust(200, b"\0")
    content = (content + body).ljust(220, b"\0") + colour_map.astype("<u2").tobytes()
    shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(rgb(decode(content)), shown)


@pytest.mark.parametrize("photometric", [8, 9])  # CIELab with signs, ICCLab without
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_becomes_srgb_in_its_own_depth(photometric, dtype):
    shown = random_image((12, 12, 3))
    lab = np.asarray(
        ImageCms.profileToProfile(
            Image.fromarray(shown),
            ImageCms.createProfile("sRGB"),
            ImageCms.createProfile("LAB"),
            outputMode="LAB",
        )
    ).astype(np.int32)
    lab[..., 1:] ^= 128  # Pillow gives numpy two's complements
    half = 128
    if dtype == np.uint16:
        white = 65535 if photometric == 8 else 65280
        lab = np.dstack([np.rint(lab[..., 0] * (white / 255)), lab[..., 1:] * 256])
        half = 128 * 256
    codes = lab.astype(np.uint16)
    if photometric == 8:
        codes[..., 1:] ^= half
    content = bytearray(tiff_file(codes.astype(dtype), photometric="rgb", metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        struct.pack_into("<H", content, file.pages[0].tags[262].valueoffset, photometric)
    picture = decode(bytes(content))
    assert picture.pixels.dtype == dtype
    found = rgb(picture) / np.iinfo(dtype).max * 255
    # Lab of 8 bits does not tell all dark colours apart.
    assert np.abs(found - shown).mean() < 2
    assert np.abs(found - shown).max() < 16


# BMP


def bmp_file(pixels: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A BMP of 16 colours, and what it shows."""
    image = Image.fromarray(pixels).quantize(16)
    return pillow_file(image, "BMP"), np.asarray(image.convert("RGB"))


def test_bmps_that_say_odd_things_of_themselves():
    content, shown = bmp_file(random_image((8, 8, 3)))
    long_palette = content[:46] + struct.pack("<I", 300) + content[50:]
    np.testing.assert_array_equal(rgb(decode(long_palette)), shown)
    offset = struct.unpack_from("<I", content, 10)[0]
    short = content[:10] + struct.pack("<II", offset - 24, 16) + content[18:30] + content[54:]
    np.testing.assert_array_equal(rgb(decode(short)), shown)
    stretched = content[18:54] + bytes(26) + content[54:]
    odd = content[:10] + struct.pack("<II", offset + 26, 66) + stretched
    np.testing.assert_array_equal(rgb(decode(odd)), shown)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("grays", [(0, 255), (0, 1, 2), tuple(range(15))])
def test_short_palettes_of_grays_do_not_change_the_depth(bits, grays):
    codes = np.random.default_rng(1).integers(0, len(grays), (4, 8), np.uint8)
    rows = codes if bits == 8 else codes[:, ::2] << 4 | codes[:, 1::2]
    palette = b"".join(bytes([gray, gray, gray, 0]) for gray in grays)
    offset = 54 + len(palette)
    content = (
        struct.pack("<2sIII", b"BM", offset + rows.size, 0, offset)
        + struct.pack("<IiiHHIIiiII", 40, 8, -4, 1, bits, 0, 0, 0, 0, len(grays), 0)
        + palette + rows.tobytes()
    )  # fmt: skip
    shown = rgb(decode(content))
    expected = np.array(grays, np.uint8)[codes]
    np.testing.assert_array_equal(shown if shown.ndim == 2 else shown[..., 1], expected)


def cursor_of(bits: int, palette: bytes, rows: bytes, mask: bytes) -> bytes:
    """A cursor of 1 x 4 pixels in an icon of two, whose directory states wrong sizes."""
    dib = struct.pack("<IiiHHIIiiII", 40, 1, 8, 1, bits, 0, 0, 0, 0, len(palette) // 4, 0)
    dib += palette + rows + mask
    small = struct.pack("<IiiHHIIiiII", 40, 1, 2, 1, 1, 0, 0, 0, 0, 0, 0) + bytes(16)
    places = (38, 38 + len(dib))
    entries = (struct.pack("<BBBBHHII", 1, 4, 0, 0, 0, 0, 8, place) for place in places)
    return struct.pack("<HHH", 0, 2, 2) + b"".join(entries) + dib + small


@pytest.mark.parametrize(("bits", "white"), [(1, 0x80), (8, 1)])
def test_the_sizes_that_a_cursor_states_are_not_needed(bits, white):
    palette = b"\0\0\0\0\xff\xff\xff\0"
    rows = b"".join(bytes([code, 0, 0, 0]) for code in (white, 0, white, 0))
    mask = b"".join(bytes([code, 0, 0, 0]) for code in (0x80, 0x80, 0, 0))
    picture = decode(cursor_of(bits, palette, rows, mask))  # the lowest row is stored first
    assert rgb(picture)[:, 0].max(axis=-1).tolist() == [0, 255, 0, 255]
    assert picture.alpha[:, 0].tolist() == [255, 255, 0, 0]
    assert picture.notes == ("the file holds 2 pictures, only the largest was taken",)


def test_the_mask_of_an_icon_of_bit_fields_stands_behind_its_pixels():
    codes = np.random.default_rng(0).integers(0, 2**16, (4, 6), np.uint16)
    hidden = np.array([[1, 0, 0, 0, 0, 0], [0] * 6, [0, 1, 0, 0, 0, 1], [0] * 6], np.uint8)
    dib = (
        struct.pack("<IiiHHIIiiII", 40, 6, 8, 1, 16, 3, 0, 0, 0, 0, 0)
        + struct.pack("<3I", 0xF800, 0x07E0, 0x001F) + codes[::-1].astype("<u2").tobytes()
        + np.pad(np.packbits(hidden[::-1], axis=1), ((0, 0), (0, 3))).tobytes()
    )  # fmt: skip
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 6, 4, 0, 0, 1, 16, len(dib), 22) + dib
    picture = decode(icon)
    np.testing.assert_array_equal(picture.alpha, 255 * (1 - hidden))
    # Pillow's way from 5 and 6 bits to 8 is not in question here.
    np.testing.assert_allclose(rgb(picture)[..., 0], (codes >> 11) * (255 / 31), atol=1)


def test_what_the_first_frame_of_a_gif_leaves_open_is_transparent():
    frame = Image.new("P", (2, 1), 1)
    frame.putpalette([0, 0, 255, 200, 100, 50])
    content = bytearray(pillow_file(frame, "GIF"))
    struct.pack_into("<HH", content, 6, 4, 3)
    struct.pack_into("<HH", content, content.index(b",\0\0\0\0\2\0\1\0") + 1, 1, 2)
    picture = decode(bytes(content))
    expected = np.zeros((3, 4), np.uint8)
    expected[2, 1:3] = 255
    np.testing.assert_array_equal(picture.alpha, expected)
    assert (rgb(picture)[2, 1:3] == [200, 100, 50]).all()
    assert decode(pillow_file(frame, "GIF")).alpha is None


@pytest.mark.parametrize(("file_format", "compression"), [("JPEG", 4), ("PNG", 5)])
def test_a_picture_inside_a_bmp_is_taken_out(file_format, compression):
    pixels = np.full((8, 8, 3), 77, np.uint8)
    inner = pillow_file(Image.fromarray(pixels), file_format)
    header = struct.pack("<2sI4xI", b"BM", 54 + len(inner), 54)
    header += struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 0, compression, len(inner), 0, 0, 0, 0)
    picture = decode(header + inner)
    assert picture.format == "BMP"
    np.testing.assert_allclose(rgb(picture), pixels, atol=1)


# Others


def test_an_animated_png_of_16_bits_shows_its_picture_and_no_frame():
    pixels = random_image((6, 6, 4), np.uint16)
    still = imagecodecs.png_encode(pixels)
    other = imagecodecs.png_encode(65535 - pixels)
    start = other.index(b"IDAT") - 4
    (size,) = struct.unpack_from(">I", other, start)
    frame = other[start + 8 : start + 8 + size]
    control = struct.pack(">IIIIIHHBB", 0, 6, 6, 0, 0, 1, 10, 0, 0)
    animated = (
        still[:33] + png_chunk(b"acTL", struct.pack(">II", 1, 0))
        + still[33:-12] + png_chunk(b"fcTL", control)
        + png_chunk(b"fdAT", struct.pack(">I", 1) + frame) + still[-12:]
    )  # fmt: skip
    picture = decode(animated)
    np.testing.assert_array_equal(np.dstack([rgb(picture), picture.alpha]), pixels)


def test_a_png_whose_animation_is_damaged_shows_its_picture():
    pixels = random_image((6, 6, 3))
    still = pillow_file(Image.fromarray(pixels), "PNG")
    broken = (
        still[:33] + png_chunk(b"acTL", struct.pack(">II", 2, 0)) + still[33:-12]
        + png_chunk(b"fdAT", struct.pack(">I", 1) + bytes(20)) + still[-12:]
    )  # fmt: skip
    picture = decode(broken)
    np.testing.assert_array_equal(rgb(picture), pixels)
    assert any("damaged" in note for note in picture.notes)


def test_a_jpeg_2000_of_which_a_box_beside_the_pixels_is_damaged_shows_its_picture():
    pixels = random_image((6, 6, 3))
    whole = pillow_file(Image.fromarray(pixels), "JPEG2000", irreversible=False)
    place = whole.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", whole, place)
    resolution = struct.pack(">I4sI4s10x", 26, b"res ", 34, b"resc")  # longer than what it is in
    header = struct.pack(">I", size + 26) + whole[place + 4 : place + size] + resolution
    picture = decode(whole[:place] + header + whole[place + size :])
    np.testing.assert_array_equal(rgb(picture), pixels)
    assert any("damaged" in note for note in picture.notes)
    assert "damaged" in refusal(whole[:place] + header)


def test_a_reader_that_closes_its_file_is_no_bug():
    body = bytes(8 * 8 * 3)
    head = struct.pack("<4siiiiiiii", b"FTEX", 0, 8, 8, 1, 1, 1, 44 - 8, 0)
    content = head + struct.pack("<i", len(body)) + body
    assert decode(content).format == "FTEX"


def test_transparency_that_hides_a_whole_tga_is_not_used():
    pixels = random_image((4, 5, 4))
    pixels[..., 3] = 0
    picture = decode(pillow_file(Image.fromarray(pixels), "TGA"))
    assert picture.alpha is None
    np.testing.assert_array_equal(rgb(picture), pixels[..., :3])
    (note,) = picture.notes
    assert "transparency" in note


# Metadata


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_exif_of_a_bigtiff_comes_along(byteorder):
    tags = [(271, "s", 0, "A maker of things", True), (315, "s", 0, "Me", True)]
    content = tiff_file(
        random_image((5, 6)), bigtiff=True, byteorder=byteorder, extratags=tags, metadata=None
    )
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + decode(content).metadata.exif)
    assert (exif[271], exif[315]) == ("A maker of things", "Me")
    assert 256 not in exif


def test_what_stands_beside_the_pixels_of_a_jpeg_2000_comes_along():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    pixels = random_image((8, 8, 3))
    plain = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="jp2")

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    start, end = plain.index(b"colr") - 4, plain.index(b"colr") + 11
    size = struct.unpack_from(">I", plain, 32)[0]
    inner = plain[40:start] + box(b"colr", b"\2\0\0" + profile) + plain[end : 32 + size]
    content = plain[:32] + box(b"jp2h", inner) + plain[32 + size :]
    content += box(b"uuid", b"JpgTiffExif->JP2" + exif.tobytes().removeprefix(b"Exif\0\0"))
    content += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x:xmpmeta/>")
    picture = decode(content)
    np.testing.assert_array_equal(rgb(picture), pixels)
    assert b"A maker" in picture.metadata.exif
    assert picture.metadata.xmp == b"<x:xmpmeta/>"
    assert picture.metadata.icc == profile


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8"])
def test_xmp_becomes_utf_8(encoding):
    packet = "<?xpacket?><rdf:Description tiff:Orientation='6' dc:title='Größe'/>"
    content = pillow_file(Image.new("RGB", (3, 2)), "JPEG", xmp=packet.encode(encoding))
    expected = packet.replace("'6'", "'1'").encode()
    assert decode(content).metadata.xmp == expected


def test_extended_xmp_is_missed_aloud():
    whole = pillow_file(Image.new("RGB", (3, 2)), "JPEG", xmp=b"<x:xmpmeta/>")
    body = b"http://ns.adobe.com/xmp/extension/\0" + bytes(60)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
    picture = decode(whole[:2] + segment + whole[2:])
    assert picture.notes == ("extended XMP was left out",)
    assert picture.metadata.xmp == b"<x:xmpmeta/>"


def test_a_bmp_of_bit_fields_has_its_resolution():
    header = struct.pack("<2sI4xI", b"BM", 66 + 8, 66)
    header += struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 11811, 5906, 0, 0)
    content = header + struct.pack("<III", 0xF800, 0x7E0, 0x1F) + bytes(8)
    assert decode(content).metadata.dpi == pytest.approx((300, 150), abs=0.1)
