"""The runs of an OUTPUT, and what changed from one to another.

    python -m pipeline.history OUTPUT
    python -m pipeline.history OUTPUT compare RUN_A RUN_B --min_psnr_gain 0.05 --max_regression 0.5

A run is named by its id, by the beginning of one, or as `latest` or `previous` (of those that are
complete). A run's skipped images stand for the rows of the runs that wrote them.
"""

import argparse
import io
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from pipeline.errors import ExitCode, UsageError
from pipeline.summary import to_json
from pipeline.terminal import or_dash, printable
from srcnn.figures import Figure, columns, compared_columns, rank_column
from transforms.objects import StoreError
from transforms.storage import OutputStore

_KEY = ["relative_path", "source_uri"]
_SHOWN = 10
# Runs that differ in one of these measure different things.
_MUST_AGREE = ("mode", "protocol", "scale", "kernel", "border")


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
      figure: the column that images are compared by: psnr_enhanced, or in restore mode
        consistency_psnr, unless another was asked for.
      images: one row for each image with a figure in both: names, `a`, `b`, `difference` (b - a),
        worst first.
      means: of every figure over the images that have a finite one in both: (a, b, difference).
      infinite: images left out of the means because one of the two is infinite.
      appeared, vanished: images that only B or only A has.
      newly_failed, newly_written: images that failed in B only, or in A only.
      settings: what the runs were asked differently: (a, b) by name.
    """

    figure: str
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
        return self.images.difference * _direction(self.figure)


def list_runs(store: OutputStore, limit: int | None = None) -> list[Run]:
    """The runs of an OUTPUT, oldest first; of many the newest."""
    runs = [_load_run(store, path.split("/")[1]) for path in store.glob("runs/*/manifest.json")]
    runs.sort(key=lambda run: (run.started_at, run.run_id))
    return runs[-limit:] if limit else runs


def find_run(store: OutputStore, name: str) -> Run:
    """The run of a name; see the module.

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
        values = a.settings.get(name), b.settings.get(name)
        if values[0] != values[1]:
            raise UsageError(
                f"the runs cannot be compared: {name} is {values[0]!r} in {a.run_id} and "
                f"{values[1]!r} in {b.run_id}"
            )
    compared = compared_columns(a.settings["mode"])
    named = {c.figure.name: c for c in compared if c.which != "gain"}
    if figure and figure not in named:
        raise UsageError(f"figure: {figure!r} is none of {', '.join(named)}")
    first = named[figure] if figure else compared[0]
    figures = [first.name, *(c.name for c in compared if c != first)]
    return _joined(read_rows(store, a.run_id), read_rows(store, b.run_id), figures, {
        name: (a.settings.get(name), b.settings.get(name))
        for name in sorted({*a.settings, *b.settings})
        if a.settings.get(name) != b.settings.get(name)
    })  # fmt: skip


def gates(comparison: Comparison, min_gain: float | None, max_loss: float | None) -> list[str]:
    """What fails of the gates, in words.

    Args:
      comparison: of two runs.
      min_gain: the least by which the mean of B must be better than A's.
      max_loss: the most that an image may lose.
    """
    failed, improvements = [], comparison.improvements
    unit = unit_of(comparison.figure)
    if comparison.images.empty and not (min_gain is None and max_loss is None):
        return ["no image has a figure in both runs"]
    mean = comparison.means.get(comparison.figure, (math.nan, math.nan, math.nan))[2]
    mean_gain = mean * _direction(comparison.figure)
    if min_gain is not None and not mean_gain >= min_gain:
        failed.append(
            f"mean {comparison.figure} changes by {mean:+.4f}{unit}: gain below {min_gain:+g}"
        )
    if max_loss is not None:
        worst = comparison.images.iloc[0]
        number = int((improvements < -max_loss).sum())
        if number:
            failed.append(
                f"{number} images lose more than {max_loss:g}{unit}; most "
                f"{printable(worst.relative_path)}: {worst.difference:+.4f}"
            )
        if comparison.newly_failed:
            failed.append(f"{len(comparison.newly_failed)} images failed that did not before")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    store = OutputStore(options.output, "")
    try:
        if options.command == "compare":
            return _compare(store, options)
        runs = list_runs(store, options.limit)
        if not runs:
            raise UsageError(f"output: {options.output!r} has no runs")
    except (UsageError, StoreError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    if options.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
    else:
        print("\n".join(_format_runs(runs)))
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipeline.history",
        description="List the runs of an OUTPUT, or compare two.",
        epilog="exit codes: 0 done; 2 bad usage; 5 a gate failed",
    )
    parser.add_argument("output", help="OUTPUT of the runs")
    parser.add_argument("--limit", type=int, metavar="N", help="the newest N runs only")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    commands = parser.add_subparsers(dest="command")
    two = commands.add_parser("compare", help="what changed from run A to run B")
    two.add_argument("a", help="run id, the beginning of one, latest or previous")
    two.add_argument("b", help="the same")
    two.add_argument(
        "--figure", metavar="NAME",
        help="what images are compared by [psnr; in restore mode consistency_psnr]",
    )  # fmt: skip
    two.add_argument(
        "--min_psnr_gain", type=float, metavar="DB",
        help="gate: the mean of that figure over images of both runs must improve by this at least",
    )  # fmt: skip
    two.add_argument(
        "--max_regression", type=float, metavar="DB",
        help="gate: no image may lose more of that figure, and none may newly fail",
    )  # fmt: skip
    two.add_argument("--csv", metavar="FILE", help="write the differences of all images")
    return parser


def _compare(store: OutputStore, options: argparse.Namespace) -> int:
    a, b = find_run(store, options.a), find_run(store, options.b)
    comparison = compare(store, a, b, options.figure)
    failed = gates(comparison, options.min_psnr_gain, options.max_regression)
    if options.csv:
        comparison.images.to_csv(options.csv, index=False)
    if options.json:
        content = {
            "a": a.run_id, "b": b.run_id, "figure": comparison.figure, "gates_failed": failed,
            "images": len(comparison.images), "infinite": comparison.infinite,
            "worst": comparison.images.head(_SHOWN).to_dict("records"),
            **{n: getattr(comparison, n) for n in ("means", "settings", *_LISTS)},
        }  # fmt: skip
        print(to_json(_finite(content)).decode())
    else:
        print("\n".join(_format_comparison(a, b, comparison)))
    for problem in failed:
        print(f"gate failed: {problem}", file=sys.stderr)
    return ExitCode.GATE if failed else ExitCode.OK


_LISTS = ("appeared", "vanished", "newly_failed", "newly_written")


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


def unit_of(name: str) -> str:
    """The unit of a column's figure, to stand behind a number."""
    unit = _figure_of(name).unit
    return f" {unit}" if unit else ""


def _direction(name: str) -> int:
    """1 where more is better in a column, -1 where less is."""
    return 1 if _figure_of(name).higher_is_better else -1


def _figure_of(name: str) -> Figure:
    return next(column.figure for column in columns() if column.name == name)


def _own_rows(store: OutputStore, run_id: str) -> pd.DataFrame | None:
    names = [c.name for mode in ("evaluate", "restore") for c in compared_columns(mode)]
    wanted = [*_KEY, "status", "done_run_id", *names]
    frames = []
    for path in store.glob(f"metrics/run_id={run_id}/*.parquet"):
        file = pq.ParquetFile(io.BytesIO(store.read(path)))
        present = [name for name in wanted if name in file.schema_arrow.names]
        frames.append(file.read(columns=present).to_pandas().reindex(columns=wanted))
    return pd.concat(frames, ignore_index=True) if frames else None


def _joined(a: pd.DataFrame, b: pd.DataFrame, figures: Iterable[str], settings: dict) -> Comparison:
    key = _KEY[:1]
    if a.duplicated(key).any() or b.duplicated(key).any():
        key = _KEY
    both = a.merge(b, on=key, how="outer", suffixes=("_a", "_b"), indicator=True)
    first = next(iter(figures))

    def names(rows: pd.Series) -> list[str]:
        return sorted(both.relative_path[rows])

    in_both = both._merge == "both"
    left, right = both[f"{first}_a"], both[f"{first}_b"]
    measured = in_both & left.notna() & right.notna()
    images = pd.DataFrame({"relative_path": both.relative_path, "a": left, "b": right})[measured]
    # Two infinite figures are equal.
    images["difference"] = np.where(images.a == images.b, 0.0, images.b - images.a)
    images = images.assign(better=images.difference * _direction(first)).sort_values(
        ["better", "relative_path"], ignore_index=True
    )
    del images["better"]
    means = {}
    for name in figures:
        pair = both.loc[in_both, [f"{name}_a", f"{name}_b"]].to_numpy(float)
        pair = pair[np.isfinite(pair).all(axis=1)]
        if len(pair):
            before, after = map(float, pair.mean(axis=0))
            means[name] = (before, after, float((pair[:, 1] - pair[:, 0]).mean()))
    return Comparison(
        figure=first,
        images=images,
        means=means,
        infinite=int((~np.isfinite(images[["a", "b"]])).any(axis=1).sum()),
        appeared=names(both._merge == "right_only"),
        vanished=names(both._merge == "left_only"),
        newly_failed=names(in_both & (both.status_b == "failed") & (both.status_a != "failed")),
        newly_written=names(in_both & (both.status_a == "failed") & (both.status_b != "failed")),
        settings=settings,
    )


def _format_runs(runs: list[Run]) -> list[str]:
    lines = [
        f"{'run':26} {'state':11} {'written':>8} {'skipped':>8} {'failed':>7} {'dB':>7} {'MP/s':>6}"
    ]
    for run in runs:
        cells = [run.counts.get(name, "-") for name in ("written", "skipped", "failed")]
        name = printable(run.run_id)
        name = name if len(name) <= 26 else name[:25] + "…"
        speed = or_dash(run.megapixels_per_second, ".2f")
        lines.append(
            f"{name:26} {run.state:11} {cells[0]:>8} {cells[1]:>8} {cells[2]:>7} "
            f"{or_dash(run.figure, '+.3f'):>7} {speed:>6}"
        )
    return [*lines, "", "dB: mean PSNR gain, in restore mode mean consistency"]


def _format_comparison(a: Run, b: Run, comparison: Comparison) -> list[str]:
    lines = [f"A {printable(a.run_id)}", f"B {printable(b.run_id)}", ""]
    lines += [
        f"  {name}: {printable(str(before))} -> {printable(str(after))}"
        for name, (before, after) in comparison.settings.items()
    ]
    lines += ["", f"  {'mean over images of both':26}{'A':>12}{'B':>12}{'B - A':>12}"]
    lines += [
        f"  {name:26}{before:12.4f}{after:12.4f}{change:+12.4f}"
        for name, (before, after, change) in comparison.means.items()
    ]
    if comparison.infinite:
        lines.append(f"  means leave out infinite figures: {comparison.infinite}")
    worse = comparison.images[comparison.improvements < 0]
    better = int((comparison.improvements > 0).sum())
    same = len(comparison.images) - len(worse) - better
    lines += ["", f"  {comparison.figure}: {better} better, {same} equal, {len(worse)} worse"]
    lines += [
        f"    {row.difference:+9.4f}{unit_of(comparison.figure)}  {printable(row.relative_path)}"
        for row in worse.head(_SHOWN).itertuples()
    ]
    for title, names in (
        ("only in B", comparison.appeared),
        ("only in A", comparison.vanished),
        ("failed in B only", comparison.newly_failed),
        ("failed in A only", comparison.newly_written),
    ):
        if names:
            lines += ["", f"  {title}: {len(names)}"]
            lines += [f"    {printable(name)}" for name in names[:_SHOWN]]
    return lines


def _finite(value: Any) -> Any:
    """The same with what JSON cannot hold as words."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


if __name__ == "__main__":
    sys.exit(main())
