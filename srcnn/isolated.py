"""Parsing in a child process.

A file can make the libraries that read HDF5 and MATLAB files loop, take all memory or crash: in
HDF5 a free list that leads to itself is enough. Python cannot catch that, so it has to end a child.
"""

import importlib
import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np

from srcnn.errors import WeightsError

# For each layer kernel HWIO, bias and, before a PReLU, slopes (1, 1, filters).
Tensors = tuple[tuple[np.ndarray, ...], ...]

# Far more than a busy machine needs.
_SECONDS = 120
_BYTES = 512 * 1024 * 1024
_REFUSED = 3


def parse_isolated(
    parse: Callable[..., Tensors], path: Path, content: bytes, *arguments: str
) -> Tensors:
    """Calls `parse(path, content, *arguments)` in a child of bounded time and memory.

    Args:
      parse: a function of a module of this package; raises WeightsError.
      path: for messages.
      content: the whole file.
      *arguments: further texts.

    Raises:
      WeightsError: as the function does, or when the child does not survive the file.
    """
    # Warnings are ignored: standard error holds the error message.
    python = (sys.executable, "-P", "-W", "ignore", "-m", __name__)
    try:
        done = subprocess.run(
            [*python, parse.__module__, parse.__name__, str(path), *arguments],
            input=content,
            capture_output=True,
            timeout=_SECONDS,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{path}: damaged: parsing took more than {_SECONDS} seconds") from None
    if done.returncode == _REFUSED:
        raise WeightsError(done.stderr.decode())
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise WeightsError(
            f"{path}: damaged: the library that parses it ended with {done.returncode} {last:.200}"
        )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        layers = groupby(file.files, lambda name: name.split("_")[0])
        return tuple(tuple(file[name] for name in layer) for _, layer in layers)


# For glibc, which would otherwise return an image's memory to the system and get it back, page by
# page, for the next image: as much work as decoding.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}


def child_environment() -> dict[str, str]:
    """The environment of a child that imports this project from where this process does."""
    path = filter(None, [str(Path(__file__).parents[1]), *sys.path])
    # A thread pool would only cost memory.
    own = {"PYTHONPATH": os.pathsep.join(path), "OPENBLAS_NUM_THREADS": "1"}
    return _KEEP_MEMORY | os.environ | own


def _main(module: str, name: str, path: str, *arguments: str) -> int:
    parse = getattr(importlib.import_module(module), name)
    content = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        tensors = parse(Path(path), content, *arguments)
    except WeightsError as error:
        sys.stderr.buffer.write(str(error).encode(errors="backslashreplace"))
        return _REFUSED
    buffer = io.BytesIO()
    named = {f"{i}_{j}": a for i, layer in enumerate(tensors) for j, a in enumerate(layer)}
    np.savez(buffer, **named)
    sys.stdout.buffer.write(buffer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
