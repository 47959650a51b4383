"""Files that viewers show and common libraries read in part or wrongly."""

import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms
from support import pillow_file, png_chunk, random_image, tiff_file

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
    assert picture.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert picture.notes == ()


def test_jpeg_xl_container_keeps_exif_and_xmp():
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


def test_unsupported_jpeg_xl_files_are_refused_with_a_reason():
    codes = random_image((30, 30, 3))
    whole = imagecodecs.jpegxl_encode(codes)
    assert "floating-point" in refusal(imagecodecs.jpegxl_encode(np.float32(codes) / 255))
    frames = imagecodecs.jpegxl_encode(np.stack([codes, codes]))
    assert "with an animation, a preview or a second size is not supported" in refusal(frames)
    assert "damaged" in refusal(whole[:20])
    assert "truncated" in refusal(b"\xff\x0a\x00")
    for end in range(3, len(whole), 40):
        refusal(whole[:end])


# TIFF


def test_one_bit_palette_keeps_its_colours():
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


def test_tiff_ycbcr_is_read_only_as_jpeg():
    image = Image.fromarray(random_image((16, 16, 3))).convert("YCbCr")
    assert decode(pillow_file(image, "TIFF", compression="jpeg")).pixels.shape == (16, 16, 3)
    assert "YCbCr without JPEG compression is not supported" in refusal(
        pillow_file(image, "TIFF", compression="tiff_lzw")
    )


# BMP


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


def test_uncovered_area_of_the_first_gif_frame_is_transparent():
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


# Others


def test_animated_png_of_16_bits_gives_its_default_picture():
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


def test_png_with_a_damaged_animation_gives_its_picture():
    pixels = random_image((6, 6, 3))
    still = pillow_file(Image.fromarray(pixels), "PNG")
    broken = (
        still[:33] + png_chunk(b"acTL", struct.pack(">II", 2, 0)) + still[33:-12]
        + png_chunk(b"fdAT", struct.pack(">I", 1) + bytes(20)) + still[-12:]
    )  # fmt: skip
    picture = decode(broken)
    np.testing.assert_array_equal(rgb(picture), pixels)
    assert picture.notes == ("the file holds 3 pictures; only the first was used",)


def test_fully_transparent_tga_alpha_is_ignored():
    pixels = random_image((4, 5, 4))
    pixels[..., 3] = 0
    picture = decode(pillow_file(Image.fromarray(pixels), "TGA"))
    assert picture.alpha is None
    np.testing.assert_array_equal(rgb(picture), pixels[..., :3])
    (note,) = picture.notes
    assert "transparency" in note


# Metadata


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_bigtiff_exif_is_kept(byteorder):
    tags = [(271, "s", 0, "A maker of things", True), (315, "s", 0, "Me", True)]
    content = tiff_file(
        random_image((5, 6)), bigtiff=True, byteorder=byteorder, extratags=tags, metadata=None
    )
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + decode(content).metadata.exif)
    assert (exif[271], exif[315]) == ("A maker of things", "Me")
    assert 256 not in exif


def test_jpeg_2000_metadata_is_kept():
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


def test_dropped_extended_xmp_is_noted():
    whole = pillow_file(Image.new("RGB", (3, 2)), "JPEG", xmp=b"<x:xmpmeta/>")
    body = b"http://ns.adobe.com/xmp/extension/\0" + bytes(60)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
    picture = decode(whole[:2] + segment + whole[2:])
    assert picture.notes == ("extended XMP was left out",)
    assert picture.metadata.xmp == b"<x:xmpmeta/>"
