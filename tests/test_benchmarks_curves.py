"""benchmarks.curves reads from a card how far its weights were trained."""

import json
import math

import pytest

from benchmarks import curves
from srcnn.weights import load_card
from weights import DIRECTORY


@pytest.fixture
def card_of(tmp_path):
    """Writes a shipped card with other runs; the last of them is the card's own."""

    def write(*runs):
        card = json.loads((DIRECTORY / "subpixel-large_x2_bicubic.json").read_text())
        card["training"] = runs[-1] | {"earlier": list(reversed(runs[:-1]))}
        path = tmp_path / "card.json"
        path.write_text(json.dumps(card))
        return path

    return write


def run(steps, *psnr, scale=2):
    """A run's account, validated at equal distances; the log's first line has no validation."""
    validated = [
        {"step": steps * (index + 1) / len(psnr), "loss": 0.5, "psnr_y": value}
        for index, value in enumerate(psnr)
    ]
    return {
        "architecture": "subpixel-large", "scale": scale, "kernel": "bicubic", "protocol": "matlab",
        "steps": steps, "curve": [{"step": 250, "loss": 0.9}, *validated],
    }  # fmt: skip


def test_trend_is_the_gain_of_twice_the_steps(card_of):
    # Ends at 2,000, 4,000 and 8,000 steps; runs at another scale do not count.
    runs = run(9000, 33.0, scale=3), run(2000, 36.5, 37.0), run(2000, 36.9, 37.1), run(4000, 37.2)
    curve = curves.curve_of(load_card(card_of(*runs)))
    assert curve.ends.tolist() == [[2000, 37.0], [4000, 37.1], [8000, 37.2]]
    assert curve.runs[1].tolist() == [[3000, 36.9], [4000, 37.1]]
    assert curve.gain_of_doubling == pytest.approx(0.1)


def test_one_run_has_no_trend(card_of):
    curve = curves.curve_of(load_card(card_of(run(2000, 36.5, 37.0))))
    assert math.isnan(curve.gain_of_doubling)
    assert curves.table([curve])[-1] == "| subpixel-large_x2_bicubic | 1 | 2,000 | 37.000 |  |"


def test_command_prints_and_draws_a_shipped_card(tmp_path, capsys, monkeypatch):
    card = DIRECTORY / "subpixel-large_x3_bicubic.json"
    monkeypatch.setattr("sys.argv", ["curves", str(card), "--plot", f"{tmp_path}/plot.png"])
    assert curves.main() == 0
    name, runs, steps, psnr, gain = (
        capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    )
    figures = json.loads(card.read_text())["figures"]["validation"]
    assert (name, int(runs) > 1, int(steps.replace(",", "")) > 10_000) == (card.stem, True, True)
    assert float(psnr) == pytest.approx(figures["psnr_y_enhanced"], abs=0.001)
    assert 0 < float(gain) < 1
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_cards_without_validation_are_refused(card_of, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["curves", str(card_of(run(2000)))])
    with pytest.raises(SystemExit):
        curves.main()
    assert "none of these cards records a validation" in capsys.readouterr().err
