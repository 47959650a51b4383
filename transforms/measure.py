"""Measures what the degradation cost and what the network brought back."""

import math
from dataclasses import dataclass, replace

import numpy as np

from codec.errors import ImageError
from srcnn.degradations import Degradation
from srcnn.metrics import mse, psnr_of_mse, ssim
from srcnn.restoration import Restoration
from transforms.records import ImageRecord
from transforms.stage import ImageStage

Figures = dict[str, float | None]


def measure_evaluated(record: ImageRecord, restoration: Restoration) -> Figures:
    """Degraded and restored image against the original.

    Returns:
      The report's columns from psnr_degraded to ssim_y_enhanced.

    Raises:
      ImageError: nothing is left of the image after the protocol's shave.
    """
    height, width = record.original.shape[:2]
    if min(height, width) <= 2 * restoration.further_shave:
        raise ImageError(
            f"of {width} x {height} pixels nothing is left to measure "
            f"after shaving {restoration.further_shave} on each side"
        )
    measured = restoration.measured(
        record.original, record.interpolated, record.restored, record.restored_luma
    )
    luma_figures = compare(*measured.lumas, measured.ssim_window)
    if measured.images is measured.lumas:
        figures = luma_figures
    else:
        figures = compare(*measured.images, measured.ssim_window)
    on_luma = {
        f"{name}_y_{which}": luma_figures[f"{name}_{which}"]
        for name in ("psnr", "ssim")
        for which in ("degraded", "enhanced")
    }
    return figures | on_luma


def compare(
    original: np.ndarray, degraded: np.ndarray, restored: np.ndarray, window: str
) -> Figures:
    """PSNR, MSE and SSIM of two images against a third, and the gains.

    Args:
      original: (h, w[, c]) uint8 or uint16.
      degraded: same shape and type.
      restored: same shape and type.
      window: of SSIM, see srcnn.metrics.ssim.

    Returns:
      Columns of the report. PSNR of identical images is infinite; the gain is null where neither
      PSNR is finite.
    """
    channels = 1 if original.ndim == 2 else original.shape[2]
    figures: Figures = {}
    similarities = ssim(original, [degraded, restored], window)
    pairs = (("degraded", degraded), ("enhanced", restored))
    for (which, image), similarity in zip(pairs, similarities, strict=True):
        error = mse(original, image)
        figures[f"psnr_{which}"] = psnr_of_mse(error)
        figures[f"mse_{which}"] = error * channels
        figures[f"mse_sample_{which}"] = error
        figures[f"ssim_{which}"] = similarity
    gain = figures["psnr_enhanced"] - figures["psnr_degraded"]
    figures["psnr_gain"] = None if math.isnan(gain) else gain
    before, after = similarities
    figures["ssim_gain"] = None if before is None else after - before
    return figures


def measure_restored(record: ImageRecord, model: Degradation) -> Figures:
    """Restore mode: how well the output, degraded again, agrees with the input.

    Null where the image is smaller than the model's scale.

    Args:
      record: with `restored`.
      model: what the model undoes.
    """
    if min(record.original.shape[:2]) < model.scale:
        return {"consistency_psnr": None}
    consistency = model.convention.consistency(
        record.restored, record.original, model.scale, model.kernel
    )
    return {"consistency_psnr": consistency}


@dataclass
class MeasureQuality(ImageStage):
    """Restored images to images with their figures.

    Attributes:
      mode: `evaluate` or `restore`.
      restoration: what is asked.
      model: what the model undoes.
    """

    mode: str
    restoration: Restoration
    model: Degradation
    stage = "measure"

    def apply(self, element: ImageRecord) -> ImageRecord:
        if self.mode == "evaluate":
            figures = measure_evaluated(element, self.restoration)
        else:
            figures = measure_restored(element, self.model)
        return replace(element, figures=figures)
