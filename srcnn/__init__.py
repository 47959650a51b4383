"""Super-resolution on arrays: networks, weights, tiling, colour, resizing, figures.

Free of Apache Beam; importing it imports nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcnn.model import Model, load_model

__all__ = ["Model", "load_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("srcnn.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
