"""What every inference engine is."""

from abc import ABC, abstractmethod

import numpy as np

from srcnn.architecture import Architecture
from srcnn.weights import Tensors


class Engine(ABC):
    """A loaded network, ready to run. Instances hold native resources and are not pickled.

    Attributes:
      name: as in `--engine`.
      architecture: the network's description.
    """

    name: str

    def __init__(self, architecture: Architecture, tensors: Tensors):
        self.architecture = architecture
        self._load(tensors)

    @abstractmethod
    def _load(self, tensors: Tensors) -> None:
        """Makes the engine ready; `architecture` is set. `tensors` fit it."""

    @abstractmethod
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Runs the network.

        Args:
          batch: float32 (n, h, w, 1), luma in [0, 1]; any n, h, w that the valid layers leave
            something of.

        Returns:
          float32 (n, h - 2 * margin, w - 2 * margin, 1), not clipped.
        """
