"""Pages to look at: one of each run, one of an OUTPUT's runs.

    python -m pipeline.pages OUTPUT [RUN]

Written at the end of every run; the command makes them anew. They need no network and work from a
disk or an object store. Their size is bounded: charts are of figures gathered column by column,
the gallery is a sample. Charts are drawn by templates, because their bars follow light and dark and
tell their figures.
"""

import argparse
import io
import json
import math
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.errors import ExitCode, UsageError
from pipeline.history import Run, find_run, list_runs
from pipeline.summary import mean_rows, most_infinite
from pipeline.terminal import or_dash, printable
from srcnn.figures import Column, page_columns
from transforms.objects import StoreError
from transforms.storage import OutputStore

_HISTORY = 365
_FOLDERS = 40
_DOTS = 600
_BINS = 32
_LEFT, _WIDTH, _HEIGHT, _BOTTOM = 10.0, 320.0, 115.0, 125.0
_COLUMNS = ["relative_path", "status", "width", "height"]


def write_run_page(store: OutputStore, run_id: str, summary: dict[str, Any]) -> None:
    """Writes runs/<id>/index.html of a run's summary, its rows and its gallery.

    Raises:
      OSError: something could not be read or written.
    """
    page = _environment().get_template("run.html.j2").render(_run_content(store, run_id, summary))
    store.write(f"runs/{run_id}/index.html", _encoded(page))


def write_output_page(store: OutputStore) -> None:
    """Writes OUTPUT/index.html, the history of the newest runs.

    Raises:
      OSError: something could not be read or written.
    """
    runs = list_runs(store)
    newest = runs[-_HISTORY:]
    pages = {path.split("/")[1] for path in store.glob("runs/*/index.html")}
    complete = [run for run in newest if run.counts]
    page = (
        _environment()
        .get_template("output.html.j2")
        .render(
            root=store.root,
            more=len(runs) > len(newest),
            charts=[
                _bars_of_runs("Images written", complete, "written"),
                _bars_of_runs("Images failed", complete, "failed"),
            ]
            if len(complete) > 1
            else [],
            trend=_trend(complete),
            runs=[
                {
                    "run_id": run.run_id,
                    "page": f"runs/{run.run_id}/index.html" if run.run_id in pages else None,
                    "started": run.started_at[:16].replace("T", " "),
                    "state": run.state,
                    "figure": or_dash(run.figure, ".3f"),
                    "speed": or_dash(run.megapixels_per_second, ".2f"),
                    "model": run.settings.get("model.name", ""),
                    "any_failed": bool(run.counts.get("failed")),
                    **{
                        name: _number(run.counts[name]) if run.counts else "-"
                        for name in ("written", "skipped", "failed")
                    },
                }
                for run in reversed(newest)
            ],
        )
    )
    store.write("index.html", _encoded(page))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="pipeline.pages", description="Make the pages anew.")
    parser.add_argument("output", help="OUTPUT of the runs")
    parser.add_argument("run", nargs="?", default="latest", help="run id, latest or previous")
    options = parser.parse_args(arguments)
    store = OutputStore(options.output, "pages")
    try:
        run = find_run(store, options.run)
        if not run.counts:
            raise UsageError(f"run {run.run_id!r} is {run.state}; there is a page of complete runs")
        summary = json.loads(store.read(f"runs/{run.run_id}/summary.json"))
        write_run_page(store, run.run_id, summary)
        write_output_page(store)
    except (UsageError, StoreError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    finally:
        store.clean()
    print(printable(store.uri(f"runs/{run.run_id}/index.html")))
    return ExitCode.OK


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = _number
    return environment


def _run_content(store: OutputStore, run_id: str, summary: dict[str, Any]) -> dict[str, Any]:
    rank, *others = shown = page_columns(summary["configuration"]["mode"])
    columns, folders, dots = _gather(store, run_id, [column.name for column in shown])
    gallery = sorted(_gallery(store, run_id, shown), key=lambda image: image["path"])
    means = summary["means"]
    cards = [rank, *(c for c in others if c.figure is rank.figure or not c.which)]
    charts = [_histogram(column, columns[column.name]) for column in shown]
    return {
        "summary": summary,
        "config": summary["configuration"],
        "counts": summary["counts"],
        "gone": summary["source_gone"],
        "headline": [
            {
                "name": f"{column.figure.unit} mean {column.title}".strip(),
                "value": column.format(means[column.name]["mean"], int(column.which == "gain")),
            }
            for column in cards
            if column.name in means
        ],
        "charts": [chart for chart in charts if chart],
        "by_size": _scatter(dots, rank),
        "means": list(mean_rows(means)),
        "infinite": most_infinite(means),
        "folders": folders,
        "rank": rank,
        "gallery": gallery,
        "kinds": sorted({image["kind"] for image in gallery}),
        "gallery_figures": list(gallery[0]["figures"]) if gallery else [],
        "gallery_folders": sorted({image["folder"] for image in gallery}),
    }


def _gather(
    store: OutputStore, run_id: str, names: list[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], list[tuple[int, float, str]]]:
    """Columns of figures, folders, and a sample of (pixels, figure, path), of a run's rows.

    Folders and sample are of the first figure. Holds four bytes for each row and figure, and
    nothing else that grows with the rows.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    folders: dict[str, list[float]] = {}
    dots: list[tuple[int, tuple[int, float, str]]] = []
    for path in store.glob(f"metrics/run_id={run_id}/*.parquet"):
        file = pq.ParquetFile(io.BytesIO(store.read(path)))
        for batch in file.iter_batches(columns=[*_COLUMNS, *names], batch_size=20_000):
            # A run before a figure was added has no such column.
            rows = batch.to_pandas().reindex(columns=[*_COLUMNS, *names])
            written = rows[rows.status == "written"]
            for name in columns:
                columns[name].append(written[name].dropna().to_numpy(np.float32))
            _add_folders(folders, rows[rows.status.isin(("written", "failed"))], names[0])
            dots = _add_dots(dots, written, names[0])
    return (
        {
            name: np.concatenate([np.zeros(0, np.float32), *parts])
            for name, parts in columns.items()
        },
        _folder_rows(folders),
        [dot for _, dot in dots],
    )


def _add_folders(folders: dict[str, list[float]], rows: Any, figure: str) -> None:
    """Counts rows by the first directories of their paths: [written, failed, sum, finite]."""
    names = [path.rpartition("/")[0] for path in rows.relative_path]
    for name, status, value in zip(names, rows.status, rows[figure], strict=True):
        name = "/".join(name.split("/")[:2])
        if name not in folders and len(folders) >= _FOLDERS:
            name = "further folders"
        totals = folders.setdefault(name, [0, 0, 0.0, 0])
        totals[status == "failed"] += 1
        if value is not None and math.isfinite(value):
            totals[2] += value
            totals[3] += 1


def _folder_rows(folders: dict[str, list[float]]) -> list[dict[str, Any]]:
    means = {name: total / finite for name, (_, _, total, finite) in folders.items() if finite}
    longest = max(map(abs, means.values()), default=0.0) or 1.0
    return [
        {
            "name": name or "(top)",
            "written": int(written),
            "failed": int(failed),
            "mean": or_dash(means.get(name), ".3f"),
            "bar": f"{100 * abs(means.get(name, 0.0)) / longest:.0f}",
            "below": means.get(name, 0.0) < 0,
        }
        for name, (written, failed, _, _) in sorted(folders.items())
    ]


def _add_dots(dots: list, rows: Any, figure: str) -> list:
    """The rows with the smallest hashes of their paths, so that any run shows the same ones."""
    finite = rows[np.isfinite(rows[figure].astype(float))]
    more = [
        (zlib.crc32(path.encode()), (int(width) * int(height), float(value), path))
        for path, width, height, value in zip(
            finite.relative_path, finite.width, finite.height, finite[figure], strict=True
        )
    ]
    return sorted(dots + more)[:_DOTS]


def _gallery(store: OutputStore, run_id: str, columns: list[Column]) -> Iterator[dict[str, Any]]:
    for path in store.glob(f"runs/{run_id}/gallery/*.json"):
        image = json.loads(store.read(path))
        width, height = image["size"]
        figures = {
            column.title: (_bounded(value), column.with_unit(value))
            for column in columns
            if (value := float(image["figures"].get(column.name, "nan"))) == value
        }
        pixels = width * height / 1e6
        figures["size"] = (pixels, f"{pixels:.3g} MP")
        yield {
            "kind": image["kind"],
            "path": image["path"],
            "folder": image["path"].rpartition("/")[0] or "(top)",
            "figures": figures,
            "captions": image["captions"],
            "views": [f"gallery/{name}" for name in image["views"]],
            "details": [f"gallery/{name}" for name in image["details"]],
            "words": "\n".join([f"{width} × {height} pixels", *image["words"]]),
        }


def _bounded(value: float) -> float:
    """A number that JSON can hold, for one that may be infinite."""
    return min(max(value, -1e9), 1e9)


def _histogram(column: Column, values: np.ndarray) -> dict[str, Any] | None:
    around_zero = column.which == "gain"
    finite = values[np.isfinite(values)].astype(np.float64)
    if len(finite) < 2:
        return None
    # The few far out would leave one bar for all others; they are counted in the outermost.
    low, high = _range(np.percentile(finite, [0.5, 99.5]) if len(finite) > 200 else finite)
    counts, edges = np.histogram(np.clip(finite, low, high), _BINS, (low, high))
    width, digits = _WIDTH / _BINS, 4 if high - low < 0.5 else 2
    bars = [
        _bar(
            index * width,
            width - 1,
            count / max(counts),
            f"{a:.{digits}f} to {b:.{digits}f}: {_number(count)} images",
            old=around_zero and b <= 0,
        )
        for index, (count, a, b) in enumerate(zip(counts, edges, edges[1:], strict=False))
        if count
    ]
    ticks = [f"{low + share * (high - low):.{digits}f}" for share in (0.0, 0.5, 1.0)]
    return {
        "title": column.heading,
        "bars": bars,
        "ticks": _ticks(*ticks),
        "zero": _across(-low / (high - low)) if around_zero and low < 0 < high else None,
        "words": f"median {np.median(finite):.{digits}f}, from {min(finite):.{digits}f} "
        f"to {max(finite):.{digits}f}",
    }


def _bars_of_runs(title: str, runs: list[Run], name: str) -> dict[str, Any]:
    counts = [run.counts[name] for run in runs]
    slot = _WIDTH / len(runs)
    width = min(max(slot - 1, 0.6), 30.0)
    return {
        "title": title,
        "bars": [
            _bar(
                (index + 0.5) * slot - width / 2,
                width,
                count / max(*counts, 1),
                f"{run.run_id}: {_number(count)}",
            )
            for index, (run, count) in enumerate(zip(runs, counts, strict=True))
        ],
        "ticks": _days(runs),
        "zero": None,
        "words": f"{_number(counts[-1])} in the last of {len(runs)} runs, "
        f"{_number(sum(counts))} in all",
    }


def _trend(runs: list[Run]) -> dict[str, Any] | None:
    figures = {index: run.figure for index, run in enumerate(runs)}
    figures = {i: f for i, f in figures.items() if f is not None and math.isfinite(f)}
    if len(figures) < 2:
        return None
    values = list(figures.values())
    low, high = _range(values)
    dots = [
        _dot(
            (index + 0.5) / len(runs),
            (figure - low) / (high - low),
            f"{runs[index].run_id}: {figure:.4f} dB",
        )
        for index, figure in figures.items()
    ]
    return {
        "title": "Mean of those written, dB",
        "dots": dots,
        "line": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "ticks": _days(runs),
        "zero": None,
        "words": f"last {values[-1]:.4f} dB, from {min(values):.4f} to {max(values):.4f}",
    }


def _scatter(dots: list[tuple[int, float, str]], rank: Column) -> dict[str, Any] | None:
    if len(dots) < 3:
        return None
    left, right = _range(np.log10([size for size, _, _ in dots]))
    low, high = _range([value for _, value, _ in dots])
    return {
        "title": f"{rank.heading}, against size",
        "dots": [
            _dot(
                (np.log10(size) - left) / (right - left),
                (value - low) / (high - low),
                f"{path}: {size / 1e6:.3f} megapixels, {rank.with_unit(value, 1)}",
            )
            for size, value, path in dots
        ],
        "ticks": _ticks(f"{10**left / 1e6:.3g} MP", f"{10**right / 1e6:.3g} MP"),
        "line": None,
        "zero": _up(-low / (high - low)) if low < 0 < high else None,
        "words": f"{len(dots)} images, from {rank.format(low)} to {rank.with_unit(high)}",
    }


def _range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest value, apart."""
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _across(share: float) -> str:
    return f"{_LEFT + _WIDTH * share:.1f}"


def _up(share: float) -> str:
    return f"{_BOTTOM - _HEIGHT * share:.1f}"


def _bar(left: float, width: float, share: float, label: str, old: bool = False) -> dict[str, Any]:
    return {
        "x": f"{_LEFT + left:.1f}",
        "y": _up(share),
        "width": f"{width:.1f}",
        "height": f"{_HEIGHT * share:.1f}",
        "label": label,
        "old": old,
    }


def _dot(across: float, up: float, label: str) -> dict[str, str]:
    return {"x": _across(across), "y": _up(up), "label": label}


def _ticks(first: str, *others: str) -> list[dict[str, str]]:
    """Labels from the left end of the axis to its right end."""
    anchors = ("start", *("middle" for _ in others[1:]), "end")
    return [
        {"x": _across(index / max(len(others), 1)), "anchor": anchor, "label": label}
        for index, (anchor, label) in enumerate(zip(anchors, (first, *others), strict=False))
    ]


def _days(runs: list[Run]) -> list[dict[str, str]]:
    first, last = (run.started_at[:10] for run in (runs[0], runs[-1]))
    return _ticks(first, last) if last != first else _ticks(first)


def _number(value: int) -> str:
    return f"{value:,}"


def _encoded(page: str) -> bytes:
    return page.encode("utf-8", "backslashreplace")  # names need not be Unicode


if __name__ == "__main__":
    sys.exit(main())
