"""Comparison pictures: original, degraded, restored side by side, for a sample chosen on purpose.

The sample is chosen from the rows; only then are its images read again, so no pixels wait for
the choice.
"""

import heapq
import io
import logging
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import cv2
import numpy as np

from codec.decode import decode_image
from pipeline.combine import CombineWhereMade
from pipeline.config import JobConfig
from pipeline.job import Job
from pipeline.summary import ranking
from pipeline.terminal import printable
from srcnn.protocols import PROTOCOLS
from transforms.crop import crop_to_luma
from transforms.degrade import degrade_image
from transforms.errors import EXPECTED_ERRORS
from transforms.match import output_path_of
from transforms.read import read_image
from transforms.records import ImageRef, ReportRow
from transforms.stage import count
from transforms.storage import OutputStore
from transforms.upscale import upscale_image

_RESERVOIR = 1000
_PANEL_PIXELS = 720

Ranked = tuple[float, str, ReportRow]


class SampleFn(beam.CombineFn):
    """Chooses the worst, the best and the middle images by gain; holds a bounded number of rows.

    The middle is exact up to a thousand images; beyond, it is that of a random thousand, the same
    in every run (chosen by a hash of the path).

    Args:
      size: images to choose.
    """

    def __init__(self, size: int):
        self._size = size

    def create_accumulator(self) -> dict[str, list]:
        return {"worst": [], "best": [], "reservoir": []}

    def add_input(self, kept: dict[str, list], row: ReportRow) -> dict[str, list]:
        figure = ranking(row)
        if row.status != "written" or figure is None:
            return kept
        key = zlib.crc32(row.relative_path.encode())
        ranked = (figure, row.relative_path, row)
        return self._merge(
            kept, {"worst": [ranked], "best": [ranked], "reservoir": [(key, ranked)]}
        )

    def merge_accumulators(self, accumulators: Iterable[dict[str, list]]) -> dict[str, list]:
        merged = self.create_accumulator()
        for kept in accumulators:
            merged = self._merge(merged, kept)
        return merged

    def extract_output(self, kept: dict[str, list]) -> list[ReportRow]:
        by_figure = sorted((ranked for _, ranked in kept["reservoir"]), key=_rank)
        third = -(-self._size // 3)
        chosen: dict[str, ReportRow] = {}
        middle_first = sorted(
            range(len(by_figure)), key=lambda i: (abs(i - (len(by_figure) - 1) / 2), i)
        )
        groups = (
            (kept["worst"], third),
            (kept["best"], 2 * third),
            ([by_figure[i] for i in middle_first], self._size),
        )
        for group, limit in groups:
            for _, path, row in group:
                if len(chosen) < min(limit, self._size):
                    chosen.setdefault(path, row)
        return list(chosen.values())

    def _merge(self, a: dict[str, list], b: dict[str, list]) -> dict[str, list]:
        return {
            "worst": heapq.nsmallest(self._size, a["worst"] + b["worst"], key=_rank),
            "best": heapq.nlargest(self._size, a["best"] + b["best"], key=_rank),
            "reservoir": heapq.nsmallest(
                _RESERVOIR, a["reservoir"] + b["reservoir"], key=lambda item: (item[0], item[1][1])
            ),
        }


def _rank(ranked: Ranked) -> tuple[float, str]:
    return ranked[:2]


def panels(row: ReportRow, config: JobConfig, store: OutputStore) -> dict[str, np.ndarray]:
    """Reads an image of the report again and returns what is to be shown, by caption.

    Returns:
      uint8 RGB pictures (h, w, 3) of one size; in evaluate mode original, degraded and restored,
      in restore mode enlarged (or as it came) and restored.

    Raises:
      ImageError, OSError: the source or the result is not there any more.
    """
    convention = PROTOCOLS[config.protocol]
    output_path = output_path_of(row.relative_path, config.output_format)
    ref = ImageRef(row.source_uri, row.relative_path, output_path, 0, 0.0, 0)
    record = read_image(ref, config.max_megapixels, config.max_seconds)
    restored = decode_image(store.read(f"images/{output_path}"), float("inf")).pixels
    if config.mode == "restore":
        record = upscale_image(
            record, config.scale, config.kernel, config.protocol, config.max_megapixels
        )
        interpolated = convention.as_image(record.working, record.original.dtype)
        before = "input" if config.scale == 1 else f"interpolated ({config.kernel})"
        return {
            before: _displayable(interpolated),
            f"restored\n{_consistency(row)}": _displayable(restored),
        }
    record = degrade_image(record, config.scale, config.kernel, config.protocol)
    record = crop_to_luma(record, config.scale, config.protocol, config.border)
    degraded = convention.as_image(record.working, record.original.dtype)
    shave = convention.output_shave(config.border, config.scale)
    inner = slice(shave, -shave) if shave else slice(None)
    return {
        "original": _displayable(record.original[inner, inner]),
        f"degraded\n{_figures(row, 'degraded')}": _displayable(degraded[inner, inner]),
        f"SRCNN\n{_figures(row, 'enhanced')}": _displayable(restored),
    }


def draw_comparison(title: str, pictures: dict[str, np.ndarray]) -> bytes:
    """Draws pictures side by side, and beneath them one detail, enlarged, where they differ most.

    Args:
      title: the image's name.
      pictures: uint8 RGB (h, w, 3) of one size, by caption.

    Returns:
      A PNG file.
    """
    # Imported here: only a worker that draws needs it.
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    images = list(pictures.values())
    height, width = images[0].shape[:2]
    top, left, side = _liveliest_detail(images[-2], images[-1])
    aspect = height / width
    figure = Figure(figsize=(4 * len(images), 4 * aspect + 4 + 1), layout="constrained", dpi=100)
    # File names are shown as they are: a dollar sign starts no formula.
    figure.suptitle(printable(title), parse_math=False, fontsize=11)
    axes = figure.subplots(2, len(images), squeeze=False, height_ratios=(aspect, 1))
    for column, (caption, image) in enumerate(pictures.items()):
        whole, detail = axes[:, column]
        whole.imshow(_shrunk(image), extent=(0, width, height, 0), interpolation="none")
        whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="red"))
        whole.set_title(caption, fontsize=10)
        detail.imshow(image[top : top + side, left : left + side], interpolation="nearest")
        for axis in (whole, detail):
            axis.set_axis_off()
    buffer = io.BytesIO()
    # No date and no version in the file: the same images give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


class DrawComparison(beam.DoFn):
    """Rows to comparison files; what cannot be drawn is counted and logged, not failed.

    Args:
      config: the job's configuration.
      store: where the images are and the pictures go.
    """

    def __init__(self, config: JobConfig, store: OutputStore):
        self._config = config
        self._store = store

    def process(self, row: ReportRow):
        """Yields the picture's URI as bytes: OUTPUT's name need not be Unicode."""
        try:
            picture = draw_comparison(row.relative_path, panels(row, self._config, self._store))
            yield os.fsencode(self._store.write(f"comparisons/{row.relative_path}.png", picture))
        except EXPECTED_ERRORS as error:
            count("comparisons_failed")
            logging.getLogger(__name__).warning(
                "no comparison picture of %r: %s", row.relative_path, error
            )


@dataclass
class WriteComparisons(beam.PTransform):
    """Collections of rows to comparison pictures of a sample.

    Attributes:
      job: names the sample's size.
    """

    job: Job

    def expand(self, rows):
        """Returns the pictures' URIs as bytes."""
        config: Any = self.job.config
        if config.comparisons == "all":
            sample = rows | beam.Flatten() | beam.Filter(lambda row: row.status == "written")
        else:
            sample = (
                rows
                | "Choose" >> CombineWhereMade(SampleFn(config.comparisons))
                | "Each" >> beam.FlatMap(lambda chosen: chosen)
            )
        return (
            sample
            | "Spread" >> beam.Reshuffle()
            | "Draw" >> beam.ParDo(DrawComparison(config, self.job.store))
        )


def _figures(row: ReportRow, which: str) -> str:
    psnr, ssim = getattr(row, f"psnr_{which}"), getattr(row, f"ssim_{which}")
    similarity = "" if ssim is None else f"   SSIM {ssim:.4f}"
    return f"PSNR {psnr:.2f} dB   MSE {getattr(row, f'mse_{which}'):.2f}{similarity}"


def _consistency(row: ReportRow) -> str:
    psnr = row.consistency_psnr
    return "" if psnr is None else f"consistency {psnr:.2f} dB"


def _displayable(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = (image // 257).astype(np.uint8)
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


def _shrunk(image: np.ndarray) -> np.ndarray:
    factor = _PANEL_PIXELS / max(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _liveliest_detail(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int]:
    """(top, left, side) of the square in which two pictures differ most."""
    height, width = before.shape[:2]
    side = min(height, width, max(48, min(128, min(height, width) // 4)))
    difference = cv2.absdiff(before, after).sum(axis=2, dtype=np.float32)
    change = cv2.boxFilter(difference, -1, (side, side), anchor=(0, 0))
    change = change[: height - side + 1, : width - side + 1]
    top, left = np.unravel_index(int(np.argmax(change)), change.shape)
    return int(top), int(left), side
