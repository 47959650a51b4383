"""Crops to the measured area and extracts the luma plane for the network."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from srcnn.restoration import Restoration
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def crop_to_luma(record: ImageRecord, restoration: Restoration) -> ImageRecord:
    """Crops as Restoration.crop does, and sets the network's input plane.

    Raises:
      ImageError: nothing of the image would be left to write or to measure after shaving.
    """
    original, alpha = restoration.crop(record.original), record.alpha
    alpha = None if alpha is None else restoration.crop(alpha)
    interpolated = restoration.crop(record.interpolated)
    luma = restoration.network_input(record.small, interpolated, original.dtype)
    if 0 in restoration.restored_shape(luma):
        height, width = (side * restoration.architecture.upscale for side in luma.shape[:2])
        raise ImageError(
            f"nothing is left of {width} x {height} pixels "
            f"after shaving {restoration.output_shave} on each side"
        )
    return replace(
        record, original=original, alpha=alpha, small=None, interpolated=interpolated, luma=luma
    )


@dataclass
class CropToYCrCb(ImageStage):
    """Small and interpolated pictures to the luma planes that the network takes.

    Attributes:
      restoration: the requested restoration.
    """

    restoration: Restoration
    stage = "crop"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return crop_to_luma(element, self.restoration)
