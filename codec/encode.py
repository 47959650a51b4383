"""Encodes images. What a format cannot hold is changed or left out, and said."""

import struct
from dataclasses import dataclass, fields

import cv2
import numpy as np

from codec import exif as exif_blocks
from codec.errors import ImageError
from codec.metadata import profile_model, sized
from codec.picture import Metadata
from codec.writers import FORMATS, NAMES, EncodeSettings, Format, JpegTables
from srcnn.colour import eight_bit, peak_of
from srcnn.strips import map_strips

NO_METADATA = Metadata()
DEFAULTS = EncodeSettings()


@dataclass(frozen=True)
class Encoded:
    """An image file.

    Attributes:
      content: its bytes.
      notes: what the format could not hold and what became of it, in words for the owner.
    """

    content: bytes
    notes: tuple[str, ...] = ()


def encode_image(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    suffix: str,
    metadata: Metadata = NO_METADATA,
    settings: EncodeSettings = DEFAULTS,
    jpeg_tables: JpegTables = (),
) -> Encoded:
    """Encodes an image for a file of the given ending; the same input gives the same bytes.

    Where the format cannot hold it, alpha is flattened onto white, 16 bits are rounded to 8, gray
    becomes colour of the same values, and metadata are left out; all but gray are noted.

    Args:
      pixels: (h, w, 3) BGR or (h, w), uint8 or uint16.
      alpha: (h, w) of the same type, or None.
      suffix: a member of WRITABLE_SUFFIXES.
      metadata: of the picture; sizes that its EXIF states are corrected.
      settings: how it is encoded.
      jpeg_tables: quantisation tables of the source, if that was a JPEG, in natural order: luma,
        then chroma. They count only where settings.quality is None.

    Raises:
      ImageError: the picture is too large for the format.
    """
    form = _FORMAT_OF[suffix]
    height, width = pixels.shape[:2]
    if max(height, width) > form.longest_side:
        raise ImageError(
            f"{width} x {height} pixels are too many for {form.name}: "
            f"a side has at most {form.longest_side:,}"
        )
    samples, notes = _as_held(pixels, alpha, form)
    if samples.nbytes > form.most_bytes:
        raise ImageError(f"{width} x {height} pixels are too many for {form.name}: over 4 GiB")
    kept, left_out = _kept(sized(metadata, width, height), samples, form)
    try:
        content = form.write(samples, kept, settings, jpeg_tables)
    except (OSError, RuntimeError, ValueError, struct.error) as error:
        raise ImageError(f"cannot be encoded as {form.name}: {error}") from None
    return Encoded(content, (*notes, *left_out))


def _as_held(
    pixels: np.ndarray, alpha: np.ndarray | None, form: Format
) -> tuple[np.ndarray, list[str]]:
    """The picture as samples that the format can hold, and notes."""
    notes = []
    if alpha is not None and not form.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
        notes.append(f"the transparency was flattened onto white: {form.name} cannot hold it")
    if pixels.dtype != np.uint8 and not form.deep:
        pixels, alpha = eight_bit(pixels), None if alpha is None else eight_bit(alpha)
        notes.append(f"16 bits per sample were rounded to 8: {form.name} cannot hold them")
    if pixels.ndim == 2 and not (form.gray if alpha is None else form.gray_alpha):
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return (pixels if alpha is None else np.dstack([pixels, alpha])), notes


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    peak = np.uint32(peak_of(pixels))

    def blend(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
        opacity = opacity.astype(np.uint32).reshape(*opacity.shape, *[1] * (colours.ndim - 2))
        return (colours * opacity + peak * (peak - opacity) + peak // 2) // peak

    return map_strips(blend, pixels.dtype, pixels, alpha)


def _kept(metadata: Metadata, samples: np.ndarray, form: Format) -> tuple[Metadata, list[str]]:
    """The metadata that the format can hold and that fit the samples, and notes on the others."""
    notes = []
    kept = {}
    for name in (each.name for each in fields(metadata)):
        value = getattr(metadata, name)
        if not value:
            continue
        problem = _problem(name, value, samples, form)
        if not problem:
            kept[name] = value
        elif not (name == "dpi" and "exif" in kept and _states_dpi(kept["exif"])):
            notes.append(f"{NAMES[name]} was left out: {problem}")
    return Metadata(**kept), notes


def _problem(name: str, value: bytes | tuple, samples: np.ndarray, form: Format) -> str | None:
    if name not in form.holds:
        return f"{form.name} cannot hold it"
    if len(value) > form.holds[name]:
        return f"{len(value):,} bytes are too many for {form.name}"
    if name == "icc":
        written = "GRAY" if samples.ndim == 2 or samples.shape[2] == 2 else "RGB"
        if profile_model(value) != written:
            return f"it is for {profile_model(value)}, the picture is {written}"
    return None


def _states_dpi(exif: bytes) -> bool:
    return exif_blocks.dpi_of(exif_blocks.parse(exif)) is not None


_FORMAT_OF = {suffix: form for form in FORMATS for suffix in form.suffixes}

WRITABLE_SUFFIXES = frozenset(_FORMAT_OF)
SUFFIXES_OF = {form.name.lower(): form.suffixes for form in FORMATS[:4]}
