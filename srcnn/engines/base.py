"""What every inference engine is."""

from abc import ABC, abstractmethod

import numpy as np

from srcnn.architecture import Architecture
from srcnn.weights import Weights


class Engine(ABC):
    """A loaded network, ready to run. Instances hold native resources and are not pickled.

    Attributes:
      name: as in `--engine`.
      architecture: the network's description.
    """

    name: str

    def __init__(self, weights: Weights):
        self.architecture: Architecture = weights.card.architecture

    @abstractmethod
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Runs the network.

        Args:
          batch: float32 (n, h, w, 1), luma in [0, 1]; any n, h, w that the valid layers leave
            something of.

        Returns:
          float32 (n, h - 2 * margin, w - 2 * margin, 1), not clipped.
        """
