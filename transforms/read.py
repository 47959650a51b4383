"""Reads the sources."""

from dataclasses import dataclass
from io import BytesIO

from codec.errors import ImageError
from codec.isolated import decode_isolated, read_header_isolated
from srcnn.colour import fill_hidden
from storage.store import read_file
from transforms.records import LARGE_ENOUGH, ImageRecord, ImageRef
from transforms.stage import ImageSkippedError, ImageStage

# Four channels of 16 bits, and as much again.
_BYTES_PER_PIXEL = 16
_BYTES_BESIDE = 64 << 20


def read_image(
    ref: ImageRef, max_megapixels: float, max_seconds: float, skip_above: float | None = None
) -> ImageRecord:
    """Reads and decodes one source, with invisible colours replaced (see fill_hidden).

    Raises:
      ImageSkippedError: the source has more than `skip_above` megapixels.
      ImageError: see decode_isolated; or the file is too large for an image of
        `max_megapixels`.
      PathError: the source is a directory or no regular file.
      OSError: the source cannot be read.
    """
    check_size(ref.size, max_megapixels)
    return decode_source(ref, read_file(ref.uri), max_megapixels, max_seconds, skip_above)


def decode_source(
    ref: ImageRef,
    content: bytes,
    max_megapixels: float,
    max_seconds: float,
    skip_above: float | None = None,
) -> ImageRecord:
    """Decodes one source, given its content; see read_image."""
    if skip_above is not None:
        _check_wanted(content, skip_above)
    picture = decode_isolated(content, max_megapixels, max_seconds)
    original, alpha = picture.pixels, picture.alpha
    if alpha is not None:
        original = fill_hidden(original, alpha)
    return ImageRecord(
        ref=ref,
        original=original,
        source_shape=original.shape[:2],
        alpha=alpha,
        format=picture.format,
        metadata=picture.metadata,
        jpeg_tables=picture.jpeg_tables,
        notes=picture.notes,
    )


def check_size(size: int, max_megapixels: float) -> None:
    """Refuses a source that is too large to be read.

    Raises:
      ImageError: an image of `max_megapixels` cannot have that many bytes.
    """
    if size > max_megapixels * 1e6 * _BYTES_PER_PIXEL + _BYTES_BESIDE:
        raise ImageError(
            f"a file of {size / 1e9:.1f} GB is larger than an image of {max_megapixels:g} "
            "megapixels can be (--max_megapixels)"
        )


def _check_wanted(content: bytes, skip_above: float) -> None:
    header = read_header_isolated(BytesIO(content))
    if header.megapixels > skip_above:
        raise ImageSkippedError(LARGE_ENOUGH, width=header.width, height=header.height)


@dataclass
class ReadImages(ImageStage):
    """References to decoded images.

    Attributes:
      max_megapixels: larger images are refused.
      max_seconds: the most that decoding one may take.
      skip_above: megapixels; larger images are skipped, None: none is.
    """

    max_megapixels: float
    max_seconds: float
    skip_above: float | None
    stage = "read"

    def apply(self, element: ImageRef) -> ImageRecord:
        return read_image(element, self.max_megapixels, self.max_seconds, self.skip_above)
