"""HEIC, the photographs of phones. tests/data/make_heic.py makes the files, lossless."""

import io
import struct
import sys

import numpy as np
import pytest
from corpus import HEIC, heic_scene
from PIL import Image, ImageCms

from codec.decode import decode_image, read_header
from codec.errors import ImageError
from codec.isolated import decode_isolated, read_header_isolated
from codec.picture import Picture

pytest.importorskip("pi_heif")


def samples(picture: Picture) -> np.ndarray:
    planes = [picture.pixels[..., ::-1]]
    return np.dstack(planes if picture.alpha is None else [*planes, picture.alpha])


@pytest.mark.parametrize(
    ("name", "bits", "channels"), [("8-bit", 8, 3), ("10-bit", 10, 3), ("alpha", 8, 4)]
)
def test_heic_is_exact_at_its_bit_depth(name, bits, channels):
    picture = decode_image(HEIC[name], 1)
    expected = heic_scene(bits, channels)
    np.testing.assert_array_equal(samples(picture), expected)
    assert samples(picture).dtype == expected.dtype
    assert (picture.format, picture.notes) == ("HEIF", ())
    assert picture.metadata.icc is None and picture.metadata.png_colour == ()


def test_rotated_heic_is_upright_and_keeps_exif_xmp_and_profile():
    """As in phones, the rotation is stated twice: in a box, which libheif applies, and in EXIF."""
    content = HEIC["10-bit-turned"]
    picture = decode_image(content, 1)
    np.testing.assert_array_equal(samples(picture), np.rot90(heic_scene(10, 3), -1))
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.metadata.exif)
    assert (exif[0x010F], exif[0x0112]) == ("A maker", 1)
    assert picture.metadata.xmp == b'<x:xmpmeta tiff:Orientation="1"/>'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Except the date in its header.
    assert picture.metadata.icc[36:] == profile[36:]
    header = read_header(content)
    assert (header.width, header.height) == (16, 24)


def test_nclx_colours_are_written_as_png_colour_chunks():
    content = HEIC["8-bit"]
    place = content.index(b"nclx") + 4
    assert content[place : place + 4] == b"\0\1\0\x0d"
    wide = content[:place] + b"\0\x0c\0\x0d" + content[place + 4 :]  # Display P3
    assert decode_image(wide, 1).metadata.png_colour == ((b"cICP", b"\x0c\x0d\0\1"),)


def test_heic_without_the_extra_is_refused_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"pip install 'srcnn-beam\[heif\]'"):
        decode_image(HEIC["8-bit"], 1)


def test_heif_with_another_codec_or_no_image_is_refused():
    for content in (b"\0\0\0\x18ftypheic" + bytes(100), b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"):
        with pytest.raises(ImageError, match="header is damaged"):
            decode_image(content, 1)


def of_size(side: int, cropped: bool) -> bytes:
    """The 8-bit file with another size in its header, with or without a crop to the true one."""
    content = bytearray(HEIC["8-bit"])
    struct.pack_into(">II", content, content.index(b"ispe") + 8, side, side)
    if not cropped:
        fractions = (side, 1, side, 1, 0, 1, 0, 1)
        struct.pack_into(">8I", content, content.index(b"clap") + 4, *fractions)
    return bytes(content)


def test_oversized_heic_is_refused_before_decoding():
    huge = of_size(20_000, cropped=False)
    with pytest.raises(ImageError, match="20000 x 20000 pixels are more than the 256 megapixels"):
        decode_isolated(huge, 256, 60)
    with pytest.raises(ImageError):  # its content is no such picture
        decode_isolated(huge, 1000, 60)


@pytest.mark.parametrize("side", [1, 4, 30_000])
@pytest.mark.parametrize("cropped", [False, True])
def test_heic_with_a_wrong_size_in_its_header_is_refused(side, cropped):
    with pytest.raises(ImageError):
        decode_isolated(of_size(side, cropped), 1000, 60)


@pytest.mark.parametrize("name", HEIC)
def test_heic_header_is_read_in_the_child_process(name):
    header = read_header_isolated(io.BytesIO(HEIC[name]))
    assert header == read_header(HEIC[name])


def test_heic_that_crashes_the_library_does_not_end_the_dry_run():
    content = bytearray(HEIC["10-bit-turned"])
    place = content.index(b"Exif")
    content[place : place + 2] = b"\xff\0"  # not UTF-8, which the library does not expect
    for _ in range(2):
        with pytest.raises(ImageError, match="the decoder crashed on the file|damaged"):
            read_header_isolated(io.BytesIO(content))
        assert read_header_isolated(io.BytesIO(HEIC["8-bit"])).width == 24


@pytest.mark.parametrize("name", HEIC)
def test_truncated_or_damaged_heic_decodes_or_raises_image_error(name):
    content = HEIC[name]
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        with pytest.raises(ImageError):
            decode_isolated(content[: int(len(content) * share)], 1, 60)
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(0, len(damaged), 3):
            damaged[place] = generator.integers(0, 256)
        try:
            picture = decode_isolated(bytes(damaged), 1, 60)
        except (ImageError, MemoryError) as error:
            assert not isinstance(error, ImageError) or str(error).isprintable()
        else:
            assert picture.pixels.dtype in (np.uint8, np.uint16)
