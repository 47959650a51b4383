"""Metadata, read from other programs' files and read back by other programs."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from support import quick, random_image

from codec.decode import decode_image
from codec.encode import encode_image
from codec.errors import ImageError
from codec.metadata import LARGEST_BLOCK, fit_metadata, scale_resolution
from codec.picture import Metadata

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = SRGB[:24] + bytes(12) + SRGB[36:]  # without its date: the same in every process


def profile(model: bytes = b"GRAY", size: int = 300) -> bytes:
    """A block with the header of an ICC profile for a colour model."""
    content = bytearray(random_image((size,)).tobytes())
    content[:4] = struct.pack(">I", size)
    content[16:20], content[36:40] = model, b"acsp"
    return bytes(content)


GRAY_PROFILE = profile()

ARTIST, COPYRIGHT = 0x013B, 0x8298
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
EXIF, GPS, INTEROP, MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
PIXEL_X, PIXEL_Y = 0xA002, 0xA003
PRIVATE = 0xC123

TYPES = {"A": 2, "S": 3, "L": 4, "R": 5, "U": 7, "r": 10, "B": 1}
SIZES = {"A": 1, "S": 2, "L": 4, "R": 8, "U": 1, "r": 8, "B": 1}


def exif_block(
    order: str = "<",
    orientation: int | None = 6,
    horizontal: tuple[int, int] = (300, 1),
    has_thumbnail: bool = True,
    lead: int = 0,
) -> bytes:
    """An EXIF block by its specification, with all its directories and a thumbnail.

    Written by hand: Pillow writes no thumbnails, no letters but ASCII, and types that it guesses.
    """

    def rational(*numbers) -> bytes:
        return struct.pack(f"{order}{len(numbers)}I", *numbers)

    def short(number) -> bytes:
        return struct.pack(order + "H", number)

    def long(number) -> bytes:
        return struct.pack(order + "I", number)

    main = {
        0x010E: ("A", b"A caption\0"),
        0x010F: ("A", b"Maker\0"),
        ORIENTATION: ("S", short(orientation)) if orientation else None,
        X_RESOLUTION: ("R", rational(*horizontal)),
        Y_RESOLUTION: ("R", rational(150, 1)),
        UNIT: ("S", short(2)),
        0x0132: ("A", b"2024:02:29 12:34:56\0"),
        ARTIST: ("A", "Jürgen Müller\0".encode()),
        COPYRIGHT: ("A", b"\xa9 2024\0"),
        PRIVATE: ("A", b"private, but text\0"),
        EXIF: {
            0x829A: ("R", rational(1, 250)),
            0x9000: ("U", b"0232"),
            0x9204: ("r", struct.pack(order + "ii", -1, 3)),
            MAKER_NOTE: ("U", b"Maker's own \0\1\2\xff" * 3),
            0x9286: ("U", b"ASCII\0\0\0a comment"),
            PIXEL_X: ("L", long(40)),
            PIXEL_Y: ("S", short(24)),
            INTEROP: {1: ("A", b"R98\0"), 2: ("U", b"0100")},
        },
        GPS: {
            0: ("B", b"\2\3\0\0"),
            1: ("A", b"N\0"),
            2: ("R", rational(52, 1, 31, 1, 1234, 100)),
            29: ("A", b"2024:02:29\0"),
        },
    }
    block = bytearray((b"II*\0" if order == "<" else b"MM\0*") + long(8 + lead) + bytes(lead))

    def write(directory) -> int:
        directory = {tag: item for tag, item in sorted(directory.items()) if item}
        start = len(block)
        block.extend(bytes(2 + 12 * len(directory) + 4))
        struct.pack_into(order + "H", block, start, len(directory))
        for index, (tag, item) in enumerate(directory.items()):
            if isinstance(item, dict):
                kind, count, field = TYPES["L"], 1, long(write(item))
            else:
                kind, value = TYPES[item[0]], item[1]
                count, field = len(value) // SIZES[item[0]], value.ljust(4, b"\0")
                if len(value) > 4:
                    field = long(len(block))
                    block.extend(value + bytes(len(value) % 2))
            entry = struct.pack(order + "HHI", tag, kind, count) + field
            block[start + 2 + 12 * index : start + 14 + 12 * index] = entry
        return start

    write(main)
    if has_thumbnail:
        count = struct.unpack_from(order + "H", block, 8 + lead)[0]
        struct.pack_into(order + "I", block, 10 + lead + 12 * count, len(block))
        thumbnail = write({0x0103: ("S", short(6)), 0x0201: ("L", long(0)), 0x0202: ("L", long(9))})
        struct.pack_into(order + "I", block, thumbnail + 2 + 12 + 8, len(block))
        block.extend(b"THUMBNAIL")
    return bytes(block)


XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6" tiff:XResolution="300/1" tiff:YResolution="1500000/10000"/>'
    b'<dc:title>Orientation="6" \xe2\x82\xac</dc:title></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes, behind: bool = False, mode: str = "RGB") -> bytes:
    """A PNG file of 40 x 24 pixels with chunks after its header or after its pixels."""
    content = file_of("PNG", mode=mode)
    place = len(content) - 12 if behind else 33
    return content[:place] + b"".join(chunks) + content[place:]


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position < len(content):
        (size,) = struct.unpack_from(">I", content, position)
        body = content[position + 8 : position + 8 + size]
        assert content[position + 8 + size :][:4] == struct.pack(
            ">I", zlib.crc32(content[position + 4 : position + 8] + body)
        )
        found.append((content[position + 4 : position + 8], body))
        position += 12 + size
    return found


def file_of(file_format: str, mode: str = "RGB", **options) -> bytes:
    """A file by Pillow of 40 x 24 pixels."""
    if file_format == "JPEG" and "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    buffer = io.BytesIO()
    pixels = random_image((24, 40, 3) if mode == "RGB" else (24, 40))
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def read(content: bytes) -> Metadata:
    return decode_image(content, 1).metadata


def exif_of(block: bytes | None) -> dict:
    """Values that Pillow reads from an EXIF block, by IFD name."""
    exif = Image.Exif()
    exif.load(block)
    return directories(exif)


def directories(exif: Image.Exif) -> dict:
    names = {
        "main": None,
        "exif": EXIF,
        "gps": GPS,
        "interop": INTEROP,
        "thumbnail": ExifTags.IFD.IFD1,
    }
    found = {}
    for name, tag in names.items():
        if tag == INTEROP and INTEROP not in exif.get_ifd(EXIF):
            directory = {}
        else:
            directory = dict(exif) if tag is None else exif.get_ifd(tag)
        pointers = (EXIF, GPS, INTEROP)
        found[name] = {key: value for key, value in directory.items() if key not in pointers}
    return found


def written(suffix: str, metadata: Metadata, shape=(48, 80, 3)) -> bytes:
    return encode_image(random_image(shape), None, suffix, metadata).content


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


# EXIF.

EXIF_SUFFIXES = [".png", ".jpg", ".webp", ".tif"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", EXIF_SUFFIXES)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_is_kept_except_stale_tags(order, suffix, source):
    content = file_of(source, exif=exif_block(order, orientation=3))
    before = directories(Image.open(io.BytesIO(content)).getexif())
    assert all(before.values()) or source == "AVIF"  # which Pillow writes without thumbnails
    metadata = read(content)
    image = opened(written(suffix, metadata))
    found = directories(image.getexif())
    expected = {
        **before,
        "main": before["main"] | {ORIENTATION: 1},
        "exif": before["exif"] | {PIXEL_X: 80, PIXEL_Y: 48},
        "thumbnail": {},
    }
    structure = {tag for tag in found["main"] if tag not in expected["main"]}
    assert not structure or suffix == ".tif"
    found["main"] = {tag: found["main"][tag] for tag in expected["main"] if tag in found["main"]}
    assert found == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", EXIF_SUFFIXES)
def test_exif_texts_and_maker_notes_are_kept_byte_for_byte(order, suffix):
    content = written(suffix, read(file_of("JPEG", exif=exif_block(order))))
    for value in (
        "Jürgen Müller\0".encode(),
        b"\xa9 2024\0",
        b"private, but text\0",
        b"Maker's own \0\1\2\xff" * 3,
    ):
        assert content.count(value) == 1
    kind = struct.pack(order + "HHI", PRIVATE, 2, len(b"private, but text\0"))
    assert content.count(kind) == 1
    assert b"THUMBNAIL" not in content


def test_sizes_in_the_main_ifd_are_corrected():
    exif = Image.Exif()
    exif[256], exif[257] = 40, 24
    metadata = read(file_of("WEBP", exif=exif.tobytes()))
    main = opened(written(".jpg", metadata)).getexif()
    assert (main[256], main[257]) == (80, 48)
    assert EXIF not in main


def test_maker_notes_keep_their_file_offset():
    block = exif_block(lead=100)
    metadata = read(file_of("JPEG", exif=block))
    note = b"Maker's own \0\1\2\xff"
    assert (
        scale_resolution(metadata, 2).exif.index(note)
        == metadata.exif.index(note)
        == block.index(note)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", EXIF_SUFFIXES)
def test_tiff_tags_are_kept_except_structural_ones(order, suffix):
    extra = [
        (0x010E, 2, 10, b"A caption\0", True),
        (ARTIST, 2, 7, "Jürg\0\0".encode(), True),
        (ORIENTATION, 3, 1, 1, True),
        (33550, 12, 3, (1.0, 1.0, 0.0), True),  # a pixel's size on a map
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, random_image((24, 40, 3)), photometric="rgb", byteorder=order, extratags=extra,
        software="Scanner", resolution=(300, 150), resolutionunit=2, iccprofile=SRGB,
        tile=(16, 16), metadata=None,
    )  # fmt: skip
    metadata = read(buffer.getvalue())
    assert metadata.dpi == (300, 150)
    assert metadata.icc == SRGB
    assert not {256, 257, 258, 262, 322, 323, 324, 325, 33550, 34675} & set(
        exif_of(metadata.exif)["main"]
    )
    content = written(suffix, metadata)
    main = opened(content).getexif()
    assert (main[0x010E], main[0x0131], main[ORIENTATION]) == ("A caption", "Scanner", 1)
    assert (main[X_RESOLUTION], main[Y_RESOLUTION], main[UNIT]) == (300, 150, 2)
    assert 33550 not in main and 322 not in main
    assert "Jürg\0".encode() in content


def tiff_of(block: bytes) -> bytes:
    """A TIFF file by Pillow with a block's directories."""
    exif = Image.Exif()
    exif.load(block)
    return file_of("TIFF", exif=exif)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_sub_ifds_are_kept(order):
    block = exif_block(order, orientation=None)
    metadata = read(tiff_of(block))
    before, found = exif_of(block), exif_of(metadata.exif)
    assert found["gps"] == before["gps"]
    assert found["exif"] == before["exif"]


def test_tiff_with_exif_is_valid_and_its_first_page_is_the_picture():
    pixels = random_image((48, 80, 3))
    metadata = read(file_of("JPEG", exif=exif_block(), icc_profile=SRGB, xmp=XMP))
    content = encode_image(pixels, None, ".tif", metadata).content
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        (page,) = file.pages
        np.testing.assert_array_equal(page.asarray(), pixels[..., ::-1])
        assert page.tags[EXIF].value["PixelXDimension"] == 80
        assert page.tags[GPS].value["GPSLatitudeRef"] == "N"
        assert page.tags[34675].value == SRGB
        assert bytes(page.tags[700].value) == metadata.xmp
        assert [tag.code for tag in page.tags] == sorted(tag.code for tag in page.tags)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(1, 1), (700, 301)])
def test_tiff_of_16_bits_and_many_strips_is_valid_in_either_byte_order(order, shape):
    pixels, alpha = random_image((*shape, 3), np.uint16), random_image(shape, np.uint16, 1)
    metadata = read(file_of("JPEG", exif=exif_block(order)))
    content = encode_image(pixels, alpha, ".tif", metadata).content
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.byteorder == order
        assert len(file.pages.first.dataoffsets) > 1 or shape == (1, 1)
        found = file.pages.first.asarray().reshape(*shape, 4)
    np.testing.assert_array_equal(found, np.dstack([pixels[..., ::-1], alpha]))
    assert opened(written(".tif", metadata)).getexif().get_ifd(EXIF)[0x9000] == b"0232"


@pytest.mark.parametrize("width", range(1, 9))
def test_tiff_ifds_and_values_are_aligned(width):
    metadata = Metadata(exif=read(file_of("WEBP", exif=exif_block())).exif, xmp=b"<a/>\n")
    content = written(".tif", metadata, (3, width, 3))
    assert struct.unpack_from("<I", content, 4)[0] % 2 == 0
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        offsets = [tag.valueoffset for tag in file.pages.first.tags if tag.code != 330]
    assert all(offset % 2 == 0 for offset in offsets)


def test_tiff_states_the_resolution_of_the_picture_over_exif():
    metadata = Metadata(exif=read(file_of("WEBP", exif=exif_block())).exif, dpi=(600, 601))
    assert opened(written(".tif", metadata)).info["dpi"] == (600, 601)


def test_exif_as_imagemagick_text_in_png_is_read():
    block = exif_block(orientation=3)
    digits = (b"Exif\0\0" + block).hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\nexif\n{len(block) + 6:8}\n{lines}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(text)
    metadata = read(png_with(chunk(b"zTXt", body)))
    assert exif_of(metadata.exif)["gps"] == exif_of(block)["gps"]
    assert metadata.png_text == ()


@pytest.mark.parametrize("behind", [False, True])
def test_png_metadata_chunks_are_read_before_and_after_the_pixels(behind):
    added = chunk(b"eXIf", exif_block()), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    metadata = read(png_with(*added, behind=behind))
    assert exif_of(metadata.exif)["main"][0x010E] == "A caption"
    assert metadata.xmp == XMP.replace(b'tiff:Orientation="6"', b'tiff:Orientation="1"')


# Orientation and resolution.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_resolution_rotates_with_the_picture(orientation, source):
    block = exif_block(orientation=orientation)
    dpi = {} if source == "WEBP" else {"dpi": (300, 150)}
    content = tiff_of(block) if source == "TIFF" else file_of(source, exif=block, **dpi)
    expected = (150, 300) if orientation >= 5 else (300, 150)
    assert read(content).dpi == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize(("orientation", "expected"), [(1, (900, 450)), (6, (450, 900))])
def test_scaled_and_rotated_resolution_is_written_upright(suffix, orientation, expected):
    metadata = read(file_of("JPEG", exif=exif_block(orientation=orientation), dpi=(300, 150)))
    image = opened(written(suffix, scale_resolution(metadata, 3)))
    if suffix != ".webp":
        assert image.info["dpi"] == pytest.approx(expected, abs=0.06)
    if suffix in EXIF_SUFFIXES:
        main = image.getexif()
        assert main[ORIENTATION] == 1
        assert (main[X_RESOLUTION], main[Y_RESOLUTION]) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [(".png", 0.0128), (".jpg", 0.5), (".tif", 1e-4), (".bmp", 0.0128)],
)
@pytest.mark.parametrize("dpi", [(72, 72), (71.9, 300.4), (96.012, 50), (4000, 3000)])
def test_resolution_is_scaled_to_format_precision(suffix, tolerance, dpi):
    found = opened(written(suffix, scale_resolution(Metadata(dpi=dpi), 3))).info["dpi"]
    for value, expected in zip(found, dpi, strict=True):
        assert abs(value - 3 * expected) <= max(tolerance, 12e-6 * expected) + 1e-6


@pytest.mark.parametrize("source", ["PNG", "JPEG", "BMP", "TIFF"])
def test_resolution_is_read(source):
    assert read(file_of(source, dpi=(300, 150))).dpi == pytest.approx((300, 150), abs=0.02)
    assert read(file_of(source)).dpi == (
        pytest.approx((96, 96), abs=0.02) if source == "BMP" else None
    )


def test_jpeg_resolution_is_read_from_exif_alone():
    assert read(file_of("JPEG", exif=exif_block(orientation=1))).dpi == (300, 150)
    assert read(file_of("JPEG", exif=exif_block())).dpi == (150, 300)


def test_resolution_per_centimetre_is_converted():
    block = exif_block(orientation=1)
    position = block.index(struct.pack("<HHI", UNIT, 3, 1))
    block = block[: position + 8] + b"\3" + block[position + 9 :]
    assert read(file_of("WEBP", exif=block)).dpi == pytest.approx((762, 381))


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (2**32 - 1, 1), (0, 0)])
def test_invalid_resolution_is_left_out(numbers):
    metadata = read(file_of("WEBP", exif=exif_block(horizontal=numbers)))
    assert metadata.dpi is None
    assert metadata.exif is not None
    scale_resolution(metadata, 4)


def test_file_without_resolution_gets_none():
    for suffix in (".png", ".jpg", ".bmp", ".tif"):
        found = opened(written(suffix, Metadata())).info.get("dpi", (0, 0))
        assert found in ((0, 0), (0.0, 0.0)) or (suffix == ".tif" and found == (1, 1))


def test_scaling_by_1_changes_no_metadata():
    metadata = read(file_of("JPEG", exif=exif_block(), xmp=XMP, dpi=(72, 72)))
    assert scale_resolution(metadata, 1) is metadata


# XMP.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (XMP, XMP.replace(b'tiff:Orientation="6"', b'tiff:Orientation="1"')),
        (b"<a tiff:Orientation = '8' />", b"<a tiff:Orientation = '1' />"),
        (
            b"<tiff:Orientation>3</tiff:Orientation><b>3</b>",
            b"<tiff:Orientation>1</tiff:Orientation><b>3</b>",
        ),
        (b"<tiff:Orientation >\n 5\n<", b"<tiff:Orientation >\n 1\n<"),
        (b'<a exif:Orientation="6"/>', None),
        (b"<a>no orientation</a>", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
def test_xmp_is_kept_with_its_orientation_reset(before, after, source):
    if source == "PNG":
        content = png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + before))
    elif source == "TIFF":
        buffer = io.BytesIO()
        extra = [(700, 1, len(before), before, True)]
        tifffile.imwrite(buffer, random_image((9, 8)), extratags=extra)
        content = buffer.getvalue()
    else:
        content = file_of(source, xmp=before)
    metadata = read(content)
    assert metadata.xmp == (after or before)
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        assert opened(written(suffix, metadata)).info["xmp"] == (after or before)


def test_trailing_zeros_of_xmp_are_left_out():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, random_image((9, 8)), extratags=[(700, 1, 6, b"<a/>\0\0", True)])
    assert read(buffer.getvalue()).xmp == b"<a/>"


def test_xmp_orientation_alone_rotates_the_resolution():
    assert read(file_of("JPEG", xmp=XMP, dpi=(300, 150))).dpi == (150, 300)


def test_xmp_orientation_in_tiff_is_reset():
    buffer = io.BytesIO()
    extra = [(700, 1, len(XMP), XMP, True)]
    options = {"resolution": (300, 150), "resolutionunit": 2}
    tifffile.imwrite(buffer, random_image((9, 8)), extratags=extra, **options)
    metadata = read(buffer.getvalue())
    assert metadata.xmp == XMP.replace(b'tiff:Orientation="6"', b'tiff:Orientation="1"')
    assert metadata.dpi == (150, 300)


def test_xmp_resolution_is_scaled():
    for before, after in (
        (b'<a tiff:XResolution="72/1"/>', b'<a tiff:XResolution="144/1"/>'),
        (b'<a tiff:YResolution="720000/10000"/>', b'<a tiff:YResolution="144/1"/>'),
        (b"<tiff:XResolution>150/4<", b"<tiff:XResolution>75/1<"),
        (b'<a tiff:XResolution="0/0"/>', b'<a tiff:XResolution="0/0"/>'),
        (b'<a tiff:ResolutionUnit="2"/>', b'<a tiff:ResolutionUnit="2"/>'),
    ):  # fmt: skip
        assert scale_resolution(Metadata(xmp=before), 2).xmp == after


def test_compressed_xmp_is_read_up_to_a_limit():
    for xmp, expected in ((b"<a/>" * 100, b"<a/>" * 100), (b"<a/>" * 2**20, None)):
        body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
        assert read(png_with_after(body)).xmp == expected


def png_with_after(body: bytes) -> bytes:
    """After the pixels, where Pillow refuses it only on load."""
    return png_with(chunk(b"iTXt", body), behind=True)


# ICC profiles.


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("suffix", EXIF_SUFFIXES)
def test_colour_profiles_are_kept_byte_for_byte(source, suffix):
    metadata = read(file_of(source, icc_profile=SRGB))
    assert metadata.icc == SRGB
    assert opened(written(suffix, metadata)).info["icc_profile"] == SRGB


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_gray_profiles_are_kept_with_gray_images(source, suffix):
    metadata = read(file_of(source, mode="L", icc_profile=GRAY_PROFILE))
    assert metadata.icc == GRAY_PROFILE
    encoded = encode_image(random_image((9, 8)), None, suffix, metadata)
    assert encoded.notes == ()
    assert opened(encoded.content).info["icc_profile"] == GRAY_PROFILE


@pytest.mark.parametrize("size", [65_519, 65_520, 200_000])
def test_large_profiles_span_several_jpeg_segments(size):
    icc = profile(b"RGB ", size)
    assert opened(written(".jpg", Metadata(icc=icc))).info["icc_profile"] == icc


@pytest.mark.parametrize(
    ("shape", "suffix", "icc", "note"),
    [
        ((8, 8), ".png", SRGB, "it is for RGB, the picture is GRAY"),
        ((8, 8, 3), ".jpg", GRAY_PROFILE, "it is for GRAY, the picture is RGB"),
        ((8, 8), ".webp", GRAY_PROFILE, "it is for GRAY, the picture is RGB"),
        ((8, 8, 3), ".png", profile(b"RGB ", 2**20 + 1), "1,048,577 bytes are too many for PNG"),
    ],
)  # fmt: skip
def test_profile_that_does_not_fit_the_output_is_left_out_with_a_note(shape, suffix, icc, note):
    encoded = encode_image(random_image(shape), None, suffix, Metadata(icc=icc))
    assert encoded.notes == (f"the ICC profile was left out: {note}",)
    assert "icc_profile" not in opened(encoded.content).info


@pytest.mark.parametrize(
    "damaged",
    [
        SRGB[:100],
        SRGB[:-1],
        SRGB.replace(b"acsp", b"acsq"),
        profile(b"CMYK"),
        profile(b"Lab "),
        b"\0\0\0\x10" + GRAY_PROFILE[4:],
    ],
    ids=["header cut", "end cut", "no signature", "CMYK", "Lab", "false size"],
)
def test_invalid_profiles_are_left_out(damaged):
    assert read(file_of("WEBP", icc_profile=damaged)).icc is None


def test_trailing_bytes_of_a_profile_are_left_out():
    assert read(file_of("WEBP", icc_profile=SRGB + b"\0\0\0")).icc == SRGB


# PNG's own chunks.

GAMMA = (b"gAMA", struct.pack(">I", 100_000))
CHROMATICITIES = (
    b"cHRM",
    struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
)
PERCEPTUAL = (b"sRGB", b"\0")
CODING = (b"cICP", b"\x09\x10\0\1")
TITLE = (b"tEXt", b"Title\0A title")
AUTHOR = (b"zTXt", b"Author\0\0" + zlib.compress(b"An author"))
COMMENT = (b"iTXt", b"Comment\0\0\0en\0Kommentar\0" + "Größe".encode())


def test_png_colour_and_text_chunks_are_kept_in_png():
    given_ = [GAMMA, CHROMATICITIES, PERCEPTUAL, CODING, TITLE, AUTHOR, COMMENT]
    metadata = read(png_with(*(chunk(*each) for each in given_)))
    found = chunks_of(written(".png", metadata))
    assert [each for each in found if each[0] not in (b"IHDR", b"IDAT", b"IEND")] == given_
    text = opened(written(".png", metadata)).text
    assert text == {"Title": "A title", "Author": "An author", "Comment": "Größe"}


def test_profile_replaces_the_srgb_chunk():
    metadata = Metadata(icc=SRGB, png_colour=(PERCEPTUAL, GAMMA))
    kinds = [kind for kind, _ in chunks_of(written(".png", metadata))]
    assert kinds[:4] == [b"IHDR", b"gAMA", b"iCCP", b"IDAT"] and b"sRGB" not in kinds


def test_damaged_png_chunks_are_left_out():
    torn = chunk(*TITLE)[:-1] + b"\0"
    short = chunk(b"gAMA", b"\0\1")
    nameless = chunk(b"tEXt", b"\0text")
    content = png_with(torn, nameless, chunk(*AUTHOR), behind=True)
    assert read(content).png_text == (AUTHOR,)
    assert read(png_with(short, behind=True)).png_colour == ()


def test_png_text_bomb_is_dropped_and_its_pixels_kept():
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**21)))
    picture = decode_image(png_with(bomb, chunk(*AUTHOR)), 1)
    assert picture.metadata == Metadata()
    assert picture.notes == ("the file is damaged outside its pixels; its metadata was left out",)


def test_png_chunks_lost_in_other_formats_are_noted():
    metadata = Metadata(png_colour=(GAMMA,), png_text=(TITLE,))
    assert encode_image(random_image((8, 8, 3)), None, ".jpg", metadata).notes == (
        "the colour information of PNG was left out: JPEG cannot hold it",
        "the text of PNG was left out: JPEG cannot hold it",
    )


# Metadata that does not fit.

FULL = Metadata(exif=exif_block(), xmp=XMP, icc=SRGB, dpi=(300, 150))
NAMES = {"exif": "EXIF", "xmp": "XMP", "icc": "the ICC profile", "dpi": "the resolution (dpi)"}


@pytest.mark.parametrize(
    ("suffix", "name", "lost"),
    [
        (".png", "PNG", ()),
        (".jpg", "JPEG", ()),
        (".webp", "WebP", ()),
        (".tif", "TIFF", ()),
        (".bmp", "BMP", ("exif", "xmp", "icc")),
        (".ppm", "PNM", ("exif", "xmp", "icc", "dpi")),
    ],
)
def test_metadata_a_format_cannot_hold_is_noted(suffix, name, lost):
    encoded = encode_image(random_image((8, 8, 3)), None, suffix, FULL)
    assert encoded.notes == tuple(
        f"{NAMES[each]} was left out: {name} cannot hold it" for each in lost
    )


def test_webp_states_resolution_only_in_exif():
    pixels = random_image((8, 8, 3))
    encoded = encode_image(pixels, None, ".webp", Metadata(dpi=(72, 72)))
    assert encoded.notes == ("the resolution (dpi) was left out: WebP cannot hold it",)
    assert not opened(encoded.content).getexif()
    exif = Image.Exif()
    exif[0x010E] = "A caption"
    metadata = read(file_of("WEBP", exif=exif.tobytes()))
    without = Metadata(exif=metadata.exif, dpi=(72, 72))
    assert encode_image(pixels, None, ".webp", without).notes == encoded.notes


def test_metadata_too_large_for_a_jpeg_segment_is_left_out():
    exif = Image.Exif()
    exif.load(exif_block(has_thumbnail=False))
    exif[PRIVATE] = b"x" * 65_000
    large = exif.tobytes().removeprefix(b"Exif\0\0")
    pixels = random_image((8, 8, 3))
    assert len(large) > 65_527
    encoded = encode_image(pixels, None, ".jpg", Metadata(exif=large, xmp=b"<a>" * 21_835))
    assert [each.split(":")[0] for each in encoded.notes] == [
        "EXIF was left out", "XMP was left out",
    ]  # fmt: skip
    assert not opened(encoded.content).getexif()
    assert encode_image(pixels, None, ".jpg", Metadata(xmp=b"x" * 65_502)).notes == ()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_encoding_is_deterministic(suffix):
    metadata = read(file_of("JPEG", exif=exif_block(), icc_profile=SRGB, xmp=XMP))
    assert written(suffix, metadata) == written(suffix, metadata)


# Damage.


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"nonsense" * 9,
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\0\0\0\0\0",
    ],
)
def test_damaged_exif_is_left_out(block):
    assert read(png_with(chunk(b"eXIf", block))).exif is None


def test_exif_values_beyond_the_end_are_dropped_and_the_others_kept():
    block = exif_block(has_thumbnail=False)
    gps = block.index(struct.pack("<H", 4) + struct.pack("<HHI", 0, 1, 4))
    found = exif_of(read(png_with(chunk(b"eXIf", block[: gps + 20]))).exif)
    assert found["gps"] == {}
    assert found["exif"] == exif_of(block)["exif"]
    assert found["main"][0x010E] == "A caption"


def test_truncated_exif_value_is_left_out():
    block = exif_block(has_thumbnail=False)
    assert block.endswith(b"text\0")
    found = exif_of(read(png_with(chunk(b"eXIf", block[:-3]))).exif)
    assert PRIVATE not in found["main"] and found["gps"] == exif_of(block)["gps"]


def test_cyclic_ifds_terminate():
    block = bytearray(exif_block())
    position = block.index(struct.pack("<HHI", EXIF, 4, 1))
    struct.pack_into("<I", block, position + 8, 8)
    found = exif_of(read(png_with(chunk(b"eXIf", bytes(block)))).exif)
    assert found["main"][0x010E] == "A caption" and found["gps"]


def test_ifds_that_repeat_the_same_bytes_are_left_out():
    count = 60_000
    size = 2**20
    table = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(1000, 1000 + count))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + table + bytes(size)
    assert fit_metadata(Metadata(exif=block)).exif is None


def test_huge_metadata_blocks_are_left_out():
    xmp = b" " * (LARGEST_BLOCK + 1)
    block = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", PRIVATE, 7, 2**24, 26)
    content = png_with(
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"eXIf", block + bytes(4 + 2**24)),
        behind=True,
    )
    metadata = read(content)
    assert metadata.xmp is None and metadata.exif is None


def test_huge_tiff_xmp_is_left_out():
    for size, expected in ((LARGEST_BLOCK, LARGEST_BLOCK), (LARGEST_BLOCK + 1, 0)):
        buffer = io.BytesIO()
        extra = [(700, 1, size, b" " * size, True)]
        tifffile.imwrite(buffer, random_image((9, 8)), extratags=extra)
        assert len(read(buffer.getvalue()).xmp or b"") == expected


def test_png_text_is_bounded():
    text = [(b"tEXt", b"Comment\0" + b"x" * (LARGEST_BLOCK // 3))] * 4
    metadata = read(png_with(*(chunk(*each) for each in text)))
    assert len(metadata.png_text) == 2


def test_xmp_in_an_unsupported_encoding_is_left_out():
    assert read(file_of("WEBP", xmp='<a tiff:Orientation="6"/>'.encode("utf-32"))).xmp is None


@pytest.mark.parametrize("order", ["<", ">"])
@quick
@given(data=st.data())
def test_damaged_metadata_never_raises(order, data):
    block = bytearray(exif_block(order))
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(block) - 1))
        block[position] = data.draw(st.integers(0, 255))
    block = bytes(block[: data.draw(st.integers(1, len(block)))])
    metadata = scale_resolution(read(png_with(chunk(b"eXIf", block))), 2)
    for suffix in (".png", ".jpg", ".tif"):
        found = opened(written(suffix, metadata, (4, 5, 3)))
        assert found.size == (5, 4)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_file_headers_never_raise_other_errors(source):
    options = {"xmp": XMP} if source in ("JPEG", "WEBP") else {}
    content = file_of(source, exif=exif_block(), icc_profile=SRGB, dpi=(72, 72), **options)
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in generator.integers(0, min(len(content), 3000), 3):
            damaged[position] = generator.integers(0, 256)
        try:
            metadata = scale_resolution(read(bytes(damaged)), 2)
        except ImageError:
            continue
        for suffix in (".png", ".jpg", ".webp", ".tif"):
            encode_image(np.zeros((3, 4, 3), np.uint8), None, suffix, metadata)


def test_resolution_factors_are_exact():
    metadata = scale_resolution(read(file_of("WEBP", exif=exif_block(orientation=1))), 1.5)
    resolution = exif_of(metadata.exif)["main"][X_RESOLUTION]
    assert (resolution.numerator, resolution.denominator) == (450, 1)
