"""Checkpoints: one file with the whole state of a run, replaced atomically."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srcnn.errors import one_line
from srcnn.files import replace_file
from srcnn.training.config import TrainingError

CHECKPOINT_NAME = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after some step.

    Attributes:
      identity: JSON-like; the settings and data that the state belongs to.
      arrays: state of network, optimiser and running average, in the trainer's order.
      history: float64 (n, 4), rows of step, learning rate, mean loss since the row before,
        validation PSNR in dB (NaN where none was measured).
    """

    identity: dict[str, Any]
    arrays: list[np.ndarray]
    history: np.ndarray


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, atomically."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        identity=np.array(json.dumps(checkpoint.identity, sort_keys=True)),
        history=checkpoint.history,
        **{f"state_{index:04d}": array for index, array in enumerate(checkpoint.arrays)},
    )
    replace_file(path, buffer.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; nothing in the file is executed.

    Raises:
      TrainingError: the file is not a checkpoint.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            states = sorted(name for name in file.files if name.startswith("state_"))
            return Checkpoint(
                identity=dict(json.loads(str(file["identity"]))),
                arrays=[file[name] for name in states],
                history=file["history"],
            )
    except Exception as error:  # zip, zlib and NumPy raise many kinds on damage
        raise TrainingError(f"{path}: not a checkpoint: {one_line(error)}") from None


def check_identity(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuses a checkpoint of another run.

    Raises:
      TrainingError: settings or data differ; the message names them.
    """
    differing = [
        f"{key} ({found.get(key)!r}, now {wanted.get(key)!r})"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise TrainingError(f"{path} belongs to another run; differences: {', '.join(differing)}")
