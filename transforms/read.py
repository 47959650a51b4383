"""Reads the sources."""

from dataclasses import dataclass

from codec.apart import decode_apart
from srcnn.colour import fill_hidden
from transforms.records import ImageRecord, ImageRef
from transforms.stage import ImageStage
from transforms.storage import read_file


def read_image(ref: ImageRef, max_megapixels: float, max_seconds: float) -> ImageRecord:
    """Reads and decodes one source, with colours that nobody sees replaced (see fill_hidden).

    Raises:
      ImageError: see decode_apart; or the source is a directory or no regular file.
      OSError: the source cannot be read.
    """
    picture = decode_apart(read_file(ref.uri), max_megapixels, max_seconds)
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


@dataclass
class ReadImages(ImageStage):
    """References to decoded images.

    Attributes:
      max_megapixels: larger images are refused.
      max_seconds: the most that decoding one may take.
    """

    max_megapixels: float
    max_seconds: float
    stage = "read"

    def apply(self, element: ImageRef) -> ImageRecord:
        return read_image(element, self.max_megapixels, self.max_seconds)
