"""What is asked of every image, with the verbs that all callers share.

The stages of the job, the Python use, comparison pictures, training and the benchmarks' loops call
these; none of them asks which protocol, border or kind of network it has.
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

# Of the whole range: how far restored values may leave that of the small pixels around them, beside
# as far as those lie apart.
_SLACK = 0.05
# Small pixels that decide on a restored one, and those that its interpolation looks at.
_AROUND = 4


@dataclass(frozen=True)
class Measured:
    """What the figures of an image are taken of; each (truth, interpolated, restored).

    Attributes:
      images: what the headline figures are of: images, or with MATLAB's protocol lumas.
      lumas: (h, w), integer codes.
      ssim_window: the definition of SSIM, as srcnn.metrics.ssim names it.
    """

    images: tuple[np.ndarray, np.ndarray, np.ndarray]
    lumas: tuple[np.ndarray, np.ndarray, np.ndarray]
    ssim_window: str


@dataclass(frozen=True)
class Restoration:
    """How images are degraded, interpolated, restored and measured.

    The small picture is what a degradation makes of an original, or the input itself in restore
    mode; the interpolated picture is it at the result's size, in the protocol's own space (see
    srcnn.protocols). Both are opaque to callers.

    Attributes:
      architecture: of the network.
      degradation: protocol, scale, kernel and chain of the run.
      border: `keep`: the result is as large as the interpolated picture; `shave`: it lacks what the
        published procedure leaves out.
      chroma_taps: filter that sharpens the interpolated chroma, see ModelCard.
      seed: of what images draw from the degradation's ranges.
      strength: 1: the result is what the network makes; 0: the interpolated picture.
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
        """How many times larger than the small picture the interpolated one is."""
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
        """Whether what becomes of the luma depends on the luma alone."""
        return (
            self.protocol.measures_luma_only
            and self.architecture.planes == 1
            and self.degradation.steps == SHRINK
        )

    def ground_truth(self, image: np.ndarray) -> np.ndarray:
        """What of an original, (h, w[, c]), is ground truth.

        It is cut to multiples of the scale where the protocol, or a network that gives exactly
        `scale` times the small picture, needs that.
        """
        image = self.protocol.prepare(image, self.scale)
        return modcrop(image, self.scale) if self.architecture.sees_small else image

    def degrade(self, truth: np.ndarray, path: str = "") -> np.ndarray:
        """The small picture of a ground truth.

        Args:
          truth: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
          path: of the image; decides what it draws.
        """
        return self.degradation.apply(truth, self.seed, path)

    def enlarged_shape(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width of what becomes of an image that is a small picture."""
        return image.shape[0] * self.scale, image.shape[1] * self.scale

    def interpolate(self, small: np.ndarray, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """The interpolated picture.

        Args:
          small: a small picture.
          shape: (height, width) of ground truth or result.
          dtype: of the images, uint8 or uint16.
        """
        return self.protocol.enlarge(small, shape, self.degradation.kernel, dtype)

    def network_target(self, truth: np.ndarray) -> np.ndarray:
        """What the network should give of a ground truth, as network_input gives its input."""
        if self.architecture.planes > 1:
            return self.protocol.small_planes(truth, truth.dtype)
        return self.protocol.image_luma(truth)

    def degraded_by(self, steps: tuple[Step, ...]) -> "Restoration":
        """The same with another chain."""
        return replace(self, degradation=replace(self.degradation, steps=steps))

    def crop(self, image: np.ndarray) -> np.ndarray:
        """An image, or interpolated picture, cut to what `border: shave` is measured on.

        OpenCV's protocol cuts to multiples of the scale after degrading, as the procedure that it
        follows; MATLAB's does so before, see ground_truth.
        """
        cuts = self.border == "shave" and self.protocol.crops_after_degrading
        return modcrop(image, self.scale) if cuts else image

    def network_input(
        self, small: np.ndarray, interpolated: np.ndarray, dtype: np.dtype
    ) -> np.ndarray:
        """What the network takes, (h, w) or (h, w, 3): integer codes, or floats in [0, 1]."""
        if self.architecture.planes > 1:
            return self.protocol.small_planes(small, dtype)
        if self.architecture.sees_small:
            return self.protocol.small_luma(small, dtype)
        return self.protocol.network_luma(interpolated)

    def restored_shape(self, planes: np.ndarray) -> tuple[int, ...]:
        """Shape of what a network's input is restored to; 0 where nothing is left."""
        upscale, shave = self.architecture.upscale, self.output_shave
        sides = (max(0, side * upscale - 2 * shave) for side in planes.shape[:2])
        return (*sides, *planes.shape[2:])

    def restored_array(self, planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Room for the integer codes that a network's input is restored to.

        Luma alone is of the images' type, as published. With chroma it has 16 bits: rounded to 8
        before the colours are made of it, an even sky would get steps.
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
            yield target, values if plane.ndim == 2 else self._plausible(values, plane, target)

    def _plausible(
        self, values: np.ndarray, planes: np.ndarray, target: tuple[slice, slice]
    ) -> np.ndarray:
        """Restored luma and chroma; interpolated where the network leaves the input's range.

        On colours that it never met (saturated graphics, random noise) a network can answer with
        values far outside of all pictures. What lies further from the small pixels around it than
        they lie apart is taken for such.
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
        bounds = (low - slack, high + slack)
        size = (small.shape[1] * upscale, small.shape[0] * upscale)
        low, high = (cv2.resize(b, size, interpolation=cv2.INTER_NEAREST) for b in bounds)
        strange = (values < low[tuple(inner)]) | (values > high[tuple(inner)])
        if not strange.any():
            return values
        # What lies beside such values is hardly better.
        reach = np.ones((4 * upscale + 1,) * 2, np.uint8)
        doubtful = cv2.dilate(strange.any(axis=-1).astype(np.uint8), reach)[..., np.newaxis]
        smooth = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)[tuple(inner)]
        return np.where(doubtful, smooth, values)

    def round_luma(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """What the network gave, of luma and chroma, as integer codes."""
        return self.protocol.round_luma(values, dtype)

    def restore_luma(self, engine: Engine, plane: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """What a network's input is restored to, as integer codes."""
        luma = self.restored_array(plane, dtype)
        for target, values in self.luma_tiles(engine, plane):
            luma[target] = self.round_luma(values, luma.dtype)
        return luma

    def plain_luma(self, luma: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Restored luma, (h, w) codes of the images' type, with or without chroma beside it."""
        if luma.ndim == 2:
            return luma
        return self.round_luma(unit_range(luma[..., 0]), dtype)

    def compose(self, interpolated: np.ndarray, luma: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The result, its strength applied.

        Args:
          interpolated: its chroma, sharpened, goes with a restored luma.
          luma: restored, (h, w); or with the restored chroma, (h, w, 3).
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
        """An image as large as the interpolated picture without what the result lacks."""
        return _shaved(image, self.output_shave)

    def shaved_interpolated(self, interpolated: np.ndarray) -> np.ndarray:
        """The interpolated picture without what the result lacks."""
        shave = self.output_shave
        return self.protocol.shave(interpolated, shave) if shave else interpolated

    def as_image(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The interpolated picture as an image."""
        return self.protocol.as_image(interpolated, dtype)

    def measured(
        self, truth: np.ndarray, interpolated: np.ndarray, restored: np.ndarray, luma: np.ndarray
    ) -> Measured:
        """What figures are taken of.

        Args:
          truth: of the result's size.
          interpolated: of the result's size, see shaved_interpolated.
          restored: the result.
          luma: what the network made of its luma, with or without chroma.

        Images must be larger than twice `further_shave`.
        """
        protocol, dtype, shave = self.protocol, truth.dtype, self.further_shave
        before = protocol.interpolated_luma(interpolated, dtype)
        luma = self.plain_luma(luma, dtype)
        after = luma if self.strength == 1 else blend(before, luma, self.strength)
        lumas = (protocol.image_luma(truth), before, protocol.output_luma(restored, after))
        lumas = tuple(_shaved(plane, shave) for plane in lumas)
        if protocol.measures_luma_only or truth.ndim == 2:
            return Measured(lumas, lumas, protocol.ssim_window)
        images = (truth, protocol.as_image(interpolated, dtype), restored)
        return Measured(
            tuple(_shaved(image, shave) for image in images), lumas, protocol.ssim_window
        )


def restoration_of(
    card: ModelCard, border: str = "keep", scale: int | None = None, strength: float = 1
) -> Restoration:
    """What a model is made for.

    Args:
      card: of the model.
      border: `keep` or `shave`.
      scale: 1 where the input was already enlarged; the card's if None.
      strength: see Restoration.
    """
    degradation = card.degradation if scale is None else replace(card.degradation, scale=scale)
    return Restoration(card.architecture, degradation, border, card.chroma_taps, strength=strength)


def _shaved(image: np.ndarray, pixels: int) -> np.ndarray:
    return image[pixels:-pixels, pixels:-pixels] if pixels else image
