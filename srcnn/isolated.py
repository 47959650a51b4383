"""Parsing in a process of its own.

A file can make the libraries that read HDF5 and MATLAB files loop, take all memory or crash, and
none of that is an exception that could be caught: in HDF5 a free list that leads to itself is
enough. Here it ends a child.
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

# Far more than a busy machine needs; what is held off is a file that never ends.
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
    environment = os.environ | {
        # Found as this package is, installed or not; a thread pool would only cost memory.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), *sys.path])),
        "OPENBLAS_NUM_THREADS": "1",
    }
    # Warnings are ignored: what the child says is the message of an error.
    python = (sys.executable, "-P", "-W", "ignore", "-m", __name__)
    try:
        done = subprocess.run(
            [*python, parse.__module__, parse.__name__, str(path), *arguments],
            input=content,
            capture_output=True,
            timeout=_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{path}: damaged: not parsed after {_SECONDS} seconds") from None
    if done.returncode == _REFUSED:
        raise WeightsError(done.stderr.decode())
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise WeightsError(
            f"{path}: damaged: the library that parses it ended with {done.returncode} {last:.200}"
        )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    layers = [list(group) for _, group in groupby(arrays, lambda name: name.split("_")[0])]
    return tuple(tuple(arrays[name] for name in layer) for layer in layers)


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
