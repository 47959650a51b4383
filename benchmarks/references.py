"""The cost of matching, join and report: two nights of a million images without their pixels.

    python -m benchmarks.references [--count 1000000] [--keep DIRECTORY]

The job as it is, with a list of references (Parquet, with sizes and times), and with made-up rows
in place of the chain that restores. The first night finds all new; the second finds 1% new, 1%
changed and 1% gone and skips the others. Of each result only an empty file is written. Prints time,
core-seconds and the largest sum of the resident memory of all processes; exits with 1 where a count
is wrong, or where a night took more than 20 minutes for a million, or 4 GB.
"""

import argparse
import os
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import run_pipeline
from benchmarks.memory import measure
from pipeline.graph import match, report
from pipeline.job import Job
from pipeline.progress import ProgressFile
from storage.store import OutputStore
from transforms.records import ImageRef, ReportRow

MINUTES, GIGABYTES = 20, 4
_SHARD = 100_000
_IN_DIRECTORY = 1_000


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.references", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="references of a night")
    parser.add_argument("--keep", type=Path, help="directory for lists and output, to be kept")
    parser.add_argument("--night", type=int, help=argparse.SUPPRESS)  # in a child
    options = parser.parse_args(arguments)
    if options.night is not None:
        return run_night(options.keep, options.night)
    with tempfile.TemporaryDirectory(prefix="srcnn-references-") as scratch:
        problems = nights(options.keep or Path(scratch), options.count)
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


def nights(directory: Path, count: int) -> list[str]:
    """Measures two nights, each in a separate process; returns the problems."""
    problems = []
    for night, expected in enumerate(expected_counts(count)):
        write_lists(directory, night, count)
        measured = measure(
            [sys.executable, "-m", "benchmarks.references"]
            + ["--night", str(night), "--keep", str(directory)],
            interval=0.5,
        )
        found = counts_of(directory, night) if measured.code == 0 else {}
        print(
            f"night {night}: {count} references: {measured.seconds:.0f} s, "
            f"{measured.core_seconds:.0f} core-seconds, peak {measured.peak / 1e6:.0f} MB, "
            f"exit {measured.code}, {found}",
            flush=True,
        )
        if found != expected:
            problems.append(f"night {night}: {found} instead of {expected}")
        if measured.seconds > MINUTES * 60 * max(1, count / 1e6):
            problems.append(f"night {night}: {measured.seconds:.0f} s")
        if measured.peak > GIGABYTES * 1e9:
            problems.append(f"night {night}: {measured.peak / 1e9:.2f} GB")
    return problems


def expected_counts(count: int) -> tuple[dict[str, int], ...]:
    """The rows of each night by status."""
    part = count // 100
    return (
        {"written": count},
        {"written": 2 * part, "skipped": count - 2 * part, "vanished": part},
    )


def write_lists(directory: Path, night: int, count: int) -> None:
    """Writes the list of a night in shards below lists/: moved on by 1%, another 1% changed."""
    part = count // 100
    lists = directory / "lists" / f"night-{night}"
    lists.mkdir(parents=True)
    for shard, start in enumerate(range(0, count, _SHARD)):
        numbers = np.arange(start, min(start + _SHARD, count)) + night * part
        changed = (numbers < 2 * part) if night else np.zeros(len(numbers), bool)
        folders = (f"{n // _IN_DIRECTORY:05}/IMG_{n:08}.jpg" for n in numbers)
        table = pa.table(
            {
                "uri": [f"{directory}/photos/{name}" for name in folders],
                "size": numbers + 200_000,
                "modified": 1.7e9 + numbers + changed,
            }
        )
        pq.write_table(table, lists / f"{shard:05}.parquet", row_group_size=10_000)


def run_night(directory: Path, night: int, *more: str) -> int:
    """Runs the job without pixels over the list of a night; returns its exit code."""
    arguments = [
        "--input_list", f"{directory}/lists/night-{night}/*.parquet",
        "--input_root", f"{directory}/photos", "--output", f"{directory}/out",
        "--run_id", f"night-{night}", "--comparisons", "none", "--quiet", *more,
    ]  # fmt: skip
    with patch("pipeline.run.build", build_without_pixels):
        return run_pipeline.main(arguments)


def build_without_pixels(
    pipeline: beam.Pipeline,
    job: Job,
    past: list[str],
    progress: ProgressFile | None = None,
    *threads: int,
) -> None:
    """The job's graph with MadeUp instead of the stages that read, restore and write images."""
    refs, unmatched = match(pipeline, job, past, progress)
    written = refs | "MadeUp" >> beam.Map(made_up, job.store)
    report(job, (refs, unmatched), (written, unmatched), progress)


def made_up(ref: ImageRef, store: OutputStore) -> ReportRow:
    """A row as a restored image has it, by its name alone, and an empty file as its result."""
    path = store.uri(f"images/{ref.output_path}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    luck = zlib.crc32(ref.relative_path.encode()) / 2**32
    width, height = int(400 + 800 * luck), int(300 + 600 * luck)
    figures = {
        f"{name}_{which}": value + gain * luck
        for name, value in (("psnr", 28 + luck), ("psnr_y", 29 + luck), ("mse", 90), ("ssim", 0.9))
        for which, gain in (("degraded", 0.0), ("enhanced", 0.01))
    }
    return ReportRow(
        source_uri=ref.uri,
        relative_path=ref.relative_path,
        source_bytes=ref.size,
        source_modified=ref.modified,
        status="written",
        change=ref.change,
        format="JPEG",
        width=width,
        height=height,
        channels=3,
        bit_depth=8,
        output_uri=path,
        output_path=ref.output_path,
        output_width=width,
        output_height=height,
        output_bytes=0,
        infer_seconds=luck,
        total_seconds=2 * luck,
        figures=figures | {"psnr_gain": 0.01 * luck},
    )


def counts_of(directory: Path, night: int) -> dict[str, int]:
    """The rows of a night's report by status."""
    return dict(Counter(_statuses(directory / "out" / "metrics" / f"run_id=night-{night}")))


def _statuses(report_directory: Path) -> Iterator[str]:
    for file in sorted(report_directory.glob("*.parquet")):
        yield from pq.read_table(file, columns=["status"], partitioning=None)["status"].to_pylist()


if __name__ == "__main__":
    sys.exit(main())
