"""Measures the loss by the degradation and the gain by the network."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from codec.errors import ImageError
from srcnn import figures
from srcnn.degradations import Degradation
from srcnn.restoration import Restoration
from transforms.records import ImageRecord
from transforms.stage import ImageStage


def measure_evaluated(record: ImageRecord, restoration: Restoration) -> figures.Values:
    """Degraded and restored image against the original: columns of the report.

    Raises:
      ImageError: nothing is left of the image after the protocol's shave.
    """
    height, width = record.original.shape[:2]
    if min(height, width) <= 2 * restoration.further_shave:
        raise ImageError(
            f"nothing is left to measure of {width} x {height} pixels "
            f"after shaving {restoration.further_shave} on each side"
        )
    return figures.measure_evaluated(
        restoration.measured(
            record.original, record.interpolated, record.restored, record.restored_luma
        )
    )


def measure_restored(
    record: ImageRecord, restoration: Restoration, model: Degradation, without: Collection[str] = ()
) -> figures.Values:
    """Figures without a reference: columns of the report.

    Args:
      record: with `restored`.
      restoration: the requested restoration.
      model: the degradation that the model undoes.
      without: names of figures that are left out.
    """
    result = figures.Result(record.restored, record.original, model)
    interpolated = restoration.as_image(record.interpolated, record.restored.dtype)
    return figures.measure_restored(result, interpolated, without)


@dataclass
class MeasureQuality(ImageStage):
    """Restored images to images with their figures.

    Attributes:
      mode: `evaluate` or `restore`.
      restoration: the requested restoration.
      model: the degradation that the model undoes.
      without: names of figures that are left out in restore mode.
    """

    mode: str
    restoration: Restoration
    model: Degradation
    without: tuple[str, ...]
    stage = "measure"

    def apply(self, element: ImageRecord) -> ImageRecord:
        if self.mode == "evaluate":
            values = measure_evaluated(element, self.restoration)
        else:
            values = measure_restored(element, self.restoration, self.model, self.without)
        return replace(element, figures=values)
