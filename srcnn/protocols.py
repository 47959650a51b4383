"""The two protocols of degrading, colour, rounding and measurement, side by side.

Everything in which `opencv` and `matlab` differ is in this file, so that they cannot be mixed.

An image is (h, w, 3) BGR or (h, w), uint8 or uint16. A small picture is an image, or the result of
`shrink`: with OpenCV an image, with MATLAB the Y, Cb, Cr planes of one, unrounded codes, float64
(3 or 1, h, w). An interpolated picture is an image with OpenCV, and with MATLAB planes of codes
divided by the type's peak, float32 (3 or 1, h, w).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from srcnn import colour, metrics, resample
from srcnn.strips import map_strips


class Protocol(ABC):
    """One protocol. Instances are stateless; see PROTOCOLS.

    Attributes:
      name: as in `--protocol`.
      ssim_window: the definition of SSIM, as srcnn.metrics.ssim names it.
      measures_luma_only: whether the headline figures are of luma or of all channels.
      crops_first: whether originals are cut to multiples of the scale before they are degraded;
        otherwise `border: shave` cuts original and degraded image afterwards.
    """

    name: str
    ssim_window: str
    measures_luma_only: bool
    crops_first: bool

    @abstractmethod
    def shrink(self, image: np.ndarray, scale: int, kernel: str) -> np.ndarray:
        """The small picture of an image that is at least `scale` pixels on each side."""

    @abstractmethod
    def small_image(self, small: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """A small picture as an image, rounded; an image is returned as it is."""

    @abstractmethod
    def enlarge(
        self, small: np.ndarray, shape: tuple[int, int], kernel: str, dtype: np.dtype
    ) -> np.ndarray:
        """The interpolated picture of a small one, which is not resized if it has the shape.

        Args:
          small: a small picture.
          shape: (height, width) of the result.
          kernel: a name in resample.KERNELS.
          dtype: of the images, uint8 or uint16.
        """

    @abstractmethod
    def shave(self, interpolated: np.ndarray, pixels: int) -> np.ndarray:
        """An interpolated picture without `pixels`, at least 1, on each side."""

    @abstractmethod
    def network_luma(self, interpolated: np.ndarray) -> np.ndarray:
        """The luma of an interpolated picture: integer codes, or floating point in [0, 1]."""

    @abstractmethod
    def small_luma(self, small: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The luma of a small picture: integer codes, or floating point in [0, 1]."""

    @abstractmethod
    def small_planes(self, small: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Luma and chroma of a small picture, float32 (h, w, 3) in [0, 1], not rounded.

        Y, Cr, Cb with OpenCV; Y, Cb, Cr with MATLAB. The chroma of a gray picture is constant.
        """

    @abstractmethod
    def chroma(self, interpolated: np.ndarray) -> np.ndarray:
        """The two chroma planes of a colour picture, float32 (2, h, w), on the 8-bit scale."""

    @abstractmethod
    def round_luma(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Network output, nominally in [0, 1], as integer codes."""

    @abstractmethod
    def compose(
        self, interpolated: np.ndarray, luma: np.ndarray, chroma_taps: Sequence[float] = ()
    ) -> np.ndarray:
        """The image of a restored luma and the interpolated chroma.

        Args:
          interpolated: the luma lies in the middle of a larger one.
          luma: (h, w) integer codes.
          chroma_taps: filter that sharpens the chroma, see colour.sharpen.
        """

    @abstractmethod
    def compose_planes(
        self, interpolated: np.ndarray, planes: np.ndarray, dtype: np.dtype
    ) -> np.ndarray:
        """The image of restored planes, in the order of small_planes.

        Args:
          interpolated: decides whether the image is gray or colour.
          planes: (h, w, 3), uint16 codes.
          dtype: of the image, uint8 or uint16.
        """

    @abstractmethod
    def as_image(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """An interpolated picture as an image."""

    @abstractmethod
    def image_luma(self, image: np.ndarray) -> np.ndarray:
        """Integer luma of an image."""

    def interpolated_luma(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Integer luma of an interpolated picture."""
        luma = self.network_luma(interpolated)
        if luma.dtype.kind == "u":
            return luma
        return self.round_luma(luma, dtype)

    @abstractmethod
    def consistency(
        self, restored: np.ndarray, source: np.ndarray, scale: int, kernel: str
    ) -> float:
        """PSNR in dB of the restored image, degraded again, against the input image.

        Args:
          restored: (h * s, w * s[, 3]) image.
          source: (h, w[, 3]) image of the same type. Where s is 1, the restored image is shrunk
            by `scale` and enlarged again before the comparison.
          scale: the scale that the model undoes.
          kernel: the kernel that the model undoes.
        """

    @abstractmethod
    def measure_shave(self, border: str, scale: int) -> int:
        """Pixels left out on each side of an evaluated image before measuring."""


class OpenCVProtocol(Protocol):
    """8-bit (or 16-bit) BGR throughout, full-range YCrCb, figures over all channels.

    Follows the SRCNN-in-Keras tutorial, except that the network's output is rounded, not truncated,
    and that no column is dropped.
    """

    name = "opencv"
    ssim_window = "uniform"
    measures_luma_only = False
    crops_first = False

    # The loss of the tutorial's 9-3(same)-5 network on each side; fixed, so that the figures of
    # different networks are of the same pixels.
    SHAVE = 6

    def shrink(self, image, scale, kernel):
        height, width = image.shape[:2]
        return resample.resize_opencv(image, (height // scale, width // scale), kernel)

    def small_image(self, small, dtype):
        return small

    def enlarge(self, small, shape, kernel, dtype):
        return small if small.shape[:2] == shape else resample.resize_opencv(small, shape, kernel)

    def shave(self, interpolated, pixels):
        return interpolated[pixels:-pixels, pixels:-pixels]

    def network_luma(self, interpolated):
        return colour.luma_opencv(interpolated)

    def small_luma(self, small, dtype):
        return colour.luma_opencv(small)

    def small_planes(self, small, dtype):
        image = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR) if small.ndim == 2 else small
        return cv2.cvtColor(colour.unit_range(image), cv2.COLOR_BGR2YCrCb)

    def chroma(self, interpolated):
        _, red, blue = cv2.split(cv2.cvtColor(interpolated, cv2.COLOR_BGR2YCrCb))
        return np.stack([red, blue]) * np.float32(255 / np.iinfo(interpolated.dtype).max)

    def round_luma(self, values, dtype):
        return map_strips(
            lambda strip: colour.quantise_half_even(strip * np.iinfo(dtype).max, dtype),
            dtype,
            values,
        )

    def compose(self, interpolated, luma, chroma_taps=()):
        return colour.replace_luma_opencv(interpolated, luma, chroma_taps)

    def compose_planes(self, interpolated, planes, dtype):
        if interpolated.ndim == 2:
            image = planes[..., 0]
        else:
            image = cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR)
        return image.copy() if dtype == np.uint16 else colour.eight_bit(image)

    def as_image(self, interpolated, dtype):
        return interpolated

    def image_luma(self, image):
        return colour.luma_opencv(image)

    def consistency(self, restored, source, scale, kernel):
        if restored.shape == source.shape:
            again = resample.degrade_opencv(restored, scale, kernel)
        else:
            again = resample.resize_opencv(restored, source.shape[:2], kernel)
        return metrics.psnr_of_mse(metrics.mse(source, again))

    def measure_shave(self, border, scale):
        return self.SHAVE if border == "shave" else 0


class MatlabProtocol(Protocol):
    """The super-resolution literature's luma protocol.

    Studio-range luma rounded to integers, modcrop, imresize in floating point without rounding in
    between, output rounded half up, `scale` pixels shaved before measuring, figures of luma alone.
    """

    name = "matlab"
    ssim_window = "gaussian"
    measures_luma_only = True
    crops_first = True

    def shrink(self, image, scale, kernel):
        height, width = image.shape[:2]
        size = (height // scale, width // scale)
        planes = colour.planes_matlab(image)
        return np.stack([resample.resize_matlab(plane, size, kernel) for plane in planes])

    def small_image(self, small, dtype):
        if small.dtype.kind == "u":
            return small
        return colour.image_from_planes_matlab(small / np.iinfo(dtype).max, dtype)

    def enlarge(self, small, shape, kernel, dtype):
        planes = colour.planes_matlab(small) if small.dtype.kind == "u" else small
        interpolated = np.empty((len(planes), *shape), np.float32)
        for plane, target in zip(planes, interpolated, strict=True):
            codes = plane if plane.shape == shape else resample.resize_matlab(plane, shape, kernel)
            np.divide(codes, np.iinfo(dtype).max, out=target, casting="same_kind")
        return interpolated

    def shave(self, interpolated, pixels):
        return interpolated[:, pixels:-pixels, pixels:-pixels]

    def network_luma(self, interpolated):
        return interpolated[0]

    def small_luma(self, small, dtype):
        luma = colour.luma_matlab(small) if small.dtype.kind == "u" else small[0]
        return np.divide(luma, np.iinfo(dtype).max, dtype=np.float32, casting="same_kind")

    def small_planes(self, small, dtype):
        if small.dtype.kind == "u":
            return colour.unrounded_planes_matlab(small)
        planes = [plane / np.iinfo(dtype).max for plane in small]
        if len(planes) == 1:
            planes += [np.full_like(planes[0], 128 / 255)] * 2
        return np.stack(planes, axis=-1, dtype=np.float32, casting="same_kind")

    def chroma(self, interpolated):
        return interpolated[1:] * np.float32(255)

    def round_luma(self, values, dtype):
        return map_strips(
            lambda strip: colour.quantise_half_up(strip * np.iinfo(dtype).max, dtype),
            dtype,
            values,
        )

    def compose(self, interpolated, luma, chroma_taps=()):
        chroma = (
            colour.middle(colour.sharpen(plane, chroma_taps), luma.shape)
            for plane in interpolated[1:]
        )
        return colour.image_from_planes_matlab([luma, *chroma], luma.dtype)

    def compose_planes(self, interpolated, planes, dtype):
        planes = np.moveaxis(planes, -1, 0)[: len(interpolated)]
        return colour.image_from_planes_matlab(planes, dtype)

    def as_image(self, interpolated, dtype):
        return colour.image_from_planes_matlab(interpolated, dtype)

    def image_luma(self, image):
        return colour.luma_matlab(image)

    def consistency(self, restored, source, scale, kernel):
        luma, reference = self.image_luma(restored), self.image_luma(source)
        if restored.shape == source.shape:
            luma, reference = resample.modcrop(luma, scale), resample.modcrop(reference, scale)
            again = resample.degrade_matlab(luma, scale, kernel)
        else:
            again = resample.resize_matlab(luma, reference.shape, kernel)
        again = colour.quantise_half_up(again, reference.dtype)
        return metrics.psnr_of_mse(metrics.mse(reference, again))

    def measure_shave(self, border, scale):
        return scale


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol for protocol in (OpenCVProtocol(), MatlabProtocol())
}
