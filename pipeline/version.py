"""Versions of this software and of the libraries behind its figures."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

VERSION = "0.1.0"

_LIBRARIES = (
    "apache-beam",
    "tensorflow",
    "openvino",
    "opencv-python-headless",
    "numpy",
    "numba",
    "scipy",
    "pyarrow",
)


@cache
def versions(engine: str) -> dict[str, str]:
    """The version of this software and those of the libraries, by distribution name.

    Args:
      engine: whose library is named too.
    """
    found = {"srcnn-beam": VERSION}
    for library in dict.fromkeys((*_LIBRARIES, engine)):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
