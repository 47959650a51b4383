"""HTML pages: one of each run, and one that lists the runs of an OUTPUT.

They need no network, work from a disk or an object store, and are bounded in size: charts are made
from columns of figures, the gallery is a sample.
"""

import heapq
import io
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
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


class Dot(NamedTuple):
    """An image of the sample that charts show, with the figure that ranks it."""

    path: str
    figure: float
    properties: dict[str, float | None]  # `size` in megapixels, and the numbers drawn, by column


def write_run_page(store: OutputStore, run_id: str, summary: dict[str, Any]) -> None:
    """Writes runs/<id>/index.html from a run's summary, its rows and its gallery."""
    rank, *others = shown = page_columns(summary["configuration"]["mode"])
    columns, folders, dots = _gather(store, run_id, [column.name for column in shown])
    means = summary["means"]
    cards = [rank, *(column for column in others if "captions" in column.figure.shown)]
    charts = [histogram(column, columns[column.name]) for column in shown]
    page = render(
        "run.html",
        summary=summary,
        headline=[
            (card.with_unit(means[card.name]["mean"], int(card.which == "gain")), card.title)
            for card in cards
            if card.name in means
        ],
        charts=[chart for chart in (*charts, *_scatters(dots, rank)) if chart],
        guides=[column for column in shown if column.guide and len(columns[column.name])],
        means=list(mean_rows(means)),
        infinite=most_infinite(means),
        folders=folders,
        rank=rank,
        gallery=sorted(_gallery(store, run_id, shown), key=lambda image: image["path"]),
    )
    store.write(f"runs/{run_id}/index.html", page.encode("utf-8", "backslashreplace"))


def write_output_page(store: OutputStore) -> None:
    """Writes OUTPUT/index.html, the history of the newest runs."""
    runs = list_runs(store)
    newest = runs[-_HISTORY:]
    complete = [run for run in newest if run.counts]
    counts = {"Images written": "written", "Images failed": "failed"} if len(complete) > 1 else {}
    modes = sorted({run.mode for run in complete})
    trends = [trend([run for run in complete if run.mode == mode]) for mode in modes]
    page = render(
        "output.html",
        root=store.root,
        more=len(runs) > len(newest),
        charts=[
            *(bars_of_runs(title, complete, name) for title, name in counts.items()),
            *filter(None, trends),
        ],
        pages={path.split("/")[1] for path in store.glob("runs/*/index.html")},
        runs=newest[::-1],
    )
    store.write("index.html", page.encode("utf-8", "backslashreplace"))


def _scatters(dots: list[Dot], rank: Column) -> Iterator[Chart | None]:
    """The figure that ranks images against their size, and against each number that they drew."""
    units = {"size": "MP"} | {name: one.unit for name, one in drawn_columns().items()}
    for name, unit in units.items():
        known = [dot for dot in dots if dot.properties[name] is not None]
        images = [(dot.properties[name], dot.figure, dot.path) for dot in known]
        if name == "size" or len({value for value, _, _ in images}) > 1:
            yield scatter(images, rank, name, unit, by_ratio=name == "size")


def _gather(
    store: OutputStore, run_id: str, names: list[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], list[Dot]]:
    """Columns of figures, folders, and a sample of the images, from a run's rows.

    Folders and sample are of the first figure. Memory: four bytes for each row and figure.
    """
    columns: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.float32)] for name in names}
    folders: dict[str, list[float]] = {}
    dots: list[Dot] = []
    wanted = [*_COLUMNS, *drawn_columns(), *names]
    for path in store.glob(f"metrics/run_id={run_id}/*.parquet"):
        file = pq.ParquetFile(io.BytesIO(store.read(path)))
        for batch in file.iter_batches(columns=wanted, batch_size=20_000):
            # Runs from before a figure was added lack its column.
            rows = batch.to_pandas().reindex(columns=wanted)
            written = rows[rows.status == "written"]
            for name in columns:
                columns[name].append(written[name].dropna().to_numpy(np.float32))
            _add_folders(folders, rows[rows.status.isin(("written", "failed"))], names[0])
            dots = heapq.nsmallest(_DOTS, [*dots, *_dots_of(written, names[0])], key=_hash_of)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return joined, _folder_rows(folders), dots


def _add_folders(folders: dict[str, list[float]], rows: pd.DataFrame, figure: str) -> None:
    """Adds rows to [written, failed, sum, finite] of the first two directories of their paths."""
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


def _dots_of(rows: pd.DataFrame, figure: str) -> Iterator[Dot]:
    finite = rows[np.isfinite(rows[figure].astype(float))]
    sizes = finite.width * finite.height / 1e6
    drawn = finite[list(drawn_columns())].astype(object).where(lambda values: values.notna(), None)
    properties = drawn.assign(size=sizes).to_dict("records")
    return map(Dot, finite.relative_path, finite[figure].astype(float), properties)


def _hash_of(dot: Dot) -> int:
    """Orders the sample, so that every run shows the same images."""
    return zlib.crc32(dot.path.encode())


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
        yield image | {
            "folder": image["path"].rpartition("/")[0] or "(top)",
            "figures": figures | {"size": (pixels, f"{pixels:.3g} MP")},
            "views": [f"gallery/{name}" for name in image["views"]],
            "details": [f"gallery/{name}" for name in image["details"]],
            "words": "\n".join([f"{width} × {height} pixels", *image["words"]]),
        }
