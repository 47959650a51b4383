"""A run's log: a CSV file, a plot, lines of progress and a bar."""

import io
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from srcnn.files import replace_file

COLUMNS = ("step", "learning_rate", "loss", "validation_psnr")


def write_csv(path: Path, history: np.ndarray) -> None:
    """Writes the history as CSV, atomically; a figure that was not measured is an empty cell.

    Args:
      path: the file.
      history: float64 (n, 4), see Checkpoint.
    """
    lines = [",".join(COLUMNS)]
    for step, rate, loss, psnr in history:
        measured = "" if math.isnan(psnr) else f"{psnr:.4f}"
        lines.append(f"{step:.0f},{rate:.6g},{loss:.6g},{measured}")
    replace_file(path, ("\n".join(lines) + "\n").encode())


def write_plot(path: Path, history: np.ndarray, baseline: float, title: str) -> None:
    """Draws loss and validation PSNR over the steps as PNG.

    Args:
      path: the file.
      history: float64 (n, 4), see Checkpoint.
      baseline: PSNR of the degraded validation images in dB.
      title: heading of the plot.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.semilogy(history[:, 0], history[:, 2], linewidth=1)
    above.set(title=title, ylabel="training loss (weighted MSE)")
    measured = history[~np.isnan(history[:, 3])]
    below.plot(measured[:, 0], measured[:, 3], marker=".", label="restored")
    below.axhline(baseline, color="grey", linestyle="--", label="degraded")
    below.set(xlabel="step", ylabel="validation luma PSNR (dB)")
    below.legend()
    for axes in (above, below):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    replace_file(path, buffer.getvalue())


def describe(row: np.ndarray, steps: int, baseline: float) -> str:
    """One row of the history as a line for people."""
    step, _, loss, psnr = row
    line = f"step {step:.0f}/{steps}  loss {loss:.3e}"
    if math.isnan(psnr):
        return line
    return f"{line}  validation {psnr:.2f} dB (degraded {baseline:.2f}, {psnr - baseline:+.2f})"


def progress(first: int, steps: int) -> Iterable[int]:
    """The remaining steps, with a bar on a terminal."""
    left, quiet = range(first, steps), not sys.stderr.isatty()
    return tqdm(left, initial=first, total=steps, unit="step", disable=quiet)
