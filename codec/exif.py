"""EXIF blocks: TIFF directories, taken apart and rebuilt value by value.

Values are kept as bytes with their types. Pillow's Exif would guess types again and turn letters
that are not ASCII, such as the (C) sign of a copyright, into question marks.
"""

import struct
from dataclasses import dataclass, replace
from fractions import Fraction

# Bytes per value of each type of TIFF 6.0, and UTF-8 text of EXIF 3.0.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_POINTER_KINDS = (_LONG, 13, 16, 18)  # the last two are BigTIFF's
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

# Tags of a TIFF file that tell how its pixels are stored or lie on a map, that point into the file,
# or that have a place of their own in Metadata.
OF_THE_FILE = frozenset(
    {
        *range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, 317,
        *range(320, 326), *range(326, 329), *range(330, 348), *range(512, 522), *range(529, 533),
        559, 700, 32995, *range(32996, 33000), 33421, 33422, 33550, 33920, 33922, 34264, 34377,
        34675, 34735, 34736, 34737, 37724, 42112, 42113,
    }
)  # fmt: skip

# Larger ones are no EXIF that a camera or a person wrote.
_LIMIT = 16_000_000
_WIDEST_GAP = 65_536


@dataclass(frozen=True)
class Entry:
    """A value of a directory.

    Attributes:
      kind: its TIFF type.
      value: its bytes, in the block's byte order.
      place: where they stood in the block.
    """

    kind: int
    value: bytes
    place: int = 0


Directory = dict[int, "Entry | Directory"]


@dataclass(frozen=True)
class Exif:
    """An EXIF block taken apart.

    Attributes:
      order: `<` or `>`, as the struct module calls byte orders.
      tags: the main directory; those of EXIF, GPS and interoperability hang below it.
    """

    order: str
    tags: Directory


def parse(content: bytes, without: frozenset[int] = frozenset()) -> Exif:
    """Takes an EXIF block, or the first directory of a TIFF or BigTIFF file, apart.

    Thumbnails are not read; nor are values and directories that the block promises but does not
    hold.

    Args:
      content: the block, from its byte order mark on.
      without: tags of the main directory to be passed over.

    Raises:
      ValueError: it is no such block, its main directory is damaged, or it is too large.
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
    """A directory and all that hangs below it, to stand at the offset `start` of a file."""
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
                # Maker notes may hold offsets from the start of the block: they stay in their
                # place if that is free.
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
      added: tags in its byte order; those that the file has are left as they are.
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
    """The same for the picture turned upright: orientation 1, its resolution turned too."""
    tags = dict(exif.tags)
    if _ORIENTATION in tags:
        tags[_ORIENTATION] = Entry(_SHORT, struct.pack(exif.order + "H", 1))
    if (orientation_of(exif) or 1) >= 5:
        turned = {_X_RESOLUTION: _Y_RESOLUTION, _Y_RESOLUTION: _X_RESOLUTION}
        tags = {turned.get(tag, tag): item for tag, item in tags.items()}
    return replace(exif, tags=tags)


def scaled(exif: Exif, factor: float) -> Exif:
    """The same for a picture of `factor` times as many pixels per inch."""
    tags = dict(exif.tags)
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        resolution = _rational(exif, tag)
        if resolution is not None:
            tags[tag] = _rational_entry(resolution * Fraction(factor), exif.order)
    return replace(exif, tags=tags)


def sized(exif: Exif, width: int, height: int) -> Exif:
    """The same for a picture of another size; sizes that it does not state are not added."""
    tags = dict(exif.tags)
    below = tags.get(_EXIF_IFD)
    if isinstance(below, dict):
        tags[_EXIF_IFD] = _with_sizes(below, {_PIXEL_X: width, _PIXEL_Y: height}, exif.order)
    tags = _with_sizes(tags, {_WIDTH: width, _HEIGHT: height}, exif.order)
    return replace(exif, tags=tags)


def _read(
    content: bytes,
    start: int,
    order: str,
    children: dict,
    without: frozenset[int],
    is_big: bool = False,
) -> Directory:
    """The directory at `start`; raises ValueError or struct.error where it is damaged."""
    counted, entry, held = ("Q", "HHQQ", 8) if is_big else ("H", "HHII", 4)
    (count,) = struct.unpack_from(order + counted, content, start)
    first, length = start + struct.calcsize(order + counted), struct.calcsize(order + entry)
    directory: Directory = {}
    total = 0
    for position in range(first, first + length * count, length):
        tag, kind, number, field = struct.unpack_from(order + entry, content, position)
        if is_big and number == 1 and kind in (_LONG, 13):  # the field holds it at its beginning
            (field,) = struct.unpack_from(order + "I", content, position + length - held)
        size = number * _SIZES.get(kind, 0)
        if tag in without or not (size or kind in _POINTER_KINDS):
            continue
        if tag in _POINTERS:
            if tag in children and number == 1 and kind in _POINTER_KINDS:
                try:
                    below = _read(content, field, order, children[tag], frozenset(), is_big)
                except struct.error:
                    continue
                if below:
                    directory[tag] = below
            continue
        place = position + length - held if size <= held else field
        total += size
        if not size or place + size > len(content):
            continue
        if total > _LIMIT:  # directories can name the same bytes again and again
            raise ValueError("too large")
        directory[tag] = Entry(kind, content[place : place + size], place)
    return directory


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
