"""PSD and PSB files: the merged picture, of 8 and 16 bits (Pillow has 8, and no PSB)."""

import io
import itertools
import struct
import zlib
from typing import NamedTuple

import imagecodecs
import numpy as np

from codec.colour import rgb_from_cmyk, rgb_from_lab
from codec.errors import NO_PIXELS, TRUNCATED, ImageError
from codec.samples import straight_from_premultiplied

SIGNATURE = b"8BPS"
_BITMAP, _GRAY, _INDEXED, _RGB, _CMYK, _MULTICHANNEL, _DUOTONE, _LAB = 0, 1, 2, 3, 4, 7, 8, 9
_COLOURS = {
    _BITMAP: 1,
    _GRAY: 1,
    _INDEXED: 1,
    _RGB: 3,
    _CMYK: 4,
    _MULTICHANNEL: 4,
    _DUOTONE: 1,
    _LAB: 3,
}
_RAW, _RUN_LENGTHS, _DEFLATE = range(3)
_RESOLUTION, _ICC, _TRANSPARENT_INDEX, _EXIF, _XMP = 1005, 1039, 1047, 1058, 1060
_NOTES = {
    _DUOTONE: "the inks of the duotone were left out: it was read as gray",
    _MULTICHANNEL: "spot colours (multichannel) were read as cyan, magenta, yellow and black",
}


class PsdHeader(NamedTuple):
    """What a PSD says before its pixels.

    Attributes:
      large: whether it is a PSB, with longer lengths.
      channels: in the merged picture.
      height: pixels.
      width: pixels.
      bits: per sample.
      mode: of colour.
      palette: of an indexed picture, 256 reds, greens and blues.
      info: what stands beside the pixels, by the names that Pillow gives it.
      transparent: whether the first channel behind the colours is said to be the merged picture's
        transparency; its colours are mixed with white then.
      pixels: where the pixels stand.
    """

    large: bool
    channels: int
    height: int
    width: int
    bits: int
    mode: int
    palette: bytes
    info: dict[str, object]
    transparent: bool
    pixels: int


def header_of_psd(stream: io.BufferedIOBase) -> PsdHeader:
    """Reads all that stands before the pixels.

    Raises:
      ImageError: its pixels are of a kind that is not supported.
      struct.error: it is truncated.
    """
    stream.seek(0)
    version, channels, height, width, bits, mode = struct.unpack(">4xH6xHIIHH", stream.read(26))
    if 0 in (height, width):
        raise ImageError(NO_PIXELS)
    if version not in (1, 2):
        raise ImageError(f"a PSD of version {version} is not supported")
    if bits == 32:
        raise ImageError("32-bit floating-point samples are not supported; 8 or 16 bits are")
    if mode == _MULTICHANNEL and channels < 4:
        raise ImageError(f"a PSD of {channels} spot colours (multichannel) is not supported")
    if mode not in _COLOURS or bits not in ((1,) if mode == _BITMAP else (8, 16)):
        raise ImageError(f"the image's header is damaged: a PSD of mode {mode}, {bits} bits")
    if channels < _COLOURS[mode]:
        raise ImageError(f"the image's header is damaged: {channels} channels are too few")
    palette = stream.read(*struct.unpack(">I", stream.read(4)))
    info = _info_of(stream.read(*struct.unpack(">I", stream.read(4))))
    large = version == 2
    layout = ">Q" if large else ">I"
    (length,) = struct.unpack(layout, stream.read(struct.calcsize(layout)))
    layers, start = stream.read(min(length, 10)), stream.tell()
    # The length of the layers' part, then how many there are: negative ones say it.
    counted = layers[8:10] if large else layers[4:6]
    transparent = len(counted) == 2 and struct.unpack(">h", counted)[0] < 0
    pixels = start - len(layers) + length
    return PsdHeader(
        large, channels, height, width, bits, mode, palette, info, transparent, pixels
    )  # fmt: skip


def _info_of(resources: bytes) -> dict[str, object]:
    found, position = {}, 0
    while position + 12 <= len(resources) and resources[position : position + 3] in (
        b"8BI",
        b"AgH",
    ):
        (kind,) = struct.unpack_from(">H", resources, position + 4)
        position += 6 + (resources[position + 6] // 2 + 1) * 2  # a name, padded
        if position + 4 > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, position)
        found.setdefault(kind, resources[position + 4 : position + 4 + size])
        position += 4 + size + size % 2
    info = {_ICC: "icc_profile", _EXIF: "exif", _XMP: "xmp"}
    named = {info[kind]: block for kind, block in found.items() if kind in info}
    if len(found.get(_TRANSPARENT_INDEX, b"")) == 2:
        named["transparency"] = int.from_bytes(found[_TRANSPARENT_INDEX])
    if len(found.get(_RESOLUTION, b"")) >= 12:
        x, y = struct.unpack_from(">I4xI", found[_RESOLUTION])
        named["dpi"] = x / 65536, y / 65536
    return named


def decode_psd(content: bytes) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Decodes the merged picture.

    Returns:
      (h, w, 3) RGB or (h, w), uint8 or uint16; alpha, (h, w) of the same type, or None; notes.

    Raises:
      ImageError: it is damaged or compressed in a way that is not supported.
    """
    header = header_of_psd(io.BytesIO(content))
    count = _COLOURS[header.mode]
    extra = header.channels - count
    has_alpha = extra > 0 and (header.transparent or extra == 1)
    planes = _planes(header, content, count + has_alpha)
    colours, alpha = planes[..., :count], planes[..., count] if has_alpha else None
    notes = [_NOTES[header.mode]] if header.mode in _NOTES else []
    if extra > has_alpha:
        notes.append(f"extra channels without a stated meaning were dropped: {extra - has_alpha}")
    if header.mode == _LAB:  # whose white is no largest code
        peak = int(np.iinfo(colours.dtype).max)
        colours = rgb_from_lab(colours, peak, peak // 255, 128 * (peak // 255))
    if has_alpha and header.transparent:
        behind = np.iinfo(colours.dtype).max - alpha[..., np.newaxis]
        colours = straight_from_premultiplied(colours - np.minimum(colours, behind), alpha)
    if header.mode == _BITMAP:
        colours = (1 - colours) * np.uint8(255)
    elif header.mode == _INDEXED:
        palette = np.frombuffer(header.palette.ljust(768, b"\0")[:768], np.uint8)
        hidden = colours[..., 0] == header.info.get("transparency", -1)
        alpha = (~hidden).astype(np.uint8) * 255 if hidden.any() and alpha is None else alpha
        colours = palette.reshape(3, 256).T[colours[..., 0]]
    elif header.mode in (_CMYK, _MULTICHANNEL):
        inks = np.iinfo(colours.dtype).max - colours
        colours, more = rgb_from_cmyk(inks, header.info.get("icc_profile"))
        notes += more
    return (colours[..., 0] if colours.shape[2] == 1 else colours), alpha, notes


def _planes(header: PsdHeader, content: bytes, count: int) -> np.ndarray:
    """The first channels, (h, w, count); of a bitmap its bits."""
    in_row = -(-header.width * header.bits // 8)
    size = in_row * header.height
    (compression,) = struct.unpack_from(">H", content, header.pixels)
    stored = memoryview(content)[header.pixels + 2 :]
    if compression == _RUN_LENGTHS:
        layout = np.dtype(">u4" if header.large else ">u2")
        rows = header.height * header.channels
        counts = np.frombuffer(stored, layout, rows).reshape(header.channels, -1)
        ends = list(itertools.accumulate(map(int, counts.sum(axis=1)), initial=0))
        packed = stored[rows * layout.itemsize :]
        raw = [
            imagecodecs.packbits_decode(bytes(packed[start:end]))
            for start, end in itertools.pairwise(ends[: count + 1])
        ]
    elif compression in (_RAW, _DEFLATE):
        if compression == _DEFLATE:
            stored = zlib.decompressobj().decompress(stored, size * header.channels)
        raw = [stored[index * size : (index + 1) * size] for index in range(count)]
    else:
        raise ImageError(f"a PSD with compression {compression} is not supported")
    if any(len(plane) < size for plane in raw):
        raise ImageError(f"the image is damaged: {TRUNCATED}")
    kind = np.dtype(">u2" if header.bits == 16 else "u1")
    arrays = [np.frombuffer(plane, kind, size // kind.itemsize) for plane in raw]
    planes = np.stack(arrays, axis=-1).astype(kind.newbyteorder("="), copy=False)
    planes = planes.reshape(header.height, in_row // kind.itemsize, count)
    if header.bits == 1:
        planes = np.unpackbits(planes, axis=1)[:, : header.width]
    return planes
