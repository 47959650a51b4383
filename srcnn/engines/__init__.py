"""Inference engines behind one small interface."""

import importlib.util
import os
import sys
from pathlib import Path

from srcnn.engines.base import Engine, cores
from srcnn.engines.ensemble import Ensemble
from srcnn.errors import EngineError
from srcnn.weights import Weights

# The fastest on a CPU first.
ENGINES = ("openvino", "tensorflow")

_NVIDIA = Path("/dev/nvidiactl")


def choose_engine(name: str) -> str:
    """The engine that a name means, without loading it.

    `auto` is TensorFlow where there is an NVIDIA GPU, and otherwise the fastest installed.

    Raises:
      EngineError: there is no engine of that name, or it is not installed.
    """
    if name != "auto":
        if name not in ENGINES:
            raise EngineError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")
        if importlib.util.find_spec(name) is None:
            extra = "[openvino]" if name == "openvino" else ""
            raise EngineError(
                f"the engine {name} is not installed: pip install 'srcnn-beam{extra}'"
            )
        return name
    installed = [engine for engine in ENGINES if importlib.util.find_spec(engine)]
    if not installed:
        raise EngineError(f"no engine is installed; there are: {', '.join(ENGINES)}")
    return "tensorflow" if _NVIDIA.exists() and "tensorflow" in installed else installed[0]


def create_engine(
    name: str, weights: Weights, threads: int | None = None, ensemble: bool = False
) -> Engine:
    """Loads weights into an engine.

    Args:
      name: as choose_engine takes it.
      weights: verified weights.
      threads: that one call may use, all cores if None; others may call at the same time.
      ensemble: whether results are means over flips and turns, see Ensemble.

    Raises:
      EngineError: there is no engine of that name, it is not installed, or Keras already runs on
        another backend in this process.
    """
    name = choose_engine(name)
    # Imported here: an engine takes seconds, and another one may not be installed.
    if name == "openvino":
        from srcnn.engines.openvino import OpenVinoEngine as Chosen
    else:
        _check_backend(name)
        from srcnn.engines.keras import KerasEngine as Chosen
    engine = Chosen(weights.card.architecture, weights.tensors, threads)
    return Ensemble(engine) if ensemble else engine


def _check_backend(name: str) -> None:
    """Makes Keras take a backend, if it has not yet taken another one."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = name
    elif (running := sys.modules["keras"].config.backend()) != name:
        raise EngineError(f"Keras already runs on {running} in this process, not on {name}")


__all__ = ["ENGINES", "Engine", "choose_engine", "cores", "create_engine"]
