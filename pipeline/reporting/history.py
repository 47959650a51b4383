"""The runs of an OUTPUT, and what changed from one to another.

A run's skipped images stand for the rows of the runs that wrote them.
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
# What runs had before there were such settings.
_FORMERLY = {"degrade": "shrink", "seed": 0}


@dataclass(frozen=True)
class Run:
    """A run as its manifest and summary tell it.

    Attributes:
      run_id: its name.
      state: `running`, `complete`, `failed`, `interrupted`, or `damaged` where no file can be read.
      started_at: ISO time, UTC.
      counts: matched, written, skipped and failed, or empty.
      means: of the figures, by name, or empty.
      megapixels_per_second: throughput, or None.
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
    def figure(self) -> float | None:
        """Mean of what images are ranked by, see srcnn.figures.rank_column."""
        return self.means.get(rank_column(self.settings.get("mode", "evaluate")).name)


@dataclass(frozen=True)
class Comparison:
    """Two runs, image by image.

    Attributes:
      column: that images are compared by: psnr_enhanced, or in restore mode consistency_psnr,
        unless another was asked for.
      images: one row for each image with a figure in both: names, `a`, `b`, `difference` (b - a),
        worst first.
      means: of every figure over the images that have a finite one in both: (a, b, difference).
      infinite: images left out of the means because one of the two is infinite.
      appeared, vanished: images that only B or only A has.
      newly_failed, newly_written: images that failed in B only, or in A only.
      settings: what the runs were asked differently: (a, b) by name.
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
        """By how much each of the images is better in B."""
        return self.images.difference * self.column.figure.sign


def list_runs(store: OutputStore, limit: int | None = None) -> list[Run]:
    """The runs of an OUTPUT, oldest first; of many the newest."""
    runs = [_load_run(store, path.split("/")[1]) for path in store.glob("runs/*/manifest.json")]
    runs.sort(key=lambda run: (run.started_at, run.run_id))
    return runs[-limit:] if limit else runs


def find_run(store: OutputStore, name: str) -> Run:
    """The run of a name: an id, the beginning of one, `latest` or `previous`.

    Raises:
      UsageError: there is none, or several.
    """
    runs = list_runs(store)
    if name in ("latest", "previous"):
        complete = [run for run in runs if run.state == "complete"]
        position = ("latest", "previous").index(name)
        if position < len(complete):
            return complete[-1 - position]
    exact = [run for run in runs if run.run_id == name]
    found = exact or [run for run in runs if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(run.run_id for run in (found or runs)[-5:]) or "none"
    problem = "names several runs" if found else "is no run"
    raise UsageError(f"run {name!r} {problem} of {store.root!r}; the newest: {known}")


def read_rows(store: OutputStore, run_id: str) -> pd.DataFrame:
    """A run's images with what they are compared by; skipped ones with their earlier figures.

    Raises:
      UsageError: the run has no report.
    """
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
    """Compares two runs of an OUTPUT.

    Args:
      store: OUTPUT.
      a, b: the runs.
      figure: name of the figure that images are compared by; None: the first of the mode.

    Raises:
      UsageError: one has no report, they measure different things, or not that figure.
    """
    for name in _MUST_AGREE:
        values = [_setting(run, name) for run in (a, b)]
        if values[0] != values[1]:
            raise UsageError(
                f"the runs cannot be compared: {name} is {values[0]!r} in {a.run_id} and "
                f"{values[1]!r} in {b.run_id}"
            )
    shown = [c for c in shown_columns(a.settings["mode"], "means") if c.which != "degraded"]
    named = {column.figure.name: column for column in shown if column.which != "gain"}
    if figure and figure not in named:
        raise UsageError(f"figure: {figure!r} is none of {', '.join(named)}")
    shown.sort(key=lambda column: column != named.get(figure))
    return joined(read_rows(store, a.run_id), read_rows(store, b.run_id), shown, {
        name: (a.settings.get(name), b.settings.get(name))
        for name in sorted({*a.settings, *b.settings})
        if a.settings.get(name) != b.settings.get(name)
    })  # fmt: skip


def _setting(run: Run, name: str) -> Any:
    """A setting that decides what a run measured; without draws the seed decides nothing."""
    settings = _FORMERLY | run.settings
    return None if name == "seed" and settings["degrade"] == "shrink" else settings.get(name)


def gates(comparison: Comparison, min_gain: float | None, max_loss: float | None) -> list[str]:
    """What fails of the gates, in words.

    Args:
      comparison: of two runs.
      min_gain: the least by which the mean of B must be better than A's.
      max_loss: the most that an image may lose.
    """
    failed, figure = [], comparison.column.figure
    if comparison.images.empty and not (min_gain is None and max_loss is None):
        return ["no image has a figure in both runs"]
    mean = comparison.means.get(comparison.column.name, (math.nan, math.nan, math.nan))[2]
    if min_gain is not None and not mean * figure.sign >= min_gain:
        change = f"mean {comparison.column.name} changes by {mean:+.4f} {figure.unit}".rstrip()
        failed.append(f"{change}, gain below {min_gain:+g}")
    if max_loss is not None:
        worst = comparison.images.iloc[0]
        number = int((comparison.improvements < -max_loss).sum())
        if number:
            failed.append(
                f"{number} images lose more than {max_loss:g} {figure.unit}; most "
                f"{printable(worst.relative_path)}: {worst.difference:+.4f}"
            )
        if comparison.newly_failed:
            failed.append(f"{len(comparison.newly_failed)} images failed that did not before")
    return failed


def _load_run(store: OutputStore, run_id: str) -> Run:
    try:
        manifest = json.loads(store.read(f"runs/{run_id}/manifest.json"))
        state, configuration = manifest["state"], dict(manifest["configuration"])
        settings = configuration | {f"model.{k}": v for k, v in manifest["model"].items()}
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


def joined(a: pd.DataFrame, b: pd.DataFrame, compared: list[Column], settings: dict) -> Comparison:
    """Compares the rows of two runs by columns, of which the first one orders the images."""
    key = _KEY[:1]
    if a.duplicated(key).any() or b.duplicated(key).any():
        key = _KEY
    both = a.merge(b, on=key, how="outer", suffixes=("_a", "_b"), indicator=True)
    first = compared[0]

    def names(rows: pd.Series) -> list[str]:
        return sorted(both.relative_path[rows])

    in_both = both._merge == "both"
    left, right = both[f"{first.name}_a"], both[f"{first.name}_b"]
    measured = in_both & left.notna() & right.notna()
    images = pd.DataFrame({"relative_path": both.relative_path, "a": left, "b": right})[measured]
    # Two infinite figures are equal.
    images["difference"] = np.where(images.a == images.b, 0.0, images.b - images.a)
    # By name first, then by gain, in a stable order.
    images = images.sort_values("relative_path").sort_values(
        "difference", kind="stable", ascending=first.figure.higher_is_better, ignore_index=True
    )
    means = {}
    for name in (column.name for column in compared):
        pair = both.loc[in_both, [f"{name}_a", f"{name}_b"]].to_numpy(float)
        pair = pair[np.isfinite(pair).all(axis=1)]
        if len(pair):
            before, after = map(float, pair.mean(axis=0))
            means[name] = (before, after, float((pair[:, 1] - pair[:, 0]).mean()))
    return Comparison(
        column=first,
        images=images,
        means=means,
        infinite=int((~np.isfinite(images[["a", "b"]])).any(axis=1).sum()),
        appeared=names(both._merge == "right_only"),
        vanished=names(both._merge == "left_only"),
        newly_failed=names(in_both & (both.status_b == "failed") & (both.status_a != "failed")),
        newly_written=names(in_both & (both.status_a == "failed") & (both.status_b != "failed")),
        settings=settings,
    )
