"""The interface of inference engines."""

import os
from abc import ABC, abstractmethod

import numpy as np

from srcnn.architectures import Architecture
from srcnn.isolated import Tensors


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Engine(ABC):
    """A loaded network, ready to run. Instances hold native resources and are not pickled.

    Attributes:
      name: as in `--engine`.
      architecture: the network's description.
      threads: that one call of `run` may use; calls from several threads run side by side.
      side_multiple: the engine is fastest where the sides of many inputs are multiples of it: it
        prepares itself for each new shape.
    """

    name: str
    side_multiple = 1

    def __init__(self, architecture: Architecture, tensors: Tensors, threads: int | None = None):
        self.architecture = architecture
        self.threads = threads or cores()
        self._load(tensors)

    @abstractmethod
    def _load(self, tensors: Tensors) -> None:
        """Makes the engine ready; `architecture` and `threads` are set. `tensors` fit it."""

    @abstractmethod
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Runs the network.

        Args:
          batch: float32 (n, h, w, planes) in [0, 1]; any n, h, w that the valid layers leave
            something of.

        Returns:
          float32 (n, (h - 2 * margin) * upscale, (w - 2 * margin) * upscale, planes), not
          clipped.
        """
