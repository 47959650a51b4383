"""The pages' charts: what they show, in shares of their area. Templates draw them.

A bar is (left, width, height, label, quiet), a dot (across, up, label).
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.reporting.history import Run
from srcnn.figures import Column

Chart = dict[str, Any]

_BINS = 32
_PIXEL = 1 / 320


def histogram(column: Column, values: np.ndarray) -> Chart | None:
    """How a figure is distributed; None for fewer than two finite values."""
    around_zero = column.which == "gain"
    finite = values[np.isfinite(values)].astype(np.float64)
    if len(finite) < 2:
        return None
    # The few far out would leave one bar for all others; they are counted in the outermost.
    low, high = _range(np.percentile(finite, [0.5, 99.5]) if len(finite) > 200 else finite)
    counts, edges = np.histogram(np.clip(finite, low, high), _BINS, (low, high))
    form = ".4f" if high - low < 0.5 else ".2f"
    bars = [
        (index / _BINS, 1 / _BINS - _PIXEL, count / max(counts),
         f"{a:{form}} to {b:{form}}: {count:,} images", around_zero and b <= 0)
        for index, (count, a, b) in enumerate(zip(counts, edges, edges[1:], strict=False))
        if count
    ]  # fmt: skip
    words = f"median {np.median(finite):{form}}, from {min(finite):{form}} to {max(finite):{form}}"
    return {
        "title": column.heading,
        "bars": bars,
        "ticks": [f"{low + share * (high - low):{form}}" for share in (0.0, 0.5, 1.0)],
        "zero": -low / (high - low) if around_zero and low < 0 < high else None,
        "words": words,
    }


def bars_of_runs(title: str, runs: list[Run], name: str) -> Chart:
    """A count of each run, oldest first."""
    counts = [run.counts[name] for run in runs]
    slot = 1 / len(runs)
    width = min(max(slot - _PIXEL, 0.6 * _PIXEL), 30 * _PIXEL)
    bars = [
        ((index + 0.5) * slot - width / 2, width, count / max(*counts, 1),
         f"{run.run_id}: {count:,}", False)
        for index, (run, count) in enumerate(zip(runs, counts, strict=True))
    ]  # fmt: skip
    words = f"{counts[-1]:,} in the last of {len(runs)} runs, {sum(counts):,} in all"
    return {"title": title, "bars": bars, "ticks": _days(runs), "zero": None, "words": words}


def trend(runs: list[Run]) -> Chart | None:
    """What images are ranked by, as the mean of each run; None for fewer than two."""
    figures = {index: run.figure for index, run in enumerate(runs)}
    figures = {i: f for i, f in figures.items() if f is not None and math.isfinite(f)}
    if len(figures) < 2:
        return None
    values = list(figures.values())
    low, high = _range(values)
    dots = [
        ((index + 0.5) / len(runs), (figure - low) / (high - low),
         f"{runs[index].run_id}: {figure:.4f} dB")
        for index, figure in figures.items()
    ]  # fmt: skip
    words = f"last {values[-1]:.4f} dB, from {min(values):.4f} to {max(values):.4f}"
    return {
        "title": "Mean of those written, dB", "dots": dots, "line": True, "ticks": _days(runs),
        "zero": None, "words": words,
    }  # fmt: skip


def scatter(
    dots: list[tuple[float, float, str]], rank: Column, across: str, unit: str, by_ratio: bool
) -> Chart | None:
    """Images by (what they stand across at, figure, path); None for fewer than three.

    Args:
      dots: of the images.
      rank: the figure.
      across: what it is drawn against, and its `unit`.
      by_ratio: whether equal ratios are equally far apart, not equal differences.
    """
    if len(dots) < 3:
        return None
    place = np.log10 if by_ratio else np.asarray
    left, right = _range(place([at for at, _, _ in dots]))
    low, high = _range([value for _, value, _ in dots])
    placed = [
        ((place(at) - left) / (right - left), (value - low) / (high - low),
         f"{path}: {across} {at:.3g} {unit}".rstrip() + f", {rank.with_unit(value, 1)}")
        for at, value, path in dots
    ]  # fmt: skip
    ends = (10**left, 10**right) if by_ratio else (left, right)
    return {
        "title": f"{rank.heading}, against {across}",
        "dots": placed,
        "line": False,
        "ticks": [f"{end:.3g} {unit}".rstrip() for end in ends],
        "zero": -low / (high - low) if low < 0 < high else None,
        "words": f"{len(dots)} images, from {rank.format(low)} to {rank.with_unit(high)}",
    }


def _range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest value, apart."""
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _days(runs: list[Run]) -> list[str]:
    return list(dict.fromkeys(run.started_at[:10] for run in (runs[0], runs[-1])))
