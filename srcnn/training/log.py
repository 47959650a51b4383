"""What a run shows of itself: a CSV file, a plot, and lines or a bar while it goes."""

import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

COLUMNS = ("step", "learning_rate", "loss", "validation_psnr")


def write_csv(path: Path, history: np.ndarray) -> None:
    """Writes the history as CSV, whole and atomically; a figure not measured is an empty cell.

    Args:
      path: the file.
      history: float64 (n, 4), see Checkpoint.
    """
    lines = [",".join(COLUMNS)]
    for step, rate, loss, psnr in history:
        measured = "" if math.isnan(psnr) else f"{psnr:.4f}"
        lines.append(f"{step:.0f},{rate:.6g},{loss:.6g},{measured}")
    _replace(path, ("\n".join(lines) + "\n").encode())


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
    _replace(path, buffer.getvalue())


def describe(row: np.ndarray, steps: int, baseline: float) -> str:
    """One row of the history as a line for people."""
    step, _, loss, psnr = row
    line = f"step {step:.0f}/{steps}  loss {loss:.3e}"
    if math.isnan(psnr):
        return line
    return f"{line}  validation {psnr:.2f} dB (degraded {baseline:.2f}, {psnr - baseline:+.2f})"


def counted(first: int, steps: int) -> Iterator[int]:
    """The steps that are left, with a bar on a terminal."""
    bar = tqdm(
        range(first, steps),
        initial=first,
        total=steps,
        unit="step",
        disable=not sys.stderr.isatty(),
    )
    yield from bar


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
