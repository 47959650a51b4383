"""Settings of a training run: a YAML file, validated whole before anything is read or built."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srcnn.architectures import Architecture, ProtocolName, architecture_for
from srcnn.degradations import SHRINK, Degradation, Step, check_steps, parse_steps
from srcnn.resample import KERNELS
from srcnn.restoration import Restoration
from srcnn.settings import SettingsError, read_settings, shown
from srcnn.weights import WEIGHTS_SUFFIX, Chain, ModelCard

# The settings, beside the images, that a card states so that its run can be repeated.
RECIPE = frozenset(
    ("architecture", "scale", "kernel", "protocol", "degrade", "steps", "batch", "crop")
    + ("learning_rate", "warmup", "ema_decay", "seed", "gratings", "recolour", "copies")
    + ("excess_weight", "loss_mean", "edges", "shifts", "ensemble_share")
)
# Settings that are newer than some cards, with the value that those runs had.
_NEWER = {
    "recolour": 0.0,
    "excess_weight": 0.0,
    "loss_mean": "arithmetic",
    "edges": False,
    "shifts": False,
    "ensemble_share": 0.0,
}


class TrainingError(ValueError):
    """A training run cannot start or continue, for a reason that its user can remove."""


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


class TrainingConfig(BaseModel):
    """A training run.

    Attributes:
      architecture: a name that architecture_for knows.
      scale: enlargement to undo.
      kernel: interpolation of the degradation, one that the protocol has.
      protocol: whose interpolation and luma: `opencv` or `matlab`.
      degrade: chains that degrade originals, see srcnn.degradations; each crop takes one of them,
        all equally often, and draws from its ranges.
      images: globs of training images (`**` crosses directories).
      validation: globs of images for validation; by default every tenth image is held out.
      evaluate: named sets, each a list of globs, measured once with the finished weights.
      evaluate_degrade: chains that these sets are degraded by, one after the other.
      steps: optimiser steps in all.
      batch: crops per step.
      crop: side of the network's input in pixels.
      learning_rate: the highest of the optimiser; falls to 0 along a cosine.
      warmup: steps in which it rises to that.
      ema_decay: decay per step of the running average of the weights, which becomes the result.
      seed: of the initial weights and of the crops.
      copies: factors at which each training image is used; below 1 it is shrunk first.
      gratings: share of the crops with a synthetic grating, see gratings.py.
      recolour: share of the crops with exchanged and vivid colours, see recolour.py.
      excess_weight: by how much more counts what a crop's squared error exceeds that of the
        interpolation by.
      loss_mean: of the crops' losses, each relative to the degraded image's: `arithmetic`, or
        `geometric`, which comes closer to the mean PSNR, a mean of logarithms.
      ensemble_share: of a crop's error, how much is measured against the self-ensemble of the
        weights that the run begins from, instead of the original.
      edges: whether crops reach beyond a picture's edge by the network's margin, mirrored as in a
        job, so that small pictures give crops too.
      shifts: whether crops begin at any pixel of an original, not only at multiples of the scale.
      warm_start: weights file to begin from; of another scale or depth, the layers that both have
        before the last. By default the network begins as the interpolation.
      checkpoint_every: steps between checkpoints and lines of the log.
      validate_every: steps between validations, a multiple of checkpoint_every.
      name: of the finished weights, without ending; by default architecture, scale and kernel.
      output: directory for checkpoint, log, plot and finished weights; {name} stands for `name`.
      data: the training images in words, for the model card; by default their globs.
      terms: the images' terms of use, for the model card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = "srcnn-955"
    scale: Annotated[int, Field(ge=1, le=16)]
    kernel: str
    protocol: ProtocolName = "opencv"
    degrade: Annotated[tuple[Chain, ...], Field(min_length=1)] = ("shrink",)
    images: Annotated[tuple[str, ...], Field(min_length=1)]
    validation: tuple[str, ...] = ()
    evaluate: dict[str, tuple[str, ...]] = {}
    evaluate_degrade: Annotated[tuple[Chain, ...], Field(min_length=1)] = ("shrink",)
    steps: Annotated[int, Field(ge=1, le=10**9)] = 10_000
    batch: Annotated[int, Field(ge=1, le=4096)] = 16
    crop: Annotated[int, Field(ge=1, le=1024)] = 64
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    copies: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=16)
    ] = (1.0,)
    gratings: Annotated[float, Field(ge=0, le=1)] = 0.0
    recolour: Annotated[float, Field(ge=0, le=1)] = 0.0
    excess_weight: Annotated[float, Field(ge=0, le=100)] = 0.0
    loss_mean: Literal["arithmetic", "geometric"] = "arithmetic"
    edges: bool = False
    shifts: bool = False
    ensemble_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    warm_start: Path | None = None
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    validate_every: Annotated[int, Field(ge=1)] = 500
    name: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = ""
    output: Path = Path(".training/{name}")
    data: str = ""
    terms: str = "not stated"

    @model_validator(mode="after")
    def _parts_fit(self) -> "TrainingConfig":
        kernels = KERNELS[self.protocol]
        if self.kernel not in kernels:
            raise ValueError(
                f"protocol {self.protocol} has no kernel {shown(self.kernel)}; "
                f"it has: {', '.join(kernels)}"
            )
        for chain in (*self.degrade, *self.evaluate_degrade):
            check_steps(parse_steps(chain), self.scale)
        for problem, is_met in self._problems().items():
            if is_met:
                raise ValueError(problem)
        self._complete()
        return self

    def _problems(self) -> dict[str, bool]:
        """Whether settings contradict each other, by message."""
        name, network, margin = self.architecture, self.network, self.network.margin
        return {
            "gratings need chains that only shrink, and a network on luma": (
                self.gratings > 0 and self.degrades_crops
            ),
            f"recolour needs a network on colours; {name} processes luma only": (
                self.recolour > 0 and network.planes == 1
            ),
            "edges and shifts need chains that only shrink, and a network on the small luma, "
            f"not {name}": (
                (self.edges or self.shifts) and (self.degrades_crops or not network.residual)
            ),
            f"crop {self.crop} is too small: {name} removes {margin} pixels on each side": (
                self.crop <= 2 * margin
            ),
            f"warmup {self.warmup} is not less than steps {self.steps}": self.warmup >= self.steps,
            f"validate_every {self.validate_every} is not a multiple of checkpoint_every "
            f"{self.checkpoint_every}": self.validate_every % self.checkpoint_every > 0,
        }

    def _complete(self) -> None:
        """Fills in defaults that depend on other settings."""
        name = self.name or f"{self.architecture}_x{self.scale}_{self.kernel}"
        completed = {
            "name": name,
            "output": Path(str(self.output).replace("{name}", name)),
            "data": self.data or f"images of {', '.join(self.images)}",
        }
        for setting, value in completed.items():
            object.__setattr__(self, setting, value)  # the model is frozen for others

    @cached_property
    def network(self) -> Architecture:
        """The architecture of that name and scale."""
        return architecture_for(self.architecture, self.scale)

    @cached_property
    def restoration(self) -> Restoration:
        """The restoration to learn, measured as published; without the chroma's filter."""
        degradation = Degradation(self.protocol, self.scale, self.kernel)
        return Restoration(self.network, degradation, border="shave")

    @cached_property
    def chains(self) -> tuple[tuple[Step, ...], ...]:
        """The chains that crops are degraded by."""
        return tuple(map(parse_steps, self.degrade))

    @property
    def degrades_crops(self) -> bool:
        """Whether every crop is degraded separately, instead of its whole picture once."""
        return self.network.planes > 1 or self.chains != (SHRINK,)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights; a checkpoint serves only a run with equal ones."""
        others = {"images", "validation", "evaluate", "evaluate_degrade", "validate_every"}
        others |= {"warm_start", "name", "output", "data", "terms"}
        return self.model_dump(mode="json", exclude=others)


def configs_of_card(card: ModelCard, path: Path, overrides: dict[str, Any]) -> list[TrainingConfig]:
    """The runs that train a model again: its own, after those of the weights that it began from.

    Args:
      card: of the model.
      path: YAML file with the images; the card's settings replace the file's.
      overrides: settings that replace both.

    Raises:
      TrainingError: the card does not describe every run, or see load_config.
    """
    *before, own = card.runs
    if isinstance(start := (before or [own])[0].get("start"), dict):
        raise TrainingError(
            f"{card.name}: its training began from weights that its card does not describe, "
            f"{start['name']} (sha256 {start['sha256'][:12]}…)"
        )
    final = load_config(path, _settings_of(own, card) | overrides | {"name": card.name})
    configs: list[TrainingConfig] = []
    for number, run in enumerate(before, 1):
        settings = _settings_of(run, card) | overrides | _start_of(configs)
        # Not evaluated, which the file may ask for chains of another scale.
        settings |= {"evaluate": {}, "evaluate_degrade": settings["degrade"]}
        settings["output"] = final.output / f"run_{number}"
        configs.append(load_config(path, settings))
    return [*configs, final.model_copy(update=_start_of(configs))]


def _settings_of(run: dict[str, Any], card: ModelCard) -> dict[str, Any]:
    run = _NEWER | run
    if missing := RECIPE - run.keys():
        raise TrainingError(f"{card.name}: its card lacks {', '.join(sorted(missing))}")
    return {name: run[name] for name in RECIPE}


def _start_of(configs: list[TrainingConfig]) -> dict[str, Path]:
    """The warm start of a run that follows others."""
    if not configs:
        return {}
    return {"warm_start": configs[-1].output / (configs[-1].name + WEIGHTS_SUFFIX)}


def load_config(path: Path, overrides: dict[str, Any]) -> TrainingConfig:
    """Reads a configuration.

    Args:
      path: YAML file, one mapping.
      overrides: settings that replace the file's.

    Raises:
      TrainingError: the file is missing, no YAML mapping, or invalid; the message is one line.
    """
    try:
        content = read_settings(path)
    except SettingsError as error:
        raise TrainingError(str(error)) from None
    try:
        return TrainingConfig.model_validate({**content, **overrides})
    except ValidationError as error:
        raise TrainingError(f"{path}: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    """The first error on one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])[:80]
    if first["type"] == "extra_forbidden":
        return f"unknown setting {where!r}; there are: {', '.join(TrainingConfig.model_fields)}"
    if first["type"] == "missing":
        return f"{where}: missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (it is {shown(first['input'])})" if where else message
