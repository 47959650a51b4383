"""Trains weights: `python -m srcnn.train --config configs/training/NAME.yaml`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from srcnn.errors import WeightsError
from srcnn.training.config import (
    DivergedError,
    TrainingConfig,
    TrainingError,
    configs_of_card,
    load_config,
)
from srcnn.weights import load_card


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      0 when the weights are written, 1 when the training diverged, 2 on bad usage or input, 130
      when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        configs = _configs(options)
        # Imported here: it takes seconds, and a wrong configuration should be reported at once.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from srcnn.training.run import train

        for config in configs:
            path = train(config, options.resume, report)
    except (TrainingError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; continue with the same command and --resume", file=sys.stderr)
        return 130
    print(path)
    return 0


def report(line: str) -> None:
    """Prints a line of progress above the bar, if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def named_set(text: str) -> tuple[str, str]:
    """Splits NAME=GLOB."""
    name, separator, pattern = text.partition("=")
    if not (name and separator and pattern):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=GLOB")
    return name, pattern


def _configs(options: argparse.Namespace) -> list[TrainingConfig]:
    overrides = _overrides(options)
    if options.card is None:
        return [load_config(options.config, overrides)]
    return configs_of_card(load_card(options.card), options.config, overrides)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, which replace the file's."""
    given = {
        name: value
        for name, value in vars(options).items()
        if name in TrainingConfig.model_fields and value is not None
    }
    if options.evaluate is not None:
        sets: dict[str, tuple[str, ...]] = {}
        for name, pattern in options.evaluate:
            sets[name] = (*sets.get(name, ()), pattern)
        given["evaluate"] = sets
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srcnn.train",
        description="Train an SRCNN. Options replace the settings of the configuration.",
    )
    for name, arguments in _OPTIONS.items():
        parser.add_argument(f"--{name}", **arguments)
    return parser


# Of add_argument; all but config, card and resume replace the setting of their name.
_OPTIONS: dict[str, dict[str, Any]] = {
    "config": {"type": Path, "required": True, "help": "YAML file"},
    "card": {
        "type": Path, "metavar": "FILE",
        "help": "model card of weights to retrain: its settings replace the configuration's",
    },
    "images": {"nargs": "+", "metavar": "GLOB", "help": "training images"},
    "validation": {"nargs": "+", "metavar": "GLOB", "help": "validation images"},
    "evaluate": {
        "nargs": "*", "type": named_set, "metavar": "NAME=GLOB",
        "help": "sets to measure once with the finished weights; no value: none",
    },
    "architecture": {"help": "srcnn-955, srcnn-915, ..."},
    "scale": {"type": int, "help": "enlargement to undo"},
    "kernel": {"help": "interpolation of the degradation"},
    "protocol": {"help": "convention for interpolation and luma: opencv or matlab"},
    "degrade": {
        "nargs": "+", "metavar": "CHAIN",
        "help": "chains that degrade originals, such as 'blur=0..0.9 shrink jpeg=40..95'",
    },
    "name": {"help": "name of the finished weights"},
    "steps": {"type": int, "help": "number of steps"},
    "seed": {"type": int, "help": "seed of initial weights and crops"},
    "learning_rate": {"type": float, "help": "highest learning rate"},
    "gratings": {"type": float, "metavar": "SHARE", "help": "share of crops that get a grating"},
    "excess_weight": {
        "type": float, "metavar": "WEIGHT",
        "help": "further weight of error beyond that of the interpolation",
    },
    "loss_mean": {"choices": ("arithmetic", "geometric"), "help": "mean of the crops' losses"},
    "ensemble_share": {
        "type": float, "metavar": "SHARE",
        "help": "share of the error that is against the self-ensemble of the warm start",
    },
    "warm_start": {"type": Path, "metavar": "FILE", "help": "weights to start from"},
    "output": {"type": Path, "metavar": "DIR", "help": "directory for all results"},
    "resume": {"action": "store_true", "help": "continue from DIR's checkpoint"},
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
