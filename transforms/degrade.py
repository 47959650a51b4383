"""Evaluate mode: degrades each image to the small picture that is restored."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from srcnn.errors import DegradationError
from srcnn.restoration import Restoration
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def degrade_image(record: ImageRecord, restoration: Restoration) -> ImageRecord:
    """Degrades the original, and interpolates the result.

    Returns:
      The record with `original` and `alpha` cut to the ground truth, and `drawn`, `small` and
      `interpolated` set.

    Raises:
      ImageError: the image has fewer pixels than the scale, or a step cannot be done to it.
    """
    height, width = record.original.shape[:2]
    if min(height, width) < restoration.scale:
        raise ImageError(f"{width} x {height} pixels cannot be downscaled by {restoration.scale}")
    original = restoration.ground_truth(record.original)
    height, width = original.shape[:2]
    alpha = None if record.alpha is None else record.alpha[:height, :width]
    path = record.ref.relative_path
    try:
        small = restoration.degrade(original, path)
    except DegradationError as error:
        raise ImageError(str(error)) from None
    interpolated = restoration.interpolate(small, (height, width), original.dtype)
    return replace(
        record,
        original=original,
        alpha=alpha,
        drawn=restoration.degradation.drawn(restoration.seed, path),
        small=small,
        interpolated=interpolated,
    )


@dataclass
class Degrade(ImageStage):
    """Decoded images to degraded ones.

    Attributes:
      restoration: the requested restoration.
    """

    restoration: Restoration
    stage = "degrade"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return degrade_image(element, self.restoration)
