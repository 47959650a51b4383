"""The two protocols of degrading, colour, rounding and measurement, side by side.

Everything in which `opencv` and `matlab` differ is in this file, so that they cannot be mixed.
Small pictures are images, (h, w[, 3]) BGR, uint8 or uint16, or what `shrink` makes of one: OpenCV
such an image again, MATLAB its Y, Cb, Cr planes as unrounded codes, float64 (3 or 1, h, w).
Interpolated pictures are images with OpenCV, and with MATLAB planes, float32 (3 or 1, h, w), codes
divided by the type's peak.
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
      crops_after_degrading: whether `border: shave` cuts the degraded image to a multiple of the
        scale; otherwise `prepare` did so before.
    """

    name: str
    ssim_window: str
    measures_luma_only: bool
    crops_after_degrading: bool

    @abstractmethod
    def prepare(self, image: np.ndarray, scale: int) -> np.ndarray:
        """What evaluate mode takes as ground truth: the image, cropped if the protocol says so."""

    @abstractmethod
    def shrink(self, image: np.ndarray, scale: int, kernel: str) -> np.ndarray:
        """The small picture of an image that is at least `scale` pixels on each side."""

    @abstractmethod
    def small_image(self, small: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """A small picture as an image, rounded; an image as it is."""

    @abstractmethod
    def enlarge(
        self, small: np.ndarray, shape: tuple[int, int], kernel: str, dtype: np.dtype
    ) -> np.ndarray:
        """The interpolated picture of a small one; of the same shape: the picture as it is.

        Args:
          small: a small picture.
          shape: (height, width) of the result.
          kernel: a name in KERNELS.
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

        Y, Cr, Cb with OpenCV; Y, Cb, Cr with MATLAB. Of a gray picture the chroma is even.
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
        """The BGR or grayscale image of a restored luma with the interpolated chroma.

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
          interpolated: gray or colour, as the image is to be.
          planes: (h, w, 3), uint16 codes.
          dtype: of the image, uint8 or uint16.
        """

    @abstractmethod
    def as_image(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """An interpolated picture as a BGR or grayscale image."""

    @abstractmethod
    def interpolated_luma(self, interpolated: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Integer luma of an interpolated picture."""

    @abstractmethod
    def image_luma(self, image: np.ndarray) -> np.ndarray:
        """Integer luma of a BGR or grayscale image."""

    @abstractmethod
    def output_luma(self, image: np.ndarray, luma: np.ndarray) -> np.ndarray:
        """The restored luma to measure, of the image written and of the network's rounded luma."""

    @abstractmethod
    def consistency(
        self, restored: np.ndarray, source: np.ndarray, scale: int, kernel: str
    ) -> float:
        """PSNR in dB of the restored image, degraded again, against the image that came in.

        Args:
          restored: (h * s, w * s[, 3]) image.
          source: (h, w[, 3]) image of the same type; where s is 1, the restored image is shrunk
            by `scale` and enlarged again before the comparison.
          scale: the scale that the model undoes.
          kernel: the kernel that the model undoes.
        """

    @abstractmethod
    def measure_shave(self, border: str, scale: int) -> int:
        """Pixels left out on each side of an evaluated image before measuring."""


class OpenCVProtocol(Protocol):
    """8-bit (or 16-bit) BGR throughout, full-range YCrCb, figures over all channels.

    As the SRCNN-in-Keras tutorial measures, but for two points: the network's output is rounded
    where the tutorial truncates, and no column is dropped.
    """

    name = "opencv"
    ssim_window = "uniform"
    measures_luma_only = False
    crops_after_degrading = True

    # What the tutorial's 9-3(same)-5 network loses on each side; fixed, so that figures of
    # different networks are of the same pixels.
    SHAVE = 6

    def prepare(self, image, scale):
        return image

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
        planes = colour.chroma_opencv(interpolated)
        return planes * np.float32(255 / np.iinfo(interpolated.dtype).max)

    def round_luma(self, values, dtype):
        return colour.quantise_half_even(values * np.iinfo(dtype).max, dtype)

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

    def interpolated_luma(self, interpolated, dtype):
        return colour.luma_opencv(interpolated)

    def image_luma(self, image):
        return colour.luma_opencv(image)

    def output_luma(self, image, luma):
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
    crops_after_degrading = False

    def prepare(self, image, scale):
        return resample.modcrop(image, scale)

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
        planes = self._code_planes(small)
        interpolated = np.empty((len(planes), *shape), np.float32)
        for plane, target in zip(planes, interpolated, strict=True):
            codes = plane if plane.shape == shape else resample.resize_matlab(plane, shape, kernel)
            np.divide(codes, np.iinfo(dtype).max, out=target, casting="same_kind")
        return interpolated

    @staticmethod
    def _code_planes(small: np.ndarray) -> Sequence[np.ndarray]:
        return colour.planes_matlab(small) if small.dtype.kind == "u" else small

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
        return colour.quantise_half_up(values * np.iinfo(dtype).max, dtype)

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

    def interpolated_luma(self, interpolated, dtype):
        return map_strips(lambda strip: self.round_luma(strip, dtype), dtype, interpolated[0])

    def image_luma(self, image):
        return colour.luma_matlab(image)

    def output_luma(self, image, luma):
        return luma

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
