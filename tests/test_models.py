"""Choice of weights, and settings taken from their cards."""

import cv2
import pytest
from conftest import near_identity

import run_pipeline
from pipeline.config import load_config
from pipeline.job import prepare_job
from pipeline.models import describe_models, other_choice
from srcnn.architectures import Architecture, ConvLayer
from srcnn.weights import list_weights, save_weights
from weights import DIRECTORY


@pytest.mark.parametrize(
    ("asked", "name", "protocol", "kernel"),
    [
        ({}, "srcnn-955_x2_bilinear", "opencv", "bilinear"),
        ({"protocol": "matlab"}, "srcnn-955_x2_bicubic", "matlab", "bicubic"),
        ({"scale": 1, "degrade": "jpeg=50"}, "photo-large_x1", "matlab", "bicubic"),
        ({"mode": "restore"}, "photo-large_x2", "matlab", "bicubic"),
        ({"mode": "restore", "scale": 4}, "photo-large_x4", "matlab", "bicubic"),
        ({"mode": "restore", "scale": 1}, "photo-large_x1", "matlab", "bicubic"),
        ({"mode": "restore", "protocol": "opencv"}, "subpixel-large_x2_bilinear", "opencv",
         "bilinear"),
        ({"mode": "restore", "kernel": "bilinear", "scale": 4}, "subpixel-large_x4_bilinear",
         "opencv", "bilinear"),
        ({"model": "photo-large"}, "photo-large_x2", "matlab", "bicubic"),
        ({"model": "subpixel-small"}, "subpixel-small_x2_bilinear", "opencv", "bilinear"),
    ],
)  # fmt: skip
def test_default_model_is_the_best_for_the_task(asked, name, protocol, kernel):
    job = prepare_job(load_config({"input": "in/*", "output": "out", **asked}))
    assert job.weights.card.name == name
    assert (job.config.protocol, job.config.kernel) == (protocol, kernel)
    assert job.config.model == asked.get("model", job.weights.card.architecture.name)
    assert not job.warnings


@pytest.fixture(scope="module")
def cubic_weights(tmp_path_factory):
    """Weights of a small network for x3 bicubic (matlab)."""
    layers = [ConvLayer(kernel=k, filters=f) for k, f in ((3, 2), (3, 1))]
    architecture = Architecture(name="tiny-33", layers=tuple(layers))
    return save_weights(
        tmp_path_factory.mktemp("weights"),
        near_identity(architecture),
        name="tiny-33_x3_bicubic",
        architecture=architecture,
        scale=3,
        kernel="bicubic",
        protocol="matlab",
        figures={"Set5": {"psnr_y_degraded": 30.123, "psnr_y_enhanced": 32.456}},
    )


@pytest.fixture
def image(tmp_path, photo):
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), photo[:60, :80])
    return path


def test_named_weights_set_their_degradation(run_job, image, cubic_weights):
    job = run_job("--input", image, "--weights", cubic_weights, "--mode", "restore")
    assert (job.code, job.err.count("warning")) == (0, 0)
    row = job.rows.iloc[0]
    assert (row.scale, row.kernel, row.protocol) == (3, "bicubic", "matlab")
    assert (row.output_width, row.output_height) == (240, 180)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--scale", "2"], (2, "bicubic", "matlab")),
        (["--kernel", "bilinear"], (3, "bilinear", "matlab")),
        (["--protocol", "opencv"], (3, "bilinear", "opencv")),
        (["--mode", "restore", "--scale", "1"], (1, "bicubic", "matlab")),
    ],
)
def test_options_override_the_card(run_job, image, cubic_weights, given, expected):
    job = run_job("--input", image, "--weights", cubic_weights, *given)
    assert job.code == 0, job.err
    row = job.rows.iloc[0]
    assert (row.scale, row.kernel, row.protocol) == expected
    assert ("was made for x3 bicubic (matlab)" in job.err) == (expected[0] != 1)


def test_full_model_name_sets_its_degradation(run_job, image):
    card = list(list_weights(DIRECTORY).values())[-1]
    job = run_job("--input", image, "--model", card.name, "--dry_run")
    assert f"x{card.scale} {card.kernel}, protocol {card.protocol}" in job.out
    assert "warning" not in job.err


def test_list_models_prints_every_shipped_model(capsys):
    with pytest.raises(SystemExit) as end:
        run_pipeline.main(["--list_models"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for card in list_weights(DIRECTORY).values():
        (line,) = (line for line in shown.splitlines() if line.startswith(card.name + " "))
        assert card.made_for in line
        if card.scale > 1:
            figures = card.figures["Set14"]
            assert f"{figures.get('psnr_enhanced', figures['psnr_y_enhanced']):.2f}" in line


def test_model_table_shows_the_card(cubic_weights):
    header, _, row, *_ = describe_models(cubic_weights.parent).splitlines()
    assert header.split() == ["model", "undoes", "multiply-adds/px", "Set5,", "dB", "Set14,", "dB"]
    assert row.split() == [
        "tiny-33_x3_bicubic", "x3", "bicubic", "(matlab)", "36", "30.12", "->", "32.46", "-",
    ]  # fmt: skip


def test_damaged_cards_are_reported_not_listed(capsys, tmp_path, monkeypatch):
    (tmp_path / "x.weights.h5").write_bytes(b"")
    (tmp_path / "x.json").write_text("{")
    monkeypatch.setattr("weights.DIRECTORY", tmp_path)
    assert run_pipeline.main(["--list_models"]) == 2
    assert "x.json: bad model card" in capsys.readouterr().err


def test_summary_suggests_a_better_or_a_faster_model():
    shipped = {card.name: card for card in list_weights(DIRECTORY).values()}
    cards = shipped.values()
    for model, other, work in (
        ("srcnn-955_x2_bicubic", "subpixel-large_x2_bicubic", "37%"),
        ("subpixel-large_x2_bicubic", "subpixel-small_x2_bicubic", "12%"),
    ):
        before, after = (shipped[n].figures["Set5"]["psnr_y_enhanced"] for n in (model, other))
        gap = f"{after - before:+.2f} dB on Set5"
        named = other_choice(shipped[model], cards)
        assert named.startswith(f"{other}: {gap}, {work} of the multiply-adds")
    assert (
        other_choice(shipped["subpixel-small_x2_bicubic"], [shipped["srcnn-915_x2_bicubic"]])
        is None
    )
    assert other_choice(shipped["srcnn-955_x4_bicubic"], [shipped["srcnn-955_x2_bicubic"]]) is None
