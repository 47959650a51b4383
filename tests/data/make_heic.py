"""Makes the HEIC files beside it.

Needs pillow-heif, whose encoder the project does not use: pip install pillow-heif numpy.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

HERE = Path(__file__).parent
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def codes(bits: int, channels: int) -> np.ndarray:
    """A picture without any symmetry, (16, 24, channels): tests compute it again."""
    y, x = np.mgrid[0:16, 0:24]
    planes = [x / 23, y / 15, (x + y) / 38, 1 - x * y / 345]
    return np.rint(np.dstack(planes[:channels]) * (2**bits - 1)).astype(np.uint16)


def write(name: str, bits: int, channels: int, **options) -> None:
    """Writes a file without loss; pillow-heif takes 16 bits and keeps the upper ones."""
    samples = codes(bits, channels)
    samples = samples.astype(np.uint8) if bits == 8 else samples << (16 - bits)
    mode = ("RGB" if channels == 3 else "RGBA") + (";16" if bits > 8 else "")
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    file = pillow_heif.from_bytes(mode, (24, 16), samples.tobytes())
    file[0].info.update(options.pop("info", {}))
    buffer = io.BytesIO()
    file.save(buffer, quality=-1, chroma=444, matrix_coefficients=0, **options)
    content = bytearray(buffer.getvalue())
    if "exif" in options:  # phones leave the orientation in EXIF that they state outside it
        entry = content.index(struct.pack(">HHI", 0x0112, 3, 1))
        struct.pack_into(">H", content, entry + 8, 6)
    (HERE / name).write_bytes(content)


if __name__ == "__main__":
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A maker", 6
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    write("8-bit.heic", 8, 3)
    write("10-bit.heic", 10, 3)
    write("alpha.heic", 8, 4)
    profile = {"icc_profile": SRGB, "icc_profile_type": "prof"}
    write("10-bit-turned.heic", 10, 3, exif=exif.tobytes(), xmp=xmp, info=profile)
