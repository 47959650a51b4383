"""A run's page over many rows: its size, and the cost of building it.

    python -m benchmarks.pages [--rows 100000] [--gallery 100]

Makes the report of a run of made-up rows, a tenth of them failed, and a gallery; then builds the
page with `python -m pipeline.pages` in a separate process. Prints bytes, seconds and peak memory;
exits with 1 where the page has more than 10 MB, or took more than a minute or 1 GB.
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.memory import measure
from pipeline.reporting.comparisons import gallery_files
from pipeline.reporting.report import RowJournal, compact_journal, remove_journal
from pipeline.reporting.summary import SummaryFn, to_json
from storage.store import OutputStore
from transforms.records import ReportRow

_RUN = "made-up"
_MEGABYTES, _SECONDS, _GIGABYTES = 10, 60, 1


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.pages", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--gallery", type=int, default=100, help="images of the gallery")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="srcnn-pages-") as directory:
        make_run(OutputStore(directory, _RUN), options.rows, options.gallery)
        took = measure([sys.executable, "-m", "pipeline.pages", directory, _RUN])
        page = Path(directory, "runs", _RUN, "index.html")
        size = page.stat().st_size if page.exists() else 0
    print(
        f"{options.rows:,} rows: page {size / 1e6:.2f} MB, {took.seconds:.1f} s "
        f"({took.core_seconds:.1f} core seconds), peak {took.peak / 1e6:.0f} MB"
    )
    within = (
        0 < size < _MEGABYTES * 1e6
        and took.code == 0
        and took.seconds < _SECONDS
        and took.peak < _GIGABYTES * 1e9
    )
    return 0 if within else 1


def make_run(store: OutputStore, number: int, gallery: int) -> None:
    """Writes the files of a finished run with a number of made-up rows."""
    journal, fn = RowJournal(store), SummaryFn()
    totals = fn.create_accumulator()
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (96, 96, 3), np.uint8)
    for index, gain in enumerate(generator.normal(1.0, 0.7, number)):
        row = made_up_row(index, float(gain))
        journal.add(row)
        totals = fn.add_input(fn.add_input(totals, row), "matched")
        if index < gallery and row.status == "written":
            views = {"original": picture, "degraded\nPSNR": picture}
            views["restored\nPSNR"] = 255 - picture
            for name, content in gallery_files("random", row, views).items():
                store.write(f"runs/{_RUN}/gallery/{name}", content)
    journal.write()
    compact_journal(store, _RUN)
    remove_journal(store, _RUN)
    settings = {
        "mode": "evaluate", "scale": 2, "kernel": "bilinear", "protocol": "opencv",
        "border": "keep",
    }  # fmt: skip
    common = {
        "run_id": _RUN, "state": "complete", "started_at": "2026-01-01T00:00:00+00:00",
        "configuration": settings, "model": {"name": "made-up", "engine": "none"},
    }  # fmt: skip
    beside = {"fingerprint": "-", "versions": {}, "wall_seconds": 1.0, "megapixels_per_second": 1.0}
    store.write(f"runs/{_RUN}/manifest.json", to_json(common))
    store.write(f"runs/{_RUN}/summary.json", to_json(fn.extract_output(totals) | common | beside))


def made_up_row(index: int, gain: float) -> ReportRow:
    """A row with a long name, in one of a thousand folders; every tenth failed, of many causes."""
    name = f"folder-{index % 1000:03}/{'a-long-name-' * 4}{index}.png"
    common = {
        "run_id": _RUN, "source_uri": f"in/{name}", "relative_path": name, "mode": "evaluate",
        "finished_at": datetime.now(UTC), "width": 640 + index % 999, "height": 480,
    }  # fmt: skip
    if index % 10 == 0:
        return ReportRow(
            status="failed", stage="read", error_type="ImageError",
            error_message=f"cause {index % 970}: {index}", **common,
        )  # fmt: skip
    return ReportRow(
        status="written", output_width=640, output_height=480, output_uri=f"out/{name}",
        figures={"psnr_degraded": 30.0, "psnr_enhanced": 30 + gain, "psnr_gain": gain,
                 "ssim_enhanced": 0.9},
        warnings=(f"warning {index % 89}",), **common,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
