"""Restore mode: enlarges each image by interpolation, which the network then sharpens."""

from dataclasses import dataclass, replace

from codec.errors import ImageError
from codec.metadata import scaled
from srcnn.protocols import PROTOCOLS
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def upscale_image(
    record: ImageRecord, scale: int, kernel: str, protocol: str, max_megapixels: float
) -> ImageRecord:
    """Enlarges the original by `scale` (1: takes it as it is), alpha with the same kernel.

    Returns:
      The record with `working`, `alpha` of the new size and `metadata` of the new resolution set.

    Raises:
      ImageError: the result would have more than `max_megapixels`.
    """
    convention = PROTOCOLS[protocol]
    height, width = record.original.shape[:2]
    if height * width * scale**2 > max_megapixels * 1e6:
        raise ImageError(
            f"the result of {width * scale} x {height * scale} pixels is more than the "
            f"{max_megapixels:g} megapixels allowed (--max_megapixels)"
        )
    alpha = record.alpha
    if alpha is not None:
        alpha = convention.as_image(convention.enlarge(alpha, scale, kernel), alpha.dtype)
    working = convention.enlarge(record.original, scale, kernel)
    metadata = scaled(record.metadata, scale)
    return replace(record, working=working, alpha=alpha, metadata=metadata)


@dataclass
class Upscale(ImageStage):
    """Decoded images to enlarged ones.

    Attributes:
      scale: how many times larger; 1 for input that was enlarged before.
      kernel: interpolation.
      protocol: whose interpolation.
      max_megapixels: larger results are refused.
    """

    scale: int
    kernel: str
    protocol: str
    max_megapixels: float
    stage = "upscale"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return upscale_image(element, self.scale, self.kernel, self.protocol, self.max_megapixels)
