"""The runs of an OUTPUT, and the differences between two of them.

A skipped image counts with the row of the run that wrote it.
"""

import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.terminal import printable
from srcnn.figures import Column, columns, rank_column, shown_columns
from storage.store import OutputStore

_KEY = ["relative_path", "source_uri"]
# Runs that differ in one of these measure different things.
_MUST_AGREE = ("mode", "protocol", "scale", "kernel", "border", "degrade", "seed")
# Values of runs from before these settings existed.
_FORMERLY = {"degrade": "shrink", "seed": 0}


@dataclass(frozen=True)
class Run:
    """A run according to its manifest and summary.

    Attributes:
      run_id: its name.
      state: `running`, `complete`, `failed`, `interrupted`, or `damaged` if a file is unreadable.
      started_at: ISO time, UTC.
      counts: matched, written, skipped and failed; empty for incomplete runs.
      means: of the figures, by column; empty for incomplete runs.
      megapixels_per_second: of a complete run.
      settings: configuration and model, flat.
    """

    run_id: str
    state: str
    started_at: str
    counts: dict[str, int]
    means: dict[str, float | None]
    megapixels_per_second: float | None
    settings: dict[str, Any]

    @property
    def mode(self) -> str:
        """`evaluate` or `restore`."""
        return self.settings.get("mode", "evaluate")

    @property
    def rank(self) -> Column:
        """The figure that ranks images."""
        return rank_column(self.mode)

    @property
    def figure(self) -> float | None:
        """Mean of the figure that ranks images."""
        return self.means.get(self.rank.name)


@dataclass(frozen=True)
class Comparison:
    """Two runs, image by image.

    Attributes:
      column: the figure that images are compared by.
      images: one row for each image with that figure in both runs: `relative_path`, `a`, `b`,
        `difference` (b - a), worst first.
      means: (a, b, difference) of every figure, over the images where both are finite.
      infinite: images left out of the means because one of the two is infinite.
      appeared, vanished: images that only B or only A has.
      newly_failed, newly_written: images that failed in B only, or in A only.
      settings: the settings that differ: (a, b) by name.
    """

    column: Column
    images: pd.DataFrame
    means: dict[str, tuple[float, float, float]]
    infinite: int
    appeared: list[str]
    vanished: list[str]
    newly_failed: list[str]
    newly_written: list[str]
    settings: dict[str, tuple[Any, Any]]

    @property
    def improvements(self) -> pd.Series:
        """By how much each image is better in B."""
        return self.images.difference * self.column.figure.sign


def list_runs(store: OutputStore, limit: int | None = None) -> list[Run]:
    """The runs of an OUTPUT, oldest first; with a limit the newest."""
    runs = [_load_run(store, path.split("/")[1]) for path in store.glob("runs/*/manifest.json")]
    runs.sort(key=lambda run: (run.started_at, run.run_id))
    return runs[-limit:] if limit else runs


def find_run(store: OutputStore, name: str) -> Run:
    """The one run with an id, the beginning of an id, `latest` or `previous`; else a UsageError."""
    runs = list_runs(store)
    complete = [run for run in runs if run.state == "complete"]
    for back, word in enumerate(("latest", "previous"), 1):
        if name == word and len(complete) >= back:
            return complete[-back]
    exact = [run for run in runs if run.run_id == name]
    found = exact or [run for run in runs if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(run.run_id for run in (found or runs)[-5:]) or "none"
    problem = "names several runs of" if found else "does not exist in"
    raise UsageError(f"run {name!r} {problem} {store.root!r}; name one of: {known}")


def read_rows(store: OutputStore, run_id: str) -> pd.DataFrame:
    """The images of a run with their figures; those of skipped images are from earlier runs."""
    rows = _own_rows(store, run_id)
    if rows is None:
        raise UsageError(f"run {run_id!r} of {store.root!r} has no report")
    rows = rows[rows.status.isin(("written", "skipped", "failed"))]
    skipped = rows.status == "skipped"
    parts = [rows[~skipped]]
    for earlier, names in rows[skipped].groupby("done_run_id", dropna=False):
        former = _own_rows(store, earlier) if isinstance(earlier, str) else None
        if former is not None:
            former = former[former.status == "written"].drop_duplicates(_KEY, keep="last")
            parts.append(names[_KEY].merge(former, on=_KEY, how="left").assign(status="written"))
        else:
            parts.append(names)
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def compare(store: OutputStore, a: Run, b: Run, figure: str | None = None) -> Comparison:
    """Compares two runs of an OUTPUT by a figure, without its name by the mode's first one.

    Raises:
      UsageError: a run has no report, or they measure different things, or not that figure.
    """
    _check_comparable(a, b)
    shown = [c for c in shown_columns(a.settings["mode"], "means") if c.which != "degraded"]
    named = {column.figure.name: column for column in shown if column.which != "gain"}
    if figure and figure not in named:
        raise UsageError(f"figure: {figure!r} is not one of {', '.join(named)}")
    shown.sort(key=lambda column: column != named.get(figure))
    settings = {
        name: (a.settings.get(name), b.settings.get(name))
        for name in sorted({*a.settings, *b.settings})
        if a.settings.get(name) != b.settings.get(name)
    }
    return compare_rows(read_rows(store, a.run_id), read_rows(store, b.run_id), shown, settings)


def _check_comparable(a: Run, b: Run) -> None:
    for name in _MUST_AGREE:
        before, after = (_setting(run, name) for run in (a, b))
        if before != after:
            raise UsageError(
                f"the runs cannot be compared: {name} is {before!r} in {a.run_id} and "
                f"{after!r} in {b.run_id}"
            )


def _setting(run: Run, name: str) -> Any:
    """A setting that runs must share to be compared; the seed only where images draw."""
    settings = _FORMERLY | run.settings
    return None if name == "seed" and settings["degrade"] == "shrink" else settings.get(name)


def gates(comparison: Comparison, min_gain: float | None, max_loss: float | None) -> list[str]:
    """The failed gates, in words: least improvement of the mean, largest loss of an image.

    Both are in the unit of the compared figure; None: no gate.
    """
    failed, figure = [], comparison.column.figure
    if comparison.images.empty and not (min_gain is None and max_loss is None):
        return ["no image has a figure in both runs"]
    mean = comparison.means.get(comparison.column.name, (math.nan, math.nan, math.nan))[2]
    if min_gain is not None and not mean * figure.sign >= min_gain:
        change = f"mean {comparison.column.name} changes by {mean:+.4f} {figure.unit}".rstrip()
        failed.append(f"{change}, less than the required {min_gain:+g}")
    if max_loss is not None:
        worst = comparison.images.iloc[0]
        number = int((comparison.improvements < -max_loss).sum())
        if number:
            failed.append(
                f"{number} images lose more than {max_loss:g} {figure.unit}; worst: "
                f"{printable(worst.relative_path)}: {worst.difference:+.4f}"
            )
        if comparison.newly_failed:
            failed.append(f"{len(comparison.newly_failed)} images failed that did not before")
    return failed


def _load_run(store: OutputStore, run_id: str) -> Run:
    try:
        manifest = json.loads(store.read(f"runs/{run_id}/manifest.json"))
        state, configuration = manifest["state"], dict(manifest["configuration"])
        model = {k: v for k, v in manifest["model"].items() if k != "other_choice"}
        settings = configuration | {f"model.{name}": value for name, value in model.items()}
        started = manifest["started_at"]
    except (OSError, ValueError, KeyError, TypeError):
        return Run(run_id, "damaged", "", {}, {}, None, {})
    summary: dict[str, Any] = {}
    if state == "complete":
        try:
            summary = json.loads(store.read(f"runs/{run_id}/summary.json"))
        except (OSError, ValueError):
            state = "damaged"
    return Run(
        run_id=run_id,
        state=state,
        started_at=started,
        counts=summary.get("counts", {}),
        means={name: mean["mean"] for name, mean in summary.get("means", {}).items()},
        megapixels_per_second=summary.get("megapixels_per_second"),
        settings=settings,
    )


def _own_rows(store: OutputStore, run_id: str) -> pd.DataFrame | None:
    names = [column.name for column in columns() if column.which != "degraded"]
    wanted = [*_KEY, "status", "done_run_id", *names]
    frames = []
    for path in store.glob(f"metrics/run_id={run_id}/*.parquet"):
        file = pq.ParquetFile(io.BytesIO(store.read(path)))
        present = [name for name in wanted if name in file.schema_arrow.names]
        frames.append(file.read(columns=present).to_pandas().reindex(columns=wanted))
    return pd.concat(frames, ignore_index=True) if frames else None


def compare_rows(
    a: pd.DataFrame, b: pd.DataFrame, compared: list[Column], settings: dict
) -> Comparison:
    """Compares the rows of two runs by columns, the first of which orders the images."""
    unique = not any(rows.duplicated(_KEY[:1]).any() for rows in (a, b))
    key = _KEY[:1] if unique else _KEY
    both = a.merge(b, on=key, how="outer", suffixes=("_a", "_b"), indicator=True)
    in_both = both[both._merge == "both"]
    failed_a, failed_b = in_both.status_a == "failed", in_both.status_b == "failed"
    images = _differences(in_both, compared[0])
    return Comparison(
        column=compared[0],
        images=images,
        means=_means(in_both, compared),
        infinite=int((~np.isfinite(images[["a", "b"]])).any(axis=1).sum()),
        appeared=sorted(both.relative_path[both._merge == "right_only"]),
        vanished=sorted(both.relative_path[both._merge == "left_only"]),
        newly_failed=sorted(in_both.relative_path[failed_b & ~failed_a]),
        newly_written=sorted(in_both.relative_path[failed_a & ~failed_b]),
        settings=settings,
    )


def _differences(both: pd.DataFrame, column: Column) -> pd.DataFrame:
    """The images with a figure in both runs: see Comparison.images."""
    left, right = both[f"{column.name}_a"], both[f"{column.name}_b"]
    images = pd.DataFrame({"relative_path": both.relative_path, "a": left, "b": right}).dropna()
    # Two infinite figures are equal.
    images["difference"] = np.where(images.a == images.b, 0.0, images.b - images.a)
    return images.sort_values("relative_path").sort_values(
        "difference", kind="stable", ascending=column.figure.higher_is_better, ignore_index=True
    )


def _means(both: pd.DataFrame, compared: list[Column]) -> dict[str, tuple[float, float, float]]:
    means = {}
    for name in (column.name for column in compared):
        pair = both[[f"{name}_a", f"{name}_b"]].to_numpy(float)
        pair = pair[np.isfinite(pair).all(axis=1)]
        if len(pair):
            before, after = map(float, pair.mean(axis=0))
            means[name] = (before, after, float((pair[:, 1] - pair[:, 0]).mean()))
    return means
