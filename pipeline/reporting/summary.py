"""Totals of a run: a combiner over the rows, the summary file and the text on the terminal.

Means are over finite values; how many were infinite (PSNR of identical images) or missing stands
beside each.
"""

import heapq
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipeline.reporting.combine import CombineWhereMade
from pipeline.terminal import printable
from srcnn.figures import columns, figures_of, rank_column, shown_columns
from transforms.records import BESIDE_MATCHED, ReportRow
from transforms.storage import OutputStore

MATCHED = "matched"
TOTALS_PATH = "totals.json"

_SUMMED = ("infer_seconds", "total_seconds", "source_bytes", "output_bytes")
_MATCHED = ("written", "skipped", "failed")
_WORST = 10
_GROUPS = 20
_EXAMPLES = 5


def ranking(row: ReportRow) -> float | None:
    """What images are ranked by, see srcnn.figures.rank_column; None without a figure."""
    figure = row.figure(rank_column(row.mode or "evaluate").name)
    return None if figure is None or math.isnan(figure) else figure


class SummaryFn(beam.CombineFn):
    """Combines rows and MATCHED markers into totals whose size does not grow with the images."""

    def create_accumulator(self) -> dict[str, Any]:
        return {
            "matched": 0, "status": Counter(), "changes": Counter(), "gone": [],
            "pixels": 0, "output_pixels": 0,
            "sums": Counter(), "figures": {}, "worst": [], "causes": {}, "warnings": {},
        }  # fmt: skip

    def add_input(self, totals: dict[str, Any], element: ReportRow | str) -> dict[str, Any]:
        if isinstance(element, str):
            totals["matched"] += 1
            return totals
        row = element
        totals["status"][row.status] += 1
        if row.status in BESIDE_MATCHED:
            totals["gone"] = heapq.nsmallest(_EXAMPLES, [*totals["gone"], row.output_uri])
        elif row.change and row.status != "skipped":
            totals["changes"][row.change] += 1
        if row.status == "failed":
            example = (row.source_uri, row.error_message)
            _add_group(totals["causes"], (row.stage, _kind_of(row)), 1, [example])
        if row.status == "written":
            for warning in row.warnings or ():
                _add_group(totals["warnings"], warning, 1, [row.source_uri])
            totals["pixels"] += row.width * row.height
            totals["output_pixels"] += row.output_width * row.output_height
            for name in _SUMMED:
                totals["sums"][name] += getattr(row, name) or 0
            for name, value in (row.figures or {}).items():
                _add_figure(totals["figures"], name, _figure_of(value))
            if (rank := ranking(row)) is not None:
                worst = (rank, row.relative_path, row.output_uri)
                totals["worst"] = heapq.nsmallest(_WORST, [*totals["worst"], worst])
        return totals

    def merge_accumulators(self, accumulators) -> dict[str, Any]:
        merged = self.create_accumulator()
        for totals in accumulators:
            for name in ("matched", "pixels", "output_pixels"):
                merged[name] += totals[name]
            for name in ("status", "changes", "sums"):
                merged[name].update(totals[name])
            merged["gone"] = heapq.nsmallest(_EXAMPLES, merged["gone"] + totals["gone"])
            for name, figure in totals["figures"].items():
                _add_figure(merged["figures"], name, figure)
            for kind in ("causes", "warnings"):
                for key, (count, examples) in totals[kind].items():
                    _add_group(merged[kind], key, count, examples)
            merged["worst"] = heapq.nsmallest(_WORST, merged["worst"] + totals["worst"])
        return merged

    def extract_output(self, totals: dict[str, Any]) -> dict[str, Any]:
        return {
            "counts": {
                "matched": totals["matched"],
                **{name: totals["status"][name] for name in _MATCHED},
            },
            "changes": dict(sorted(totals["changes"].items())),
            "source_gone": {
                **{name: totals["status"][name] for name in BESIDE_MATCHED},
                "examples": totals["gone"],
            },
            "megapixels": totals["pixels"] / 1e6,
            "output_megapixels": totals["output_pixels"] / 1e6,
            **{name: totals["sums"][name] for name in _SUMMED},
            "means": _means_of(totals["figures"]),
            "worst": [
                {"rank_figure": _jsonable(figure), "relative_path": path, "output_uri": uri}
                for figure, path, uri in totals["worst"]
            ],
            "failures": [
                {
                    "stage": stage,
                    "error": error,
                    "count": count,
                    "examples": [{"source_uri": u, "message": m} for u, m in examples],
                }
                for (stage, error), (count, examples) in _by_count(totals["causes"])
            ],
            "warnings": [
                {"warning": warning, "count": count, "examples": examples}
                for warning, (count, examples) in _by_count(totals["warnings"])
            ],
        }


@dataclass
class WriteTotals(beam.PTransform):
    """Collections of rows and of MATCHED to the file of totals, of which the summary is made.

    Attributes:
      store: where it goes.
    """

    store: OutputStore

    def expand(self, pcolls):
        """Returns the file's URI as bytes: OUTPUT's name need not be Unicode."""
        store = self.store
        return (
            pcolls
            | CombineWhereMade(SummaryFn())
            | beam.Map(lambda totals: os.fsencode(store.write(totals_path(store), to_json(totals))))
        )


def totals_path(store: OutputStore) -> str:
    """Where the totals wait for the main process."""
    return f"runs/{store.run_id}/{TOTALS_PATH}"


def to_json(content: dict[str, Any]) -> bytes:
    """Strict JSON (infinities are null or counted beside), odd file names escaped."""
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def reconcile(totals: dict[str, Any], rows: int) -> str | None:
    """What is wrong with the counts, or None if matched = written + skipped + failed.

    Args:
      totals: of the run.
      rows: of the report, which also has those of outputs without a source.
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
    """The table of a summary's means, as texts: what they are of, degraded, enhanced, gain."""
    for figure in figures_of("evaluate"):
        present = [column for column in figure.columns if column.name in means]
        texts = {column.which: column.format(means[column.name]["mean"], 2) for column in present}
        if {"degraded", "enhanced"} <= texts.keys():
            yield {"name": present[0].heading, "gain": ""} | texts


def most_infinite(means: dict[str, Any]) -> int:
    """How many infinite values a summary's means leave out."""
    return max((mean["infinite"] for mean in means.values()), default=0)


def format_summary(summary: dict[str, Any]) -> str:
    """The summary for a person, at most 80 columns."""
    counts, config = summary["counts"], summary["configuration"]
    lines = [
        "",
        f"{config['mode']}  x{config['scale']} {config['kernel']}  protocol {config['protocol']}"
        f"  border {config['border']}",
        f"model {summary['model']['name']}  engine {summary['model']['engine']}",
        "",
        f"  {counts['matched']} matched = {counts['written']} written + "
        f"{counts['skipped']} skipped + {counts['failed']} failed",
        *_format_changes(summary),
        f"  {summary['megapixels']:.2f} megapixels in {summary['wall_seconds']:.1f} s: "
        f"{summary['megapixels_per_second']:.2f} megapixels/s",
    ]
    lines += _format_means(summary["means"])
    if summary["worst"]:
        rank = rank_column(config["mode"])
        lines += ["", f"  lowest {rank.title}"]
        lines += [
            f"    {rank.format(w['rank_figure'], 1):>8} {rank.figure.unit}  "
            f"{printable(w['relative_path'])}"
            for w in summary["worst"][:3]
        ]
    lines += _format_groups(
        "failures",
        [
            (group["count"], f"{group['stage']}: {one['message']}", one["source_uri"])
            for group in summary["failures"]
            for one in group["examples"][:1]
        ],
    )
    lines += _format_groups(
        "warnings", [(w["count"], w["warning"], w["examples"][0]) for w in summary["warnings"]]
    )
    return "\n".join(lines)


def _format_groups(title: str, groups: list[tuple[int, str, str]]) -> list[str]:
    """Groups of images, largest first: how many, what they have in common, an example."""
    shown = [
        f"    {number:>6}  {printable(what)}\n            {printable(example)}"
        for number, what, example in groups[:10]
    ]
    return ["", f"  {title}", *shown] if shown else []


def _format_changes(summary: dict[str, Any]) -> list[str]:
    """What was done again and why, for a run that is not the first."""
    counts, changes, gone = summary["counts"], summary["changes"], summary["source_gone"]
    lines = []
    if counts["skipped"] or set(changes) - {"new"}:
        reasons = ", ".join(f"{number} {change}" for change, number in changes.items())
        lines.append(f"  to restore: {reasons or 'nothing, all is done'}")
    if gone["vanished"]:
        lines.append(f"  {gone['vanished']} results whose source is gone: --prune removes them")
    if gone["pruned"]:
        lines.append(f"  {gone['pruned']} results were removed, their source is gone")
    return lines


def _format_means(means: dict[str, Any]) -> list[str]:
    lines = []
    if table := list(mean_rows(means)):
        lines += ["", f"  {'mean over images':18}{'degraded':>12}{'enhanced':>12}{'gain':>12}"]
    for row in table:
        cells = "".join(f"{row[which]:>12}" for which in ("degraded", "enhanced", "gain"))
        lines.append(f"  {row['name'].replace(',', ''):18}{cells}")
    singles = [
        f"  {column.title} {column.with_unit(means[column.name]['mean'], 2)}"
        for column in shown_columns("restore", "means")
        if column.name in means
    ]
    lines += ["", *singles] if singles else []
    if infinite := most_infinite(means):
        lines.append(f"  means leave out infinite PSNR (identical images): {infinite}")
    return lines


def _kind_of(row: ReportRow) -> str:
    # Messages hold sizes and names; the first part is the same for a whole group of failures.
    return f"{row.error_type}: {(row.error_message or '').partition(':')[0][:80]}"


def _figure_of(value: float | None) -> tuple[float, int, int, int]:
    """(sum of finite values, finite, infinite, missing)."""
    if value is None or math.isnan(value):
        return (0.0, 0, 0, 1)
    return (0.0, 0, 1, 0) if math.isinf(value) else (value, 1, 0, 0)


def _add_figure(figures: dict, name: str, figure: tuple[float, int, int, int]) -> None:
    old = figures.get(name, (0.0, 0, 0, 0))
    figures[name] = tuple(a + b for a, b in zip(old, figure, strict=True))


def _add_group(
    groups: dict[Any, tuple[int, list]], key: str | tuple[str, str], count: int, examples: list
) -> None:
    """Counts under a key, and keeps a few examples; beyond so many keys all count as others."""
    if key not in groups and len(groups) >= _GROUPS:
        other = "of further kinds; see the report"
        key = other if isinstance(key, str) else ("other", other)
    old_count, old = groups.get(key, (0, []))
    groups[key] = (old_count + count, heapq.nsmallest(_EXAMPLES, old + examples))


def _by_count(groups: dict[Any, tuple[int, list]]) -> list:
    return sorted(groups.items(), key=lambda item: (-item[1][0], item[0]))


def _means_of(figures: dict[str, tuple[float, int, int, int]]) -> dict[str, Any]:
    """Means by column, in the report's order, of figures that any image has."""
    shown = (c.name for c in columns() if "means" in c.figure.shown)
    found = {name: figures[name] for name in shown if name in figures}
    return {name: _mean_of(figure) for name, figure in found.items() if figure[1] or figure[2]}


def _mean_of(figure: tuple[float, int, int, int]) -> dict[str, Any]:
    total, finite, infinite, missing = figure
    return {
        "mean": total / finite if finite else None,
        "finite": finite,
        "infinite": infinite,
        "missing": missing,
    }


def _jsonable(value: float) -> float | None:
    return value if math.isfinite(value) else None
