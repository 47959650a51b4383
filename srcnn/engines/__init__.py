"""Inference engines behind one small interface."""

import importlib.util
import os
import sys
from pathlib import Path

from srcnn.engines.base import Engine, cores
from srcnn.engines.ensemble import Ensemble
from srcnn.errors import EngineError
from srcnn.weights import Weights

# The backends of the Keras engine, which are named as their packages are.
BACKENDS = ("tensorflow", "torch", "jax")
# The fastest on a CPU first.
ENGINES = ("openvino", *BACKENDS)

_NVIDIA = Path("/dev/nvidiactl")


def choose_engine(name: str) -> str:
    """The engine that a name means, without loading it.

    `auto` is the first that is installed: OpenVINO, then the backend of Keras that KERAS_BACKEND
    names, then the others; where there is an NVIDIA GPU, OpenVINO comes last.

    Raises:
      EngineError: there is no engine of that name, or it is not installed.
    """
    if name not in ("auto", *ENGINES):
        raise EngineError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")
    for engine in _preferred() if name == "auto" else [name]:
        if importlib.util.find_spec(engine):
            return engine
    if name == "auto":
        raise EngineError(f"no engine is installed; there are: {', '.join(ENGINES)}")
    extra = "" if name == "tensorflow" else f"[{name}]"
    raise EngineError(f"the engine {name} is not installed: pip install 'srcnn-beam{extra}'")


def _preferred() -> list[str]:
    asked = os.environ.get("KERAS_BACKEND")
    backends = sorted(BACKENDS, key=lambda backend: backend != asked)
    return [*backends, "openvino"] if _NVIDIA.exists() else ["openvino", *backends]


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
        _take_backend(name)
        from srcnn.engines.keras import KerasEngine as Chosen
    engine = Chosen(weights.card.architecture, weights.tensors, threads)
    return Ensemble(engine) if ensemble else engine


def _take_backend(name: str) -> None:
    """Makes Keras run on a backend; a process can have one only."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = name
    elif (running := sys.modules["keras"].config.backend()) != name:
        raise EngineError(f"Keras already runs on {running} in this process, not on {name}")


__all__ = ["BACKENDS", "ENGINES", "Engine", "choose_engine", "cores", "create_engine"]
