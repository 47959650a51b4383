"""Runs the network over the luma planes and puts the restored pictures together."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import cv2
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference

from codec.errors import ImageError
from srcnn.colour import peak_of
from srcnn.engines import Engine, create_engine
from srcnn.protocols import PROTOCOLS
from srcnn.tiling import run_tiled
from srcnn.weights import Weights
from transforms.records import ImageRecord
from transforms.stage import ImageStage

# Images share a batch up to this many pixels; larger ones go alone.
BATCH_PIXELS = 1 << 20

# The most that a thread which comes back from computing waits for another that runs Python.
_SWITCH_SECONDS = 0.0005

# A fainter picture may well become even.
_SOME_CONTRAST = 1 / 16


def restore_luma(
    records: Sequence[ImageRecord], engine: Engine, scale: int, protocol: str, border: str,
    tile: int, max_seconds: float = math.inf,
) -> list[ImageRecord]:  # fmt: skip
    """Restores the luma of several images.

    A failure of one image is noted in its record: an exception would be that of the whole batch.

    Returns:
      The records with `restored_luma`, or `failure`, and `infer_seconds` set; the time of the batch
      is divided by the images' pixels.
    """
    started = time.perf_counter()
    convention = PROTOCOLS[protocol]
    shave = convention.output_shave(border, scale)
    planes = [record.luma for record in records]
    results = [
        np.empty((p.shape[0] - 2 * shave, p.shape[1] - 2 * shave), record.original.dtype)
        for p, record in zip(planes, records, strict=True)
    ]
    failures: dict[int, str] = {}
    for index, target, values in run_tiled(engine, planes, shave, tile):
        if not np.isfinite(values).all():
            failures[index] = "the network's output is not finite"
        else:
            results[index][target] = convention.round_luma(values, results[index].dtype)
        if time.perf_counter() - started > max_seconds:
            # Images share a batch only if they are small together: this one is the only one.
            late = f"not restored within {max_seconds:g} seconds (--max_seconds)"
            failures |= dict.fromkeys(range(index, len(planes)), late)
            break
    seconds = (time.perf_counter() - started) / sum(plane.size for plane in planes)
    return [
        replace(
            record,
            restored_luma=None if index in failures else result,
            failure=failures.get(index),
            infer_seconds=seconds * record.luma.size,
            total_seconds=record.total_seconds + seconds * record.luma.size,
        )
        for index, (record, result) in enumerate(zip(records, results, strict=True))
    ]


def merge_luma(
    record: ImageRecord, scale: int, protocol: str, border: str, chroma_taps: Sequence[float]
) -> ImageRecord:
    """Joins the restored luma with the interpolated chroma.

    Args:
      record: with `restored_luma`.
      scale, protocol, border: see RestoreLuma.
      chroma_taps: see ModelCard.

    Returns:
      The record with `restored` set, and `original`, `working` and `alpha` cropped to its size
      where the border is shaved.

    Raises:
      ImageError: what the network made of it is no picture.
    """
    _check_sane(record)
    convention = PROTOCOLS[protocol]
    shave = convention.output_shave(border, scale)
    original, working, alpha = record.original, record.working, record.alpha
    restored = convention.compose(working, record.restored_luma, chroma_taps)
    if shave:
        inner = (slice(shave, -shave), slice(shave, -shave))
        working = convention.shave(working, shave)
        original = original[inner]
        alpha = None if alpha is None else alpha[inner]
    return replace(record, original=original, working=working, alpha=alpha, restored=restored)


class SrcnnModelHandler(ModelHandler[ImageRecord, ImageRecord, Engine]):
    """Beam's handler: batches images by pixels, loads the engine once per process.

    The weights travel inside the handler (a quarter of a megabyte), so that a worker needs no
    file of its own.

    Args:
      weights: verified weights.
      engine: name of the engine.
      engine_threads, scale, protocol, border, tile, max_seconds: see RestoreLuma.
    """

    def __init__(
        self, weights: Weights, engine: str, engine_threads: int, scale: int, protocol: str,
        border: str, tile: int, max_seconds: float,
    ):  # fmt: skip
        # Equal bounds make Beam batch by weight alone. A single larger image is a batch of its
        # own, after an empty one.
        super().__init__(
            min_batch_size=BATCH_PIXELS,
            max_batch_size=BATCH_PIXELS,
            element_size_fn=_pixels,
        )
        self._weights = weights
        self._engine = (engine, engine_threads)
        self._arguments = (scale, protocol, border, tile, max_seconds)

    def load_model(self) -> Engine:
        name, threads = self._engine
        cv2.setNumThreads(threads)  # images go side by side; OpenCV would take all cores for each
        sys.setswitchinterval(_SWITCH_SECONDS)
        return create_engine(name, self._weights, threads)

    def run_inference(
        self,
        batch: Sequence[ImageRecord],
        model: Engine,
        inference_args: dict[str, Any] | None = None,
    ) -> list[ImageRecord]:
        """A list, not a generator, so that a failure is inside Beam's own accounting."""
        return restore_luma(batch, model, *self._arguments) if batch else []

    def get_num_bytes(self, batch: Sequence[ImageRecord]) -> int:
        return sum(record.luma.nbytes for record in batch)

    def get_metrics_namespace(self) -> str:
        return "srcnn"


@dataclass
class _MergeLuma(ImageStage):
    scale: int
    protocol: str
    border: str
    chroma_taps: tuple[float, ...]
    stage = "restore"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return merge_luma(element, self.scale, self.protocol, self.border, self.chroma_taps)


@dataclass
class RestoreLuma(beam.PTransform):
    """Luma planes to restored images, by RunInference; expands to (images, failed rows).

    Attributes:
      weights: verified weights.
      engine: name of the engine.
      engine_threads: that the engine, and OpenCV, take for one image.
      scale: scale of the run.
      protocol: whose rounding and colour.
      border: `keep` or `shave`.
      tile: side of a tile, pixels.
      max_seconds: the most that one image may take.
    """

    weights: Weights
    engine: str
    engine_threads: int
    scale: int
    protocol: str
    border: str
    tile: int
    max_seconds: float

    def expand(self, pcoll):
        """Returns the two outputs as a pair."""
        handler = SrcnnModelHandler(
            self.weights, self.engine, self.engine_threads, self.scale, self.protocol,
            self.border, self.tile, self.max_seconds,
        )  # fmt: skip
        restored = pcoll | RunInference(handler)
        restored.element_type = ImageRecord
        return restored | "MergeLuma" >> _MergeLuma(
            self.scale, self.protocol, self.border, self.weights.card.chroma_taps
        )


def _check_sane(record: ImageRecord) -> None:
    if record.failure:
        raise ImageError(record.failure)
    if np.ptp(record.restored_luma) == 0 and _contrast(record.luma) > _SOME_CONTRAST:
        raise ImageError("the network's output is one even plane, its input is not")


def _contrast(luma: np.ndarray) -> float:
    """Difference of the lightest and the darkest pixel, 1 for black and white."""
    peak = peak_of(luma) if luma.dtype.kind == "u" else 1
    return (float(luma.max()) - float(luma.min())) / peak


def _pixels(record: ImageRecord) -> int:
    return record.luma.size
