"""Degradations: chains of named steps that make the small picture of an original.

A chain has a text form for flags, YAML, model cards and report rows: `shrink`, or
`blur=0.2..1.2 shrink=area|bicubic noise=0..10 jpeg=40..95,subsampling=420`. A step has a name, a
value if it needs one, and perhaps further parameters. A value is a number or a range of numbers,
LOW..HIGH; or a word or a choice of words, ONE|OTHER. Each image draws a value from every range and
choice. The draw depends on the seed and the image's path alone, so that every run, worker and
comparison picture gets the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from srcnn import resample
from srcnn.colour import peak_of, quantise_half_even
from srcnn.errors import DegradationError
from srcnn.protocols import PROTOCOLS, Protocol
from srcnn.strips import map_strips

_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:=(.+))?")
_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?")
_JPEG_SIDE = 65_500

# The values that a parameter may take: one number, (low, high), or words.
Values = tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """A number among the parameters of a kind of step.

    Attributes:
      name: as in the text form, which leaves out the name of a step's first parameter.
      default: the value where the text gives none; None: the text must give one.
      lowest, highest: bounds.
      digits: decimals of drawn values, so that the text form is exact; 0: a whole number.
      unit: of its column in the report.
    """

    name: str
    default: float | None
    lowest: float
    highest: float
    digits: int = 3
    unit: str = ""

    def parse(self, text: str) -> Values:
        """Reads a number or a range.

        Raises:
          ValueError: it is neither, or out of bounds.
        """
        match = _RANGE.fullmatch(text)
        low, high = (float(match[1]), float(match[2] or match[1])) if match else (1.0, 0.0)
        is_whole = low.is_integer() and high.is_integer()
        if not (self.lowest <= low <= high <= self.highest and (self.digits or is_whole)):
            kind = "a number" if self.digits else "a whole number"
            raise ValueError(
                f"{self.name} must be {kind} or LOW..HIGH "
                f"between {self.lowest:g} and {self.highest:g}"
            )
        return (low,) if low == high else (low, high)

    def draw(self, values: Values, generator: np.random.Generator) -> Values:
        """One number of a range."""
        if len(values) == 1:
            return values
        return (round(float(generator.uniform(*values)), self.digits),)

    def show(self, values: Values) -> str:
        """The text form."""
        return "..".join(f"{value:g}" for value in values)


@dataclass(frozen=True)
class Choice:
    """A word among the parameters of a kind of step.

    Attributes:
      name: see Parameter.
      default: see Parameter.
      words: the allowed words.
    """

    name: str
    default: str | None
    words: tuple[str, ...]

    def parse(self, text: str) -> Values:
        """Reads one or several words.

        Raises:
          ValueError: one of them is not allowed.
        """
        given = tuple(text.split("|"))
        if not set(given) <= set(self.words):
            raise ValueError(f"{self.name} must be {' or '.join(self.words)}, or several with |")
        return given

    def draw(self, values: Values, generator: np.random.Generator) -> Values:
        """One of the words."""
        return (values[generator.integers(len(values))],)

    def show(self, values: Values) -> str:
        """The text form."""
        return "|".join(values)


@dataclass(frozen=True)
class StepKind:
    """A kind of step; see STEPS.

    Attributes:
      function: of (image, values by parameter, generator, degradation); returns an image of the
        same type, or for `shrink` a small picture, see srcnn.protocols. Images are (h, w, 3) BGR
        or (h, w), uint8 or uint16.
      parameters: in the order of the text form.
    """

    function: Callable[..., np.ndarray]
    parameters: tuple[Parameter | Choice, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step of a chain.

    Attributes:
      name: a key of STEPS.
      ranges: the values that each parameter may take.
    """

    name: str
    ranges: tuple[Values, ...] = ()

    @property
    def kind(self) -> StepKind:
        """Its function and parameters."""
        return STEPS[self.name]

    @property
    def is_fixed(self) -> bool:
        """Whether images have nothing to draw."""
        return all(len(set(values)) == 1 for values in self.ranges)

    @property
    def values(self) -> dict[str, float | str]:
        """The value of each parameter of a fixed step."""
        return {parameter.name: values[0] for parameter, values in self._parameters()}

    def drawn(self, generator: np.random.Generator) -> "Step":
        """The step with one value for each parameter."""
        ranges = (parameter.draw(values, generator) for parameter, values in self._parameters())
        return replace(self, ranges=tuple(ranges))

    def __str__(self) -> str:
        words = [
            (f"{parameter.name}=" if index else "") + parameter.show(values)
            for index, (parameter, values) in enumerate(self._parameters())
            if set(values) != {parameter.default}
        ]
        return f"{self.name}={','.join(words)}" if words else self.name

    def _parameters(self) -> Iterator[tuple[Parameter | Choice, Values]]:
        return zip(self.kind.parameters, self.ranges, strict=True)


def _shrink(picture, values, generator, degradation):
    if not values["kernel"]:
        return degradation.protocol.shrink(picture, degradation.scale, degradation.kernel)
    size = tuple(side // degradation.scale for side in picture.shape[:2])
    return resample.shrink_antialiased(picture, size, values["kernel"])


def _blur(picture, values, generator, degradation):
    # OpenCV blurs integers with integer arithmetic, the same on every processor.
    sigma = values["sigma"]
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture


def _noise(picture, values, generator, degradation):
    deviation = np.float32(values["deviation"] * peak_of(picture) / 255)

    def add(strip: np.ndarray) -> np.ndarray:
        noise = generator.standard_normal(strip.shape, np.float32)
        return quantise_half_even(strip + deviation * noise, strip.dtype)

    return map_strips(add, picture.dtype, picture) if deviation else picture


def _jpeg(picture, values, generator, degradation):
    if max(picture.shape) > _JPEG_SIDE:
        raise DegradationError(
            f"JPEG cannot hold a picture of more than {_JPEG_SIDE} pixels a side"
        )
    factor = peak_of(picture) // 255
    codes = cv2.convertScaleAbs(picture, alpha=1 / factor)
    sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{values['subsampling']}")
    settings = {
        cv2.IMWRITE_JPEG_QUALITY: int(values["quality"]),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: sampling,
    }
    _, file = cv2.imencode(".jpg", codes, [number for pair in settings.items() for number in pair])
    kind = cv2.IMREAD_GRAYSCALE if codes.ndim == 2 else cv2.IMREAD_COLOR
    return cv2.imdecode(file, kind).astype(picture.dtype) * picture.dtype.type(factor)


STEPS: dict[str, StepKind] = {
    "shrink": StepKind(_shrink, (Choice("kernel", "", ("area", "bicubic")),)),
    "blur": StepKind(_blur, (Parameter("sigma", None, 0, 20, unit="pixels"),)),
    "noise": StepKind(_noise, (Parameter("deviation", None, 0, 100, unit="codes"),)),
    "jpeg": StepKind(
        _jpeg,
        (
            Parameter("quality", None, 1, 100, digits=0),
            Choice("subsampling", "420", ("420", "422", "444")),
        ),
    ),
}
SHRINK = (Step("shrink", (("",),)),)


@dataclass(frozen=True)
class Degradation:
    """The relation of original and small picture.

    Attributes:
      protocol_name: `opencv` or `matlab`, see srcnn.protocols.
      scale: how many times smaller the small picture is; 1: as large.
      kernel: interpolation in both directions, a name in resample.KERNELS[protocol_name].
      steps: that degrade an original, in order.
    """

    protocol_name: str
    scale: int
    kernel: str
    steps: tuple[Step, ...] = SHRINK

    def __str__(self) -> str:
        chain = "" if self.steps == SHRINK else f", {self.text}"
        return f"x{self.scale} {self.kernel}{chain} ({self.protocol_name})"

    @property
    def protocol(self) -> Protocol:
        """The protocol of that name."""
        return PROTOCOLS[self.protocol_name]

    @property
    def is_symmetric(self) -> bool:
        """Whether a flipped or turned original gives a flipped or turned small picture.

        OpenCV's `nearest` takes the upper left pixel of a block; the other kernels are centred.
        """
        return self.kernel != "nearest"

    @property
    def text(self) -> str:
        """The chain in its text form."""
        return " ".join(map(str, self.steps))

    def drawn(self, seed: int, path: str) -> "Degradation":
        """The degradation of one image: every range replaced by a value from it."""
        if all(step.is_fixed for step in self.steps):
            return self
        generators = self._generators(seed, path, 0)
        steps = (step.drawn(one) for step, one in zip(self.steps, generators, strict=True))
        return replace(self, steps=tuple(steps))

    def numbers(self) -> dict[str, float]:
        """The report's columns of a chain that was drawn; see drawn_columns."""
        return {step.name: step.ranges[0][0] for step in self.steps if step.name in drawn_columns()}

    def apply(self, image: np.ndarray, seed: int = 0, path: str = "") -> np.ndarray:
        """Makes the small picture of an image.

        Args:
          image: (h, w, 3) BGR or (h, w), uint8 or uint16.
          seed: with the path it decides the values that the image draws.
          path: of the image, relative.

        Returns:
          A small picture: an image of the same type, unless the protocol's shrink comes last.

        Raises:
          DegradationError: a step cannot be applied to this image.
        """
        chain = self.drawn(seed, path)
        picture = image
        for step, generator in zip(chain.steps, self._generators(seed, path, 1), strict=True):
            picture = self.protocol.small_image(picture, image.dtype)
            picture = step.kind.function(picture, step.values, generator, self)
        return picture

    def _generators(self, seed: int, path: str, purpose: int) -> list[np.random.Generator]:
        key = hashlib.sha256(f"{seed}\n{path}".encode("utf-8", "surrogateescape")).digest()
        words = np.frombuffer(key, np.uint32)
        return [np.random.default_rng([*words, purpose, i]) for i in range(len(self.steps))]


def drawn_columns() -> dict[str, Parameter]:
    """The first parameter of each kind of step where it is a number: a column of the report.

    Where a chain has several steps of a kind, the column holds the value of the last one.
    """
    first = {name: kind.parameters[0] for name, kind in STEPS.items() if kind.parameters}
    return {name: parameter for name, parameter in first.items() if type(parameter) is Parameter}


def parse_steps(text: str) -> tuple[Step, ...]:
    """Reads a chain's text form.

    Raises:
      ValueError: there is no step, a step or parameter is unknown, or a value is missing or out of
        bounds.
    """
    steps = tuple(map(_parse_step, text.split()))
    if not steps:
        raise ValueError(f"{text!r:.80}: needs at least one step; there are: {', '.join(STEPS)}")
    return steps


def check_steps(steps: tuple[Step, ...], scale: int) -> None:
    """Refuses a chain that does not make a picture `scale` times smaller.

    Raises:
      ValueError: there is not exactly one `shrink`, or at scale 1 there is one.
    """
    shrinks = sum(step.name == "shrink" for step in steps)
    text = " ".join(map(str, steps))
    if scale == 1 and shrinks:
        raise ValueError(
            f"{text!r:.80}: at scale 1 nothing is shrunk; give a chain without `shrink`, such as "
            "'jpeg=50'"
        )
    if scale > 1 and shrinks != 1:
        raise ValueError(f"{text!r:.80}: needs exactly one step `shrink` at scale {scale}")


def _parse_step(word: str) -> Step:
    match = _STEP.fullmatch(word)
    if not match or match[1] not in STEPS:
        raise ValueError(f"no step {word!r:.80}; there are: {', '.join(STEPS)}")
    name, given = match[1], match[2]
    parameters = STEPS[name].parameters
    texts: dict[str, str] = {}
    for index, item in enumerate(given.split(",") if given else ()):
        key, separator, value = item.partition("=")
        if not separator and index == 0 and parameters:
            key, value = parameters[0].name, item
        texts[key] = value
    if unknown := texts.keys() - {parameter.name for parameter in parameters}:
        known = ", ".join(parameter.name for parameter in parameters) or "none"
        raise ValueError(f"{word!r:.80}: no parameter {min(unknown)!r:.40}; {name} has: {known}")
    try:
        return Step(name, tuple(_values_of(parameter, texts) for parameter in parameters))
    except ValueError as error:
        raise ValueError(f"{word!r:.80}: {error}") from None


def _values_of(parameter: Parameter | Choice, texts: dict[str, str]) -> Values:
    if parameter.name not in texts and parameter.default is not None:
        return (parameter.default,)
    return parameter.parse(texts.get(parameter.name, ""))
