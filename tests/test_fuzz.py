"""A short run of the fuzzer; benchmarks.fuzz is the long one."""

from benchmarks import fuzz
from codec.picture import Picture


def test_damaged_files_decode_or_are_refused(capsys, tmp_path):
    assert fuzz.main(["--inputs", "1000", "--seed", "7", "--keep", str(tmp_path / "kept")]) == 0
    table = capsys.readouterr().out
    for name in ("png", "jpg", "tif", "webp", "bmp", "gif", "jp2", "avif", "heic"):
        assert f"| {name} |" in table
    # pi-heif crashes on some files, which ends a child; the other libraries do not.
    assert not [file for file in tmp_path.glob("kept/*") if file.suffix != ".heic"]


def test_fuzzer_detects_planted_faults(monkeypatch, capsys, tmp_path):
    decode = fuzz.decode_isolated

    def careless(*arguments) -> Picture:
        picture = decode(*arguments)
        return Picture(picture.pixels[..., :2], picture.alpha, picture.format)

    monkeypatch.setattr(fuzz, "decode_isolated", careless)
    assert fuzz.main(["--inputs", "200", "--keep", str(tmp_path / "kept")]) == 1
    assert "FOUND" in capsys.readouterr().out
    assert any((tmp_path / "kept").iterdir())


def test_fuzzer_inputs_follow_from_the_seed():
    first, again, other = (list(fuzz.inputs(50, seed)) for seed in (1, 1, 2))
    assert first == again != other
