"""Encodes images. Data that a format cannot hold is converted or left out, with a note."""

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from codec import exif as exif_blocks
from codec.errors import ImageError
from codec.metadata import profile_model, with_size
from codec.picture import Metadata
from codec.writers import FORMATS, NAMES, EncodeSettings, Format
from srcnn.colour import eight_bit, peak_of
from srcnn.strips import map_strips

NO_METADATA = Metadata()
DEFAULTS = EncodeSettings()


@dataclass(frozen=True)
class Encoded:
    """An image file.

    Attributes:
      content: its bytes.
      notes: for the owner, on data that the format could not hold.
    """

    content: bytes
    notes: tuple[str, ...] = ()


def encode_image(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    suffix: str,
    metadata: Metadata = NO_METADATA,
    settings: EncodeSettings = DEFAULTS,
) -> Encoded:
    """Encodes an image for a file of the given ending; the same input gives the same bytes.

    Where the format cannot hold it, alpha is flattened onto white, 16 bits are rounded to 8, gray
    becomes colour of the same values, and metadata is left out; all but gray are noted.

    Args:
      pixels: (h, w, 3) BGR or (h, w), uint8 or uint16.
      alpha: (h, w) of the same type, or None.
      suffix: a member of WRITABLE_SUFFIXES.
      metadata: of the picture; sizes that its EXIF states are corrected.
      settings: quality and effort.

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
    kept, left_out = _kept_metadata(with_size(metadata, width, height), samples, form)
    try:
        content = form.write(samples, kept, settings)
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


def _kept_metadata(
    metadata: Metadata, samples: np.ndarray, form: Format
) -> tuple[Metadata, list[str]]:
    """The metadata that the format can hold and that fit the samples, and notes on the others."""
    stated = {name: value for name, value in vars(metadata).items() if value}
    problems = {name: _problem(name, value, samples, form) for name, value in stated.items()}
    kept = {name: value for name, value in stated.items() if not problems[name]}
    if (
        problems.get("dpi")
        and "exif" in kept
        and exif_blocks.dpi_of(exif_blocks.parse(kept["exif"]))
    ):
        del problems["dpi"]  # EXIF states it
    left_out = (f"{NAMES[n]} was left out: {problem}" for n, problem in problems.items() if problem)
    return Metadata(**kept), list(left_out)


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


_FORMAT_OF = {suffix: form for form in FORMATS for suffix in form.suffixes}

WRITABLE_SUFFIXES = frozenset(_FORMAT_OF)
SUFFIXES_OF = {form.name.lower(): form.suffixes for form in FORMATS[:4]}
