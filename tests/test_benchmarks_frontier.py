"""benchmarks.frontier reproduces the published figures of third-party networks."""

import re

import pytest

from benchmarks import frontier
from benchmarks.quality import named_set
from srcnn.training.data import read_image


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale", "psnr"), [("M4C16", 2, 37.12), ("M4C16", 4, 30.87)])
def test_figures_of_third_party_networks_are_in_the_table(shared, name, scale, psnr):
    _, paths = named_set(f"Set5={shared}/data/Set5/*.bmp")
    network = frontier.theirs(shared / f"weights/peers/ECBSR_{name}_x{scale}.onnx", scale)
    found, _ = frontier.quality(network, scale, [read_image(path) for path in paths])
    assert found == pytest.approx(psnr, abs=0.01)


@pytest.mark.slow
def test_table_and_plot_show_own_and_third_party_networks(shared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(frontier, "_SECONDS", 0.05)
    monkeypatch.setattr(frontier, "_ROUNDS", 1)
    monkeypatch.setattr("sys.argv", [
        "frontier", "--images", f"Set5={shared}/data/Set5/b*.bmp", "--scale", "2",
        "--onnx", f"{shared}/weights/peers/ECBSR_M4C16_x2.onnx", "--plot", f"{tmp_path}/plot.png",
        "--ensemble", "subpixel-small",
    ])  # fmt: skip
    assert frontier.main() == 0
    printed = capsys.readouterr().out
    rows = dict(re.findall(r"^\| (\S.*\S) \| ([\d.]+) / ", printed, re.MULTILINE))
    assert "ECBSR_M4C16_x2" in rows
    small, ensemble = (rows[f"**subpixel-small_x2_bicubic{end}**"] for end in ("", " --ensemble"))
    assert float(small) + 0.1 < float(ensemble)
    assert (tmp_path / "plot.png").stat().st_size > 10_000
