"""HEIC and HEIF files, read by libheif (pi-heif, extra `heif`), which turns pictures upright."""

import io
from types import ModuleType

import numpy as np

from codec.errors import ImageError
from codec.picture import Decoded, Metadata, several_pictures
from codec.samples import scale_codes, split_alpha, straight_from_premultiplied

_MISSING = (
    "HEIC and HEIF need the extra `heif`, which is not installed: pip install 'srcnn-beam[heif]'"
)
# ITU-T H.273: colour primaries and transfer functions that are sRGB's, or not stated.
_SRGB_PRIMARIES = (1, 2)
_SRGB_TRANSFERS = (1, 2, 6, 13)


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height of the primary picture, upright.

    Raises:
      ImageError: the decoder is not installed.
    """
    stream.seek(0)
    return _primary(stream.read())[0].size


def decode(content: bytes) -> Decoded:
    """Decodes the primary picture."""
    image, count = _primary(content)
    bits = image.info["bit_depth"]
    # A copy: the library frees its memory with the image.
    codes = np.array(image).reshape(*image.size[::-1], -1)
    pixels, alpha = split_alpha(scale_codes(codes if codes.shape[2] > 1 else codes[..., 0], bits))
    if image.premultiplied_alpha:
        pixels = straight_from_premultiplied(np.atleast_3d(pixels), alpha).reshape(pixels.shape)
    return Decoded(pixels, alpha, _metadata_of(image), several_pictures(count, "primary one"))


def _metadata_of(image: "pi_heif.HeifImage") -> Metadata:  # noqa: F821
    info = image.info
    return Metadata(
        exif=info["exif"],
        xmp=info.get("xmp"),
        icc=info.get("icc_profile"),
        png_colour=_coding(info.get("nclx_profile")),
    )


def _coding(nclx: dict[str, int] | None) -> tuple[tuple[bytes, bytes], ...]:
    """Colours other than sRGB as a chunk of PNG: full-range RGB."""
    if not nclx:
        return ()
    primaries, transfer = nclx["color_primaries"], nclx["transfer_characteristics"]
    if primaries in _SRGB_PRIMARIES and transfer in _SRGB_TRANSFERS:
        return ()
    return ((b"cICP", bytes([primaries, transfer, 0, 1])),)


def _primary(content: bytes) -> tuple["pi_heif.HeifImage", int]:  # noqa: F821
    """The primary picture, not decoded yet, and how many pictures there are."""
    file = _library().open_heif(content, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    return file[file.primary_index], len(file)


def _library() -> ModuleType:
    try:
        import pi_heif
    except ImportError:
        raise ImageError(_MISSING) from None
    options = pi_heif.options
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 1  # the network uses the other cores
    return pi_heif
