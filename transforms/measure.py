"""Measures what the degradation cost and what the network brought back."""

import math
from dataclasses import dataclass, replace

import numpy as np

from codec.errors import ImageError
from srcnn.metrics import mse, psnr_of_mse, ssim
from srcnn.protocols import PROTOCOLS
from transforms.records import ImageRecord
from transforms.stage import ImageStage

Figures = dict[str, float | None]


def measure_evaluated(record: ImageRecord, scale: int, protocol: str, border: str) -> Figures:
    """Degraded and restored image against the original.

    Returns:
      The report's columns from psnr_degraded to ssim_y_enhanced.

    Raises:
      ImageError: nothing is left of the image after the protocol's shave.
    """
    convention = PROTOCOLS[protocol]
    dtype = record.original.dtype
    shave = convention.measure_shave(border, scale) - convention.output_shave(border, scale)
    lumas = [
        convention.image_luma(record.original),
        convention.working_luma(record.working, dtype),
        convention.output_luma(record.restored, record.restored_luma),
    ]
    lumas = [_shaved(luma, shave) for luma in lumas]
    luma_figures = compare(*lumas, convention.ssim_window)
    if convention.measures_luma_only or record.original.ndim == 2:
        figures = luma_figures
    else:
        pictures = (record.original, convention.as_image(record.working, dtype), record.restored)
        figures = compare(*(_shaved(p, shave) for p in pictures), convention.ssim_window)
    by_name = ("psnr", "ssim")
    on_luma = {
        f"{name}_y_{which}": luma_figures[f"{name}_{which}"]
        for name in by_name
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


def measure_restored(
    record: ImageRecord, protocol: str, model_scale: int, model_kernel: str
) -> Figures:
    """Restore mode: how well the output, degraded again, agrees with the input.

    Null where the image is smaller than the model's scale.
    """
    if min(record.original.shape[:2]) < model_scale:
        return {"consistency_psnr": None}
    consistency = PROTOCOLS[protocol].consistency(
        record.restored, record.original, model_scale, model_kernel
    )
    return {"consistency_psnr": consistency}


@dataclass
class MeasureQuality(ImageStage):
    """Restored images to images with their figures.

    Attributes:
      mode: `evaluate` or `restore`.
      scale: scale of the run.
      protocol: whose conventions.
      border: `keep` or `shave`.
      model_scale: what the model undoes.
      model_kernel: what the model undoes.
    """

    mode: str
    scale: int
    protocol: str
    border: str
    model_scale: int
    model_kernel: str
    stage = "measure"

    def apply(self, element: ImageRecord) -> ImageRecord:
        if self.mode == "evaluate":
            figures = measure_evaluated(element, self.scale, self.protocol, self.border)
        else:
            figures = measure_restored(element, self.protocol, self.model_scale, self.model_kernel)
        return replace(element, figures=figures)


def _shaved(image: np.ndarray, shave: int) -> np.ndarray:
    if not shave:
        return image
    if min(image.shape[:2]) <= 2 * shave:
        raise ImageError(
            f"of {image.shape[1]} x {image.shape[0]} pixels nothing is left to measure "
            f"after shaving {shave} on each side"
        )
    return image[shave:-shave, shave:-shave]
