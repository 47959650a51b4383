"""Comparison pictures and the page's gallery: a sample of the images.

The sample is chosen from the rows, and only its images are read again.
"""

import hashlib
import heapq
import io
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import itemgetter
from typing import Any

import apache_beam as beam
import cv2
import numpy as np
from PIL import Image

from codec.decode import decode_image
from pipeline.job import Job
from pipeline.reporting.combine import CombineWhereMade
from pipeline.reporting.summary import ranking, to_json
from pipeline.terminal import printable
from shards.formats import format_of
from srcnn.figures import page_columns, shown_columns
from srcnn.resample import shrink_antialiased, size_inside
from storage.store import open_file, read_file, read_part
from transforms.crop import crop_to_luma
from transforms.degrade import degrade_image
from transforms.errors import EXPECTED_ERRORS
from transforms.match import output_path_of
from transforms.read import decode_source
from transforms.records import ImageRef, ReportRow
from transforms.stage import count
from transforms.upscale import upscale_image

_RESERVOIR = 1000
_PANEL_PIXELS = 720
_VIEW_PIXELS = 1280
# Images of the gallery if comparison pictures are drawn of all images.
_GALLERY = 12

# Sort keys of (figure, path, row) and of (hash, figure, path, row).
_by_figure, _by_hash = itemgetter(0, 1), itemgetter(0, 2)


class SampleFn(beam.CombineFn):
    """Chooses `size` images: the worst, best, middle and random ones by gain.

    Random images have the smallest hashes of their paths, so that every run chooses the same. The
    middle is exact up to a thousand images, and beyond that of a random thousand.
    """

    def __init__(self, size: int):
        self._size = size

    def create_accumulator(self) -> dict[str, list]:
        return {"worst": [], "best": [], "reservoir": []}

    def add_input(self, kept: dict[str, list], row: ReportRow) -> dict[str, list]:
        figure = ranking(row)
        if row.status != "written" or row.output_uri is None or figure is None:
            return kept
        ranked = (figure, row.relative_path, row)
        hashed = (zlib.crc32(row.relative_path.encode()), *ranked)
        return self._merge(kept, {"worst": [ranked], "best": [ranked], "reservoir": [hashed]})

    def merge_accumulators(self, accumulators: Iterable[dict[str, list]]) -> dict[str, list]:
        return reduce(self._merge, accumulators, self.create_accumulator())

    def extract_output(self, kept: dict[str, list]) -> list[tuple[str, ReportRow]]:
        random = [ranked for _, *ranked in kept["reservoir"]]
        by_figure, quarter = sorted(random, key=_by_figure), -(-self._size // 4)
        middle = (len(random) - 1) / 2
        middle_first = sorted(range(len(random)), key=lambda i: (abs(i - middle), i))
        chosen: dict[str, tuple[str, ReportRow]] = {}
        groups = (
            ("worst", kept["worst"], quarter),
            ("best", kept["best"], 2 * quarter),
            ("middle", [by_figure[i] for i in middle_first], 3 * quarter),
            ("random", random, self._size),
        )
        for kind, group, limit in groups:
            for _, path, row in group:
                if len(chosen) < min(limit, self._size):
                    chosen.setdefault(path, (kind, row))
        return list(chosen.values())

    def _merge(self, a: dict[str, list], b: dict[str, list]) -> dict[str, list]:
        return {
            "worst": heapq.nsmallest(self._size, a["worst"] + b["worst"], key=_by_figure),
            "best": heapq.nlargest(self._size, a["best"] + b["best"], key=_by_figure),
            "reservoir": heapq.nsmallest(_RESERVOIR, a["reservoir"] + b["reservoir"], key=_by_hash),
        }


def panels(row: ReportRow, job: Job) -> dict[str, np.ndarray]:
    """Reads an image of the report again and returns its pictures, by caption.

    They are uint8 RGB (h, w, 3) of one size: in evaluate mode original, degraded and restored; in
    restore mode the input, enlarged if the job enlarges, and restored. Raises ImageError or OSError
    if the source or the result cannot be read any more.
    """
    config, restoration = job.config, job.restoration
    ref = ImageRef(row.source_uri, row.relative_path, row.relative_path, 0, 0.0, 0)
    source, result = _contents(row, job)
    record = decode_source(ref, source, config.max_megapixels, config.max_seconds)
    dtype = record.original.dtype
    restored = decode_image(result, float("inf")).pixels
    if config.mode == "restore":
        record = upscale_image(record, restoration, config.max_megapixels)
        before = "input" if config.scale == 1 else f"interpolated ({config.kernel})"
        interpolated = restoration.as_image(record.interpolated, dtype)
        if config.fit_size:
            size = size_inside(interpolated.shape[:2], config.fit_size)
            interpolated = shrink_antialiased(interpolated, size)
        return {
            _caption(before, row, "degraded"): _displayable(interpolated),
            _caption("restored", row, "", "enhanced"): _displayable(restored),
        }
    record = crop_to_luma(degrade_image(record, restoration), restoration)
    degraded = restoration.as_image(record.interpolated, dtype)
    return {
        "original": _displayable(restoration.shaved(record.original)),
        _caption("degraded", row, "degraded"): _displayable(restoration.shaved(degraded)),
        _caption("restored", row, "enhanced"): _displayable(restored),
    }


def _contents(row: ReportRow, job: Job) -> tuple[bytes, bytes]:
    """The content of the source and of the result of an image."""
    if row.shard is None:
        output_path = output_path_of(row.relative_path, job.config.output_format)
        return read_file(row.source_uri), job.store.read(f"images/{output_path}")
    name = row.relative_path[len(row.shard) + 1 :]
    source = row.source_uri[: len(row.source_uri) - len(name) - 1]
    result = job.store.uri(f"shards/{row.shard}")
    return (
        _in_shard(source, name, row.source_offset, row.source_bytes, job),
        _in_shard(result, name, row.output_offset, row.output_bytes, job),
    )


def _in_shard(uri: str, name: str, offset: int | None, size: int, job: Job) -> bytes:
    """The content of an image in a shard."""
    if offset is not None:
        return read_part(uri, offset, size)
    with open_file(uri) as file:
        return format_of(uri).find(file, name, job.config.image_column)


def draw_comparison(title: str, pictures: dict[str, np.ndarray]) -> bytes:
    """A PNG file of pictures side by side, above the detail where the last two differ most.

    The pictures are uint8 RGB (h, w, 3) of one size, by caption.
    """
    # Imported here: only workers that draw need it.
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    images = list(pictures.values())
    height, width = images[0].shape[:2]
    top, left, side = _liveliest_detail(images[-2], images[-1])
    aspect = height / width
    figure = Figure(figsize=(4 * len(images), 4 * aspect + 4 + 1), layout="constrained", dpi=100)
    # parse_math: a dollar sign in a file name does not start a formula.
    figure.suptitle(printable(title), parse_math=False, fontsize=11)
    axes = figure.subplots(2, len(images), squeeze=False, height_ratios=(aspect, 1))
    for column, (caption, image) in enumerate(pictures.items()):
        whole, detail = axes[:, column]
        extent = (0, width, height, 0)
        whole.imshow(_shrunk(image, _PANEL_PIXELS), extent=extent, interpolation="none")
        whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="red"))
        whole.set_title(caption, fontsize=10)
        detail.imshow(image[top : top + side, left : left + side], interpolation="nearest")
        for axis in (whole, detail):
            axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def gallery_files(kind: str, row: ReportRow, pictures: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The files of an image in the page's gallery, by name: views, details, and texts as JSON.

    `kind` is the reason why it was chosen; the pictures are those of draw_comparison.
    """
    images = list(pictures.values())
    top, left, side = _liveliest_detail(images[-2], images[-1])
    name = hashlib.sha256(f"{row.source_uri}\n{row.relative_path}".encode()).hexdigest()[:16]
    views, details = {}, {}
    for index, image in enumerate(images):
        detail = image[top : top + side, left : left + side]
        view = _encoded(_shrunk(image, _VIEW_PIXELS), "WEBP", quality=92)
        views[f"{name}-{index}.webp"] = view
        details[f"{name}-{index}-detail.png"] = _encoded(detail, "PNG")
    values = {column.name: row.figure(column.name) for column in page_columns(row.mode)}
    words = [
        caption.replace("\n", ": ").replace("   ", ", ") for caption in pictures if "\n" in caption
    ]
    content = {
        "kind": kind,
        "path": row.relative_path,
        # As texts: JSON has no infinity.
        "figures": {name: str(value) for name, value in values.items() if value is not None},
        "size": [row.width, row.height],
        "captions": [caption.partition("\n")[0] for caption in pictures],
        "words": words,
        "views": list(views),
        "details": list(details),
    }
    return views | details | {f"{name}.json": to_json(content)}


def write_pictures(
    chosen: tuple[str, ReportRow], job: Job, gallery: bool, comparisons: bool
) -> Iterator[bytes]:
    """Writes the pictures of a chosen (kind, row) for the page's gallery, for comparison, or both.

    Yields the URIs of the files; failures are counted and logged.
    """
    kind, row = chosen
    try:
        pictures, path, files = panels(row, job), row.relative_path, {}
        if comparisons:
            files[f"comparisons/{path}.png"] = draw_comparison(path, pictures)
        if gallery:
            shown = gallery_files(kind, row, pictures)
            files |= {f"{job.run_directory}/gallery/{name}": shown[name] for name in shown}
        for name, content in files.items():
            yield os.fsencode(job.store.write(name, content))  # need not be Unicode
    except EXPECTED_ERRORS as error:
        count("comparisons_failed")
        logger = logging.getLogger(__name__)
        logger.warning("no comparison picture of %r: %s", row.relative_path, error)


@dataclass
class WriteComparisons(beam.PTransform):
    """Collections of rows to comparison pictures and the gallery of a sample."""

    job: Job

    def expand(self, rows):
        """Returns the URIs of the files as bytes."""
        job, every = self.job, self.job.config.comparisons == "all"
        sample = (
            rows
            | "Choose" >> CombineWhereMade(SampleFn(_GALLERY if every else job.config.comparisons))
            | "Each" >> beam.FlatMap(lambda chosen: chosen)
            | "SpreadSample" >> beam.Reshuffle()
            | "DrawSample" >> beam.FlatMap(write_pictures, job, True, not every)
        )
        if not every:
            return sample
        others = (
            rows
            | beam.Flatten()
            | beam.Filter(lambda row: row.status == "written" and row.output_uri is not None)
            | beam.Map(lambda row: ("all", row))
            | "SpreadAll" >> beam.Reshuffle()
            | "DrawAll" >> beam.FlatMap(write_pictures, job, False, True)
        )
        return (sample, others) | "Pictures" >> beam.Flatten()


def _caption(title: str, row: ReportRow, *which: str) -> str:
    """A caption: the title of a picture, and its figures in a second line."""
    texts = (
        f"{column.title} {column.with_unit(value)}"
        for column in shown_columns(row.mode, "captions")
        if column.which in which and (value := row.figure(column.name)) is not None
    )
    return f"{title}\n{'   '.join(texts)}"


def _displayable(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = (image // 257).astype(np.uint8)
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


def _encoded(image: np.ndarray, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(image.shape[:2])
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
