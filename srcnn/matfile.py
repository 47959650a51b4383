"""A reader for MATLAB files of version 5: real matrices of floating point, nothing else.

Written here because the usual reader, scipy.io.loadmat, trusts the file: of some thousand mutated
ones it crashed the interpreter on several, and it makes objects of whatever a file declares.
The format is MathWorks' "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
# Codes of the types in which numbers are stored, and of the classes double and single.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_FLOATS = (6, 7)
_COMPLEX = 0x800


def read_matrices(content: bytes, limit: int) -> dict[str, np.ndarray]:
    """The real floating-point matrices of a file by name; what is of another class is left out.

    Args:
      content: the whole file.
      limit: how many bytes the compressed variables may have in all when unpacked.

    Returns:
      Arrays of MATLAB's shapes, two to four dimensions, of the number type that they are stored in
      (whole numbers are often stored as bytes); no larger than their stored data.

    Raises:
      ValueError: the content is of another format, or damaged, or larger.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[124:126] != (b"\x00\x01" if order == "<" else b"\x01\x00"):
        raise ValueError("its header is another one")
    matrices = {}
    for kind, data in _elements(content[128:], order):
        if kind == _COMPRESSED:
            kind, data = _unpacked(data, order, limit)
            limit -= len(data)
        if kind == _MATRIX and (named := _matrix(data, order)):
            name, array = named
            if name in matrices:
                raise ValueError(f"{name!r} is there twice")
            matrices[name] = array
    return matrices


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The type and the bytes of each element."""
    position = 0
    while position < len(data):
        if len(data) < position + 8:
            raise ValueError("it is cut short")
        kind, size = struct.unpack_from(f"{order}II", data, position)
        start = position + 8
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
        end = start + size
        if end > len(data):
            raise ValueError("it is cut short")
        yield kind, data[start:end]
        # All but compressed elements are padded to multiples of eight bytes.
        position = end if kind == _COMPRESSED else position + 8 * math.ceil((end - position) / 8)


def _unpacked(data: bytes, order: str, limit: int) -> tuple[int, bytes]:
    """What a compressed element holds: one element of at most `limit` bytes, its tag apart."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, limit + 8)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError(f"a variable is cut short or unpacks to more than {limit:,} bytes")
    (element,) = _elements(unpacked, order)
    return element


def _matrix(data: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """A matrix and its name, or None if it is of another class than real floating point."""
    elements = list(_elements(data, order))
    flags = _numbers(elements[0], order) if elements else ()
    if not len(flags):
        raise ValueError("a variable without a class")
    if int(flags[0]) & 0xFF not in _FLOATS or int(flags[0]) & _COMPLEX:
        return None
    _, shape, (_, name), values = elements
    shape = tuple(map(int, _numbers(shape, order)))
    values = _numbers(values, order)
    if not 2 <= len(shape) <= 4 or min(shape) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"a variable declares the shape {shape} and has {len(values)} values")
    return name.decode(), values.reshape(shape, order="F")


def _numbers(element: tuple[int, bytes], order: str) -> np.ndarray:
    kind, data = element
    if kind not in _STORED:
        raise ValueError(f"numbers are stored as type {kind}")
    return np.frombuffer(data, order + _STORED[kind])
