"""Icons: files that hold one picture in several sizes. The largest is taken out as a file."""

import io
import re
import struct

from PIL.IcnsImagePlugin import IcnsFile

from codec import bmp, jp2, png

# Icons and cursors of at least one picture; with none it is the beginning of a TGA file.
ICO_SIGNATURE = re.compile(rb"\0\0[\1\2]\0(?!\0\0)")
ICNS_SIGNATURE = b"icns"
_WHOLE_FILES = (png.SIGNATURE, b"\xff\x4f\xff\x51", jp2.SIGNATURE)  # PNG and JPEG 2000


def largest_of_ico(stream: io.BufferedIOBase) -> tuple[bytes, tuple[int, int] | None, int]:
    """The largest picture of a Windows icon or cursor, the deepest among equals.

    The sizes in bytes that its directory states are wrong in some, and count for run lengths alone.

    Returns:
      A PNG, or an icon of one bitmap; the bitmap's width and height, or None for a PNG; how many
      pictures there are.

    Raises:
      Exception: whatever damage leads to.
    """
    count = struct.unpack("<H", stream.read(6)[4:])[0]
    entries = [struct.unpack("<8xII", stream.read(16)) for _ in range(count)]
    found = []
    for size, offset in entries:
        stream.seek(offset)
        beginning = stream.read(26)
        if beginning.startswith(png.SIGNATURE):
            width, height = struct.unpack(">II", beginning[16:24])
            found.append((width * height, 32, width, height, size, offset))
        else:
            width, height, bits = struct.unpack("<4xII2xH", beginning[:16])
            found.append((width * (height // 2), bits, width, height // 2, size, offset))
    _, bits, width, height, size, offset = max(found)
    stream.seek(offset)
    content = stream.read()
    if content.startswith(png.SIGNATURE):
        return content, None, count
    content = bmp.with_full_palette(content[: _bytes_of_dib(content) or size])
    # Pillow takes the depth that tells it what transparency looks like from here.
    directory = struct.pack(
        "<HHHBBBBHHII", 0, 1, 1, width & 255, height & 255, 0, 0, 1, bits, len(content), 22
    )
    return directory + content, (width, height), count


def _bytes_of_dib(content: bytes) -> int | None:
    """The length of an icon's bitmap: what precedes the pixels, pixels, mask. Rows end at 4 bytes.

    None where the pixels are run lengths.
    """
    width, height, bits, compression = struct.unpack_from("<4xIi2xHI", content)
    if compression in bmp.RUN_LENGTHS:
        return None
    row, mask_row = ((width * depth + 31) // 32 * 4 for depth in (bits, 1))
    return bmp.start_of_pixels(content) + height // 2 * (row + mask_row)


def largest_of_icns(stream: io.BufferedIOBase) -> tuple[bytes | None, int]:
    """The largest picture of an Apple icon.

    Returns:
      A PNG or JPEG 2000 file, or None where it is in a format of its own, of 128 pixels at most;
      how many pictures there are.

    Raises:
      Exception: whatever damage leads to.
    """
    icons = IcnsFile(stream)
    sizes = icons.itersizes()
    for code, _ in icons.SIZES[max(sizes, key=lambda size: size[0] * size[2])]:
        if code in icons.dct:
            start, length = icons.dct[code]
            stream.seek(start)
            content = stream.read(length)
            return (content if content.startswith(_WHOLE_FILES) else None), len(sizes)
    raise ValueError("no picture")
