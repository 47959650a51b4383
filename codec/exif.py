"""EXIF blocks, which are TIFF directories: parsed and rebuilt value by value.

Values are kept as bytes with their types. Pillow's Exif would guess the types and turn letters that
are not ASCII, such as the copyright sign, into question marks.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

# Bytes per value of each type of TIFF 6.0, and UTF-8 text of EXIF 3.0.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_SHORT, _LONG, _RATIONAL, _IFD = 3, 4, 5, 13
_POINTER_KINDS = (_LONG, _IFD, 16, 18)  # the last two are BigTIFF's
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_BIG_ORDERS = {b"II+\0": "<", b"MM\0+": ">"}  # of BigTIFF
_INCH, _CENTIMETRE = 2, 3

_WIDTH, _HEIGHT = 256, 257
_ORIENTATION = 274
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
_PIXEL_X, _PIXEL_Y = 40962, 40963
_MAKER_NOTE = 37500

_MAIN_CHILDREN = {_EXIF_IFD: {_INTEROP_IFD: {}}, _GPS_IFD: {}}
_POINTERS = frozenset({_EXIF_IFD, _GPS_IFD, _INTEROP_IFD})

# Tags of a TIFF file about the storage of its pixels or their place on a map, pointers into the
# file, and tags whose content Metadata holds in another field.
OF_THE_FILE = frozenset(
    {
        *range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, 317,
        *range(320, 326), *range(326, 329), *range(330, 348), *range(512, 522), *range(529, 533),
        559, 700, 32995, *range(32996, 33000), 33421, 33422, 33550, 33920, 33922, 34264, 34377,
        34675, 34735, 34736, 34737, 37724, 42112, 42113,
    }
)  # fmt: skip

# No camera or person writes a larger block.
_LIMIT = 16_000_000
_WIDEST_GAP = 65_536


@dataclass(frozen=True)
class Entry:
    """A value of a directory.

    Attributes:
      kind: its TIFF type.
      value: its bytes, in the block's byte order.
      place: their offset in the block that was read.
    """

    kind: int
    value: bytes
    place: int = 0


Directory = dict[int, "Entry | Directory"]


@dataclass(frozen=True)
class Exif:
    """A parsed EXIF block.

    Attributes:
      order: byte order, `<` or `>`, as in the struct module.
      tags: the main directory, which holds those of EXIF, GPS and interoperability.
    """

    order: str
    tags: Directory


def parse(content: bytes, without: frozenset[int] = frozenset()) -> Exif:
    """Parses an EXIF block, or the first directory of a TIFF or BigTIFF file.

    Thumbnails are left out, and so are values and directories that lie outside the block.

    Args:
      content: the block, from its byte order mark on.
      without: tags of the main directory to leave out.

    Raises:
      ValueError: it is not such a block, its main directory is damaged, or it is too large.
    """
    is_big = content[:4] in _BIG_ORDERS
    order = (_ORDERS | _BIG_ORDERS).get(content[:4])
    if order is None:
        raise ValueError("no byte order mark of TIFF")
    try:
        (start,) = struct.unpack_from(order + ("4xQ" if is_big else "I"), content, 4)
        return Exif(order, _read(content, start, order, _MAIN_CHILDREN, without, is_big))
    except struct.error as error:
        raise ValueError(f"the directory is damaged: {error}") from None


def serialise(exif: Exif) -> bytes:
    """The block of an Exif."""
    mark = next(mark for mark, order in _ORDERS.items() if order == exif.order)
    start = len(mark) + 4
    return mark + struct.pack(exif.order + "I", start) + serialise_at(exif.tags, exif.order, start)


def serialise_at(directory: Directory, order: str, start: int) -> bytes:
    """A directory with those below it, for the offset `start` of a file."""
    table = [struct.pack(order + "H", len(directory))]
    behind = start + 2 + 12 * len(directory) + 4
    values = bytearray()
    for tag, item in sorted(directory.items()):
        if isinstance(item, dict):
            kind, count = _LONG, 1
            field = struct.pack(order + "I", behind + len(values))
            values += serialise_at(item, order, behind + len(values))
        else:
            kind, count, field = item.kind, len(item.value) // _SIZES[item.kind], item.value
            if len(field) > 4:
                # Maker notes may hold offsets from the start of the block: they keep their place
                # if it is free.
                gap = item.place - behind - len(values)
                if tag == _MAKER_NOTE and 0 < gap <= _WIDEST_GAP:
                    values += bytes(gap)
                field = struct.pack(order + "I", behind + len(values))
                values += item.value
        values += bytes(len(values) % 2)
        table.append(struct.pack(order + "HHI", tag, kind, count) + field.ljust(4, b"\0"))
    return b"".join(table) + bytes(4) + bytes(values)


def with_tags(tiff: bytes, added: Directory) -> bytes:
    """A TIFF file with tags added to its first directory, which moves to the end.

    Args:
      tiff: a classic TIFF file of one picture.
      added: tags in its byte order; tags that the file has are not replaced.
    """
    picture = parse(tiff)
    content = bytearray(tiff) + bytes(len(tiff) % 2)
    struct.pack_into(picture.order + "I", content, 4, len(content))
    return bytes(content + serialise_at(added | picture.tags, picture.order, len(content)))


def orientation_of(exif: Exif) -> int | None:
    """The orientation, 1 to 8, or None."""
    orientation = _integer(exif, _ORIENTATION)
    return orientation if orientation in range(1, 9) else None


def dpi_of(exif: Exif) -> tuple[float, float] | None:
    """Horizontal and vertical pixels per inch, or None."""
    x, y = (_rational(exif, tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    unit = _integer(exif, _RESOLUTION_UNIT)
    if x is None or y is None or unit not in (None, _INCH, _CENTIMETRE):
        return None
    factor = 2.54 if unit == _CENTIMETRE else 1.0
    return float(x) * factor, float(y) * factor


def upright(exif: Exif) -> Exif:
    """The block for the picture turned upright: orientation 1, resolution turned too."""
    tags = dict(exif.tags)
    if _ORIENTATION in tags:
        tags[_ORIENTATION] = Entry(_SHORT, struct.pack(exif.order + "H", 1))
    if (orientation_of(exif) or 1) >= 5:
        turned = {_X_RESOLUTION: _Y_RESOLUTION, _Y_RESOLUTION: _X_RESOLUTION}
        tags = {turned.get(tag, tag): item for tag, item in tags.items()}
    return replace(exif, tags=tags)


def scale_resolution(exif: Exif, factor: float) -> Exif:
    """The block for a picture of `factor` times as many pixels per inch."""
    tags = dict(exif.tags)
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        resolution = _rational(exif, tag)
        if resolution is not None:
            tags[tag] = _rational_entry(resolution * Fraction(factor), exif.order)
    return replace(exif, tags=tags)


def with_size(exif: Exif, width: int, height: int) -> Exif:
    """The block for a picture of another size; sizes that it does not state are not added."""
    tags = dict(exif.tags)
    below = tags.get(_EXIF_IFD)
    if isinstance(below, dict):
        tags[_EXIF_IFD] = _with_sizes(below, {_PIXEL_X: width, _PIXEL_Y: height}, exif.order)
    tags = _with_sizes(tags, {_WIDTH: width, _HEIGHT: height}, exif.order)
    return replace(exif, tags=tags)


def _read(
    content: bytes, start: int, order: str, children: dict, without: frozenset[int], is_big: bool
) -> Directory:
    """The directory at `start`; raises ValueError or struct.error where it is damaged."""
    directory: Directory = {}
    total = 0
    for tag, kind, size, place, target in _entries(content, start, order, is_big):
        if tag in without:
            continue
        if tag in _POINTERS:
            if tag in children and target is not None:
                with suppress(struct.error):
                    below = _read(content, target, order, children[tag], frozenset(), is_big)
                    directory |= {tag: below} if below else {}
            continue
        total += size
        if not size or place + size > len(content):
            continue
        if total > _LIMIT:  # directories can name the same bytes again and again
            raise ValueError("too large")
        directory[tag] = Entry(kind, content[place : place + size], place)
    return directory


def _entries(
    content: bytes, start: int, order: str, is_big: bool
) -> Iterator[tuple[int, int, int, int, int | None]]:
    """Yields of each entry tag, type, size and place of the value, and its target if a pointer."""
    counted, entry, held = ("Q", "HHQQ", 8) if is_big else ("H", "HHII", 4)
    (count,) = struct.unpack_from(order + counted, content, start)
    first, length = start + struct.calcsize(order + counted), struct.calcsize(order + entry)
    for position in range(first, first + length * count, length):
        tag, kind, number, field = struct.unpack_from(order + entry, content, position)
        inside = position + length - held
        if is_big and number == 1 and kind in (_LONG, _IFD):  # at the beginning of the field
            (field,) = struct.unpack_from(order + "I", content, inside)
        size = number * _SIZES.get(kind, 0)
        target = field if number == 1 and kind in _POINTER_KINDS else None
        yield tag, kind, size, inside if size <= held else field, target


def _integer(exif: Exif, tag: int) -> int | None:
    entry = exif.tags.get(tag)
    if not isinstance(entry, Entry) or entry.kind not in (_SHORT, _LONG):
        return None
    return struct.unpack_from(exif.order + ("H" if entry.kind == _SHORT else "I"), entry.value)[0]


def _rational(exif: Exif, tag: int) -> Fraction | None:
    entry = exif.tags.get(tag)
    if not isinstance(entry, Entry) or entry.kind != _RATIONAL:
        return None
    numerator, denominator = struct.unpack_from(exif.order + "II", entry.value)
    return Fraction(numerator, denominator) if denominator else None


def _rational_entry(value: Fraction, order: str) -> Entry:
    value = value.limit_denominator(10_000)
    numerator = min(value.numerator, 2**32 - 1)
    return Entry(_RATIONAL, struct.pack(order + "II", numerator, value.denominator))


def _with_sizes(directory: Directory, sizes: dict[int, int], order: str) -> Directory:
    stated = {tag: size for tag, size in sizes.items() if tag in directory}
    return directory | {
        tag: Entry(_LONG, struct.pack(order + "I", size)) for tag, size in stated.items()
    }
