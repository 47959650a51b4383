"""Evaluate mode: makes of each image the low-resolution picture that the network is to restore."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from srcnn.protocols import PROTOCOLS
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def degrade_image(record: ImageRecord, scale: int, kernel: str, protocol: str) -> ImageRecord:
    """Shrinks and enlarges the original again.

    Returns:
      The record with `original` (and `alpha`) as the protocol takes it for ground truth, and
      `working`, set.

    Raises:
      ImageError: the image has fewer pixels than the scale.
    """
    convention = PROTOCOLS[protocol]
    height, width = record.original.shape[:2]
    if min(height, width) < scale:
        raise ImageError(f"{width} x {height} pixels cannot be shrunk by {scale}")
    original = convention.prepare(record.original, scale)
    height, width = original.shape[:2]
    alpha = None if record.alpha is None else record.alpha[:height, :width]
    working = convention.degrade(original, scale, kernel)
    return replace(record, original=original, alpha=alpha, working=working)


@dataclass
class Degrade(ImageStage):
    """Decoded images to degraded ones.

    Attributes:
      scale: how many times smaller the low-resolution picture is.
      kernel: interpolation of both resizings.
      protocol: whose interpolation.
    """

    scale: int
    kernel: str
    protocol: str
    stage = "degrade"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return degrade_image(element, self.scale, self.kernel, self.protocol)
