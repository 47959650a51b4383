"""Reads the sources."""

from dataclasses import dataclass

from codec.decode import decode_image
from srcnn.colour import fill_hidden
from transforms.records import ImageRecord, ImageRef
from transforms.stage import ImageStage
from transforms.storage import read_file


def read_image(ref: ImageRef, max_megapixels: float) -> ImageRecord:
    """Reads and decodes one source, with colours that nobody sees replaced (see fill_hidden).

    Raises:
      ImageError: see decode_image; or the source is a directory or no regular file.
      OSError: the source cannot be read.
    """
    picture = decode_image(read_file(ref.uri), max_megapixels)
    original, alpha = picture.pixels, picture.alpha
    if alpha is not None:
        original = fill_hidden(original, alpha)
    return ImageRecord(ref, original, original.shape[:2], alpha)


@dataclass
class ReadImages(ImageStage):
    """References to decoded images.

    Attributes:
      max_megapixels: larger images are refused.
    """

    max_megapixels: float
    stage = "read"

    def apply(self, element: ImageRef) -> ImageRecord:
        return read_image(element, self.max_megapixels)
