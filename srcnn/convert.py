"""Imports weights that others published: `python -m srcnn.convert FILE --scale 2 ...`.

Writes this project's weights file and a model card beside it.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import get_args

from srcnn.architectures import ProtocolName
from srcnn.errors import WeightsError
from srcnn.files import read_regular
from srcnn.importers import MAX_SOURCE_BYTES, match_architecture, read_keras1, read_matlab
from srcnn.isolated import parse_isolated
from srcnn.weights import save_weights


def convert(
    source: Path, output: Path, scale: int, kernel: str, protocol: str, name: str | None = None
) -> Path:
    """Converts one file and returns the path of the weights written.

    The ending gives the layout: `.mat` is the authors' MATLAB layout, whose layers pad by
    replication; anything else is read as Keras 1 HDF5.

    Raises:
      WeightsError: the file cannot be read, has another layout, or fits no known architecture.
    """
    try:
        content = read_regular(source, MAX_SOURCE_BYTES)
    except FileNotFoundError:
        raise WeightsError(f"{source}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{source}: cannot read it: {error.strerror}") from None
    matlab = source.suffix.lower() == ".mat"
    tensors = parse_isolated(read_matlab if matlab else read_keras1, source, content)
    architecture = match_architecture(tensors)
    if matlab:
        architecture = architecture.padded("replicate")
    return save_weights(
        output,
        tensors,
        name=name or f"{source.stem.removesuffix(f'_x{scale}')}_x{scale}_{kernel}",
        architecture=architecture,
        scale=scale,
        kernel=kernel,
        protocol=protocol,
        training={
            "imported_from": source.name,
            "layout": "MATLAB (authors)" if matlab else "Keras 1 HDF5",
            "source_sha256": hashlib.sha256(content).hexdigest(),
        },
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m srcnn.convert",
        description="Import published SRCNN weights: Keras 1 HDF5 (.h5) or the authors' MATLAB "
        "layout (.mat). The architecture follows from the tensors' shapes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="the file to import")
    parser.add_argument("--output", type=Path, required=True, help="directory to write into")
    parser.add_argument("--scale", type=int, required=True, help="scale they were trained for")
    parser.add_argument("--kernel", default="bicubic", help="degradation they were trained for")
    parser.add_argument(
        "--protocol",
        choices=get_args(ProtocolName),
        default="matlab",
        help="convention for interpolation and luma they were trained with",
    )
    parser.add_argument("--name", help="file name without ending [SOURCE_xSCALE_KERNEL]")
    options = parser.parse_args(arguments)
    try:
        path = convert(**vars(options))
    except (WeightsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
