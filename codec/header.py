"""Opens image files: what they are, how large and how many, before any pixel is decoded."""

import io
import math
import re
import warnings
from dataclasses import dataclass, replace

from PIL import Image, UnidentifiedImageError
from tifffile import TiffPage

from codec import bmp, deep, icon, jp2, jxl, png, psd, tiff, xpm
from codec.errors import NO_PIXELS, ImageError, damaged
from codec.refused import SIGNATURE_LENGTH, has_no_pixels, name_of_refused

# Sizes are checked by max_megapixels, from the header, with a message of our own.
Image.MAX_IMAGE_PIXELS = None
# Else it does not say why a file that begins as a PNG is none.
Image.WARN_POSSIBLE_FORMATS = True

# Pillow opens more, among them formats that start another program (EPS). JPEG includes MPO.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "DIB", "JPEG2000", "PPM", "TGA", "PCX", "DDS",
    "MSP", "QOI", "SGI", "SUN", "XBM", "IM", "BLP", "DCX", "FLI", "FTEX", "GBR",
    "PCD", "PIXAR",
)  # fmt: skip
_NOT_AN_IMAGE = "not an image, or of a format that cannot be decoded"
MENDED = "what stands beside the pixels is damaged and was left out"
# Of these, what is damaged, or too large, may stand beside the pixels.
_ONLY_PIXELS = {png.SIGNATURE: png.only_pixels, jp2.SIGNATURE: jp2.only_pixels}
_DAMAGED_HEADER = "the image's header is damaged"
# What Pillow warns of, of formats that are told by a signature.
_FAILED = re.compile(r"(?!TGA|IM|DIB)\w+ opening failed\. (?!not an? )(.+)", re.DOTALL)


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before decoding.

    Attributes:
      format: as Pillow names it, such as `PNG`.
      width: pixels, as stored (before any EXIF rotation).
      height: pixels, as stored.
      bit_depth: bits per sample, 8 or 16 (8 or fewer count as 8, more as 16).
      frames: pictures in the file: 1 for MPO, the JPEG of cameras with previews behind it; sizes
        of an icon; pages of a TIFF, previews left out, at most tiff.MOST_PAGES.
    """

    format: str
    width: int
    height: int
    bit_depth: int
    frames: int

    @property
    def megapixels(self) -> float:
        """Size in millions of pixels."""
        return self.width * self.height / 1e6


@dataclass(frozen=True)
class OpenImage:
    """An image file of which the header is read.

    Attributes:
      image: by Pillow, without pixels yet; nameless where another library decodes the format.
      header: what it says.
      stream: where it stands; a picture taken out of an icon has its own.
      page: of a TIFF, by tifffile; of others None.
      notes: what was passed over to open it, in words for its owner.
    """

    image: Image.Image
    header: ImageHeader
    stream: io.BufferedIOBase
    page: TiffPage | None = None
    notes: tuple[str, ...] = ()


def open_image(stream: io.BufferedIOBase, max_megapixels: float = math.inf) -> OpenImage:
    """Reads an image's header; decodes no pixels.

    Args:
      stream: an open binary file that can seek.
      max_megapixels: larger images are refused.

    Raises:
      ImageError: the file is empty, too large or no image that can be decoded.
    """
    try:
        # Most are oddities in metadata that do not touch pixels.
        with warnings.catch_warnings(record=True, action="always") as caught:
            return _open(stream, max_megapixels)
    except UnidentifiedImageError:
        reasons = filter(None, (_FAILED.fullmatch(str(one.message)) for one in caught))
        words = next((match[1] for match in reasons), None)
        if words is None:
            raise ImageError(_NOT_AN_IMAGE) from None
        raise damaged(_DAMAGED_HEADER, SyntaxError(words)) from None
    except Exception as error:
        raise damaged(_DAMAGED_HEADER, error) from None


def _open(stream: io.BufferedIOBase, max_megapixels: float) -> OpenImage:
    beginning = stream.read(SIGNATURE_LENGTH)
    stream.seek(0)
    if not beginning:
        raise ImageError("the file is empty")
    name = name_of_refused(beginning)
    if name:
        raise ImageError(f"{name} files cannot be decoded")
    if has_no_pixels(beginning):
        raise ImageError(NO_PIXELS)
    if icon.ICO_SIGNATURE.match(beginning):
        return _open_ico(stream, max_megapixels)
    if beginning.startswith(icon.ICNS_SIGNATURE):
        return _open_icns(stream, max_megapixels)
    if beginning.startswith(bmp.SIGNATURE) and (plain := bmp.plain_bmp(stream)):
        opened = _open(io.BytesIO(plain), max_megapixels)
        return replace(opened, header=replace(opened.header, format="BMP"))
    stream.seek(0)
    page, notes = None, ()
    if beginning.startswith(tiff.SIGNATURES):
        image, page, pages = tiff.open_tiff(stream)
        depth = 16 if tiff.depth_of(page) > 8 else 8
        header = ImageHeader("TIFF", page.imagewidth, page.imagelength, depth, pages)
    elif beginning.startswith(deep.PAM_SIGNATURE):
        width, height, _, white = deep.header_of_pam(stream)
        image = Image.new("L", (1, 1))  # Pillow does not know the format
        header = ImageHeader("PAM", width, height, 16 if white > 255 else 8, 1)
    elif beginning.startswith(jxl.SIGNATURES):
        found = jxl.header_of_jxl(stream)
        image = Image.new("L", (1, 1))  # Pillow does not know the format
        image.info, notes = found.info, found.notes
        depth = 16 if found.bits > 8 else 8
        header = ImageHeader("JPEG XL", found.width, found.height, depth, 1)
    elif beginning.startswith(xpm.SIGNATURE):
        found = xpm.header_of_xpm(stream.read())
        image = Image.new("L", (1, 1))  # Pillow knows a part of the format
        header = ImageHeader("XPM", found.width, found.height, 8, 1)
    elif beginning.startswith(psd.SIGNATURE):
        found = psd.header_of_psd(stream)
        image = Image.new("L", (1, 1))  # Pillow knows the half of them
        image.info = found.info
        depth = 16 if found.bits == 16 else 8
        header = ImageHeader("PSD", found.width, found.height, depth, 1)
    elif beginning.startswith(bmp.SIGNATURE) and (found := bmp.header_of_bmp(stream)):
        image = Image.new("L", (1, 1))  # Pillow may refuse the file
        image.info["dpi"] = found.dpi
        header = ImageHeader("BMP", found.width, found.height, 8, 1)
    else:
        image, stream, notes = _open_by_pillow(stream, beginning)
        header = ImageHeader(image.format, *image.size, 8, 1)
        _check_size(header, max_megapixels)  # to count frames, Pillow makes room for one
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        depth = 16 if deep.depth_of(image, stream) > 8 else 8
        header = replace(header, bit_depth=depth, frames=frames)
    _check_size(header, max_megapixels)
    return OpenImage(image, header, stream, page, notes)


def _open_by_pillow(
    stream: io.BufferedIOBase, beginning: bytes
) -> tuple[Image.Image, io.BufferedIOBase, tuple[str, ...]]:
    """The image, the stream that it is whole in, notes."""
    if beginning.startswith(deep.JPEG_SIGNATURE):
        return Image.open(deep.jpeg_for_pillow(stream), formats=_FORMATS), stream, ()
    stream.seek(0)
    try:
        return Image.open(stream, formats=_FORMATS), stream, ()
    except Exception:
        of_format = (only for start, only in _ONLY_PIXELS.items() if beginning.startswith(start))
        only_pixels = next(of_format, None)
        if only_pixels is None:
            raise
        stream.seek(0)
        pixels = only_pixels(stream.read())
        if not pixels:
            raise
        stream = io.BytesIO(pixels)
        return Image.open(stream, formats=_FORMATS), stream, (MENDED,)


def _open_ico(stream: io.BufferedIOBase, max_megapixels: float) -> OpenImage:
    content, size, count = icon.largest_of_ico(stream)
    if size is None:
        opened = _open(io.BytesIO(content), max_megapixels)
        return replace(opened, header=replace(opened.header, format="ICO", frames=count))
    header = ImageHeader("ICO", *size, 8, count)
    _check_size(header, max_megapixels)  # Pillow decodes icons as it opens them
    stream = io.BytesIO(content)
    return OpenImage(Image.open(stream, formats=["ICO"]), header, stream)


def _open_icns(stream: io.BufferedIOBase, max_megapixels: float) -> OpenImage:
    content, count = icon.largest_of_icns(stream)
    if content is None:
        stream.seek(0)
        image = Image.open(stream, formats=["ICNS"])
        return OpenImage(image, ImageHeader("ICNS", *image.size, 8, count), stream)
    opened = _open(io.BytesIO(content), max_megapixels)
    return replace(opened, header=replace(opened.header, format="ICNS", frames=count))


def _check_size(header: ImageHeader, max_megapixels: float) -> None:
    if header.width < 1 or header.height < 1:
        raise ImageError(NO_PIXELS)
    if header.megapixels > max_megapixels:
        raise ImageError(
            f"{header.width} x {header.height} pixels are more than the "
            f"{max_megapixels:g} megapixels allowed (--max_megapixels)"
        )
