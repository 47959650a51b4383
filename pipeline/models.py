"""The table of shipped weights that `--list_models` prints."""

from pathlib import Path

from srcnn.weights import ModelCard, list_weights

_SETS = ("Set5", "Set14")
_COLUMNS = ("model", "undoes", "multiply-adds/px", *(f"{name}, dB" for name in _SETS))


def describe_models(directory: Path) -> str:
    """Every model of a directory with what it undoes, what it costs and what it gains.

    Raises:
      WeightsError: a model card is missing or damaged.
    """
    rows = [_COLUMNS]
    for card in list_weights(directory).values():
        cost = f"{card.architecture.multiply_adds:,}"
        rows.append(
            (card.name, str(card.degradation), cost, *(_gain(card, name) for name in _SETS))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines) + (
        "\n\nPSNR of degraded -> restored images, mean of the set: B, G and R together for opencv, "
        "luma for\nmatlab. Chosen by --model ARCHITECTURE, --scale, --kernel and --protocol, or by "
        "the whole name."
    )


def _gain(card: ModelCard, name: str) -> str:
    """Figures of a named set, over colours where the card has them."""
    figures = card.figures.get(name, {})
    prefix = "psnr" if "psnr_enhanced" in figures else "psnr_y"
    try:
        return f"{figures[f'{prefix}_degraded']:.2f} -> {figures[f'{prefix}_enhanced']:.2f}"
    except KeyError:
        return "-"
