"""Arrays of HDF5 files that others made.

HDF5 can point out of the file, expand a few bytes to gigabytes and hold objects. Only plain arrays
no larger than the file are read here, and each is checked before its data is read.
"""

import io
import math
from pathlib import Path

import h5py

from srcnn.errors import WeightsError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OTHERS = {
    b"PK": "a zip archive, such as .keras or .npz",
    b"\x80": "a Python pickle, which is never read",
    b"\x93NUMPY": "a NumPy array file",
    b"MATLAB": "a MATLAB file",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself",
}


def open_hdf5(path: Path, content: bytes) -> h5py.File:
    """Opens a file's content for reading.

    Raises:
      WeightsError: see check_signature.
      Exception: OSError, RuntimeError, KeyError and others, on damage.
    """
    check_signature(path, content)
    return h5py.File(io.BytesIO(content), "r")


def check_signature(path: Path, content: bytes) -> None:
    """Refuses files of other kinds by their first bytes.

    Raises:
      WeightsError: the content is not HDF5; the message names its kind.
    """
    if not content.startswith(_SIGNATURE):
        kinds = [kind for magic, kind in _OTHERS.items() if content.startswith(magic)]
        kind = kinds[0] if kinds else "of an unknown kind" if content else "an empty file"
        raise WeightsError(f"{path}: not HDF5: {kind}")


def is_plain(file: h5py.File, name: str) -> bool:
    """Whether a path exists and leads over no soft or external link."""
    parts = name.split("/")
    return all(
        isinstance(file.get("/".join(parts[:depth]), getlink=True), h5py.HardLink)
        for depth in range(1, len(parts) + 1)
    )


def plain_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """The dataset at a path, if it lies uncompressed in the file, which bounds its size.

    Raises:
      WeightsError: it is missing, reached by a link, or stored in any other way.
    """
    if not is_plain(file, name):
        raise WeightsError(f"{path}: {name} is missing or is a link; plain datasets only")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise WeightsError(f"{path}: {name} is not a plain dataset: it is a group or a type")
    # In this order: reading the shape of a virtual dataset may open other files.
    for stored, elsewhere in (
        ("in other datasets", dataset.is_virtual),
        ("outside the file", dataset.external),
        ("in chunks, which may be compressed", dataset.chunks),
    ):
        if elsewhere:
            raise WeightsError(f"{path}: {name} is not a plain dataset: it is stored {stored}")
    # Not dataset.nbytes, which overflows.
    size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    if size > file.id.get_filesize():
        raise WeightsError(f"{path}: {name} declares {size} bytes, more than the file has")
    return dataset
