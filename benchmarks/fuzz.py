"""Feeds damaged image files to the decoder, as the job uses it, and its results to the encoder.

    python -m benchmarks.fuzz --inputs 10000 --seed 0

Files of every format, made from a photograph that scikit-image ships, are mutated: bits flipped
(more often in headers), bytes and blocks replaced, cut out, repeated or taken from another file,
numbers made huge, ends cut off. Each must end in a picture that is sound and can be written, or in
an ImageError with the reason. A file that kills the child that decodes it is contained and counted.
Prints a table by format; the exit code is 1 if anything else happens. With --keep a finding is kept
as a file; its number and the seed reproduce it.
"""

import argparse
import io
import math
import sys
import time
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import skimage
import tifffile
from PIL import Image, ImageCms
from tqdm import tqdm

from codec.encode import WRITABLE_SUFFIXES, EncodeSettings, encode_image
from codec.errors import ImageError
from codec.isolated import decode_isolated
from codec.metadata import scale_resolution
from codec.picture import Picture

_MAX_MEGAPIXELS = 4.0
_MAX_SECONDS = 20.0
_DEATHS = ("the decoder crashed", "the decoder was killed", "decoding exceeded")
# No library that the project uses writes them.
_HEIC = Path(__file__).resolve().parents[1] / "tests" / "data"
_HEADER = 256  # bytes in which damage leads to more than wrong colours

Mutation = Callable[[np.random.Generator, bytearray, bytes], None]


def sources() -> dict[str, bytes]:
    """Whole files by name, which begins with the ending of their format."""
    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / "chelsea.png"))
    colour = np.ascontiguousarray(photo[100:148, 120:184])
    gray, deep = colour[..., 1].copy(), colour.astype(np.uint16) * 257
    picture = Image.fromarray(colour[..., ::-1].copy())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without its date: the same in every run
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "Maker", 6, {0xA002: 64, 0xA003: 48}
    beside = {"exif": exif.tobytes(), "icc_profile": profile}
    frames = [picture.rotate(angle) for angle in (0, 90)]

    def pillow(image: Image.Image, file_format: str, **options) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        return buffer.getvalue()

    def tiff(samples: np.ndarray, **options) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, samples, **options)
        return buffer.getvalue()

    samples = np.asarray(picture)
    files = {
        f"{suffix} {name}": encode_image(pixels, alpha, suffix).content
        for suffix in sorted(WRITABLE_SUFFIXES - {".jpeg", ".jpe", ".jfif", ".dib", ".tiff"})
        for name, pixels, alpha in (
            ("gray", gray, None),
            ("colour, alpha", colour, gray),
            ("16 bits", deep, None),
            ("16 bits, gray, alpha", deep[..., 0].copy(), deep[..., 1].copy()),
        )
    }
    files |= {
        ".png palette": pillow(picture.quantize(16), "PNG", transparency=3),
        ".png beside": pillow(picture, "PNG", **beside, dpi=(300, 300)),
        ".png animated": pillow(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        ".jpg beside": pillow(picture, "JPEG", **beside, progressive=True, xmp=b"<x:xmpmeta/>"),
        ".jpg CMYK": pillow(picture.convert("CMYK"), "JPEG"),
        ".webp beside": pillow(picture, "WEBP", **beside, quality=80),
        ".webp animated": pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        ".tif LZW": pillow(picture, "TIFF", compression="tiff_lzw", dpi=(72, 72)),
        ".tif JPEG": pillow(picture, "TIFF", compression="jpeg"),
        ".tif pages": pillow(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        ".tif tiles": tiff(deep, photometric="rgb", tile=(16, 16), compression="zlib"),
        ".tif planes": tiff(np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate"),
        ".tif big": tiff(deep, photometric="rgb", bigtiff=True),
        ".gif": pillow(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        ".bmp palette": pillow(picture.quantize(16), "BMP"),
        ".avif": pillow(picture, "AVIF"),
        ".avif 10 bits": imagecodecs.avif_encode(deep >> 6, bitspersample=10),
        ".jp2": imagecodecs.jpeg2k_encode(samples, codecformat="jp2"),
        ".jp2 16 bits": imagecodecs.jpeg2k_encode(deep, level=0, codecformat="jp2"),
        ".jxl": imagecodecs.jpegxl_encode(samples),
        ".jxl 16 bits": imagecodecs.jpegxl_encode(deep, lossless=True),
    }
    for file_format in ("TGA", "QOI"):
        files[f".{file_format.lower()}"] = pillow(picture, file_format)
    files |= {f".heic {path.stem}": path.read_bytes() for path in sorted(_HEIC.glob("*.heic"))}
    return files


def _mend_checksums(content: bytearray) -> None:
    """Makes a PNG's checksums right again."""
    place = 8
    while content.startswith(b"\x89PNG") and place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4)
        place = end + 4


def _flip_bits(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    for _ in range(rng.integers(1, 9)):
        content[_place(rng, content)] ^= 1 << int(rng.integers(8))


def _set_bytes(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    for _ in range(rng.integers(1, 5)):
        content[_place(rng, content)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])


def _set_number(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    width = int(rng.choice([2, 4, 8]))
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]))
    number = (value % 2 ** (8 * width)).to_bytes(width, str(rng.choice(["little", "big"])))
    place = _place(rng, content)
    content[place : place + width] = number


def _cut_out(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    start, end = _span(rng, content)
    del content[start:end]


def _repeat(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    start, end = _span(rng, content)
    content[start:start] = content[start:end] * int(rng.integers(1, 4))


def _scramble(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    start, end = _span(rng, content)
    content[start:end] = rng.bytes(end - start)


def _splice(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    start, end = _span(rng, content)
    place = int(rng.integers(len(other)))
    content[start:end] = other[place : place + end - start]


def _truncate(rng: np.random.Generator, content: bytearray, other: bytes) -> None:
    del content[int(rng.integers(len(content))) :]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _set_bytes, _set_number, _cut_out, _repeat, _scramble, _splice, _truncate,
)  # fmt: skip


def mutate(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """A damaged copy of a file, perhaps with parts of another."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if len(damaged) > 8:
            rng.choice(_MUTATIONS)(rng, damaged, other)
    if rng.random() < 0.5:  # else no code after a PNG's checksums would ever be reached
        _mend_checksums(damaged)
    return bytes(damaged)


def inputs(number: int, seed: int) -> Iterator[tuple[int, str, bytes]]:
    """Damaged files: number, name of the source, content."""
    files = sources()
    names = list(files)
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        name = names[index % len(names)]
        yield index, name, mutate(rng, files[name], files[str(rng.choice(names))])


def examine(name: str, content: bytes) -> str:
    """Decodes a file and encodes the result; returns `decoded`, `refused` or `child died`.

    Raises:
      AssertionError: the picture is not sound. Any other error is a finding too.
    """
    try:
        picture = decode_isolated(content, _MAX_MEGAPIXELS, _MAX_SECONDS)
    except ImageError as error:
        message = str(error)
        assert message and message.isprintable(), f"not a line of text: {message!r}"
        return "child died" if message.startswith(_DEATHS) else "refused"
    except MemoryError:
        return "refused"
    _check(picture)
    suffix = name.split()[0]
    try:
        encode_image(
            picture.pixels,
            picture.alpha,
            suffix if suffix in WRITABLE_SUFFIXES else ".png",
            scale_resolution(picture.metadata, 2),
            EncodeSettings(jpeg_tables=picture.jpeg_tables),
        )
    except ImageError as error:
        return f"not written: {error}"[:40]
    return "decoded"


def _check(picture: Picture) -> None:
    pixels, alpha = picture.pixels, picture.alpha
    assert pixels.dtype in (np.uint8, np.uint16), pixels.dtype
    assert pixels.ndim == 2 or pixels.shape[2:] == (3,), pixels.shape
    assert 0 < math.prod(pixels.shape[:2]) <= _MAX_MEGAPIXELS * 1e6, pixels.shape
    assert alpha is None or (alpha.shape, alpha.dtype) == (pixels.shape[:2], pixels.dtype)
    assert all(note and note.isprintable() for note in picture.notes), picture.notes


def _place(rng: np.random.Generator, content: bytearray) -> int:
    """A place in the file, half of the time in its header."""
    end = min(_HEADER, len(content)) if rng.random() < 0.5 else len(content)
    return int(rng.integers(end))


def _span(rng: np.random.Generator, content: bytearray) -> tuple[int, int]:
    start = _place(rng, content)
    return start, min(len(content), start + int(rng.integers(1, 65)))


def main(arguments: list[str] | None = None) -> int:
    """Runs the fuzzer; returns 1 if it found anything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="directory for files that killed or found a bug")
    options = parser.parse_args(arguments)
    outcomes: dict[str, Counter] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    findings = 0
    progress = tqdm(inputs(options.inputs, options.seed), total=options.inputs, disable=None)
    for index, name, content in progress:
        started = time.perf_counter()
        try:
            outcome = examine(name, content)
        except Exception:
            outcome, findings = "FOUND", findings + 1
            print(f"\ninput {index} ({name}):\n{traceback.format_exc()}", file=sys.stderr)
        outcomes[name.split()[0]][outcome] += 1
        slowest[name.split()[0]] = max(slowest[name.split()[0]], time.perf_counter() - started)
        if options.keep and outcome in ("FOUND", "child died"):
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}-{index}{name.split()[0]}").write_bytes(content)
    kinds = sorted({kind for counter in outcomes.values() for kind in counter})
    print(f"| format | inputs | {' | '.join(kinds)} | slowest, s |")
    print("|---" * (len(kinds) + 3) + "|")
    for name, counter in sorted(outcomes.items()):
        counts = " | ".join(str(counter[kind]) for kind in kinds)
        print(f"| {name[1:]} | {counter.total()} | {counts} | {slowest[name]:.2f} |")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
