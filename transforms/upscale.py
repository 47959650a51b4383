"""Restore mode: the image is the small picture; interpolates it to the result's size."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from codec.metadata import scale_resolution
from srcnn.restoration import Restoration
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def upscale_image(
    record: ImageRecord, restoration: Restoration, max_megapixels: float
) -> ImageRecord:
    """Enlarges the original, alpha with the same kernel; at scale 1 takes it as it is.

    Returns:
      The record with `small`, `interpolated`, `alpha` of the new size and `metadata` of the new
      resolution set.

    Raises:
      ImageError: the result would have more than `max_megapixels`.
    """
    original, alpha = record.original, record.alpha
    shape = height, width = restoration.enlarged_shape(original)
    if height * width > max_megapixels * 1e6:
        raise ImageError(
            f"the result of {width} x {height} pixels is more than the "
            f"{max_megapixels:g} megapixels allowed (--max_megapixels)"
        )
    if alpha is not None:
        enlarged = restoration.interpolate(alpha, shape, alpha.dtype)
        alpha = restoration.as_image(enlarged, alpha.dtype)
    return replace(
        record,
        small=original,
        interpolated=restoration.interpolate(original, shape, original.dtype),
        alpha=alpha,
        metadata=scale_resolution(record.metadata, restoration.scale),
    )


@dataclass
class Upscale(ImageStage):
    """Decoded images to enlarged ones.

    Attributes:
      restoration: the requested restoration.
      max_megapixels: larger results are refused.
    """

    restoration: Restoration
    max_megapixels: float
    stage = "upscale"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return upscale_image(element, self.restoration, self.max_megapixels)
