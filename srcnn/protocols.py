"""The two conventions of degrading, colour, rounding and measurement, side by side.

Everything in which `opencv` and `matlab` differ is in this file, so that they cannot be mixed.
"Working space" is what a protocol interpolates: OpenCV the integer BGR image itself, (h, w[, 3]);
MATLAB its Y, Cb, Cr planes, float32 (3 or 1, h, w), codes divided by the type's peak.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from srcnn import colour, metrics, resample
from srcnn.strips import map_strips


class Protocol(ABC):
    """One convention. Instances are stateless; see PROTOCOLS.

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
    def degrade(self, image: np.ndarray, scale: int, kernel: str) -> np.ndarray:
        """The image shrunk by `scale` and enlarged again, in working space, same size.

        Args:
          image: (h, w, 3) BGR or (h, w), uint8 or uint16, at least `scale` pixels on each side.
        """

    @abstractmethod
    def enlarge(self, image: np.ndarray, scale: int, kernel: str) -> np.ndarray:
        """The image enlarged by `scale`, in working space; for scale 1 the image itself."""

    @abstractmethod
    def shave(self, working: np.ndarray, pixels: int) -> np.ndarray:
        """A working-space picture without `pixels`, at least 1, on each side."""

    @abstractmethod
    def network_luma(self, working: np.ndarray) -> np.ndarray:
        """The plane that the network takes (integer codes, or floating point in [0, 1])."""

    @abstractmethod
    def chroma(self, working: np.ndarray) -> np.ndarray:
        """The two chroma planes of a colour picture, float32 (2, h, w), on the 8-bit scale."""

    @abstractmethod
    def round_luma(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Network output, nominally in [0, 1], as integer codes."""

    @abstractmethod
    def compose(
        self, working: np.ndarray, luma: np.ndarray, chroma_taps: Sequence[float] = ()
    ) -> np.ndarray:
        """The BGR or grayscale image of a restored luma with the working space's chroma.

        Args:
          working: working-space picture; the luma lies in the middle of a larger one.
          luma: (h, w) integer codes.
          chroma_taps: filter that sharpens the chroma, see colour.sharpen.
        """

    @abstractmethod
    def as_image(self, working: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """A working-space picture as a BGR or grayscale image."""

    @abstractmethod
    def working_luma(self, working: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Integer luma of a working-space picture."""

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

    def output_shave(self, border: str, scale: int) -> int:
        """Pixels that the written image lacks on each side."""
        return self.measure_shave(border, scale) if border == "shave" else 0


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

    def degrade(self, image, scale, kernel):
        return resample.degrade_opencv(image, scale, kernel)

    def enlarge(self, image, scale, kernel):
        height, width = image.shape[:2]
        if scale == 1:
            return image
        return resample.resize_opencv(image, (height * scale, width * scale), kernel)

    def shave(self, working, pixels):
        return working[pixels:-pixels, pixels:-pixels]

    def network_luma(self, working):
        return colour.luma_opencv(working)

    def chroma(self, working):
        planes = colour.chroma_opencv(working)
        return planes * np.float32(255 / np.iinfo(working.dtype).max)

    def round_luma(self, values, dtype):
        return colour.quantise_half_even(values * np.iinfo(dtype).max, dtype)

    def compose(self, working, luma, chroma_taps=()):
        return colour.replace_luma_opencv(working, luma, chroma_taps)

    def as_image(self, working, dtype):
        return working

    def working_luma(self, working, dtype):
        return colour.luma_opencv(working)

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

    def degrade(self, image, scale, kernel):
        return self._planewise(image, lambda p: resample.degrade_matlab(p, scale, kernel))

    def enlarge(self, image, scale, kernel):
        if scale == 1:
            return self._planewise(image, lambda plane: plane)
        size = (image.shape[0] * scale, image.shape[1] * scale)
        return self._planewise(image, lambda p: resample.resize_matlab(p, size, kernel))

    @staticmethod
    def _planewise(image: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        planes = colour.planes_matlab(image)
        working = None
        for index, plane in enumerate(planes):
            codes = function(plane)
            if working is None:
                working = np.empty((len(planes), *codes.shape), np.float32)
            np.divide(codes, colour.peak_of(image), out=working[index], casting="same_kind")
        return working

    def shave(self, working, pixels):
        return working[:, pixels:-pixels, pixels:-pixels]

    def network_luma(self, working):
        return working[0]

    def chroma(self, working):
        return working[1:] * np.float32(255)

    def round_luma(self, values, dtype):
        return colour.quantise_half_up(values * np.iinfo(dtype).max, dtype)

    def compose(self, working, luma, chroma_taps=()):
        chroma = (
            colour.middle(colour.sharpen(plane, chroma_taps), luma.shape) for plane in working[1:]
        )
        return colour.image_from_planes_matlab([luma, *chroma], luma.dtype)

    def as_image(self, working, dtype):
        return colour.image_from_planes_matlab(working, dtype)

    def working_luma(self, working, dtype):
        return map_strips(lambda strip: self.round_luma(strip, dtype), dtype, working[0])

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
