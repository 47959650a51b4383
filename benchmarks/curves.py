"""How far shipped weights were trained, and what more steps would bring, from their cards.

    python -m benchmarks.curves weights/subpixel-large_x?_bicubic.json --plot curves.png

Prints for each card the steps of all runs on its own degradation, the validation PSNR of the luma
in dB after the last, and the trend: the line of least squares through the ends of the runs against
the logarithm of the steps. Only ends count: within a run the learning rate is high, and falls.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from srcnn.weights import ModelCard, load_card


@dataclass(frozen=True)
class Curve:
    """The runs on a card's own degradation, the first begun from other weights or from none.

    Attributes:
      name: of the weights.
      runs: float (n, 2) of each run, the first run first: steps since the first run's start and
        validation PSNR in dB.
    """

    name: str
    runs: list[np.ndarray]

    @property
    def ends(self) -> np.ndarray:
        """The last point of each run, float (runs, 2)."""
        return np.array([run[-1] for run in self.runs])

    @property
    def trend(self) -> np.ndarray:
        """The line through the ends against log2(steps): slope and level; NaN of a single run."""
        if len(self.runs) < 2:
            return np.full(2, math.nan)
        steps, psnr = self.ends.T
        return np.polyfit(np.log2(steps), psnr, 1)

    @property
    def gain_of_doubling(self) -> float:
        """What the trend gives for twice the steps, dB; not a number after a single run."""
        return float(self.trend[0])


def curve_of(card: ModelCard) -> Curve | None:
    """The curve that a card records; None if it records no validation."""
    task = (card.scale, card.kernel, card.protocol)
    runs = [
        run
        for run in card.runs
        if (run.get("scale"), run.get("kernel"), run.get("protocol")) == task
        and run.get("architecture") == card.architecture.name
    ]
    starts = accumulate((run["steps"] for run in runs), initial=0)
    points = [
        np.array([(start + p["step"], p["psnr_y"]) for p in run.get("curve", []) if "psnr_y" in p])
        for start, run in zip(starts, runs, strict=False)
    ]
    points = [run for run in points if len(run)]
    return Curve(card.name, points) if points else None


def table(curves: list[Curve]) -> list[str]:
    """Markdown, a row for each curve."""
    head = "| weights | runs | steps | validation, dB | dB for twice the steps |"
    lines = [head, "| --- " * 5 + "|"]
    for curve in curves:
        steps, psnr = curve.ends[-1]
        gain = curve.gain_of_doubling
        trend = "" if math.isnan(gain) else f"{gain:+.3f}"
        lines.append(f"| {curve.name} | {len(curve.runs)} | {steps:,.0f} | {psnr:.3f} | {trend} |")
    return lines


def draw(curves: list[Curve], path: Path) -> None:
    """Validation PSNR against steps, a panel for each curve, the trend to eight times the steps."""
    figure = Figure(figsize=(5 * len(curves), 4), layout="constrained")
    for axes, curve in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves, strict=True):
        for run in curve.runs:
            axes.plot(*run.T, color="tab:blue", linewidth=1, alpha=0.6)
        axes.plot(*curve.ends.T, "o", color="tab:blue", label="end of a run")
        if len(curve.runs) > 1:
            ahead = np.geomspace(curve.ends[0, 0], 8 * curve.ends[-1, 0])
            label = f"{curve.gain_of_doubling:+.3f} dB for twice the steps"
            level = np.polyval(curve.trend, np.log2(ahead))
            axes.plot(ahead, level, "--", color="tab:gray", label=label)
        axes.set_xscale("log")
        axes.set(title=curve.name, xlabel="steps", ylabel="validation luma PSNR, dB")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=90)


def main() -> int:
    """Prints the table; draws if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cards", nargs="+", type=Path, metavar="CARD", help="model cards, JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG of PSNR against steps")
    options = parser.parse_args()
    curves = [curve for curve in (curve_of(load_card(path)) for path in options.cards) if curve]
    if not curves:
        parser.error("none of these cards records a validation")
    print(*table(curves), sep="\n")
    if options.plot:
        draw(curves, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
