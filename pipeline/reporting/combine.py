"""Combines collections of rows without holding more than the rows of a bundle."""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue


class _CombineBundle(beam.DoFn):
    """The elements of a bundle to one accumulator."""

    def __init__(self, fn: beam.CombineFn):
        self._fn = fn

    def start_bundle(self):
        self._accumulator: Any = self._fn.create_accumulator()

    def process(self, element):
        self._accumulator = self._fn.add_input(self._accumulator, element)

    def finish_bundle(self):
        window = GlobalWindow()
        yield WindowedValue(self._accumulator, window.max_timestamp(), [window])


@dataclass
class CombineWhereMade(beam.PTransform):
    """Several collections to one combined value, like Flatten and CombineGlobally.

    Combines before flattening: the local runner keeps every element of a flattened collection in
    memory until the stages before have ended.
    """

    fn: beam.CombineFn

    def expand(self, pcolls):
        """Returns the combined value."""
        combined = [
            pcoll | f"CombineBundle{index}" >> beam.ParDo(_CombineBundle(self.fn))
            for index, pcoll in enumerate(pcolls)
        ]
        return (
            combined
            | beam.Flatten()
            | "Merge" >> beam.CombineGlobally(self.fn.merge_accumulators)
            | "Extract" >> beam.Map(self.fn.extract_output)
        )
