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
    load_config,
    repeated,
)
from srcnn.weights import load_card


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      0 when the weights are written, 1 when the training diverged, 2 when it was told
      something impossible, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        configs = _configs(options)
        # Imported here: it takes seconds, and a wrong configuration should be told at once.
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
        print("interrupted; the same command with --resume goes on", file=sys.stderr)
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
    return repeated(load_card(options.card), options.config, overrides)


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
        description="Train an SRCNN. Everything that is given here replaces the configuration's.",
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML file")
    parser.add_argument(
        "--card", type=Path, metavar="FILE",
        help="model card of weights to make again: its settings replace the configuration's",
    )  # fmt: skip
    parser.add_argument("--images", nargs="+", metavar="GLOB", help="training images")
    parser.add_argument("--validation", nargs="+", metavar="GLOB", help="images to measure on")
    parser.add_argument(
        "--evaluate",
        nargs="*",
        type=named_set,
        metavar="NAME=GLOB",
        help="sets to measure once with the finished weights; none if nothing follows",
    )
    parser.add_argument("--architecture", help="srcnn-955, srcnn-915, ...")
    parser.add_argument("--scale", type=int, help="enlargement to undo")
    parser.add_argument("--kernel", help="interpolation of the degradation")
    parser.add_argument("--protocol", help="whose interpolation and luma: opencv or matlab")
    parser.add_argument(
        "--degrade", nargs="+", metavar="CHAIN",
        help="what makes small pictures of originals, such as 'blur=0..0.9 shrink jpeg=40..95'",
    )  # fmt: skip
    parser.add_argument("--name", help="of the finished weights")
    parser.add_argument("--steps", type=int, help="steps in all")
    parser.add_argument("--seed", type=int, help="of initial weights and crops")
    parser.add_argument("--learning_rate", type=float, help="at the first step")
    parser.add_argument(
        "--gratings", type=float, metavar="SHARE", help="of the crops with a grating laid on them"
    )
    parser.add_argument("--warm_start", type=Path, metavar="FILE", help="weights to begin from")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where everything is written")
    parser.add_argument("--resume", action="store_true", help="go on from DIR's checkpoint")
    return parser


if __name__ == "__main__":
    sys.exit(main())
