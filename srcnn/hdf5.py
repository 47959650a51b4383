"""Arrays out of HDF5 files that somebody else may have made.

HDF5 can point out of the file, expand a few bytes to gigabytes and hold objects; what is read here
is plain arrays no larger than the file, and each is checked before its data is touched.
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
      WeightsError: it does not begin as HDF5 does; the message says what it is instead.
      Exception: whatever h5py makes of damage: OSError, RuntimeError, KeyError and others.
    """
    check_signature(path, content)
    return h5py.File(io.BytesIO(content), "r")


def check_signature(path: Path, content: bytes) -> None:
    """Tells files of other kinds by their first bytes.

    Raises:
      WeightsError: the content does not begin as HDF5 does.
    """
    if not content.startswith(_SIGNATURE):
        kinds = [kind for magic, kind in _OTHERS.items() if content.startswith(magic)]
        kind = kinds[0] if kinds else "of an unknown kind" if content else "an empty file"
        raise WeightsError(f"{path}: not HDF5: {kind}")


def is_plain(file: h5py.File, name: str) -> bool:
    """Whether something stands at a path that no soft or external link leads to."""
    parts = name.split("/")
    return all(
        isinstance(file.get("/".join(parts[:depth]), getlink=True), h5py.HardLink)
        for depth in range(1, len(parts) + 1)
    )


def plain_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """The dataset at a path, if it is uncompressed and lies in the file itself.

    So its data is no larger than the file, whatever it declares.

    Raises:
      WeightsError: it is missing, reached by a link, or stored in any other way.
    """
    if not is_plain(file, name):
        raise WeightsError(f"{path}: {name} is missing or is a link; plain datasets only")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise WeightsError(f"{path}: {name} is not a plain dataset: it is a group or a type")
    # In this order: to ask a virtual dataset for its shape may open other files.
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
