"""The charts of the pages, in shares of their area; templates/charts.html.j2 draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.reporting.history import Run
from srcnn.figures import Column

_BINS = 32
_PIXEL = 1 / 320


@dataclass(frozen=True)
class Chart:
    """Bars or dots, with their axes.

    Attributes:
      title: of the chart.
      words: the chart in numbers.
      across, up: titles of the axes, with units.
      across_ticks, up_ticks: labels, evenly spaced from end to end.
      bars: (left, width, height, label, whether it is drawn pale).
      dots: (across, up, label).
      line: whether a line joins the dots.
      zero_across, zero_up: position of the value 0 on an axis, if it is drawn.
    """

    title: str
    words: str
    across: str
    up: str
    across_ticks: Sequence[str]
    up_ticks: Sequence[str]
    bars: Sequence[tuple[float, float, float, str, bool]] = ()
    dots: Sequence[tuple[float, float, str]] = ()
    line: bool = False
    zero_across: float | None = None
    zero_up: float | None = None


def histogram(column: Column, values: np.ndarray) -> Chart | None:
    """The distribution of a figure; None for fewer than two finite values."""
    is_gain = column.which == "gain"
    finite = values[np.isfinite(values)].astype(np.float64)
    if len(finite) < 2:
        return None
    # A few outliers would leave one bar for all others: they count in the outermost bars.
    low, high = _range(np.percentile(finite, [0.5, 99.5]) if len(finite) > 200 else finite)
    counts, edges = np.histogram(np.clip(finite, low, high), _BINS, (low, high))
    form = ".4f" if high - low < 0.5 else ".2f"
    bars = [
        (index / _BINS, 1 / _BINS - _PIXEL, count / max(counts),
         f"{a:{form}} to {b:{form}}: {count:,} images", is_gain and b <= 0)
        for index, (count, a, b) in enumerate(zip(counts, edges, edges[1:], strict=False))
        if count
    ]  # fmt: skip
    return Chart(
        title=column.title,
        words=f"median {np.median(finite):{form}}, from {min(finite):{form}} to "
        f"{max(finite):{form}}",
        across=column.heading,
        up="images",
        across_ticks=[f"{low + share * (high - low):{form}}" for share in (0.0, 0.5, 1.0)],
        up_ticks=["0", f"{max(counts):,}"],
        bars=bars,
        zero_across=_zero(low, high) if is_gain else None,
    )


def bars_of_runs(title: str, runs: list[Run], name: str) -> Chart:
    """A count of each run, oldest first."""
    counts = [run.counts[name] for run in runs]
    slot, most = 1 / len(runs), max(*counts, 1)
    width = min(max(slot - _PIXEL, 0.6 * _PIXEL), 30 * _PIXEL)
    bars = [
        ((index + 0.5) * slot - width / 2, width, count / most, f"{run.run_id}: {count:,}", False)
        for index, (run, count) in enumerate(zip(runs, counts, strict=True))
    ]
    words = f"{counts[-1]:,} in the latest of {len(runs)} runs, {sum(counts):,} in all"
    ticks = _ends_of(runs)
    return Chart(title, words, "start of the run, UTC", "images", ticks, ["0", f"{most:,}"], bars)


def trend(runs: list[Run]) -> Chart | None:
    """The mean of each run of one mode; None for fewer than two finite ones."""
    runs = [run for run in runs if run.figure is not None and math.isfinite(run.figure)]
    if len(runs) < 2:
        return None
    rank, values = runs[-1].rank, [run.figure for run in runs]
    low, high = _range(values)
    dots = [
        ((index + 0.5) / len(runs), (run.figure - low) / (high - low),
         f"{run.run_id}: {rank.with_unit(run.figure, 2)}")
        for index, run in enumerate(runs)
    ]  # fmt: skip
    return Chart(
        title=f"Mean {rank.title}",
        words=f"latest {rank.with_unit(values[-1], 2)}, from {rank.format(min(values), 2)} to "
        f"{rank.with_unit(max(values), 2)}",
        across="start of the run, UTC",
        up=rank.heading,
        across_ticks=_ends_of(runs),
        up_ticks=[rank.format(low), rank.format(high)],
        dots=dots,
        line=True,
    )


def scatter(
    images: list[tuple[float, float, str]], rank: Column, across: str, unit: str, by_ratio: bool
) -> Chart | None:
    """A figure against a property of (property, figure, path); None for fewer than three images.

    The property has a name, `across`, and a unit; with `by_ratio` its axis is logarithmic.
    """
    if len(images) < 3:
        return None
    place = np.log10 if by_ratio else np.asarray
    left, right = _range(place([at for at, _, _ in images]))
    low, high = _range([value for _, value, _ in images])
    dots = [
        ((place(at) - left) / (right - left), (value - low) / (high - low),
         f"{path}: {across} {at:.3g} {unit}".rstrip() + f", {rank.with_unit(value, 1)}")
        for at, value, path in images
    ]  # fmt: skip
    ends = (10**left, 10**right) if by_ratio else (left, right)
    return Chart(
        title=f"{rank.title} against {across}",
        words=f"{len(images)} images, from {rank.format(low)} to {rank.with_unit(high)}",
        across=f"{across}, {unit}" if unit else across,
        up=rank.heading,
        across_ticks=[f"{end:.3g}" for end in ends],
        up_ticks=[rank.format(low), rank.format(high)],
        dots=dots,
        zero_up=_zero(low, high),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The smallest and the largest value, or an interval around equal ones."""
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _zero(low: float, high: float) -> float | None:
    return -low / (high - low) if low < 0 < high else None


def _ends_of(runs: list[Run]) -> list[str]:
    """The starts of the first and the last run: dates, or times of one day."""
    first, last = (run.started_at.replace("T", " ") for run in (runs[0], runs[-1]))
    same_day = first[:10] == last[:10]
    return list(dict.fromkeys(text[:16] if same_day else text[:10] for text in (first, last)))
