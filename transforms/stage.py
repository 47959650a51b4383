"""Runs a stage of the chain in Beam: per image, with a dead-letter output."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from codec.errors import ImageError
from storage.errors import PathError, may_pass
from transforms.errors import EXPECTED_ERRORS
from transforms.records import ImageRecord, ImageRef, ReportRow

FAILED = "failed"
NAMESPACE = "srcnn"
# Seconds before an image is tried again whose store was out of reach.
_WAITS = (0.5, 2.0, 5.0)


class ImageSkippedError(Exception):
    """An image is left as it is.

    Args:
      change: why, as the report shows it.
      **columns: further columns of its row.
    """

    def __init__(self, change: str, **columns: Any):
        super().__init__(change)
        self.columns = {"change": change} | columns


def failed_row(ref: ImageRef, stage: str, error: Exception) -> ReportRow:
    """The row of an image that a stage could not process. Holds no pixels."""
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
    elif isinstance(error, MemoryError):
        message = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        message = str(error) or type(error).__name__
    # In the report a source that is not a file is a bad image.
    kind = ImageError if isinstance(error, PathError) else type(error)
    return ref.row("failed", stage=stage, error_type=kind.__name__, error_message=message)


def count(name: str, amount: int = 1) -> None:
    """Increases one of the job's Beam counters."""
    Metrics.counter(NAMESPACE, name).inc(amount)


class PerImage(beam.DoFn):
    """Applies a function to each image; an expected error becomes a failed row at once.

    An image that the function skips (ImageSkippedError) becomes a skipped row.

    A transient error is not the image's fault: the function is retried a few times first.

    Args:
      stage: name of the stage, as the report shows it.
      function: from ImageRef or ImageRecord to ImageRecord or ReportRow. Raises one of
        EXPECTED_ERRORS for an image that cannot be processed.
    """

    def __init__(self, stage: str, function: Callable):
        self._stage = stage
        self._function = function

    def process(self, element):
        """Yields the result, or a failed row on the output FAILED."""
        started = time.perf_counter()
        try:
            result = apply_persistently(self._function, element)
        except ImageSkippedError as reason:
            yield beam.pvalue.TaggedOutput(FAILED, _ref(element).row("skipped", **reason.columns))
            return
        except EXPECTED_ERRORS as error:
            ref = _ref(element)
            yield beam.pvalue.TaggedOutput(FAILED, failed_row(ref, self._stage, error))
            return
        seconds = time.perf_counter() - started
        before = element.total_seconds if isinstance(element, ImageRecord) else 0.0
        yield replace(result, total_seconds=before + seconds)


def apply_persistently(function: Callable, element):
    """Applies a function to an element; transient errors are retried a few times.

    The result has a warning for each retry: its store may need attention.
    """
    return with_warnings(*call_persistently(function, element))


def call_persistently(function: Callable, element) -> tuple[Any, tuple[str, ...]]:
    """The same for any result, with the warnings beside it."""
    notes: list[str] = []
    for wait in _WAITS:
        try:
            return function(element), tuple(notes)
        except OSError as error:
            if not may_pass(error):
                raise
            notes.append(f"tried again: {error.strerror}")
            count("tried_again")
            time.sleep(wait)
    return function(element), tuple(notes)


def _ref(element: ImageRef | ImageRecord) -> ImageRef:
    return element if isinstance(element, ImageRef) else element.ref


def with_warnings(
    result: ImageRecord | ReportRow, notes: tuple[str, ...]
) -> ImageRecord | ReportRow:
    """The result with further warnings."""
    if isinstance(result, ReportRow):
        return replace(result, warnings=(*(result.warnings or ()), *notes) or None)
    return replace(result, notes=(*result.notes, *notes))


class ImageStage(beam.PTransform):
    """A stage of the chain: expands to (images, failed rows).

    Subclasses are dataclasses that name the stage and implement `apply`.

    Attributes:
      stage: name of the stage, as the report shows it.
      produces: the type that `apply` returns; its coder sizes the elements (see ImageRecordCoder).
    """

    stage: str
    produces: type = ImageRecord

    def apply(self, element):
        """Processes one image; see PerImage."""
        raise NotImplementedError

    def expand(self, pcoll):
        """Returns the two outputs as a pair."""
        outputs = pcoll | beam.ParDo(PerImage(self.stage, self.apply)).with_outputs(
            FAILED, main="images"
        )
        outputs.images.element_type = self.produces
        return outputs.images, outputs[FAILED]
