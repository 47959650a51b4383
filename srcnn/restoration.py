"""How every image of a run is degraded, interpolated, restored and measured.

The stages of the job, the Python API, comparison pictures, training and the benchmarks share this
object; none of them asks which protocol, border or kind of network it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from srcnn.architectures import Architecture
from srcnn.colour import blend, unit_range
from srcnn.degradations import SHRINK, Degradation, Step
from srcnn.engines.base import Engine
from srcnn.protocols import Protocol
from srcnn.resample import modcrop
from srcnn.tiling import DEFAULT_TILE, run_tiled
from srcnn.weights import ModelCard

# Share of the whole range by which restored values may always leave the range of the small pixels
# around them; see _plausible_tile.
_SLACK = 0.05
# Small pixels around a tile that bounds and interpolation need.
_AROUND = 4


@dataclass(frozen=True)
class Measured:
    """The pictures that figures compare, each as (truth, interpolated, restored).

    Attributes:
      images: for the headline figures: images, or lumas with MATLAB's protocol.
      lumas: (h, w), integer codes.
      ssim_window: the definition of SSIM, as srcnn.metrics.ssim names it.
    """

    images: tuple[np.ndarray, np.ndarray, np.ndarray]
    lumas: tuple[np.ndarray, np.ndarray, np.ndarray]
    ssim_window: str


@dataclass(frozen=True)
class Restoration:
    """How images are degraded, interpolated, restored and measured.

    The small picture is the degraded original, or in restore mode the input. The interpolated
    picture is the small one enlarged to the result's size. Callers treat both as opaque: their form
    depends on the protocol, see srcnn.protocols.

    Attributes:
      architecture: of the network.
      degradation: protocol, scale, kernel and chain of the run.
      border: `keep`: the result is as large as the interpolated picture; `shave`: it lacks the
        pixels that the published procedure leaves out.
      chroma_taps: filter that sharpens the interpolated chroma, see ModelCard.
      seed: decides the values that images draw from the degradation's ranges.
      strength: 1: the result is the network's; 0: the interpolated picture.
    """

    architecture: Architecture
    degradation: Degradation
    border: str = "keep"
    chroma_taps: tuple[float, ...] = ()
    seed: int = 0
    strength: float = 1

    @property
    def protocol(self) -> Protocol:
        """The protocol."""
        return self.degradation.protocol

    @property
    def scale(self) -> int:
        """How many times larger the interpolated picture is than the small one."""
        return self.degradation.scale

    @property
    def output_shave(self) -> int:
        """Pixels that the result lacks on each side of the interpolated picture."""
        return self.measure_shave if self.border == "shave" else 0

    @property
    def further_shave(self) -> int:
        """Pixels on each side of the result that figures leave out."""
        return self.measure_shave - self.output_shave

    @property
    def measure_shave(self) -> int:
        """Pixels on each side of the interpolated picture that figures leave out."""
        return self.protocol.measure_shave(self.border, self.scale)

    @property
    def needs_luma_only(self) -> bool:
        """Whether the restored luma depends on the original's luma alone."""
        return (
            self.protocol.measures_luma_only
            and self.architecture.planes == 1
            and self.degradation.steps == SHRINK
        )

    def ground_truth(self, image: np.ndarray) -> np.ndarray:
        """The ground truth of an original, (h, w[, c]).

        It is cut to multiples of the scale where the protocol needs that, or the network, whose
        output is exactly `scale` times the small picture.
        """
        cuts = self.protocol.crops_first or self.architecture.sees_small
        return modcrop(image, self.scale) if cuts else image

    def degrade(self, truth: np.ndarray, path: str = "") -> np.ndarray:
        """The small picture of a ground truth.

        Args:
          truth: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
          path: of the image; decides the values that it draws.
        """
        return self.degradation.apply(truth, self.seed, path)

    def enlarged_shape(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width of the result of an image that is a small picture."""
        return image.shape[0] * self.scale, image.shape[1] * self.scale

    def interpolate(self, small: np.ndarray, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """The interpolated picture.

        Args:
          small: a small picture.
          shape: (height, width) of ground truth or result.
          dtype: of the images, uint8 or uint16.
        """
        return self.protocol.enlarge(small, shape, self.degradation.kernel, dtype)

    def degraded_by(self, steps: tuple[Step, ...]) -> "Restoration":
        """The same restoration after another chain."""
        return replace(self, degradation=replace(self.degradation, steps=steps))

    def crop(self, image: np.ndarray) -> np.ndarray:
        """An image, or interpolated picture, as `border: shave` measures it.

        With OpenCV's protocol it is cut to multiples of the scale, after degrading as in the
        procedure that it follows; with MATLAB's the ground truth is cut already.
        """
        cuts = self.border == "shave" and not self.protocol.crops_first
        return modcrop(image, self.scale) if cuts else image

    def network_input(
        self, small: np.ndarray, interpolated: np.ndarray, dtype: np.dtype
    ) -> np.ndarray:
        """The network's input, (h, w) or (h, w, 3): integer codes, or floats in [0, 1]."""
        planes = self._small_input(small, dtype)
        return self.protocol.network_luma(interpolated) if planes is None else planes

    def input_and_target(
        self, small: np.ndarray, truth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The network's input and its ideal output, for a ground truth and its small picture.

        Interpolates only for a network that sees the interpolated picture.
        """
        planes = self._small_input(small, truth.dtype)
        if planes is None:
            interpolated = self.interpolate(small, truth.shape[:2], truth.dtype)
            planes = self.protocol.network_luma(interpolated)
        if self.architecture.planes > 1:
            return planes, self.protocol.small_planes(truth, truth.dtype)
        return planes, self.protocol.image_luma(truth)

    def _small_input(self, small: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
        """The network's input if it sees the small picture, else None."""
        if self.architecture.planes > 1:
            return self.protocol.small_planes(small, dtype)
        return self.protocol.small_luma(small, dtype) if self.architecture.sees_small else None

    def restored_shape(self, planes: np.ndarray) -> tuple[int, ...]:
        """Shape of the restored planes of a network's input; 0 where no pixel is left."""
        upscale, shave = self.architecture.upscale, self.output_shave
        sides = (max(0, side * upscale - 2 * shave) for side in planes.shape[:2])
        return (*sides, *planes.shape[2:])

    def restored_array(self, planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """An empty array for the restored planes of a network's input, integer codes.

        Luma alone has the images' type, as published. With chroma it has 16 bits: rounded to 8
        before the colours are computed, a smooth sky would get steps.
        """
        kind = np.dtype(np.uint16) if planes.ndim == 3 else dtype
        return np.empty(self.restored_shape(planes), kind)

    def luma_tiles(
        self, engine: Engine, plane: np.ndarray, tile: int = DEFAULT_TILE
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Runs the network over its input in tiles; see srcnn.tiling.run_tiled.

        Yields:
          (where in the restored luma, float32 values nominally in [0, 1], not clipped).
        """
        for target, values in run_tiled(engine, plane, self.output_shave, tile):
            yield target, values if plane.ndim == 2 else self._plausible_tile(values, plane, target)

    def _plausible_tile(
        self, values: np.ndarray, planes: np.ndarray, target: tuple[slice, slice]
    ) -> np.ndarray:
        """A restored tile of luma and chroma, interpolated where its values are implausible.

        On colours that it never met (saturated graphics, random noise) a network can answer with
        values far outside of all pictures. Implausible are values that lie further outside the
        range of the small pixels around them than that range is wide, plus _SLACK.
        """
        upscale, shave = self.architecture.upscale, self.output_shave
        places, inner = [], []
        for part, length in zip(target, planes.shape[:2], strict=True):
            start, stop = part.start + shave, part.stop + shave
            first = max(0, start // upscale - _AROUND)
            places.append(slice(first, min(length, -(-stop // upscale) + _AROUND)))
            inner.append(slice(start - first * upscale, stop - first * upscale))
        small = unit_range(planes[tuple(places)])
        square = np.ones((5, 5), np.uint8)
        low, high = cv2.erode(small, square), cv2.dilate(small, square)
        slack = _SLACK + (high - low)
        starts = tuple(part.start for part in inner)
        strange = _outside(values, low - slack, high + slack, upscale, starts)
        if not strange.any():
            return values
        # The pixels beside implausible ones are hardly better.
        reach = np.ones((4 * upscale + 1,) * 2, np.uint8)
        doubtful = cv2.dilate(strange, reach)[..., np.newaxis]
        size = (small.shape[1] * upscale, small.shape[0] * upscale)
        smooth = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)[tuple(inner)]
        return np.where(doubtful, smooth, values)

    def round_luma(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The network's output, of luma or chroma, as integer codes."""
        return self.protocol.round_luma(values, dtype)

    def restore_luma(self, engine: Engine, plane: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The restored planes of a network's input, integer codes; see restored_array."""
        luma = self.restored_array(plane, dtype)
        for target, values in self.luma_tiles(engine, plane):
            luma[target] = self.round_luma(values, luma.dtype)
        return luma

    def plain_luma(self, luma: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The luma, (h, w) codes of the images' type, of restored planes with or without chroma."""
        if luma.ndim == 2:
            return luma
        return self.round_luma(unit_range(luma[..., 0]), dtype)

    def compose(self, interpolated: np.ndarray, luma: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The resulting image, at the strength of this restoration.

        Args:
          interpolated: its chroma, sharpened, is used where only the luma is restored.
          luma: restored, (h, w), or (h, w, 3) with the restored chroma.
          dtype: of the images, uint8 or uint16.
        """
        if luma.ndim == 3:
            restored = self.protocol.compose_planes(interpolated, luma, dtype)
        else:
            restored = self.protocol.compose(interpolated, luma, self.chroma_taps)
        if self.strength == 1:
            return restored
        inner = self.shaved_interpolated(interpolated)
        return blend(self.as_image(inner, dtype), restored, self.strength)

    def shaved(self, image: np.ndarray) -> np.ndarray:
        """An image of the interpolated picture's size, cut to the size of the result."""
        return _shaved(image, self.output_shave)

    def shaved_interpolated(self, interpolated: np.ndarray) -> np.ndarray:
        """The interpolated picture, cut to the size of the result."""
        shave = self.output_shave
        return self.protocol.shave(interpolated, shave) if shave else interpolated

    def as_image(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The interpolated picture as an image."""
        return self.protocol.as_image(interpolated, dtype)

    def measured(
        self, truth: np.ndarray, interpolated: np.ndarray, restored: np.ndarray, luma: np.ndarray
    ) -> Measured:
        """The pictures that figures compare; they must be larger than twice `further_shave`.

        Args:
          truth: of the result's size.
          interpolated: of the result's size, see shaved_interpolated.
          restored: the result.
          luma: the restored luma, with or without chroma.
        """
        protocol, dtype = self.protocol, truth.dtype
        before = protocol.interpolated_luma(interpolated, dtype)
        if protocol.measures_luma_only:
            after = self.plain_luma(luma, dtype)
            after = after if self.strength == 1 else blend(before, after, self.strength)
        else:
            after = protocol.image_luma(restored)
        lumas = self._further_shaved(protocol.image_luma(truth), before, after)
        if protocol.measures_luma_only or truth.ndim == 2:
            return Measured(lumas, lumas, protocol.ssim_window)
        degraded = protocol.as_image(interpolated, dtype)
        images = self._further_shaved(truth, degraded, restored)
        return Measured(images, lumas, protocol.ssim_window)

    def _further_shaved(self, *images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(_shaved(image, self.further_shave) for image in images)


def restoration_of(
    card: ModelCard, border: str = "keep", scale: int | None = None, strength: float = 1
) -> Restoration:
    """The restoration that a model is made for.

    Args:
      card: of the model.
      border: `keep` or `shave`.
      scale: 1 where the input was already enlarged; the card's if None.
      strength: see Restoration.
    """
    degradation = card.degradation if scale is None else replace(card.degradation, scale=scale)
    return Restoration(card.architecture, degradation, border, card.chroma_taps, strength=strength)


def _outside(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, scale: int, starts: tuple[int, int]
) -> np.ndarray:
    """Where values leave the bounds of the small pixels that they come from.

    Args:
      values: (H, W, c).
      low, high: (h, w, c), of the small pixels.
      scale: of the enlargement.
      starts: row and column of the first value in the enlarged small picture.

    Returns:
      uint8 (H, W): 1 where a channel does, else 0.
    """
    outside = np.zeros(values.shape[:2], np.uint8)
    for row in range(scale):
        for column in range(scale):
            part = values[row::scale, column::scale]
            top, left = (row + starts[0]) // scale, (column + starts[1]) // scale
            place = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
            beyond = (part < low[place]) | (part > high[place])
            if beyond.any():
                outside[row::scale, column::scale] = beyond.any(axis=-1)
    return outside


def _shaved(image: np.ndarray, pixels: int) -> np.ndarray:
    return image[pixels:-pixels, pixels:-pixels] if pixels else image
