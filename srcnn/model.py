"""Restoration in three lines, for notebooks and scripts.

    from srcnn import load_model
    model = load_model("srcnn-955_x2_bilinear")
    enlarged = model.enlarge(image)

The pixels are those that the job writes in restore mode.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcnn.engines import Engine, create_engine
from srcnn.restoration import restoration_of
from srcnn.weights import WEIGHTS_SUFFIX, ModelCard, choose_weights, load_weights
from weights import DIRECTORY


@dataclass(frozen=True)
class Model:
    """Weights in an engine. Several threads may use one at the same time.

    Attributes:
      card: its scale, kernel and protocol, among others.
      engine: the network.
    """

    card: ModelCard
    engine: Engine

    def enlarge(self, image: np.ndarray, strength: float = 1) -> np.ndarray:
        """Enlarges an image by the model's scale and restores it.

        Args:
          image: (h, w, 3) BGR, as OpenCV reads it, or (h, w), uint8 or uint16. For RGB pass
            `image[..., ::-1]`, and reverse the result's channels.
          strength: 1: the network's result; 0: the interpolated picture; between: a mixture.

        Returns:
          (h * scale, w * scale[, 3]), the same type and channel order.

        Raises:
          ValueError: the array is not such an image, or the strength not between 0 and 1.
        """
        return self._restore(image, self.card.scale, strength)

    def improve(self, image: np.ndarray, strength: float = 1) -> np.ndarray:
        """Restores an image that was already enlarged; its size stays.

        Raises:
          ValueError: see `enlarge`; or the network enlarges its input.
        """
        if self.card.architecture.upscale > 1:
            raise ValueError(f"{self.card.name} enlarges; `improve` needs a network that does not")
        return self._restore(image, 1, strength)

    def _restore(self, image: np.ndarray, scale: int, strength: float) -> np.ndarray:
        gray = image.ndim == 2
        if image.dtype not in (np.uint8, np.uint16) or not (gray or image.shape[2:] == (3,)):
            raise ValueError(
                f"an image of {image.dtype}, {image.shape}: must be uint8 or uint16, (h, w, 3) BGR "
                "or (h, w)"
            )
        if image.size == 0:
            raise ValueError(f"an image of {image.shape} has no pixels")
        if not 0 <= strength <= 1:
            raise ValueError(f"strength: {strength}: must be between 0 and 1")
        restoration = restoration_of(self.card, scale=scale, strength=strength)
        small = np.ascontiguousarray(image)
        interpolated = restoration.interpolate(
            small, restoration.enlarged_shape(small), image.dtype
        )
        plane = restoration.network_input(small, interpolated, image.dtype)
        luma = restoration.restore_luma(self.engine, plane, image.dtype)
        return restoration.compose(interpolated, luma, image.dtype)


def load_model(
    model: str | os.PathLike = "srcnn-955",
    scale: int = 2,
    kernel: str | None = None,
    protocol: str | None = None,
    engine: str = "auto",
    ensemble: bool = False,
) -> Model:
    """Loads shipped weights, or those of a file.

    Args:
      model: the full name of shipped weights, an architecture that scale, kernel and protocol
        complete, or the path of a `.weights.h5` file with its model card beside it.
      scale: of an architecture: 2, 3 or 4; 1 for networks that only clean.
      kernel: of an architecture: the interpolation to undo; None: see srcnn.weights.choose_weights.
      protocol: of an architecture: `opencv` or `matlab`; None: as for kernel.
      engine: see srcnn.engines.choose_engine.
      ensemble: see srcnn.engines.create_engine.

    Raises:
      WeightsError: there are no such weights, or they are damaged.
      EngineError: the engine is not installed.
    """
    if str(model).endswith(WEIGHTS_SUFFIX):
        path = Path(model)
    else:
        path = choose_weights(DIRECTORY, [str(model)], scale, kernel, protocol)
    weights = load_weights(path)
    return Model(weights.card, create_engine(engine, weights, ensemble=ensemble))
