"""A training run from its configuration to weights and model card.

Importing this module imports Keras.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from srcnn import backend
from srcnn.degradations import SHRINK, parse_steps
from srcnn.engines.keras import KerasEngine
from srcnn.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    check_identity,
    read_checkpoint,
    write_checkpoint,
)
from srcnn.training.chroma import fit_chroma_taps
from srcnn.training.config import RECIPE, DivergedError, TrainingConfig, TrainingError
from srcnn.training.data import (
    Batch,
    TrainingSet,
    check_disjoint,
    draw_batch,
    find_images,
    hold_out,
    load_training_set,
    read_image,
    sample_images,
)
from srcnn.training.evaluate import evaluate, luma_figures, mean_figures
from srcnn.training.initial import initial_tensors
from srcnn.training.log import describe, progress, write_csv, write_plot
from srcnn.training.pairs import Pair, make_pair
from srcnn.training.trainer import Trainer
from srcnn.weights import Tensors, load_weights, save_weights

# Images of each glob for fitting the chroma's filter.
_CHROMA_IMAGES = 32

_LIBRARIES = ("keras", "numpy", "opencv-python-headless", "scipy")


@dataclass(frozen=True)
class Inputs:
    """The data that a run reads before its first step.

    Attributes:
      training: source of the crops.
      validation: luma of the validation images.
      evaluation: image files of each named set, `validation` first.
      start: weights to begin from.
      chroma_taps: filter for the chroma, see ModelCard.
      warm_start: name and hash of the weights file that `start` is from, if any.
      earlier: the trainings that led to that file, the last first.
    """

    training: TrainingSet
    validation: tuple[Pair, ...]
    evaluation: dict[str, list[Path]]
    start: Tensors
    chroma_taps: tuple[float, ...]
    warm_start: dict[str, str] = field(default_factory=dict)
    earlier: list[dict[str, Any]] = field(default_factory=list)


def train(config: TrainingConfig, resume: bool, report: Callable[[str], None] = print) -> Path:
    """Trains, and writes checkpoint, log, plot, weights and model card into `config.output`.

    Args:
      config: the run.
      resume: continue from the checkpoint in `config.output`, if there is one.
      report: takes lines of progress.

    Returns:
      The path of the finished weights.

    Raises:
      TrainingError: inputs are missing or unfit, a checkpoint is in the way or of another run.
      DivergedError: the loss is no longer finite.
      WeightsError: the weights to begin from are missing or damaged.
    """
    path = config.output / CHECKPOINT_NAME
    if path.exists() and not resume:
        raise TrainingError(f"{path} exists; continue with --resume, or choose another --output")
    inputs = load_inputs(config)
    report(
        f"{config.name}: {inputs.training.images} images, {len(inputs.training.copies)} copies, "
        f"on {backend.device()}"
    )
    identity = config.identity | {"data": inputs.training.sha256, "start": inputs.warm_start}
    checkpoint = _last_checkpoint(path, identity)
    config.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, inputs.start, _samples(config, inputs.training))
    history = np.empty((0, 4))
    if checkpoint:
        trainer.restore(checkpoint.arrays)
        history = checkpoint.history
        report(f"resumed after step {history[-1, 0]:.0f}")
    history = _run_steps(config, inputs, trainer, history, identity, report)
    return _finish(config, inputs, trainer.averaged, history)


def load_inputs(config: TrainingConfig) -> Inputs:
    """Finds, checks and reads everything that a run needs.

    Raises:
      TrainingError: images are missing, unfit, or both trained on and measured on.
      WeightsError: the weights to begin from are missing or damaged.
    """
    images = find_images(config.images)
    validation = find_images(config.validation) if config.validation else hold_out(images)
    if not config.validation:
        images = [path for path in images if path not in validation]
    evaluation = {"validation": validation} | {
        name: find_images(globs) for name, globs in config.evaluate.items()
    }
    check_disjoint(images, [path for paths in evaluation.values() for path in paths])
    return Inputs(
        training=load_training_set(config, validation),
        validation=tuple(
            make_pair(read_image(path), config.restoration.degraded_by(chain), path.name)
            for chain in config.chains
            for path in validation
        ),
        evaluation=evaluation,
        chroma_taps=_chroma_taps(config, validation),
        **_start_of(config),
    )


def _start_of(config: TrainingConfig) -> dict[str, Any]:
    """The weights that a run begins from: `start`, `warm_start` and `earlier` of Inputs."""
    start = initial_tensors(config.network, config.seed)
    if not config.warm_start:
        if config.ensemble_share:
            raise TrainingError("ensemble_share needs warm_start: the weights that teach")
        return {"start": start}
    weights = load_weights(config.warm_start)
    card, tensors = weights.card, weights.tensors
    theirs, ours = card.architecture.kernel_shapes, config.network.kernel_shapes
    shared = min(len(theirs), len(ours)) - 1
    if not shared or theirs[:shared] != ours[:shared]:
        raise TrainingError(
            f"{config.warm_start} holds {card.architecture.name}; "
            f"{config.architecture} cannot begin from it"
        )
    same_network = theirs == ours
    same_task = (card.scale, card.kernel, card.protocol) == (
        config.scale, config.kernel, config.protocol,
    )  # fmt: skip
    if config.ensemble_share and not (same_network and same_task):
        raise TrainingError(
            f"{config.warm_start} holds {card.name}, which cannot teach {config.name}: "
            "ensemble_share needs weights of the same depth, scale, kernel and protocol"
        )
    # Of another scale or depth: the layers that both have before the one that enlarges.
    return {
        "start": tensors if same_network else (*tensors[:shared], *start[shared:]),
        "warm_start": {"name": card.name, "sha256": card.sha256},
        # One list: a card may not nest deeply.
        "earlier": card.runs[::-1] if card.training else [],
    }


def validate(config: TrainingConfig, pairs: tuple[Pair, ...], tensors: Tensors) -> dict[str, float]:
    """Mean luma PSNR on the validation images in dB, as mean_figures names it."""
    engine = KerasEngine(config.network, tensors)
    return mean_figures(luma_figures(engine, pair, config.restoration) for pair in pairs)


def _chroma_taps(config: TrainingConfig, held_out: list[Path]) -> tuple[float, ...]:
    """The filter for the chroma, if the network restores the luma alone."""
    if config.network.planes > 1:
        return ()
    restoration = config.restoration.degraded_by(config.chains[0])
    return fit_chroma_taps(sample_images(config, held_out, _CHROMA_IMAGES), restoration)


def _samples(config: TrainingConfig, training: TrainingSet) -> list[Batch]:
    """Batches that no step draws."""
    return [draw_batch(training, config, config.steps + index) for index in range(4)]


def _last_checkpoint(path: Path, identity: dict[str, Any]) -> Checkpoint | None:
    if not path.exists():
        return None
    checkpoint = read_checkpoint(path)
    check_identity(path, checkpoint.identity, identity)
    return checkpoint


def _run_steps(
    config: TrainingConfig,
    inputs: Inputs,
    trainer: Trainer,
    history: np.ndarray,
    identity: dict[str, Any],
    report: Callable[[str], None],
) -> np.ndarray:
    """Takes the remaining steps; returns the whole history."""
    figures = validate(config, inputs.validation, trainer.averaged)
    baseline, psnr = figures["psnr_y_degraded"], figures["psnr_y_enhanced"]
    report(f"validation starts at {psnr:.2f} dB (degraded {baseline:.2f})")
    losses = []
    for step in progress(int(history[-1, 0]) if len(history) else 0, config.steps):
        losses.append(trainer.step(draw_batch(inputs.training, config, step)))
        done = step + 1
        if done % config.checkpoint_every and done != config.steps:
            continue
        loss, losses = float(np.mean([float(value) for value in losses])), []
        if not np.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {done}; lower learning_rate")
        psnr = np.nan
        if done % config.validate_every == 0 or done == config.steps:
            psnr = validate(config, inputs.validation, trainer.averaged)["psnr_y_enhanced"]
        history = np.vstack([history, [done, trainer.schedule(step), loss, psnr]])
        _write_state(config, Checkpoint(identity, trainer.state, history), baseline)
        report(describe(history[-1], config.steps, baseline))
    return history


def _write_state(config: TrainingConfig, state: Checkpoint, baseline: float) -> None:
    """Writes checkpoint, log and plot; the baseline is the degraded images' PSNR in dB."""
    write_checkpoint(config.output / CHECKPOINT_NAME, state)
    write_csv(config.output / "log.csv", state.history)
    write_plot(config.output / "log.png", state.history, baseline, config.name)


def _finish(config: TrainingConfig, inputs: Inputs, tensors: Tensors, history: np.ndarray) -> Path:
    """Measures the finished weights and writes them with their card."""
    engine = KerasEngine(config.network, tensors)
    restoration = replace(config.restoration, chroma_taps=inputs.chroma_taps)
    figures = {
        name if chain == "shrink" else f"{name} {chain}": evaluate(
            engine, paths, restoration.degraded_by(parse_steps(chain))
        )
        for name, paths in inputs.evaluation.items()
        for chain in config.evaluate_degrade
    }
    plain = config.chains == (SHRINK,)
    return save_weights(
        config.output,
        tensors,
        name=config.name,
        architecture=config.network,
        scale=config.scale,
        kernel=config.kernel,
        protocol=config.protocol,
        degrade=() if plain else config.degrade,
        chroma_taps=inputs.chroma_taps,
        training=_recipe(config, inputs) | {"curve": _curve(history)},
        figures=figures,
    )


def _curve(history: np.ndarray) -> list[dict[str, float]]:
    """Loss and validation PSNR in dB: the log's first line, to compare a repeated run with, and
    every line with a validation."""
    rows = [
        zip(("step", "loss", "psnr_y"), row[[0, 2, 3]], strict=True)
        for index, row in enumerate(history)
        if index == 0 or not np.isnan(row[3])
    ]
    return [{name: round(float(v), 8) for name, v in row if not np.isnan(v)} for row in rows]


def _recipe(config: TrainingConfig, inputs: Inputs) -> dict[str, Any]:
    """The model card's account of the training."""
    return config.model_dump(mode="json", include=RECIPE | {"data", "terms"}) | {
        "recipe": "SOAP, cosine decay to 0; MSE of the luma in [0, 1] on the valid centre of random"
        f" crops, weighted by the inverse of that of their degraded image, {config.loss_mean} mean;"
        " every set of images equally often; kernels learnt in whitened coordinates; running"
        " average of the weights; degraded by this package's own functions",
        "start": inputs.warm_start or "random beside the identity, see initial_tensors",
        "earlier": inputs.earlier,
        "images": inputs.training.images,
        "data_sha256": inputs.training.sha256,
        "libraries": {name: version(name) for name in (backend.NAME, *_LIBRARIES)},
        "python": platform.python_version(),
        "device": backend.device(),
    }
