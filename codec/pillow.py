"""Files that Pillow decodes: WebP, GIF, QOI, TGA, and 8-bit files of most other formats."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from codec.colour import rgb_from_cmyk
from codec.errors import NO_PIXELS, ImageError
from codec.picture import Decoded, Metadata, several_pictures
from codec.samples import Planes, split_alpha

# decode_image checks sizes itself, by max_megapixels.
Image.MAX_IMAGE_PIXELS = None
_NO_SIZE = "not identified by this driver"

_ORIENTATION_TAG = 274  # of EXIF
# Pillow's modes that it converts itself.
_CONVERTED = {"1": "L", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_UNUSED_ALPHA = "the TGA's transparency hides every pixel; it was ignored"


def open_image(plugin: str, stream: io.BufferedIOBase) -> Image.Image:
    """Opens a file by one of Pillow's plugins and no other; decodes no pixels.

    Raises:
      ImageError: it has no pixels.
      SyntaxError: it is not a file of that format; the message gives the reason.
      Exception: any other, on damage.
    """
    stream.seek(0)
    if plugin not in Image.OPEN:
        Image.init()
    factory, _ = Image.OPEN[plugin]
    # Most warnings are about metadata.
    with warnings.catch_warnings(action="ignore"):
        try:
            return factory(stream, "")
        except SyntaxError as error:
            if str(error) == _NO_SIZE:
                raise ImageError(NO_PIXELS) from None
            raise


def size_of(plugin: str, stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height."""
    return open_image(plugin, stream).size


def decode(plugin: str, content: bytes) -> Decoded:
    """Decodes an image of 8 bits."""
    with open_image(plugin, io.BytesIO(content)) as image:
        notes = several_pictures(getattr(image, "n_frames", 1)) + left_out_of(image)
        metadata = metadata_in(image)
        (pixels, alpha), more = planes_of(image)
        return Decoded(pixels, alpha, metadata, notes + more)


def decode_gif(content: bytes) -> Decoded:
    """Decodes a GIF; pixels outside its first frame are transparent, as in browsers."""
    with open_image("GIF", io.BytesIO(content)) as image:
        notes = several_pictures(image.n_frames) + left_out_of(image)
        frame = image.tile[0].extents if image.tile else None
        image.load()
        # Where there is a transparent colour, Pillow fills with it.
        if frame and frame != (0, 0, *image.size) and "transparency" not in image.info:
            covered = Image.new("L", image.size)
            covered.paste(255, frame)
            image.putalpha(covered)
        return Decoded(*planes_of(image)[0], metadata_in(image), notes)


def decode_tga(content: bytes) -> Decoded:
    """Decodes a TGA; alpha that hides the whole picture is taken for unused."""
    found = decode("TGA", content)
    if found.alpha is not None and not found.alpha.any():
        return found._replace(alpha=None, notes=(_UNUSED_ALPHA,))
    return found


def metadata_in(image: Image.Image) -> Metadata:
    """The metadata that Pillow gives in one way for all formats."""
    names = {"exif": "exif", "xmp": "xmp", "icc": "icc_profile", "dpi": "dpi"}
    return Metadata(**{field: image.info.get(name) for field, name in names.items()})


def left_out_of(image: Image.Image) -> tuple[str, ...]:
    """Notes on metadata that Metadata has no field for."""
    return ("a comment was left out",) if "comment" in image.info else ()


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation; reads to the end of the file, where EXIF may be."""
    return image.getexif().get(_ORIENTATION_TAG, 1)


def planes_of(image: Image.Image) -> tuple[Planes, tuple[str, ...]]:
    """The samples of an open file, upright, and notes.

    Raises:
      ImageError: its pixels are of a kind that is not supported.
      Exception: any other, on damage.
    """
    image.load()
    profile = image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)  # without in_place upright images are copied
    if image.mode == "CMYK":
        rgb, notes = rgb_from_cmyk(np.asarray(image), profile)
        return (rgb, None), notes
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGBA" if image.palette.mode == "RGBA" else "RGB")
    elif image.mode in _CONVERTED:
        image = image.convert(_CONVERTED[image.mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(f"pixel mode {image.mode} is not supported")
    return split_alpha(np.asarray(image)), ()
