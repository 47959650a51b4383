"""Self-ensemble: the mean of a network's results for eight flips and turns of a picture.

Timofte, Rothe, Van Gool, "Seven ways to improve example-based single image super resolution",
arXiv:1511.02228.
"""

import numpy as np

from srcnn.engines.base import Engine


class Ensemble(Engine):
    """An engine that runs another one eight times.

    Args:
      engine: the other.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.name, self.architecture = engine.name, engine.architecture
        self.threads, self.side_multiple = engine.threads, engine.side_multiple

    def _load(self, tensors):
        raise NotImplementedError("the other engine is loaded already")

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The mean of eight results, each turned back."""
        total = None
        for flip in (False, True):
            for turns in range(4):
                turned = np.rot90(batch[:, :, ::-1] if flip else batch, turns, (1, 2))
                result = np.rot90(self._engine.run(np.ascontiguousarray(turned)), -turns, (1, 2))
                result = result[:, :, ::-1] if flip else result
                total = result.copy() if total is None else total + result
        return total / np.float32(8)
