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
from srcnn.colour import luma_plane, peak_of
from srcnn.engines import Engine, create_engine
from srcnn.restoration import Restoration
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
    records: Sequence[ImageRecord], engine: Engine, restoration: Restoration, tile: int,
    max_seconds: float = math.inf,
) -> list[ImageRecord]:  # fmt: skip
    """Restores the luma of several images.

    A failure of one image is noted in its record: an exception would be that of the whole batch.

    Returns:
      The records with `restored_luma`, or `failure`, and `infer_seconds` set; the time of the batch
      is divided by the images' pixels.
    """
    started = time.perf_counter()
    # Images share a batch only if they are small together: one that takes long is alone.
    results = [
        _restore_one(record, engine, restoration, tile, started, max_seconds) for record in records
    ]
    seconds = (time.perf_counter() - started) / sum(map(_pixels, records))
    return [
        replace(
            record,
            restored_luma=luma,
            failure=failure,
            infer_seconds=seconds * _pixels(record),
            total_seconds=record.total_seconds + seconds * _pixels(record),
        )
        for record, (luma, failure) in zip(records, results, strict=True)
    ]


def _restore_one(
    record: ImageRecord, engine: Engine, restoration: Restoration, tile: int, started: float,
    max_seconds: float,
) -> tuple[np.ndarray | None, str | None]:  # fmt: skip
    """The restored luma, or the reason for none; gives up `max_seconds` after the start."""
    luma = restoration.restored_array(record.luma, record.original.dtype)
    for target, values in restoration.luma_tiles(engine, record.luma, tile):
        if not np.isfinite(values).all():
            return None, "the network's output is not finite"
        luma[target] = restoration.round_luma(values, luma.dtype)
        if time.perf_counter() - started > max_seconds:
            return None, f"not restored within {max_seconds:g} seconds (--max_seconds)"
    return luma, None


def merge_luma(record: ImageRecord, restoration: Restoration) -> ImageRecord:
    """Joins the restored luma with the interpolated chroma.

    Args:
      record: with `restored_luma`.
      restoration: the requested restoration.

    Returns:
      The record with `restored` set, and `original`, `interpolated` and `alpha` cropped to its size
      where the border is shaved.

    Raises:
      ImageError: the network's output is not a picture.
    """
    _check_sane(record)
    return replace(
        record,
        original=restoration.shaved(record.original),
        interpolated=restoration.shaved_interpolated(record.interpolated),
        alpha=None if record.alpha is None else restoration.shaved(record.alpha),
        restored=restoration.compose(
            record.interpolated, record.restored_luma, record.original.dtype
        ),
    )


class SrcnnModelHandler(ModelHandler[ImageRecord, ImageRecord, Engine]):
    """Beam's handler: batches images by pixels, loads the engine once per process.

    The weights travel inside the handler (a quarter of a megabyte), so that a worker needs no
    weights file.

    Args:
      weights: verified weights.
      engine: name of the engine.
      engine_threads, restoration, tile, max_seconds, ensemble: see RestoreLuma.
    """

    def __init__(
        self, weights: Weights, engine: str, engine_threads: int, restoration: Restoration,
        tile: int, max_seconds: float, ensemble: bool = False,
    ):  # fmt: skip
        # Equal bounds make Beam batch by weight alone. A single larger image is a separate
        # batch, after an empty one.
        super().__init__(
            min_batch_size=BATCH_PIXELS,
            max_batch_size=BATCH_PIXELS,
            element_size_fn=_pixels,
        )
        self._weights = weights
        self._engine = (engine, engine_threads, ensemble)
        self._arguments = (restoration, tile, max_seconds)

    def load_model(self) -> Engine:
        name, threads, ensemble = self._engine
        cv2.setNumThreads(threads)  # images go side by side; OpenCV would take all cores for each
        sys.setswitchinterval(_SWITCH_SECONDS)
        return create_engine(name, self._weights, threads, ensemble)

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
    restoration: Restoration
    stage = "restore"

    def apply(self, element: ImageRecord) -> ImageRecord:
        return merge_luma(element, self.restoration)


@dataclass
class _RestoreOne(ImageStage):
    handler: SrcnnModelHandler
    engine: Engine
    restoration: Restoration
    stage = "restore"

    def apply(self, element: ImageRecord) -> ImageRecord:
        (record,) = self.handler.run_inference([element], self.engine)
        return merge_luma(record, self.restoration)


@dataclass
class RestoreLuma(beam.PTransform):
    """Luma planes to restored images, by RunInference; expands to (images, failed rows).

    Attributes:
      weights: verified weights.
      engine: name of the engine.
      engine_threads: that the engine, and OpenCV, take for one image.
      restoration: the requested restoration.
      tile: side of a tile, pixels.
      max_seconds: the most that one image may take.
      ensemble: whether results are means over flips and turns.
    """

    weights: Weights
    engine: str
    engine_threads: int
    restoration: Restoration
    tile: int
    max_seconds: float
    ensemble: bool = False

    @property
    def handler(self) -> SrcnnModelHandler:
        """Loads the engine and runs it."""
        return SrcnnModelHandler(
            self.weights, self.engine, self.engine_threads, self.restoration, self.tile,
            self.max_seconds, self.ensemble,
        )  # fmt: skip

    def with_engine(self, engine: Engine) -> ImageStage:
        """The same as a stage of single images, for a caller that has the engine."""
        return _RestoreOne(self.handler, engine, self.restoration)

    def expand(self, pcoll):
        """Returns the two outputs as a pair."""
        restored = pcoll | RunInference(self.handler)
        restored.element_type = ImageRecord
        return restored | "MergeLuma" >> _MergeLuma(self.restoration)


def _check_sane(record: ImageRecord) -> None:
    if record.failure:
        raise ImageError(record.failure)
    if np.ptp(luma_plane(record.restored_luma)) == 0 and _contrast(record.luma) > _SOME_CONTRAST:
        raise ImageError("the network's output is constant, its input is not")


def _contrast(planes: np.ndarray) -> float:
    """Difference of the lightest and the darkest luma, 1 for black and white."""
    luma = luma_plane(planes)
    peak = peak_of(luma) if luma.dtype.kind == "u" else 1
    return (float(luma.max()) - float(luma.min())) / peak


def _pixels(record: ImageRecord) -> int:
    return luma_plane(record.luma).size
