"""Image files of every format, depth, channel count, orientation and profile; and broken ones.

Files are written by Pillow, tifffile, imagecodecs or by hand, none by the package.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms
from support import pillow_file, png_chunk, tiff_file

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DPI = (300, 150)
MAKER = "A maker"

# EXIF orientation: how the stored samples are made from the upright ones (the inverse of a
# viewer's transform), by the standard's table.
STORED = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: np.rot90(shown, -1),
}


# First bytes of unsupported formats, by the name in the refusal.
REFUSED = {
    "Windows icon (.ico)": pillow_file(Image.new("RGBA", (16, 16)), "ICO", sizes=[(16, 16)]),
    "Windows cursor (.cur)": struct.pack("<HHHBBBBHHII", 0, 2, 1, 6, 4, 0, 0, 3, 2, 40, 22),
    "Apple icon (.icns)": b"icns" + struct.pack(">I4sI", 16, b"ic09", 8),
    "Photoshop (.psd, .psb)": struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 6, 8, 3) + bytes(99),
    "XPM": b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #ff0000"',
    "PAM": b"P7\nWIDTH 5\nHEIGHT 4\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(60),
    "JPEG XR": b"II\xbc\x01",
    "GIMP (.xcf)": b"gimp xcf file",
    "GIMP brush (.gbr)": struct.pack(">5I", 28, 2, 4, 4, 1) + b"GIMP" + bytes(20),
    "JNG": b"\x8bJNG\r\n\x1a\n",
    "SVG": b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='5'>",
    "PDF": b"%PDF-1.7\n",
    "PostScript or EPS": b"\xc5\xd0\xd3\xc6" + bytes(40),
    "OpenEXR": b"v/1\x01\x02\0\0\0",
    "Radiance HDR": b"#?RADIANCE\n",
    "PFM (floating-point samples)": b"PF\n5 4\n-1.0\n" + bytes(240),
    "FITS": b"SIMPLE  =                    T",
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "EMF": b"\x01\0\0\0" + bytes(36) + b" EMF",
    "DjVu": b"AT&TFORM\0\0\0\0DJVU",
    "FLIF": b"FLIF31",
    "BPG": b"BPG\xfb\0\0",
    "Blizzard texture (.blp)": b"BLP2" + bytes(60),
    "DirectDraw surface (.dds)": pillow_file(Image.new("RGB", (8, 8)), "DDS"),
    "FTEX": b"FTEX" + bytes(40),
    "PCX": pillow_file(Image.new("RGB", (8, 8)), "PCX"),
    "DCX": struct.pack("<II", 0x3ADE68B1, 0),
    "FLI or FLC": struct.pack("<IHHHHHH", 128, 0xAF12, 1, 8, 8, 8, 3),
    "Photo CD (.pcd)": bytes(2048) + b"PCD_IPI",
    "PIXAR": b"\x80\xe8\0\0" + bytes(99),
    "Microsoft Paint (.msp)": pillow_file(Image.new("1", (8, 8)), "MSP"),
    "IFUNC (.im)": pillow_file(Image.new("RGB", (8, 8)), "IM"),
    "Sun raster": struct.pack(">8I", 0x59A66A95, 6, 4, 24, 72, 1, 0, 0) + bytes(72),
    "SGI": pillow_file(Image.new("RGB", (8, 8)), "SGI"),
    "XBM": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {\n0x03};\n",
}

# Made by data/make_heic.py, without loss.
HEIC = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "data").glob("*.heic")}


@dataclass(frozen=True)
class Case:
    """A good file.

    Attributes:
      name: of the file, with its ending.
      content: the file.
      samples: (h, w[, c]) as a viewer shows them: gray or RGB, then alpha; uint8 or uint16.
      dpi: upright, or None.
      has_exif: whether it names a maker.
      has_profile: whether it holds SRGB.
    """

    name: str
    content: bytes
    samples: np.ndarray
    dpi: tuple[int, int] | None = None
    has_exif: bool = False
    has_profile: bool = False


def scene(channels: int, dtype: type) -> np.ndarray:
    """An asymmetric picture, smooth enough for lossy formats: (28, 40[, channels])."""
    y, x = np.mgrid[0:28, 0:40] / (28, 40)[0]
    planes = [x / 1.5, y, (x + y) / 3, 0.25 + 0.5 * (1 - y)]
    chosen = {1: planes[:1], 2: [planes[0], planes[3]], 3: planes[:3], 4: planes}[channels]
    samples = np.dstack([np.clip(plane, 0, 1) for plane in chosen]) * np.iinfo(dtype).max
    return np.rint(samples).astype(dtype)[..., 0 if channels == 1 else slice(None)]


def heic_scene(bits: int, channels: int) -> np.ndarray:
    """The picture that data/make_heic.py encodes, (16, 24, channels)."""
    y, x = np.mgrid[0:16, 0:24]
    planes = [x / 23, y / 15, (x + y) / 38, 1 - x * y / 345]
    codes = np.rint(np.dstack(planes[:channels]) * (2**bits - 1))
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.rint(codes * (np.iinfo(dtype).max / (2**bits - 1))).astype(dtype)


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = MAKER, orientation
    return exif.tobytes()


def png_with(content: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks after its header."""
    added = b"".join(png_chunk(kind, body) for kind, body in chunks)
    return content[:33] + added + content[33:]


def png(samples: np.ndarray, orientation: int, beside: bool) -> bytes:
    chunks = [(b"eXIf", exif_block(orientation).removeprefix(b"Exif\0\0"))]
    if beside:
        pixels_per_metre = [round(value / 0.0254) for value in DPI]
        chunks.append((b"pHYs", struct.pack(">IIB", *pixels_per_metre, 1)))
        if samples.ndim == 3 and samples.shape[2] > 2:
            chunks.append((b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB)))
    return png_with(imagecodecs.png_encode(samples), *chunks)


def by_pillow(file_format: str, samples: np.ndarray, orientation: int, beside: bool) -> bytes:
    options = {"exif": exif_block(orientation)}
    if beside and samples.ndim == 3:
        options["icc_profile"] = SRGB
    if beside and file_format == "JPEG":
        options["dpi"] = DPI
    options |= {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}[file_format]
    return pillow_file(Image.fromarray(np.ascontiguousarray(samples)), file_format, **options)


def tiff(samples: np.ndarray, orientation: int, beside: bool, **options) -> bytes:
    channels = samples.shape[2] if samples.ndim == 3 else 1
    return tiff_file(
        np.ascontiguousarray(samples),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=options.pop("planarconfig", "contig" if channels > 1 else None),
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        extratags=[(274, "H", 1, orientation, True), (271, "s", 0, MAKER, True)],
        iccprofile=SRGB if beside and channels > 2 else None,
        resolution=DPI if beside else None,
        resolutionunit=2 if beside else None,
        metadata=None,
        **options,
    )


def pnm(samples: np.ndarray) -> bytes:
    peak = np.iinfo(samples.dtype).max
    header = b"P%d\n%d %d\n%d\n" % (5 if samples.ndim == 2 else 6, *samples.shape[1::-1], peak)
    return header + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


def good() -> Iterator[Case]:
    """Every format x depth x channels, upright and rotated, with and without metadata."""
    for channels in (1, 2, 3, 4):
        for dtype in (np.uint8, np.uint16):
            samples = scene(channels, dtype)
            kind = f"{channels}x{samples.itemsize * 8}"
            deep = dtype == np.uint16
            turns = range(1, 9) if channels in (1, 4) else (1, 6)
            for orientation in turns:
                stored = np.ascontiguousarray(STORED[orientation](samples))
                for beside in (False, True) if orientation == 1 else (True,):
                    name = f"{kind}-o{orientation}{'-beside' * beside}"
                    upright = DPI[::-1] if orientation > 4 else DPI
                    dpi = upright if beside else None
                    profile = beside and channels > 2
                    common = (True, profile)
                    yield Case(
                        f"{name}.png", png(stored, orientation, beside), samples, dpi, *common
                    )
                    yield Case(
                        f"{name}.tif", tiff(stored, orientation, beside), samples, dpi, *common
                    )
                    if not deep and channels in (1, 3):
                        content = by_pillow("JPEG", stored, orientation, beside)
                        profile = beside and channels == 3
                        yield Case(f"{name}.jpg", content, samples, dpi, True, profile)
                    if not deep and channels > 2:
                        content = by_pillow("WEBP", stored, orientation, beside)
                        yield Case(f"{name}.webp", content, samples, None, True, beside)
            if channels in (1, 3):
                yield Case(f"{kind}.ppm", pnm(samples), samples)
            yield Case(
                f"{kind}.jp2",
                imagecodecs.jpeg2k_encode(samples, level=0, reversible=True, codecformat="jp2"),
                samples,
            )
            if not deep and channels in (1, 3):
                content = pillow_file(Image.fromarray(samples), "BMP", dpi=DPI)
                yield Case(f"{kind}.bmp", content, samples, DPI)
            if not deep and channels == 4:
                yield Case(f"{kind}.bmp", imagecodecs.bmp_encode(samples), samples)
    yield from odd()


def odd() -> Iterator[Case]:
    """Kinds of files that not every program reads."""
    colour, deep = scene(3, np.uint8), scene(3, np.uint16)
    picture = Image.fromarray(colour)
    other = Image.fromarray(255 - colour)
    for compression in ("zlib", "lzw", "packbits", "zstd"):
        content = tiff(deep, 1, False, compression=compression)
        yield Case(f"odd-{compression}.tif", content, deep, has_exif=True)
    content = tiff(deep, 1, False, tile=(16, 16), byteorder=">", bigtiff=True)
    yield Case("odd-tiles-big.tif", content, deep)
    content = tiff(np.moveaxis(deep, 2, 0), 1, False, planarconfig="separate")
    yield Case("odd-planes.tif", content, deep, has_exif=True)
    frames = {"save_all": True, "append_images": [other]}
    yield Case("odd-pages.tif", pillow_file(picture, "TIFF", **frames), colour)
    yield Case("odd-frames.webp", pillow_file(picture, "WEBP", lossless=True, **frames), colour)
    yield Case("odd-frames.png", pillow_file(picture, "PNG", **frames), colour)
    palette = picture.quantize(8)
    shown = np.asarray(palette.convert("RGB"))
    yield Case("odd-palette.png", pillow_file(palette, "PNG"), shown)
    yield Case("odd-palette.gif", pillow_file(palette, "GIF"), shown)
    yield Case("odd-palette.bmp", pillow_file(palette, "BMP"), shown)
    opacity = np.where(np.asarray(palette) == 2, 0, 255).astype(np.uint8)
    transparent = pillow_file(palette, "PNG", transparency=2)
    yield Case("odd-transparent.png", transparent, np.dstack([shown, opacity]))
    bits = scene(1, np.uint8) > 100
    for file_format, ending in (("PNG", "png"), ("TIFF", "tif"), ("BMP", "bmp"), ("PPM", "pbm")):
        content = pillow_file(Image.fromarray(bits), file_format)
        yield Case(f"odd-1-bit.{ending}", content, bits.astype(np.uint8) * 255)
    for file_format in ("TGA", "QOI", "AVIF"):
        options = {"quality": 100, "subsampling": "4:4:4"} if file_format == "AVIF" else {}
        content = pillow_file(picture, file_format, **options)
        yield Case(f"odd.{file_format.lower()}", content, colour)
    yield Case("odd-8-bit.heic", HEIC["8-bit"], heic_scene(8, 3))
    yield Case("odd-10-bit.heic", HEIC["10-bit"], heic_scene(10, 3))
    yield Case("odd-alpha.heic", HEIC["alpha"], heic_scene(8, 4))
    yield Case("odd-turned.heic", HEIC["10-bit-turned"], np.rot90(heic_scene(10, 3), -1))
    inks = picture.convert("CMYK")
    cmyk = pillow_file(inks, "JPEG", quality=100)  # inverted, as Adobe does
    yield Case("odd-cmyk.jpg", cmyk, np.asarray(inks.convert("RGB")))
    yield Case("odd-cmyk.tif", pillow_file(inks, "TIFF"), np.asarray(inks.convert("RGB")))
    wide = np.tile(colour[:3], (1, 60, 1))
    body = b"Title\0\0" + zlib.compress(bytes(50_000_000))
    bomb = png_with(pillow_file(picture, "PNG"), (b"zTXt", body))
    yield Case("odd-text-bomb.png", bomb, colour)
    place = bomb.index(b"IDAT") - 8
    yield Case("odd-text-sum.png", bomb[:place] + b"####" + bomb[place + 4 :], colour)
    loop = bytearray(tiff(colour, 1, False))
    with tifffile.TiffFile(io.BytesIO(loop)) as file:
        page = file.pages[0]
        struct.pack_into("<I", loop, page.offset + 2 + 12 * len(page.tags), page.offset)
    yield Case("odd-loop.tif", bytes(loop), colour, has_exif=True)
    yield Case("odd-wide.png", pillow_file(Image.fromarray(wide), "PNG"), wide)
    named = pillow_file(picture, "PNG")
    yield Case("odd-png-named.jpg", named, colour)


def giants() -> Iterator[tuple[str, bytes]]:
    """Files that declare far more pixels than they hold."""
    plain = scene(3, np.uint8)
    picture = Image.fromarray(plain)
    rows = zlib.compressobj(9)
    line = bytes(60_000 * 3 + 1)
    packed = b"".join(rows.compress(line) for _ in range(200)) + rows.flush()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    yield "bomb.png", b"\x89PNG\r\n\x1a\n" + png_with(bytes(33), *body)[33:]
    for name, compression in (("plain", None), ("zlib", "zlib")):
        content = bytearray(tiff(plain, 1, False, compression=compression))
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            places = [file.pages[0].tags[tag].valueoffset for tag in (256, 257)]
        for place in places:
            struct.pack_into("<I", content, place, 65_535)
        yield f"bomb-{name}.tif", bytes(content)
    bmp = bytearray(pillow_file(picture, "BMP"))
    struct.pack_into("<ii", bmp, 18, 60_000, 60_000)
    yield "bomb.bmp", bytes(bmp)
    yield "bomb.ppm", b"P6 60000 60000 255\n" + bytes(100)
    gif = bytearray(pillow_file(picture, "GIF"))
    struct.pack_into("<HH", gif, 6, 65_535, 65_535)
    yield "bomb.gif", bytes(gif)
    frame = {"save_all": True, "append_images": [Image.fromarray(255 - plain)]}
    gif = bytearray(pillow_file(picture, "GIF", **frame))
    struct.pack_into("<HH", gif, 6, 65_535, 65_535)
    yield "bomb-frames.gif", bytes(gif)
    jpeg = bytearray(pillow_file(picture, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, frame + 5, 65_500, 65_500)
    yield "bomb.jpg", bytes(jpeg)
    jp2 = bytearray(imagecodecs.jpeg2k_encode(plain, codecformat="j2k"))
    struct.pack_into(">II", jp2, jp2.index(b"\xff\x51") + 6, 60_000, 60_000)
    yield "bomb.j2k", bytes(jp2)


def broken() -> Iterator[tuple[str, bytes, str]]:
    """Files that must fail: name, content, words of the message."""
    colour = scene(3, np.uint8)
    picture = Image.fromarray(colour)
    yield "empty.png", b"", "the file is empty"
    yield "text.jpg", b"a list of things to do\n" * 20, "not an image"
    yield "zeros.png", bytes(1000), "not an image"
    for name, content in giants():
        yield name, content, ""
    whole = {
        "png": pillow_file(picture, "PNG"),
        "jpg": pillow_file(picture, "JPEG"),
        "webp": pillow_file(picture, "WEBP"),
        "bmp": pillow_file(picture, "BMP"),
        "gif": pillow_file(picture, "GIF"),
        "tif": tiff(colour, 1, False),
        "ppm": pnm(colour),
        "jp2": imagecodecs.jpeg2k_encode(colour, codecformat="jp2"),
    }
    for ending, content in whole.items():
        for share in (0.1, 0.5, 0.9):
            yield f"cut-{share}.{ending}", content[: int(len(content) * share)], ""
    png = whole["png"]
    wrong = png.replace(b"IDAT", b"IDAX")
    yield "no-pixels.png", wrong, "the image is damaged: no pixels at the stated place"
    middle = len(png) // 2
    yield "checksum.png", png[:middle] + bytes([png[middle] ^ 255]) + png[middle + 1 :], ""
    empty = struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + empty))
    yield "no-width.png", png[:16] + empty + crc + png[33:], "width or height is 0"
    lost = bytearray(whole["tif"])
    struct.pack_into("<I", lost, 4, len(lost) + 10)
    yield "nowhere.tif", bytes(lost), "damaged"
    yield (
        "float.tif",
        tiff_file(scene(1, np.uint16).astype(np.float32)),
        "32-bit floating-point samples are not supported",
    )
    yield "float.jxl", imagecodecs.jpegxl_encode(np.float32(colour) / 255), "floating-point"
    yield "nothing.heic", b"\0\0\0\x18ftypheic" + bytes(100), "header is damaged"
    for index, (name, content) in enumerate(REFUSED.items()):
        yield f"refused-{index}", content, f"{name} is not supported; convert it to PNG"
