"""Pages to look at: one of each run, one of an OUTPUT's runs.

They need no network and work from a disk or an object store; names need not be Unicode. Their size
is bounded: charts are of figures gathered column by column, the gallery is a sample. Charts are
drawn by templates, because their bars follow light and dark and tell their figures.
"""

import heapq
import io
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.reporting.charts import Chart, bars_of_runs, histogram, scatter, trend
from pipeline.reporting.history import list_runs
from pipeline.reporting.render import render
from pipeline.reporting.summary import mean_rows, most_infinite
from srcnn.degradations import drawn_columns
from srcnn.figures import Column, page_columns
from storage.store import OutputStore

_HISTORY = 365
_FOLDERS = 40
_DOTS = 600
_COLUMNS = ["relative_path", "status", "width", "height"]


@dataclass(frozen=True)
class Dot:
    """An image of a page's sample.

    Attributes:
      path: of the source.
      figure: what images are ranked by.
      at: its `size` in megapixels, and what it drew, or None, by column.
    """

    path: str
    figure: float
    at: dict[str, float | None]


def write_run_page(store: OutputStore, run_id: str, summary: dict[str, Any]) -> None:
    """Writes runs/<id>/index.html of a run's summary, its rows and its gallery.

    Raises:
      OSError: something could not be read or written.
    """
    page = render("run.html", **_run_content(store, run_id, summary))
    store.write(f"runs/{run_id}/index.html", page.encode("utf-8", "backslashreplace"))


def write_output_page(store: OutputStore) -> None:
    """Writes OUTPUT/index.html, the history of the newest runs.

    Raises:
      OSError: something could not be read or written.
    """
    runs = list_runs(store)
    newest = runs[-_HISTORY:]
    complete = [run for run in newest if run.counts]
    counts = {"Images written": "written", "Images failed": "failed"} if len(complete) > 1 else {}
    page = render(
        "output.html",
        root=store.root,
        more=len(runs) > len(newest),
        charts=[bars_of_runs(title, complete, name) for title, name in counts.items()],
        trend=trend(complete),
        pages={path.split("/")[1] for path in store.glob("runs/*/index.html")},
        runs=newest[::-1],
    )
    store.write("index.html", page.encode("utf-8", "backslashreplace"))


def _run_content(store: OutputStore, run_id: str, summary: dict[str, Any]) -> dict[str, Any]:
    rank, *others = shown = page_columns(summary["configuration"]["mode"])
    columns, folders, dots = _gather(store, run_id, [column.name for column in shown])
    gallery = sorted(_gallery(store, run_id, shown), key=lambda image: image["path"])
    means = summary["means"]
    cards = [rank, *(c for c in others if c.figure is rank.figure or not c.which)]
    charts = [histogram(column, columns[column.name]) for column in shown]
    return {
        "summary": summary,
        "headline": [
            (card.format(means[card.name]["mean"], int(card.which == "gain")), card)
            for card in cards
            if card.name in means
        ],
        "charts": [chart for chart in charts if chart],
        "scatters": list(_scatters(dots, rank)),
        "means": list(mean_rows(means)),
        "infinite": most_infinite(means),
        "folders": folders,
        "rank": rank,
        "gallery": gallery,
    }


def _scatters(dots: list[Dot], rank: Column) -> Iterator[Chart]:
    """What images are ranked by against their size, and against each number that they drew."""
    axes = [("size", "MP", True)]
    axes += [(name, parameter.unit, False) for name, parameter in drawn_columns().items()]
    for name, unit, is_size in axes:
        placed = [(dot.at[name], dot.figure, dot.path) for dot in dots if dot.at[name] is not None]
        varies = len({at for at, _, _ in placed}) > 1
        if (is_size or varies) and (chart := scatter(placed, rank, name, unit, is_size)):
            yield chart


def _gather(
    store: OutputStore, run_id: str, names: list[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], list[Dot]]:
    """Columns of figures, folders, and a sample of the images, of a run's rows.

    Folders and sample are of the first figure. Holds four bytes for each row and figure, and
    nothing else that grows with the rows.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    folders: dict[str, list[float]] = {}
    dots: list[Dot] = []
    wanted = [*_COLUMNS, *drawn_columns(), *names]
    for path in store.glob(f"metrics/run_id={run_id}/*.parquet"):
        file = pq.ParquetFile(io.BytesIO(store.read(path)))
        for batch in file.iter_batches(columns=wanted, batch_size=20_000):
            # A run before a figure was added has no such column.
            rows = batch.to_pandas().reindex(columns=wanted)
            written = rows[rows.status == "written"]
            for name in columns:
                columns[name].append(written[name].dropna().to_numpy(np.float32))
            _add_folders(folders, rows[rows.status.isin(("written", "failed"))], names[0])
            dots = _add_dots(dots, written, names[0])
    none = np.zeros(0, np.float32)
    joined = {name: np.concatenate([none, *parts]) for name, parts in columns.items()}
    return joined, _folder_rows(folders), dots


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
        {"name": name or "(top)", "written": int(written), "failed": int(failed),
         "mean": means.get(name), "share": means.get(name, 0.0) / longest}
        for name, (written, failed, _, _) in sorted(folders.items())
    ]  # fmt: skip


def _add_dots(dots: list[Dot], rows: Any, figure: str) -> list[Dot]:
    """The rows with the smallest hashes of their paths, so that any run shows the same ones."""
    finite = rows[np.isfinite(rows[figure].astype(float))]
    sizes = finite.width * finite.height / 1e6
    drawn = finite[list(drawn_columns())].astype(object).where(lambda values: values.notna(), None)
    places = drawn.assign(size=sizes).to_dict("records")
    more = map(Dot, finite.relative_path, finite[figure].astype(float), places)
    return heapq.nsmallest(_DOTS, [*dots, *more], key=lambda dot: zlib.crc32(dot.path.encode()))


def _gallery(store: OutputStore, run_id: str, columns: list[Column]) -> Iterator[dict[str, Any]]:
    for path in store.glob(f"runs/{run_id}/gallery/*.json"):
        image = json.loads(store.read(path))
        width, height = image["size"]
        figures = {
            # JSON holds no infinity.
            column.title: (min(max(value, -1e9), 1e9), column.with_unit(value))
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
