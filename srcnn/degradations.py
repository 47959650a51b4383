"""Degradations: chains of named steps that make the small picture of an original.

A chain has a text form for flags, YAML, model cards and report rows: `shrink`, or
`blur=0.2..1.2 shrink jpeg=40..95,subsampling=420`. A step has a name, perhaps a value, and perhaps
further parameters; a value is a number or, as LOW..HIGH, a range from which each image draws its
own. What an image draws depends on the seed and its path alone, so that every run, worker and
comparison picture sees the same.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from srcnn.protocols import PROTOCOLS, Protocol

_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:=(.+))?")
_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kind of step.

    Attributes:
      name: as in the text form; the first one of a step is written without it.
      default: where the text gives none; None: it must.
      lowest, highest: what is allowed.
    """

    name: str
    default: float | None
    lowest: float
    highest: float


@dataclass(frozen=True)
class StepKind:
    """A kind of step; see STEPS.

    Attributes:
      function: of (picture, values by parameter, generator, degradation), returns the picture. A
        picture is an image, (h, w, 3) BGR or (h, w), uint8 or uint16, or behind `shrink` what the
        protocol's shrink makes.
      parameters: in the order of the text form.
    """

    function: Callable[..., np.ndarray]
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step of a chain.

    Attributes:
      name: a key of STEPS.
      ranges: for each parameter (low, high); equal where the value is fixed.
    """

    name: str
    ranges: tuple[tuple[float, float], ...] = ()

    def __str__(self) -> str:
        parameters = STEPS[self.name].parameters
        words = [
            (f"{p.name}=" if index else "") + _shown(*bounds)
            for index, (p, bounds) in enumerate(zip(parameters, self.ranges, strict=True))
            if index == 0 or bounds != (p.default, p.default)
        ]
        return f"{self.name}={','.join(words)}" if words else self.name


def _shrink(picture, values, generator, degradation):
    return degradation.convention.shrink(picture, degradation.scale, degradation.kernel)


STEPS: dict[str, StepKind] = {"shrink": StepKind(_shrink)}
SHRINK = (Step("shrink"),)


@dataclass(frozen=True)
class Degradation:
    """How original and small picture belong together.

    Attributes:
      protocol: whose interpolation and luma: `opencv` or `matlab`.
      scale: how many times smaller the small picture is; 1: as large.
      kernel: interpolation in both directions, a name in resample.KERNELS[protocol].
      steps: what is done to an original, in order.
    """

    protocol: str
    scale: int
    kernel: str
    steps: tuple[Step, ...] = SHRINK

    def __str__(self) -> str:
        chain = "" if self.steps == SHRINK else f", {self.text}"
        return f"x{self.scale} {self.kernel}{chain} ({self.protocol})"

    @property
    def convention(self) -> Protocol:
        """The protocol itself."""
        return PROTOCOLS[self.protocol]

    @property
    def is_symmetric(self) -> bool:
        """Whether degrading a flipped or turned image flips or turns its degraded one.

        OpenCV's `nearest` takes the upper left pixel of a block, the others are centred.
        """
        return self.kernel != "nearest"

    @property
    def text(self) -> str:
        """The chain in its text form."""
        return " ".join(map(str, self.steps))

    def drawn(self, seed: int, path: str) -> "Degradation":
        """The chain of one image: every range replaced by a value from it."""
        if all(low == high for step in self.steps for low, high in step.ranges):
            return self
        steps = tuple(
            replace(step, ranges=tuple(_draw(bounds, generator) for bounds in step.ranges))
            for step, generator in zip(self.steps, self._generators(seed, path, 0), strict=True)
        )
        return replace(self, steps=steps)

    def apply(self, image: np.ndarray, seed: int = 0, path: str = "") -> np.ndarray:
        """Makes the small picture of an image.

        Args:
          image: (h, w, 3) BGR or (h, w), uint8 or uint16.
          seed, path: decide what the image draws.

        Returns:
          An image of the same type, or what the protocol's shrink makes.
        """
        chain = self.drawn(seed, path)
        for step, generator in zip(chain.steps, self._generators(seed, path, 1), strict=True):
            kind = STEPS[step.name]
            names = (parameter.name for parameter in kind.parameters)
            values = {name: low for name, (low, _) in zip(names, step.ranges, strict=True)}
            image = kind.function(image, values, generator, self)
        return image

    def _generators(self, seed: int, path: str, purpose: int) -> list[np.random.Generator]:
        key = hashlib.sha256(f"{seed}\n{path}".encode("utf-8", "surrogateescape")).digest()
        words = np.frombuffer(key, np.uint32)
        return [np.random.default_rng([*words, purpose, i]) for i in range(len(self.steps))]


def parse_steps(text: str) -> tuple[Step, ...]:
    """Reads a chain's text form.

    Raises:
      ValueError: a step or parameter is unknown, a value missing or out of bounds, or there is not
        exactly one `shrink`.
    """
    steps = tuple(map(_parse_step, text.split()))
    if sum(step.name == "shrink" for step in steps) != 1:
        raise ValueError(f"{text!r:.80}: needs exactly one step `shrink`")
    return steps


def _parse_step(word: str) -> Step:
    match = _STEP.fullmatch(word)
    if not match or match[1] not in STEPS:
        raise ValueError(f"no step {word!r:.80}; there are: {', '.join(STEPS)}")
    name, given = match[1], match[2]
    parameters = STEPS[name].parameters
    values: dict[str, str] = {}
    for index, item in enumerate(given.split(",") if given else ()):
        key, separator, value = item.partition("=")
        if not separator and index == 0 and parameters:
            key, value = parameters[0].name, item
        values[key] = value
    if unknown := values.keys() - {parameter.name for parameter in parameters}:
        known = ", ".join(parameter.name for parameter in parameters) or "none"
        raise ValueError(f"{word!r:.80}: no parameter {min(unknown)!r:.40}; {name} has: {known}")
    return Step(name, tuple(_bounds(word, p, values.get(p.name)) for p in parameters))


def _bounds(word: str, parameter: Parameter, text: str | None) -> tuple[float, float]:
    if text is None and parameter.default is not None:
        return parameter.default, parameter.default
    match = _RANGE.fullmatch(text or "")
    low, high = (float(match[1]), float(match[2] or match[1])) if match else (1.0, 0.0)
    if not parameter.lowest <= low <= high <= parameter.highest:
        raise ValueError(
            f"{word!r:.80}: {parameter.name} must be a number or LOW..HIGH "
            f"between {parameter.lowest:g} and {parameter.highest:g}"
        )
    return low, high


def _draw(bounds: tuple[float, float], generator: np.random.Generator) -> tuple[float, float]:
    low, high = bounds
    # Rounded, so that the text form in the report says exactly what was done.
    value = low if low == high else round(float(generator.uniform(low, high)), 3)
    return value, value


def _shown(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"
