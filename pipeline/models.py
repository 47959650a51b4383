"""Describes shipped weights: the table of `--list_models`, and recommendations."""

from collections.abc import Iterable
from pathlib import Path

from srcnn.weights import ModelCard, list_weights

_SETS = ("Set5", "Set14")
_COLUMNS = ("model", "undoes", "multiply-adds/px", *(f"{name}, dB" for name in _SETS))


def describe_models(directory: Path) -> str:
    """A table of the models of a directory: the degradation that each undoes, its cost and gain."""
    rows = [_COLUMNS]
    for card in list_weights(directory).values():
        cost = f"{card.architecture.multiply_adds:,}"
        rows.append((card.name, card.made_for, cost, *(_gain(card, name) for name in _SETS)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines) + (
        "\n\nPSNR of degraded -> restored images, mean of the set: B, G and R together for opencv, "
        "luma for\nmatlab. Choose by --model ARCHITECTURE, --scale, --kernel and --protocol, or by "
        "the full name."
    )


def other_choice(card: ModelCard, shipped: Iterable[ModelCard]) -> str | None:
    """A model for the same degradation that is better, or else much faster, in words, or None.

    Quality is the mean gain on Set5, cost the multiply-adds per pixel; both are on the model cards.
    """
    same = [c for c in shipped if c.made_for == card.made_for and _quality(c) is not None]
    own, cost = _quality(card), card.architecture.multiply_adds
    if own is None:
        return None
    better = [c for c in same if _quality(c) > own]
    faster = [c for c in same if c.architecture.multiply_adds < cost / 2]
    if not (better or faster):
        return None
    other = max(better or faster, key=_quality)
    share = other.architecture.multiply_adds / cost
    return (
        f"{other.name}: {_quality(other) - own:+.2f} dB on Set5, "
        f"{share:.0%} of the multiply-adds (--model {other.architecture.name})"
    )


def _quality(card: ModelCard) -> float | None:
    figures = card.figures.get(_SETS[0], {})
    return figures.get("psnr_gain", figures.get("psnr_y_gain"))


def _gain(card: ModelCard, name: str) -> str:
    """PSNR on a named set before and after; over colours if the card has that, else of luma."""
    figures = card.figures.get(name, {})
    prefix = "psnr" if "psnr_enhanced" in figures else "psnr_y"
    try:
        return f"{figures[f'{prefix}_degraded']:.2f} -> {figures[f'{prefix}_enhanced']:.2f}"
    except KeyError:
        return "-"
