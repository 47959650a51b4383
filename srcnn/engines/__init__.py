"""Inference engines behind one small interface."""

from srcnn.engines.base import Engine
from srcnn.errors import EngineError
from srcnn.weights import Weights

ENGINES = ("tensorflow",)


def create_engine(name: str, weights: Weights) -> Engine:
    """Loads weights into an engine.

    Raises:
      EngineError: there is no engine of that name, or it is not installed.
    """
    if name != "tensorflow":
        raise EngineError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")
    try:
        from srcnn.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(weights.card.architecture, weights.tensors)
    except ImportError as error:
        raise EngineError(f"the engine tensorflow is not installed: {error}") from None


__all__ = ["ENGINES", "Engine", "create_engine"]
