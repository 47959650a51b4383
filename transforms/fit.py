"""Fits results into the requested size."""

from dataclasses import dataclass, replace

from codec.metadata import scale_resolution
from srcnn.resample import shrink_antialiased, size_inside
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def fit_image(record: ImageRecord, box: tuple[int, int]) -> ImageRecord:
    """Shrinks the restored image, and its alpha, to fit into a box, (width, height); antialiased.

    Returns:
      The record with `restored`, `alpha` and the resolution in `metadata` of the new size; the
      record itself where it fits.
    """
    shape = record.restored.shape[:2]
    size = size_inside(shape, box)
    if size == shape:
        return record
    alpha = record.alpha
    return replace(
        record,
        restored=shrink_antialiased(record.restored, size),
        alpha=None if alpha is None else shrink_antialiased(alpha, size),
        metadata=scale_resolution(record.metadata, max(size) / max(shape)),
    )


@dataclass
class FitSize(ImageStage):
    """Restored images to images that fit into a box.

    Attributes:
      box: (width, height); None: they stay as they are.
    """

    box: tuple[int, int] | None
    stage = "fit"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return fit_image(element, self.box) if self.box else element
