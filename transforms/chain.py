"""The stages of one image, one after the other: for images that are not elements of Beam's."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from codec.errors import ImageError
from shards.samples import NewImage, Sample, new_ending, with_ending
from srcnn.engines import Engine
from transforms.errors import EXPECTED_ERRORS
from transforms.read import ReadImages, check_size, decode_source
from transforms.records import ImageRecord, ImageRef, ReportRow
from transforms.restore import RestoreLuma
from transforms.stage import ImageSkippedError, ImageStage, apply_persistently, failed_row
from transforms.write import WriteImages, report_row


@dataclass(frozen=True)
class Chain:
    """The stages that files go through, for an image out of a shard.

    Attributes:
      read: its limits.
      middle: the stages of a decoded image.
      write: how results are encoded, and where they go.
      output_format: see transforms.listed.output_path_of.
    """

    read: ReadImages
    middle: tuple[ImageStage, ...]
    write: WriteImages
    output_format: str

    def restore(self, ref: ImageRef, sample: Sample) -> tuple[NewImage | None, ReportRow]:
        """Restores the image of a sample.

        Args:
          ref: of the image; its output_path lacks the new ending where it has one.
          sample: the image with its properties.

        Returns:
          The image that replaces it, or None, and its row.
        """
        started, stage = time.perf_counter(), self.read.stage
        try:
            if sample.problem:
                raise ImageError(sample.problem)
            check_size(sample.size, self.read.max_megapixels)
            content = sample.content()
            ending = new_ending(sample, content, self.output_format)
            if (name := with_ending(sample.file_name, ending)) in sample.others:
                raise ImageError(f"would overwrite another member, {name}")
            record = apply_persistently(partial(self._decode, content), ref)
            for one in self.middle:
                stage = one.stage
                record = apply_persistently(one.apply, record)
            stage = self.write.stage
            record, encoded = self.write.encode(record, ending)
        except ImageSkippedError as reason:
            return None, ref.row("skipped", **reason.columns)
        except EXPECTED_ERRORS as error:
            return None, failed_row(ref, stage, error)
        row = report_row(record, None, len(encoded))
        seconds = time.perf_counter() - started
        return NewImage(encoded, ending), replace(row, total_seconds=seconds)

    def _decode(self, content: bytes, ref: ImageRef) -> ImageRecord:
        r = self.read
        return decode_source(ref, content, r.max_megapixels, r.max_seconds, r.skip_above)


def chain_of(stages: Sequence, engine: Engine, output_format: str) -> Chain:
    """The chain of the job's stages, for a process that has loaded the engine."""
    read, *middle, write = stages
    middle = (s.with_engine(engine) if isinstance(s, RestoreLuma) else s for s in middle)
    return Chain(read, tuple(middle), write, output_format)
