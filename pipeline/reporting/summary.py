"""Totals of a run: a combiner over the rows, the summary file and the text on the terminal.

Means are over finite values; beside each are the numbers of infinite values (PSNR of identical
images) and of missing ones.
"""

import heapq
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from pipeline.reporting.render import render
from srcnn.figures import FIGURES, Values, columns, rank_column, shown_columns
from storage.store import OutputStore
from transforms.records import BESIDE_MATCHED, LARGE_ENOUGH, ReportRow

MATCHED = "matched"

_SUMMED = ("infer_seconds", "total_seconds", "source_bytes", "output_bytes")
_MATCHED = ("written", "skipped", "failed")
_COUNTED = ("status", "changes", "sums", "figures")
_EXAMPLES = 5
_SMALLEST = {"gone": _EXAMPLES, "worst": 10}
_GROUPS = 20


def ranking(row: ReportRow) -> float | None:
    """The figure that ranks an image, see srcnn.figures.rank_column; None if it has none."""
    figure = row.figure(rank_column(row.mode).name)
    return None if figure is None or math.isnan(figure) else figure


class SummaryFn(beam.CombineFn):
    """Combines rows and MATCHED markers into totals of bounded size."""

    def create_accumulator(self) -> dict[str, Any]:
        counted = {name: Counter() for name in _COUNTED}
        return counted | {"gone": [], "worst": [], "causes": {}, "warnings": {}}

    def add_input(self, totals: dict[str, Any], row: ReportRow | str) -> dict[str, Any]:
        sums = totals["sums"]
        if isinstance(row, str):
            sums["matched"] += 1
            return totals
        totals["status"][row.status] += 1
        sums["in_shards"] += row.shard is not None
        if row.status in BESIDE_MATCHED:
            _add_smallest(totals, "gone", [row.output_uri])
        elif row.change == LARGE_ENOUGH:
            sums["large_enough"] += 1
        elif row.change and row.status != "skipped":
            totals["changes"][row.change] += 1
        if row.status == "failed":
            # Messages hold sizes and names after a colon: the part before groups them.
            kind = f"{row.error_type}: {(row.error_message or '').partition(':')[0][:80]}"
            example = (row.source_uri, row.error_message)
            _add_group(totals["causes"], (row.stage, kind), 1, [example])
        if row.status == "written":
            for warning in row.warnings or ():
                _add_group(totals["warnings"], warning, 1, [row.source_uri])
            sums["pixels"] += row.width * row.height
            sums["output_pixels"] += row.output_width * row.output_height
            for name in _SUMMED:
                sums[name] += getattr(row, name) or 0
            _add_figures(totals["figures"], row.figures or {})
            if (rank := ranking(row)) is not None:
                _add_smallest(totals, "worst", [(rank, row.relative_path, row.output_uri)])
        return totals

    def merge_accumulators(self, accumulators) -> dict[str, Any]:
        merged = self.create_accumulator()
        for totals in accumulators:
            for name in _COUNTED:
                merged[name].update(totals[name])
            for name in _SMALLEST:
                _add_smallest(merged, name, totals[name])
            for kind in ("causes", "warnings"):
                for key, (count, examples) in totals[kind].items():
                    _add_group(merged[kind], key, count, examples)
        return merged

    def extract_output(self, totals: dict[str, Any]) -> dict[str, Any]:
        status, sums = totals["status"], totals["sums"]
        gone = {name: status[name] for name in BESIDE_MATCHED}
        return {
            "counts": {"matched": sums["matched"], **{name: status[name] for name in _MATCHED}},
            "in_shards": sums["in_shards"],
            "large_enough": sums["large_enough"],
            "changes": dict(sorted(totals["changes"].items())),
            "source_gone": {**gone, "examples": totals["gone"]},
            "megapixels": sums["pixels"] / 1e6,
            "output_megapixels": sums["output_pixels"] / 1e6,
            **{name: sums[name] for name in _SUMMED},
            "means": _means_of(totals["figures"]),
            "worst": [
                {"rank_figure": figure if math.isfinite(figure) else None,
                 "relative_path": path, "output_uri": uri}
                for figure, path, uri in totals["worst"]
            ],
            "failures": [
                {"stage": stage, "error": error, "count": count,
                 "examples": [{"source_uri": uri, "message": text} for uri, text in examples]}
                for (stage, error), (count, examples) in _by_count(totals["causes"])
            ],
            "warnings": [
                {"warning": warning, "count": count, "examples": examples}
                for warning, (count, examples) in _by_count(totals["warnings"])
            ],
        }  # fmt: skip


def write_totals(totals: dict[str, Any], store: OutputStore) -> bytes:
    """Writes the file of totals; returns its URI as bytes: OUTPUT's name need not be Unicode."""
    return os.fsencode(store.write(totals_path(store), to_json(totals)))


def totals_path(store: OutputStore) -> str:
    """The path of the totals, from which the main process makes the summary."""
    return f"runs/{store.run_id}/totals.json"


def to_json(content: dict[str, Any]) -> bytes:
    """Strict JSON; file names that are not Unicode are escaped."""
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def reconcile(totals: dict[str, Any], rows: int) -> str | None:
    """The error in the counts, or None if matched = written + skipped + failed = `rows`.

    The rows of the report also include outputs without a source.
    """
    counts, gone = totals["counts"], totals["source_gone"]
    ended = sum(counts[name] for name in _MATCHED)
    if counts["matched"] == ended == rows - sum(gone[name] for name in BESIDE_MATCHED):
        return None
    return (
        f"{counts['matched']} images matched, {ended} were counted and {rows} have a row; "
        "this is a bug"
    )


def mean_rows(means: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The table of a summary's means, as texts: name, degraded, enhanced, gain."""
    for figure in FIGURES.values():
        present = [column for column in figure.columns if column.name in means]
        texts = {column.which: column.format(means[column.name]["mean"], 2) for column in present}
        if {"degraded", "enhanced"} <= texts.keys():
            yield {"name": present[0].heading, "gain": ""} | texts


def most_infinite(means: dict[str, Any]) -> int:
    """The largest number of infinite values that a mean leaves out."""
    return max((mean["infinite"] for mean in means.values()), default=0)


def format_summary(summary: dict[str, Any]) -> str:
    """The summary for the terminal, 80 columns wide except for names and settings."""
    means = summary["means"]
    return render(
        "summary.txt",
        summary=summary,
        means=list(mean_rows(means)),
        singles=[
            column
            for column in shown_columns("restore", "means")
            if column.name in means and not column.which
        ],
        infinite=most_infinite(means),
        rank=rank_column(summary["configuration"]["mode"]),
        places=_places(summary),
    )


def _places(summary: dict[str, Any]) -> dict[str, str]:
    """The URIs of the results, by kind."""
    config, run_id, in_shards = summary["configuration"], summary["run_id"], summary["in_shards"]
    places = {
        "images": ("images/", summary["counts"]["matched"] > in_shards),
        "shards": ("shards/", in_shards and config["shards"] == "write"),
        "report": (f"metrics/run_id={run_id}/", True),
        "comparisons": ("comparisons/", config["comparisons"] not in ("none", 0)),
        "page": (f"runs/{run_id}/index.html", True),
    }
    root = config["output"].rstrip("/")
    return {kind: f"{root}/{path}" for kind, (path, exists) in places.items() if exists}


def _add_figures(figures: Counter, values: Values) -> None:
    """Counts values by figure and kind, and sums the finite ones."""
    for name, value in values.items():
        if value is None or math.isnan(value):
            figures[name, "missing"] += 1
        elif math.isinf(value):
            figures[name, "infinite"] += 1
        else:
            figures[name, "finite"] += 1
            figures[name, "sum"] += value


def _add_smallest(totals: dict[str, Any], name: str, more: list) -> None:
    totals[name] = heapq.nsmallest(_SMALLEST[name], totals[name] + more)


def _add_group(
    groups: dict[Any, tuple[int, list]], key: str | tuple[str, str], count: int, examples: list
) -> None:
    """Adds to a group and keeps a few of its examples; beyond _GROUPS keys all are one group."""
    if key not in groups and len(groups) >= _GROUPS:
        other = "other kinds; see the report"
        key = other if isinstance(key, str) else ("other", other)
    old_count, old = groups.get(key, (0, []))
    groups[key] = (old_count + count, heapq.nsmallest(_EXAMPLES, old + examples))


def _by_count(groups: dict[Any, tuple[int, list]]) -> list:
    return sorted(groups.items(), key=lambda item: (-item[1][0], item[0]))


def _means_of(figures: Counter) -> dict[str, Any]:
    """Means by column, in the report's order, of the figures that any image has."""
    means = {}
    for name in (column.name for column in columns() if "means" in column.figure.shown):
        counts = {kind: figures[name, kind] for kind in ("finite", "infinite", "missing")}
        if finite := counts["finite"]:
            means[name] = {"mean": figures[name, "sum"] / finite} | counts
        elif counts["infinite"]:
            means[name] = {"mean": None} | counts
    return means
