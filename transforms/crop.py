"""Crops to what is measured and takes the luma plane out for the network."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from srcnn.protocols import PROTOCOLS
from srcnn.resample import modcrop
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def crop_to_luma(record: ImageRecord, scale: int, protocol: str, border: str) -> ImageRecord:
    """Sets the network's input plane; with `border: shave`, crops to a multiple of the scale first.

    The crop comes after the degradation, as in the procedure that OpenCV's protocol follows
    (MATLAB's crops before it, see Protocol.prepare).

    Raises:
      ImageError: nothing of the image would be left to write or to measure after shaving.
    """
    convention = PROTOCOLS[protocol]
    original, working, alpha = record.original, record.working, record.alpha
    if border == "shave" and convention.crops_after_degrading:
        original, working = modcrop(original, scale), modcrop(working, scale)
        alpha = None if alpha is None else modcrop(alpha, scale)
    luma = convention.network_luma(working)
    shave = convention.output_shave(border, scale)
    if min(luma.shape) <= 2 * shave:
        raise ImageError(
            f"of {luma.shape[1]} x {luma.shape[0]} pixels nothing is left "
            f"after shaving {shave} on each side"
        )
    return replace(record, original=original, working=working, alpha=alpha, luma=luma)


@dataclass
class CropToYCrCb(ImageStage):
    """Interpolated images to the luma planes that the network takes.

    Attributes:
      scale: the crop's multiple.
      protocol: whose luma.
      border: `keep` or `shave`.
    """

    scale: int
    protocol: str
    border: str
    stage = "crop"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return crop_to_luma(element, self.scale, self.protocol, self.border)
