"""Training: configuration, crops, the loop, checkpoints that survive a kill, the model card."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import PATIENCE
from support import random_tensors, random_weights

from srcnn.architectures import ARCHITECTURES, architecture_for, stack, subpixel
from srcnn.colour import unit_range
from srcnn.degradations import Degradation
from srcnn.engines import create_engine
from srcnn.engines.ensemble import Ensemble
from srcnn.resample import degrade_matlab, modcrop
from srcnn.restoration import Restoration
from srcnn.tiling import run_tiled
from srcnn.train import main
from srcnn.training import evaluate
from srcnn.training.chroma import fit_chroma_taps
from srcnn.training.config import TrainingError, configs_of_card, load_config
from srcnn.training.data import Batch, draw_batch, load_training_set
from srcnn.training.gratings import lay_grating
from srcnn.training.initial import initial_tensors
from srcnn.training.pairs import make_pair
from srcnn.training.recolour import recolour
from srcnn.training.whitening import parameters_of, whitening_matrix
from srcnn.weights import card_path, list_weights, load_weights, save_weights
from weights import DIRECTORY

ROOT = Path(__file__).parents[1]
STEPS = 120


def drawing(seed: int, side: int = 96) -> np.ndarray:
    """Flat discs and bars: interpolation blurs their edges, a network can restore them."""
    generator = np.random.default_rng(seed)
    image = np.full((side, side + 8, 3), generator.integers(0, 256, 3), np.uint8)
    for _ in range(24):
        colour = tuple(map(int, generator.integers(0, 256, 3)))
        centre = tuple(map(int, generator.integers(0, side, 2)))
        other = tuple(map(int, generator.integers(0, side, 2)))
        cv2.circle(image, centre, int(generator.integers(3, 14)), colour, -1)
        cv2.rectangle(image, centre, other, colour, 2)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with training and validation images and a configuration."""
    root = tmp_path_factory.mktemp("training")
    for part, seeds in (("train/deep", range(4)), ("held", range(10, 12))):
        (root / part).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(root / part / f"{seed}.png"), drawing(seed))
    settings = {
        "architecture": "srcnn-915",
        "scale": 2,
        "kernel": "bilinear",
        "images": [str(root / "train/**/*.png")],
        "validation": [str(root / "held/*.png")],
        "steps": STEPS,
        "batch": 4,
        "crop": 32,
        "copies": [1.0, 0.8],
        "checkpoint_every": 10,
        "validate_every": 60,
        "output": str(root / "output"),
        "data": "drawings",
        "terms": "none",
    }
    (root / "config.yaml").write_text(yaml.safe_dump(settings))
    return root


def restoration(protocol: str, scale: int, kernel: str, **more) -> Restoration:
    return Restoration(
        architecture_for("srcnn-915", 2), Degradation(protocol, scale, kernel), **more
    )


def command(folder: Path, *arguments: str | Path) -> list[str]:
    config = str(folder / "config.yaml")
    return [sys.executable, "-m", "srcnn.train", "--config", config, *map(str, arguments)]


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def read_config(folder: Path, **overrides):
    return load_config(folder / "config.yaml", overrides)


@pytest.fixture(scope="module")
def finished(folder):
    """The output of an undisturbed run."""
    output = folder / "undisturbed"
    done = run(folder, "--output", output, "--evaluate", f"drawn={folder}/held/1*.png")
    assert done.returncode == 0, done.stderr
    return output


def weights_of(output: Path) -> Path:
    return output / "srcnn-915_x2_bilinear.weights.h5"


# --- the loop ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "architecture"),
    [("tensorflow", "subpixel-small"), ("torch", "subpixel-small"), ("jax", "srcnn-915")],
)
def test_killed_and_resumed_training_gives_identical_weights(
    folder, tmp_path, monkeypatch, capsys, backend, architecture
):
    pytest.importorskip(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    chosen = ["--architecture", architecture, "--steps", "60"]
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "killed"
    done = run(folder, *chosen, "--output", undisturbed)
    assert done.returncode == 0 and f"({backend})" in done.stderr, done.stderr
    process = subprocess.Popen(
        command(folder, *chosen, "--output", output),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    while not (output / "checkpoint.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    name = f"{architecture}_x2_bilinear.weights.h5"
    assert not (output / name).exists()
    # The remains of a kill while a checkpoint was written.
    (output / ".checkpoint.npz.tmp").write_bytes(b"PK half")

    assert main([*command(folder, *chosen, "--output", output)[3:]]) == 2
    assert "continue with --resume" in capsys.readouterr().err
    resumed = run(folder, *chosen, "--output", output, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after step" in resumed.stderr
    assert (output / name).read_bytes() == (undisturbed / name).read_bytes()
    assert (output / "log.csv").read_text() == (undisturbed / "log.csv").read_text()


def test_training_reduces_the_loss_and_gains_psnr(finished):
    rows = [line.split(",") for line in (finished / "log.csv").read_text().splitlines()]
    assert rows[0] == ["step", "learning_rate", "loss", "validation_psnr"]
    assert [int(row[0]) for row in rows[1:]] == list(range(10, STEPS + 1, 10))
    losses = [float(row[2]) for row in rows[1:]]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    rates = [float(row[1]) for row in rows[1:]]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 1e-5
    assert [bool(row[3]) for row in rows[1:]] == [s % 60 == 0 for s in range(10, STEPS + 1, 10)]
    figures = json.loads((finished / "srcnn-915_x2_bilinear.json").read_text())["figures"]
    assert figures["validation"]["psnr_y_gain"] > 1.5  # 1.2 without whitening
    assert figures["validation"]["psnr_gain"] > 0
    assert (finished / "log.png").read_bytes().startswith(b"\x89PNG")


def test_card_records_the_training_and_weights_load(finished):
    weights = load_weights(weights_of(finished))
    card = weights.card
    assert card.architecture == architecture_for("srcnn-915", 2)
    assert (card.scale, card.kernel, card.protocol) == (2, "bilinear", "opencv")
    expected = {"steps": STEPS, "batch": 4, "crop": 32, "seed": 0, "images": 4, "gratings": 0}
    assert expected.items() <= card.training.items()
    assert (card.training["data"], card.training["terms"]) == ("drawings", "none")
    assert {"tensorflow", "keras", "numpy"} <= card.training["libraries"].keys()
    taps = card.chroma_taps
    assert len(taps) > 2 and taps[0] + 2 * sum(taps[1:]) == pytest.approx(1, abs=1e-9)
    # The named set holds the validation images, so its figures are the same.
    assert card.figures["drawn"] == card.figures["validation"]
    assert card.figures["validation"]["images"] == 2
    assert card.figures["validation"]["border"] == 6


def test_figures_on_the_card_equal_an_evaluation_of_the_file(folder, finished, capsys):
    card = load_weights(weights_of(finished)).card
    assert evaluate.main([str(weights_of(finished)), f"{folder}/held/*.png"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(
        card.figures["validation"], abs=2e-3
    )


def test_checkpoint_of_another_run_is_refused(folder, finished, capsys):
    arguments = command(folder, "--output", finished, "--resume")[3:]
    assert main([*arguments, "--steps", str(STEPS + 1)]) == 2
    assert f"steps ({STEPS}, now {STEPS + 1})" in capsys.readouterr().err
    assert main([*arguments, "--images", f"{folder}/train/deep/[12].png"]) == 2
    assert "another run; differences: data (" in capsys.readouterr().err


# --- initial weights ---


@pytest.mark.parametrize("name", ["srcnn-915", "srcnn-955", "srcnn-935-128"])
@pytest.mark.parametrize("degradation", [("opencv", 2, "bilinear"), ("matlab", 3, "bicubic")])
def test_initial_network_returns_the_interpolation(name, degradation):
    from srcnn.engines.keras import KerasEngine

    pair = make_pair(drawing(3, 48), restoration(*degradation))
    luma = np.clip(unit_range(pair.seen), 0, 1)
    architecture = architecture_for(name, 2)
    output = KerasEngine(architecture, initial_tensors(architecture, 7)).run(
        luma[np.newaxis, ..., np.newaxis]
    )
    inner = slice(architecture.margin, -architecture.margin)
    np.testing.assert_allclose(output[0, ..., 0], luma[inner, inner], atol=1e-6)


def test_initial_weights_follow_from_the_seed():
    architecture = architecture_for("srcnn-955", 2)
    one, same, other = (initial_tensors(architecture, seed)[0][0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one)) > one[..., 1:].size * 0.9  # no two filters are equal


# --- whitening ---


@pytest.mark.parametrize("side", [1, 5, 9])
def test_whitened_parameters_reproduce_the_kernel(folder, side):
    config = read_config(folder, batch=16)
    training = load_training_set(config)
    luma = draw_batch(training, config, 0)[0][..., 0]
    whitening = whitening_matrix(luma, side)
    kernel = np.random.default_rng(0).normal(size=(side, side, 3, 2)).astype(np.float32)
    parameters = parameters_of(kernel, whitening)
    taps = whitening @ parameters.reshape(len(whitening), -1)
    np.testing.assert_allclose(taps.reshape(kernel.shape), kernel, atol=1e-4)


def test_whitening_amplifies_differences_between_neighbours(folder):
    config = read_config(folder, batch=16)
    training = load_training_set(config)
    luma = draw_batch(training, config, 0)[0][..., 0]
    whitening = whitening_matrix(luma, 3)
    common = np.full(9, 1 / 3)
    checkers = np.array([1, -1, 1, -1, 0, -1, 1, -1, 1]) / np.sqrt(8)
    assert np.linalg.norm(whitening @ common) == pytest.approx(0.1, rel=0.05)
    assert np.linalg.norm(whitening @ checkers) > 20 * np.linalg.norm(whitening @ common)


# --- pairs and crops ---


@pytest.mark.parametrize(
    ("protocol", "kernel", "scale", "least"),
    [("opencv", "bilinear", 2, 0.2), ("matlab", "bicubic", 3, 0.07)],
)
def test_fitted_chroma_filter_reduces_colour_errors(protocol, kernel, scale, least):
    asked = restoration(protocol, scale, kernel)
    taps = fit_chroma_taps([drawing(seed) for seed in range(6)], asked)
    assert taps[0] + 2 * sum(taps[1:]) == pytest.approx(1, abs=1e-9)
    for seed in (20, 21, 22):  # images that it was not fitted to
        image = asked.ground_truth(drawing(seed))
        interpolated = asked.interpolate(asked.degrade(image), image.shape[:2], image.dtype)
        luma = asked.protocol.image_luma(image)
        composed = (
            restoration(protocol, scale, kernel, chroma_taps=half).compose(
                interpolated, luma, luma.dtype
            )
            for half in ((), taps)
        )
        plain, sharp = (np.square(result.astype(float) - image).mean() for result in composed)
        assert sharp < (1 - least) * plain


def test_gray_training_images_give_no_chroma_filter():
    asked = restoration("opencv", 2, "bilinear")
    assert fit_chroma_taps([drawing(0)[..., 0], drawing(1)[:7, :7]], asked) == ()


def test_matlab_pairs_are_never_rounded():
    image = drawing(5, 50)[:, :49]
    pair = make_pair(image, restoration("matlab", 3, "bicubic"))
    blue, green, red = (image[..., channel].astype(float) for channel in range(3))
    luma = np.floor(16.5 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255)
    luma = modcrop(luma, 3)
    assert pair.original.shape == (48, 48) and np.array_equal(pair.original, luma)
    assert pair.seen.dtype == np.float32
    np.testing.assert_allclose(pair.seen, degrade_matlab(luma, 3, "bicubic") / 255, atol=1e-6)


def test_opencv_pairs_degrade_the_colour_image_in_its_dtype():
    image = drawing(6)
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_CUBIC)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    pair = make_pair(image, restoration("opencv", 4, "bicubic"))
    assert np.array_equal(pair.seen, cv2.cvtColor(large, cv2.COLOR_BGR2YCrCb)[..., 0])
    assert np.array_equal(pair.original, cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0])


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "area", "lanczos"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_only_symmetric_degradations_commute_with_flips(kernel, scale):
    image = drawing(8, 96)[:96, :96]
    asked = restoration("opencv", scale, kernel)
    degradation = asked.degradation
    flipped_after = make_pair(image, asked).seen[:, ::-1].astype(int)
    flipped_before = make_pair(np.ascontiguousarray(image[:, ::-1]), asked).seen
    agrees = np.abs(flipped_after - flipped_before).max() <= 2  # rounding alone
    # Odd scales have a middle pixel, which `nearest` takes at x3: harmless not to flip there.
    assert agrees or not degradation.is_symmetric
    assert not agrees or degradation.is_symmetric or scale == 3


def chain_config(folder: Path, **overrides):
    chosen = {"architecture": "photo-small", "batch": 40, "copies": [1.0]}
    return read_config(folder, **(chosen | overrides))


@pytest.mark.parametrize(("protocol", "kernel"), [("opencv", "bilinear"), ("matlab", "bicubic")])
@pytest.mark.parametrize("architecture", ["photo-small", "subpixel-small", "srcnn-915"])
def test_each_crop_draws_its_own_degradation(folder, architecture, protocol, kernel):
    chain = "shrink noise=0..20"
    config = chain_config(
        folder, architecture=architecture, protocol=protocol, kernel=kernel, degrade=[chain]
    )
    training = load_training_set(config)
    inputs, targets, weights, *_ = draw_batch(training, config, 3)
    network = config.network
    side = (32 - 2 * network.margin) * network.upscale
    assert inputs.shape == (40, 32, 32, network.planes)
    assert targets.shape == (40, side, side, network.planes)
    assert weights.shape == (40, network.planes)
    # Noisier crops weigh less, and no two are equally noisy.
    assert len(np.unique(weights[:, 0])) == 40
    assert weights.max() > 1.3 * weights.min()
    assert np.array_equal(inputs, draw_batch(training, config, 3)[0])
    margin = network.margin
    centres = inputs[:, margin:-margin, margin:-margin]
    blocks = targets.reshape(40, side // network.upscale, network.upscale, -1, network.upscale,
                             network.planes).mean((2, 4))  # fmt: skip
    aligned = np.abs(centres - blocks)[..., 0].mean()
    moved = np.abs(np.roll(centres, 2, 1) - blocks)[..., 0].mean()
    assert aligned < 0.7 * moved


def test_chains_are_drawn_equally_often(folder):
    config = chain_config(folder, degrade=["shrink", "shrink noise=90"], batch=200)
    inputs, *_ = draw_batch(load_training_set(config), config, 0)
    grain = np.abs(np.diff(inputs[..., 0], axis=2)).mean((1, 2))
    assert 0.4 < (grain > 0.15).mean() < 0.6


@pytest.mark.slow
def test_network_on_luma_and_chroma_learns_both(folder, tmp_path):
    from srcnn.training.run import train

    config = chain_config(
        folder, degrade=["shrink=area jpeg=30..60"], batch=8, steps=120, learning_rate=3e-3,
        output=tmp_path, evaluate={}, name="cleaner",
    )  # fmt: skip
    path = train(config, resume=False, report=lambda line: None)
    card = load_weights(path).card
    assert path.name == "cleaner.weights.h5" and card.degrade == config.degrade
    assert card.chroma_taps == () and card.architecture.planes == 3
    from srcnn import load_model

    asked = Restoration(card.architecture, Degradation("opencv", 2, "bilinear"))
    degraded, model = asked.degraded_by(config.chains[0]), load_model(path)
    gains = []
    for seed in range(50, 66):  # a single drawing's Cr may gain 0.01 dB
        truth = drawing(seed)[:64, :64]
        small = degraded.degrade(truth, f"{seed}")
        interpolated = asked.interpolate(small, truth.shape[:2], truth.dtype)
        true, before, after = (
            cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb))
            for image in (truth, interpolated, model.enlarge(small))
        )
        gains.append(np.subtract([*map(cv2.PSNR, true, after)], [*map(cv2.PSNR, true, before)]))
    assert np.mean(gains, axis=0).min() > 0.1


def test_error_beyond_that_of_the_interpolation_counts_more(folder):
    from srcnn.training.trainer import Trainer

    rng = np.random.default_rng(0)
    tensors = random_tensors(architecture_for("srcnn-915", 2))
    inputs = np.float32(rng.random((3, 32, 32, 1)))
    targets, weights = inputs[:, 6:-6, 6:-6], np.ones((3, 1), np.float32)

    def loss(excess_weight: float, interpolation_error: float) -> float:
        config = read_config(folder, excess_weight=excess_weight)
        errors = np.full_like(weights, interpolation_error)
        batch = Batch(inputs, targets, weights, errors, np.zeros((3, 3), np.float32))
        return float(Trainer(config, tensors, [batch]).step(batch))

    # All error is beyond that of a perfect interpolation, and none beyond a hopeless one's.
    assert loss(2, 0) == pytest.approx(3 * loss(0, 0), rel=1e-5)
    assert loss(2, 0.01) == pytest.approx(3 * loss(0, 0) - 2 * 0.01, rel=1e-5)
    assert loss(2, 100) == loss(0, 100)


@pytest.mark.parametrize("architecture", ["srcnn-915", "subpixel-small", "photo-small"])
def test_interpolation_errors_are_those_of_the_compared_pixels(folder, architecture):
    config = read_config(
        folder, architecture=architecture, scale=3, crop=32, excess_weight=1, batch=40
    )
    training = load_training_set(config)
    batch = draw_batch(training, config, 0)
    network = config.network
    inner = slice(network.margin * network.upscale, (32 - network.margin) * network.upscale)
    kernel = cv2.INTER_LINEAR if network.planes == 1 else cv2.INTER_CUBIC
    expected = []
    for crop, target in zip(batch.inputs, batch.targets, strict=True):
        large = cv2.resize(crop, None, fx=network.upscale, fy=network.upscale, interpolation=kernel)
        difference = large.reshape(*large.shape[:2], -1)[inner, inner] - target
        expected.append(np.square(difference).mean(axis=(0, 1)))
    # Codes were rounded to 8 bits after the enlargement.
    np.testing.assert_allclose(batch.interpolation_errors, expected, rtol=0.02, atol=1e-5)
    none = config.model_copy(update={"excess_weight": 0.0})
    assert not draw_batch(load_training_set(none), none, 0).interpolation_errors.any()


def test_geometric_mean_of_the_crops_losses(folder):
    from srcnn.training.trainer import Trainer

    rng = np.random.default_rng(0)
    tensors = random_tensors(architecture_for("srcnn-915", 2))
    inputs = np.float32(rng.random((3, 32, 32, 1)))
    margin = architecture_for("srcnn-915", 2).margin
    targets, weights = inputs[:, margin:-margin, margin:-margin], np.float32([[1], [2], [30]])

    def loss(loss_mean: str, *crops: int) -> float:
        parts = (inputs, targets, weights, np.zeros_like(weights), np.zeros((3, 3), np.float32))
        batch = Batch(*(part[list(crops)] for part in parts))
        config = read_config(folder, loss_mean=loss_mean)
        return float(Trainer(config, tensors, [batch]).step(batch))

    losses = [loss("arithmetic", crop) for crop in range(3)]
    assert loss("arithmetic", 0, 1, 2) == pytest.approx(np.mean(losses), rel=1e-5)
    expected = np.prod([each + 0.1 for each in losses]) ** (1 / 3)
    assert loss("geometric", 0, 1, 2) == pytest.approx(expected, rel=1e-5)


def test_ensemble_share_draws_outputs_towards_the_self_ensemble_of_the_start(folder):
    from srcnn.engines.keras import KerasEngine
    from srcnn.training.trainer import Trainer

    config = read_config(folder, architecture="subpixel-small", scale=3, ensemble_share=1)
    tensors = random_tensors(config.network)
    engine = KerasEngine(config.network, tensors)
    crop = np.random.default_rng(0).random((1, 32, 32, 1)).astype(np.float32)
    output = engine.run(crop)
    views = np.float32(list(itertools.product((0, 1), repeat=3)))
    seen = []
    for down, across, transposed in views.astype(bool):
        turned = crop[:, ::-1] if down else crop
        turned = turned[:, :, ::-1] if across else turned
        result = engine.run(turned.swapaxes(1, 2) if transposed else turned)
        result = result.swapaxes(1, 2) if transposed else result
        result = result[:, :, ::-1] if across else result
        seen.append(result[:, ::-1] if down else result)
    np.testing.assert_allclose(np.mean(seen, axis=0), Ensemble(engine).run(crop), atol=1e-5)

    targets = np.zeros_like(output)
    one = np.ones((8, 1), np.float32)
    batch = Batch(*(np.repeat(part, 8, axis=0) for part in (crop, targets)), one, 0 * one, views)

    def loss(share: float) -> float:
        shared = config.model_copy(update={"ensemble_share": share})
        return float(Trainer(shared, tensors, [batch]).step(batch))

    distances = [np.square(output - each).mean() for each in seen]
    assert loss(0) == pytest.approx(np.square(output).mean(), rel=1e-5)
    assert loss(1) == pytest.approx(np.mean(distances), rel=1e-5) and max(distances) > 1e-3
    assert loss(0.25) == pytest.approx(0.75 * loss(0) + 0.25 * loss(1), rel=1e-5)


def test_views_cover_eight_flips_and_turns_and_follow_from_the_step(folder):
    config = read_config(folder, batch=64)
    training = load_training_set(config)
    first, again, other = (draw_batch(training, config, step) for step in (3, 3, 4))
    assert {tuple(view) for view in first.views} == set(itertools.product((0, 1), repeat=3))
    assert np.array_equal(first.views, again.views)
    assert not np.array_equal(first.views, other.views)


def test_ensemble_share_needs_weights_that_do_the_same(folder, finished):
    from srcnn.training.run import load_inputs

    with pytest.raises(TrainingError, match="ensemble_share needs warm_start"):
        load_inputs(read_config(folder, ensemble_share=0.5))
    given = {"ensemble_share": 0.5, "warm_start": weights_of(finished)}
    assert load_inputs(read_config(folder, **given)).warm_start
    for other in ({"scale": 3}, {"kernel": "bicubic"}, {"protocol": "matlab"}):
        with pytest.raises(TrainingError, match="cannot teach .*same depth, scale, kernel"):
            load_inputs(read_config(folder, **given, **other))


def test_gratings_and_chains_exclude_each_other(folder):
    with pytest.raises(TrainingError, match="gratings need chains that only shrink"):
        read_config(folder, gratings=0.5, degrade=["shrink jpeg=50"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_recolouring_saturates_colours_and_keeps_gray(dtype):
    peak = np.iinfo(dtype).max
    image = (np.random.default_rng(1).uniform(0.4, 0.6, (32, 32, 3)) * peak).astype(dtype)
    made = [recolour(image, np.random.default_rng(seed)) for seed in range(20)]
    assert all(picture.dtype == dtype and picture.shape == image.shape for picture in made)
    spread = [np.ptp(p.astype(float), axis=-1).mean() for p in made]
    assert max(spread) > 2 * np.ptp(image.astype(float), axis=-1).mean()
    gray = image[..., 0]
    tones = {tuple(recolour(gray, np.random.default_rng(seed)).ravel()) for seed in range(20)}
    assert tones == {tuple(gray.ravel()), tuple((peak - gray).ravel())}


def test_share_of_the_crops_is_recoloured(folder):
    plain = read_config(folder, architecture="photo-small", batch=40, crop=16)
    vivid = read_config(folder, architecture="photo-small", batch=40, crop=16, recolour=1.0)
    first, second = (
        draw_batch(load_training_set(config), config, 0)[1] for config in (plain, vivid)
    )
    chroma = [np.abs(batch[..., 1:] - 0.5).mean() for batch in (first, second)]
    assert chroma[1] > 1.25 * chroma[0]


def test_recolouring_needs_a_network_that_sees_colours(folder):
    with pytest.raises(TrainingError, match="network on colours; srcnn-915 processes luma only"):
        read_config(folder, architecture="srcnn-915", recolour=0.5)


def test_colour_and_gray_images_are_evaluated_together(tmp_path, finished):
    for name, image in (("a", drawing(3)), ("b", drawing(4)[..., 1])):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    weights = load_weights(weights_of(finished))
    asked = restoration("opencv", 2, "bilinear")
    engine = create_engine("tensorflow", weights)
    figures = evaluate.evaluate(engine, sorted(tmp_path.glob("*.png")), asked)
    assert figures["images"] == 2 and figures["psnr_enhanced"] > 0


def test_crops_are_aligned_and_follow_from_seed_and_step(folder):
    config = read_config(folder, batch=64)
    training = load_training_set(config)
    inputs, targets, weights, *_ = draw_batch(training, config, 5)
    assert inputs.shape == (64, 32, 32, 1) and inputs.dtype == np.float32
    assert targets.shape == (64, 20, 20, 1) and targets.dtype == np.float32
    assert weights.shape == (64, 1) and weights.dtype == np.float32
    assert inputs.min() >= 0 and 0.5 < inputs.max() <= 1
    centres = inputs[:, 6:-6, 6:-6]
    aligned = np.square(centres - targets).mean()
    for axis in (1, 2):  # any shift of input against target makes the difference larger
        for shift in (-1, 1):
            moved = np.roll(inputs, shift, axis)[:, 6:-6, 6:-6]
            assert np.square(moved - targets).mean() > 1.5 * aligned
    assert np.array_equal(inputs, draw_batch(training, config, 5)[0])
    assert not np.array_equal(inputs, draw_batch(training, config, 6)[0])
    other = config.model_copy(update={"seed": 1})
    assert not np.array_equal(inputs, draw_batch(training, other, 5)[0])


def test_crops_cover_all_positions_and_eight_orientations(folder):
    config = read_config(folder, batch=4096, crop=93, architecture="srcnn-955", copies=[1.0])
    config = config.model_copy(update={"images": (f"{folder}/train/deep/0.png",)})
    training = load_training_set(config)
    inputs, *_ = draw_batch(training, config, 0)
    (pair,) = training.copies
    height, width = pair.original.shape
    places = (height - 92) * (width - 92)
    assert places >= 3 * 11
    assert len({crop.tobytes() for crop in inputs}) == places * 8  # rotated and flipped


def test_crops_reach_beyond_edges_as_the_job_mirrors_them(tmp_path, folder):
    cv2.imwrite(str(tmp_path / "1.png"), drawing(1)[:41, :41])
    overrides = {
        "architecture": "subpixel-small", "protocol": "matlab", "kernel": "bicubic",
        "images": [f"{tmp_path}/1.png"], "copies": [1.0], "batch": 8,
    }  # fmt: skip
    # The small picture of 20 pixels and the margin of 7 on each side.
    config = read_config(folder, **overrides, crop=34, edges=True)
    with pytest.raises(TrainingError, match="no image of .* is as large as a crop of 34"):
        load_training_set(config.model_copy(update={"edges": False}))
    pair = make_pair(drawing(1)[:40, :40], config.restoration)
    engine = create_engine("openvino", random_weights(config.network), 1)
    whole = np.empty((40, 40), np.float32)
    for place, part in run_tiled(engine, pair.seen):
        whole[place] = part
    batch = draw_batch(load_training_set(config), config, 0)
    for crop, target in zip(*batch[:2], strict=True):
        ways = [(flip, turns) for flip in (1, -1) for turns in range(4)]
        turned = [
            [np.rot90(part[:, ::flip], turns) for part in (crop, target)] for flip, turns in ways
        ]
        inputs, _ = next(
            way for way in turned if np.abs(way[1][..., 0] - pair.original / 255).max() < 1e-6
        )
        assert np.abs(engine.run(inputs[None])[0, ..., 0] - whole).max() < 1e-5


@pytest.mark.parametrize(("protocol", "kernel"), [("matlab", "bicubic"), ("opencv", "bilinear")])
def test_shifted_crops_are_degraded_from_any_pixel_on(tmp_path, folder, protocol, kernel):
    image = np.random.default_rng(0).integers(0, 256, (90, 93), np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), image)
    overrides = {
        "architecture": "subpixel-small", "protocol": protocol, "kernel": kernel, "scale": 3,
        "images": [f"{tmp_path}/1.png"], "copies": [1.0], "batch": 64, "crop": 20,
    }  # fmt: skip
    config = read_config(folder, **overrides, shifts=True)
    training = load_training_set(config)
    luma = training.copies[0].original
    offsets = set()
    for crop, target in zip(*draw_batch(training, config, 0)[:2], strict=True):
        seen, place = next(
            (np.rot90(crop[:, ::flip], turns)[..., 0], place)
            for flip in (1, -1)
            for turns in range(4)
            if (place := find(np.rot90(target[:, ::flip], turns)[..., 0], luma)) is not None
        )
        begin = place - config.network.margin * 3
        offset = tuple(begin % 3)
        height, width = (luma.shape - np.array(offset)) // 3 * 3 + offset
        pair = make_pair(luma[offset[0] : height, offset[1] : width], config.restoration)
        top, left = (begin - offset) // 3
        expected = np.float64(pair.seen)[top : top + 20, left : left + 20]
        if pair.seen.dtype == np.uint8:
            expected /= 255
        inner = slice(3, -3)  # the shifted image ends where the image goes on
        assert np.abs(seen - expected)[inner, inner].max() < 1e-6
        offsets.add(offset)
    assert len(offsets) == 9


def find(part: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """Row and column of a part of a uint8 image, given in [0, 1]."""
    codes = np.rint(part * 255).astype(np.uint8)
    differences = cv2.matchTemplate(image, codes, cv2.TM_SQDIFF)
    top, left = np.unravel_index(differences.argmin(), differences.shape)
    found = image[top : top + len(codes), left : left + codes.shape[1]]
    return np.array([top, left]) if np.array_equal(found, codes) else None


def test_training_images_are_offset_by_every_remainder(tmp_path, folder):
    # OpenCV degrades 95 pixels differently from 96 or 97, and a job's pictures have all sizes.
    for seed in range(12):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), drawing(seed)[:95, :71])
    config = read_config(folder, scale=3, copies=[1.0, 0.8], images=[f"{tmp_path}/*.png"])
    training = load_training_set(config)
    shapes = {pair.original.shape for pair in training.copies[0::2]}
    assert {height for height, _ in shapes} == {93, 94, 95}
    assert {width for _, width in shapes} == {69, 70, 71}
    height, width = training.copies[0].original.shape
    expected = make_pair(drawing(0)[:height, :width], restoration("opencv", 3, "bilinear"))
    assert np.array_equal(training.copies[0].seen, expected.seen)
    assert {pair.original.shape[1] for pair in training.copies[1::2]} <= {55, 56, 57}


def test_globs_are_drawn_equally_often(tmp_path, folder):
    for name, value, side in (("small", 0, 40), ("large", 255, 160)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.full((side, side), value, np.uint8))
    images = [f"{tmp_path}/small/*.png", f"{tmp_path}/large/*.png", f"{tmp_path}/*/*.png"]
    config = read_config(folder, images=images, batch=4000, copies=[1.0])
    training = load_training_set(config)
    assert training.images == 2 and len(training.copies) == 2  # the third glob brings nothing new
    inputs, *_ = draw_batch(training, config, 0)
    assert inputs[:, 0, 0, 0].mean() == pytest.approx(0.5, abs=0.05)


def test_loss_weights_images_by_psnr_not_by_error(tmp_path, folder):
    # The same drawing at full and at a quarter of its contrast: a network has as much to gain
    # in dB on either, so their weighted errors have to be alike.
    strong = drawing(0)[:96, :96]
    weak = np.rint(128 + (strong.astype(float) - 128) / 4).astype(np.uint8)
    for name, image in (("strong", strong), ("weak", weak)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    config = read_config(folder, images=[f"{tmp_path}/*.png"], copies=[1.0])
    training = load_training_set(config)
    errors = np.array([
        np.square(unit_range(pair.seen) - unit_range(pair.original)).mean(dtype=float)
        for pair in training.copies
    ])  # fmt: skip
    assert errors[0] > 10 * errors[1]
    expected = np.float32(1 / (errors + 1e-4))
    drawn = draw_batch(training, config.model_copy(update={"batch": 500}), 0)[2]
    np.testing.assert_allclose(sorted(set(drawn.ravel())), sorted(expected), rtol=1e-5)


def test_gratings_are_added_to_a_share_of_crops_before_degradation(tmp_path, folder):
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((80, 81), 120, np.uint8))
    config = read_config(
        folder, images=[f"{tmp_path}/*.png"], scale=3, batch=400, crop=33, gratings=0.25
    )
    training = load_training_set(config)
    inputs, targets, *_ = draw_batch(training, config, 0)
    laid = np.ptp(targets, axis=(1, 2, 3)) > 0
    assert 0.18 < laid.mean() < 0.32
    assert np.ptp(inputs[~laid]) == 0
    # At x3 OpenCV leaves out all but the middle pixel of each block, so the degraded picture still
    # has those, at one of nine places of the crop.
    centres = inputs[laid, 6:-6, 6:-6]
    same = np.stack([
        (centres[:, y::3, x::3] == targets[laid, y::3, x::3]).all((1, 2, 3))
        for y in range(3) for x in range(3)
    ])  # fmt: skip
    assert same.any(axis=0).all() and same.mean() < 0.5
    without = config.model_copy(update={"gratings": 0.0})
    assert np.ptp(draw_batch(training, without, 0)[1]) == 0


def test_crop_with_a_grating_is_weighted_by_its_own_error(folder):
    config = read_config(folder, gratings=1.0, batch=400)
    training = load_training_set(config)
    inputs, targets, weights, *_ = draw_batch(training, config, 0)
    errors = np.square(inputs[:, 6:-6, 6:-6] - targets).mean((1, 2, 3), dtype=float)
    # The weight is computed over a slightly larger area than the comparison.
    assert np.median(weights[:, 0] * (errors + 1e-4)) == pytest.approx(1, rel=0.1)
    assert np.corrcoef(np.log(weights[:, 0]), np.log(errors + 1e-4))[0, 1] < -0.8


@pytest.mark.parametrize(("protocol", "kernel"), [("opencv", "bilinear"), ("matlab", "bicubic")])
def test_gratings_work_on_pictures_as_small_as_a_crop(tmp_path, folder, protocol, kernel):
    for side in (33, 34, 35, 38):
        cv2.imwrite(str(tmp_path / f"{side}.png"), np.full((side, side + 1), 120, np.uint8))
    config = read_config(
        folder, images=[f"{tmp_path}/*.png"], scale=3, kernel=kernel, protocol=protocol,
        crop=33, copies=[1.0], batch=40, gratings=1.0,
    )  # fmt: skip
    inputs, targets, *_ = draw_batch(load_training_set(config), config, 0)
    assert inputs.shape == (40, 33, 33, 1)
    assert (np.ptp(targets, axis=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gratings_exceed_the_nyquist_limit_of_the_small_picture(dtype):
    peak = np.iinfo(dtype).max
    flat = np.full((96, 96), peak // 2, dtype)
    generator = np.random.default_rng(0)
    periods, heights = [], []
    for _ in range(200):
        laid = lay_grating(flat, 3, generator)
        assert laid.dtype == dtype and laid.shape == flat.shape
        waves = laid.astype(float) - flat
        power = np.abs(np.fft.fft2(waves - waves.mean())) ** 2
        strongest = np.unravel_index(power.argmax(), power.shape)
        periods.append(1 / np.hypot(*(np.fft.fftfreq(96)[place] for place in strongest)))
        heights.append(np.abs(waves).max() / peak)
    # The small picture's Nyquist limit is 6 pixels; finer gratings alias.
    assert 0.5 < np.mean(np.array(periods) < 6) < 0.9
    assert min(periods) < 2.5 and max(periods) > 7
    assert min(heights) > 0.005 and max(heights) < 0.33
    # The source is not modified.
    assert not np.array_equal(flat, laid) and (flat == peak // 2).all()


def test_without_validation_every_tenth_image_is_held_out(folder):
    from srcnn.training.run import load_inputs

    inputs = load_inputs(read_config(folder, validation=[]))
    assert inputs.evaluation == {"validation": [folder / "train/deep/0.png"]}
    assert inputs.training.images == 3
    whole, *_ = load_training_set(read_config(folder)).copies
    assert not any(
        pair.original.shape == whole.original.shape and (pair.original == whole.original).all()
        for pair in inputs.training.copies
    )
    with pytest.raises(TrainingError, match="0.png is the only image"):
        load_inputs(read_config(folder, validation=[], images=[f"{folder}/train/deep/0.png"]))


def test_output_and_data_are_named_after_the_run(folder):
    config = read_config(folder, output="runs/{name}/a", scale=3, data="")
    assert config.output == Path("runs/srcnn-915_x3_bilinear/a")
    assert config.data == f"images of {folder}/train/**/*.png"


# --- the optimiser ---


def directions(gradients: list[np.ndarray]) -> list[np.ndarray]:
    """The steps that Soap takes for a sequence of gradients, bases turned every third step."""
    from keras import ops

    from srcnn.training.soap import Moments, initial_moments, step_direction, turned

    moments = Moments(*map(ops.convert_to_tensor, initial_moments(gradients[:4])))
    steps = []
    for age, gradient in enumerate(gradients, 1):
        moments, step = step_direction(moments, ops.convert_to_tensor(gradient), float(age))
        steps.append(-ops.convert_to_numpy(step))
        if age % 3 == 0:
            moments = turned(moments)
    return steps


def test_soap_steps_are_invariant_to_rotation():
    # The point of the eigenbasis: Adam's steps depend on the axes.
    generator = np.random.default_rng(0)
    scales = np.array([30, 10, 3, 1, 0.3])[:, np.newaxis] * np.array([5, 1, 0.2])
    gradients = [np.float32(scales * generator.normal(size=(5, 3))) for _ in range(12)]
    left, right = (np.linalg.qr(generator.normal(size=(n, n)))[0] for n in (5, 3))
    turned = directions([np.float32(left @ g @ right) for g in gradients])
    for step, other in zip(directions(gradients), turned, strict=True):
        np.testing.assert_allclose(left @ step @ right, other, atol=2e-2)


def test_soap_equals_adam_in_the_eigenbasis():
    generator = np.random.default_rng(1)
    diagonal = np.diag([8.0, 3.0, 1.0])
    gradients = [np.float32(diagonal * generator.uniform(0.8, 1.2, 3)) for _ in range(10)]
    mean = power = np.zeros((3, 3))
    for age, (gradient, step) in enumerate(zip(gradients, directions(gradients), strict=True), 1):
        mean = 0.9 * mean + 0.1 * gradient
        power = 0.99 * power + 0.01 * gradient**2
        adam = -(mean / (1 - 0.9**age)) / (np.sqrt(power / (1 - 0.99**age)) + 1e-8)
        np.testing.assert_allclose(step, adam, atol=1e-4)


# --- refusals ---


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stepz": 3}, "unknown setting 'stepz'"),
        ({"steps": 0}, "steps: "),
        ({"steps": "many"}, "it is 'many'"),
        ({"kernel": "cubic"}, "no kernel 'cubic'; it has: nearest, bilinear"),
        ({"protocol": "matlab", "kernel": "lanczos"}, "no kernel 'lanczos'"),
        ({"protocol": "pillow"}, "protocol: "),
        ({"architecture": "resnet"}, "there are: srcnn-915"),
        ({"crop": 12}, "crop 12 is too small"),
        (
            {"edges": True},
            "edges and shifts need chains that only shrink, and a network on the small luma",
        ),
        (
            {"shifts": True},
            "edges and shifts need chains that only shrink, and a network on the small luma",
        ),
        ({"ema_decay": 1.0}, "ema_decay: "),
        ({"copies": [1.5]}, "copies.0: "),
        ({"validate_every": 15}, "not a multiple of checkpoint_every 10"),
        ({"images": []}, "images: "),
        ({"images": "photos/*"}, "images: "),
    ],
)
def test_impossible_settings_are_refused_in_one_line(folder, overrides, message):
    with pytest.raises(TrainingError) as error:
        read_config(folder, **overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1", "mapping"),
        ("a: [", "not valid YAML"),
        ("scale: 2", "kernel: missing"),
        (None, "read"),
    ],
)
def test_unusable_files_are_refused(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TrainingError, match=message) as error:
        load_config(path, {})
    assert str(path) in str(error.value)


def test_command_line_refuses_with_exit_code_2(folder, capsys):
    config = ["--config", str(folder / "config.yaml")]
    output = ["--output", str(folder / "never")]
    for arguments, message in (
        (["--steps", "0"], "steps"),
        (["--images", f"{folder}/nothing/*.png"], "no image matches"),
        (["--images", f"{folder}/config.yaml"], "not an image"),
        (["--validation", f"{folder}/train/deep/1.png"], "is a training image"),
        (["--warm_start", f"{folder}/no.weights.h5"], "no.json"),
        (["--gratings", "1.5"], "gratings: Input should be less than or equal to 1 (it is 1.5)"),
    ):
        assert main([*config, *output, *arguments]) == 2
        stderr = capsys.readouterr().err
        assert stderr.startswith("error: ") and stderr.count("\n") == 1
        assert message in stderr
    with pytest.raises(SystemExit) as error:
        main([*config, "--evaluate", "Set5"])
    assert error.value.code == 2
    assert not (folder / "never").exists()


def test_warm_start_loads_the_given_weights(folder, finished):
    from srcnn.training.run import load_inputs

    inputs = load_inputs(read_config(folder, warm_start=weights_of(finished), scale=3))
    weights = load_weights(weights_of(finished))
    assert inputs.warm_start == {"name": weights.card.name, "sha256": weights.card.sha256}
    own = {k: v for k, v in weights.card.training.items() if k != "earlier"}
    assert inputs.earlier == [own]
    for mine, theirs in zip(inputs.start, weights.tensors, strict=True):
        assert all(map(np.array_equal, mine, theirs))
    with pytest.raises(TrainingError, match="srcnn-955 cannot begin"):
        load_inputs(read_config(folder, warm_start=weights_of(finished), architecture="srcnn-955"))


@pytest.mark.parametrize(("depths", "kept"), [((9, 9), 10), ((6, 9), 7), ((9, 6), 7)])
def test_warm_start_of_another_scale_or_depth_keeps_what_both_have_before_the_last_layer(
    folder, tmp_path, monkeypatch, depths, kept
):
    from srcnn.training.run import load_inputs

    theirs, ours = (
        subpixel("photo-large", 32, inner, scale, planes=3)
        for inner, scale in zip(depths, (2, 3), strict=True)
    )
    monkeypatch.setitem(ARCHITECTURES, "photo-large", {3: ours})
    tensors = random_tensors(theirs)
    path = save_weights(
        tmp_path, tensors, name="x2", architecture=theirs, scale=2, kernel="bilinear",
        protocol="opencv",
    )  # fmt: skip
    config = read_config(folder, warm_start=path, architecture="photo-large", scale=3)
    start = load_inputs(config).start
    fresh = initial_tensors(ours, config.seed)
    for mine, expected in zip(start, (*tensors[:kept], *fresh[kept:]), strict=True):
        assert all(map(np.array_equal, mine, expected))
    assert start[-1][0].shape == (3, 3, 32, 27) and not start[-1][0].any()


def test_warm_start_is_refused_where_no_layer_but_the_last_is_shared(folder, tmp_path):
    from srcnn.training.run import load_inputs

    single = stack("single", (5, 1))
    path = save_weights(
        tmp_path, random_tensors(single), name="single", architecture=single, scale=2,
        kernel="bilinear", protocol="opencv",
    )  # fmt: skip
    with pytest.raises(TrainingError, match="srcnn-915 cannot begin"):
        load_inputs(read_config(folder, warm_start=path))


@pytest.mark.slow
def test_card_records_a_long_chain_of_trainings(folder, finished, tmp_path):
    from srcnn.training.run import train

    path, digests = weights_of(finished), []
    for generation in range(8):
        digests.insert(0, load_weights(path).card.sha256)
        output = tmp_path / str(generation)
        config = read_config(folder, warm_start=path, output=output, steps=1, evaluate={})
        path = train(config, resume=False, report=lambda line: None)
    training = load_weights(path).card.training
    assert training["start"]["sha256"] == digests[0]
    assert [one["start"]["sha256"] for one in training["earlier"][:-1]] == digests[1:]
    assert training["earlier"][-1]["start"].startswith("random beside the identity")


@pytest.mark.slow
def test_weights_are_reproduced_from_their_card(folder, tmp_path):
    """A chain of two trainings is repeated in order."""
    first = run(folder, "--output", tmp_path / "a", "--steps", "12", "--seed", "5")
    start = weights_of(tmp_path / "a")
    chosen = ("--warm_start", start, "--output", tmp_path / "b", "--steps", "6")
    second = run(folder, *chosen)
    again = run(folder, "--card", card_path(weights_of(tmp_path / "b")), "--output", tmp_path / "c")
    assert (first.returncode, second.returncode, again.returncode) == (0, 0, 0), again.stderr
    assert weights_of(tmp_path / "c").read_bytes() == weights_of(tmp_path / "b").read_bytes()
    assert weights_of(tmp_path / "c/run_1").read_bytes() == start.read_bytes()


def test_card_without_a_complete_recipe_is_refused(folder, finished, tmp_path, capsys):
    card = json.loads(card_path(weights_of(finished)).read_text())
    path = tmp_path / "model.json"
    lost = card["training"] | {"start": {"name": "lost", "sha256": "0" * 64}}
    for training, message in (
        ({"steps": 3}, "its card lacks architecture, batch"),
        (lost, "began from weights that its card does not describe"),
    ):
        path.write_text(json.dumps(card | {"training": training}))
        assert main(["--config", str(folder / "config.yaml"), "--card", str(path)]) == 2
        assert message in capsys.readouterr().err


def test_run_older_than_a_setting_is_repeated_without_it():
    card = load_weights(ROOT / "weights/photo-large_x1.weights.h5").card
    runs = configs_of_card(card, ROOT / "configs/training/photo-clean.yaml", {})
    assert [run.recolour for run in runs] == [0, 0.1, 0.1]


@pytest.mark.parametrize("path", list_weights(DIRECTORY), ids=lambda path: path.name)
def test_card_of_every_shipped_model_describes_all_its_runs(path):
    card = load_weights(path).card
    config = "photo-clean" if card.scale == 1 else "subpixel-small"
    configs = configs_of_card(card, ROOT / f"configs/training/{config}.yaml", {})
    assert configs[0].warm_start is None
    assert (configs[-1].scale, configs[-1].steps) == (card.scale, card.training["steps"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config"),
    [("srcnn-915_x2_bicubic", "srcnn"), ("photo-small_x3", "photo-small")],
)
def test_first_steps_of_a_shipped_recipe_match_the_card(shared, tmp_path, name, config):
    card = load_weights(ROOT / f"weights/{name}.weights.h5").card
    process = subprocess.Popen(
        [sys.executable, "-m", "srcnn.train", "--config", f"configs/training/{config}.yaml",
         "--card", f"weights/{name}.json", "--output", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    log = tmp_path / "log.csv"
    while not log.exists() and process.poll() is None:
        time.sleep(0.5)
    process.kill()
    process.wait()
    step, _, loss, _ = log.read_text().splitlines()[1].split(",")
    expected = card.training["curve"][0]
    assert int(step) == expected["step"]
    assert float(loss) == pytest.approx(expected["loss"], rel=0.02)


def test_shipped_training_configurations_are_valid():
    paths = sorted((ROOT / "configs/training").glob("*.yaml"))
    assert paths
    for path in paths:
        config = load_config(path, {})
        training = " ".join(config.images)
        assert "Set5" not in training and "Set14" not in training
