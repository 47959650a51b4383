"""Runs the job on a folder of any files, and compares each row with other readers.

    python -m benchmarks.corpus DIRECTORY [--mode restore|evaluate] [--details FILE]

Runs the job (x2, srcnn-915) on every file below DIRECTORY. Then Pillow with all its plugins,
tifffile, OpenCV and, where it is installed, ImageMagick read each file, each in a separate process
with a time limit, and are compared with the decoder: width and height as shown, depth,
transparency and pixels. Prints how many files of which kind agree, every file that a reader shows
and the job does not, and every file on which the readers and the job differ. Exits with 1 where a
row is missing, a failed row has no stage or no message, or a written file has another size.

The readers are no reference: they also show truncated and invented files, and differ among
themselves.
"""

import argparse
import collections
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from PIL import Image, ImageOps

from codec.errors import ImageError
from codec.isolated import decode_isolated
from codec.picture import Picture

ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 20  # for a reader and a file
_MEGAPIXELS = 256
# Mean difference of premultiplied samples, of 255: lossy decoders and colour profiles differ by
# less, channels that are swapped, cut or inverted by far more.
_TOLERANCE = 3.0
_DOCUMENTED_CODES = {0, 3, 4}


@dataclass(frozen=True)
class Sight:
    """How a reader sees a file.

    Attributes:
      reader: its name.
      samples: (h, w, 4) RGB and alpha of 0 to 1, float32, upright; None where it gives no more
        than the size.
      size: width and height as shown.
      depth: 8 or 16 bits per sample; None where the reader does not give it.
    """

    reader: str
    samples: np.ndarray | None
    size: tuple[int, int]
    depth: int | None = None


def canonical(samples: np.ndarray) -> np.ndarray:
    """Gray, gray and alpha, RGB or RGBA of 8 or 16 bits as (h, w, 4) of 0 to 1."""
    scaled = np.float32(samples) / np.iinfo(samples.dtype).max
    if scaled.ndim == 2:
        scaled = scaled[..., np.newaxis]
    count = scaled.shape[2]
    alpha = scaled[..., -1:] if count in (2, 4) else np.ones_like(scaled[..., :1])
    colours = scaled[..., :3] if count > 2 else np.repeat(scaled[..., :1], 3, axis=2)
    return np.concatenate([colours, alpha], axis=2)


def sight_of(picture: Picture) -> Sight:
    """How the decoder sees a file."""
    pixels = picture.pixels
    pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels[..., np.newaxis]
    planes = [pixels] if picture.alpha is None else [pixels, picture.alpha[..., np.newaxis]]
    height, width = pixels.shape[:2]
    samples = canonical(np.concatenate(planes, axis=2))
    return Sight("decoder", samples, (width, height), picture.pixels.itemsize * 8)


def by_pillow(path: Path) -> Sight:
    """By Pillow with all its plugins."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        deep = upright.mode.startswith("I;16")
        if upright.mode in ("I", "F"):
            return Sight("Pillow", None, upright.size)
        if not deep:
            has_alpha = upright.has_transparency_data
            upright = upright.convert("RGBA" if has_alpha else "RGB")
        samples = np.asarray(upright)
        samples = samples.astype(samples.dtype.newbyteorder("="))
        return Sight("Pillow", canonical(samples), upright.size, 16 if deep else None)


def by_opencv(path: Path) -> Sight:
    """By OpenCV; of colours, since it does not turn pictures with transparency."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError("not read")
    height, width = pixels.shape[:2]
    kept = pixels.dtype in (np.uint8, np.uint16)
    samples = canonical(pixels) if kept else None
    return Sight("OpenCV", samples, (width, height), pixels.itemsize * 8 if kept else None)


def by_tifffile(path: Path) -> Sight:
    """By tifffile: size and depth, since it leaves colours and orientation to its caller."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        page.asarray(maxworkers=1)
        size = page.imagewidth, page.imagelength
        turned = page.tags.valueof(274, 1) in (5, 6, 7, 8)
        depth = 8 if np.max(page.bitspersample) <= 8 else 16
        return Sight("tifffile", None, size[::-1] if turned else size, depth)


def by_imagemagick(path: Path) -> Sight:
    """By ImageMagick's first picture."""
    command = [
        _MAGICK, f"{path}[0]", "-coalesce", "-auto-orient", "-background", "none",
        "-colorspace", "sRGB", "-type", "TrueColorAlpha", "-depth", "16", "PAM:-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode or not done.stdout.startswith(b"P7"):
        raise ValueError(done.stderr.decode(errors="replace"))
    header, samples = done.stdout.split(b"ENDHDR\n", 1)
    sizes = dict(line.split(b" ", 1) for line in header.splitlines()[1:] if b" " in line)
    width, height, depth = (int(sizes[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH"))
    pixels = np.frombuffer(samples, ">u2").reshape(height, width, depth).astype(np.uint16)
    return Sight("ImageMagick", canonical(pixels), (width, height))


_MAGICK = next(filter(None, map(shutil.which, ("magick", "convert-im7", "convert-im6"))), None)
_READERS = (by_pillow, by_opencv, by_tifffile) + ((by_imagemagick,) if _MAGICK else ())


def difference(ours: Sight, theirs: Sight) -> str | None:
    """The difference between two sights in words, or None."""
    if ours.size != theirs.size:
        return f"size {ours.size} is {theirs.size}"
    if theirs.depth and theirs.depth != ours.depth:
        return f"{ours.depth} bits are {theirs.depth}"
    if theirs.samples is None:
        return None
    a, b = ours.samples, theirs.samples
    if theirs.reader == "OpenCV":  # colours that transparency hides are arbitrary
        shown = a[..., 3:] == 1
        distance = np.abs(a[..., :3] - b[..., :3]) * shown
        mean = float(distance.sum() / max(1, 3 * shown.sum())) * 255
    else:
        mean = float(np.abs(a[..., :3] * a[..., 3:] - b[..., :3] * b[..., 3:]).mean()) * 255
        transparency = float(np.abs(a[..., 3] - b[..., 3]).mean()) * 255
        mean = max(mean, transparency)
    return f"pixels differ by {mean:.1f}" if mean > _TOLERANCE else None


def in_a_process(function: Callable[[], str | None]) -> str:
    """The result of a function, or `error: ...`; it may crash or hang."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def answer() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            sender.send(function() or "agrees")
        except Exception as error:
            sender.send(f"error: {type(error).__name__}: {' '.join(str(error).split())[:200]}")

    process = context.Process(target=answer)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(_SECONDS + 5) else "error: took too long"
    except EOFError:
        return "error: crashed"
    finally:
        process.kill()
        process.join()


def compare(path: Path) -> dict[str, str]:
    """The differences between each reader and the decoder for a file, in words."""
    try:
        ours = sight_of(decode_isolated(path.read_bytes(), _MEGAPIXELS, 60))
    except (ImageError, MemoryError):
        ours = None

    def one(reader: Callable[[Path], Sight]) -> str | None:
        theirs = reader(path)
        return difference(ours, theirs) if ours else f"shows {theirs.size}"

    return {
        reader.__name__.removeprefix("by_"): in_a_process(lambda reader=reader: one(reader))
        for reader in _READERS
    }


def run_job(directory: Path, output: Path, mode: str, megapixels: float) -> int:
    """Runs the job on every file below a directory; returns its exit code."""
    command = [
        sys.executable, str(ROOT / "run_pipeline.py"), "--mode", mode, "--scale", "2",
        "--model", "srcnn-915", "--input", f"{directory}/**/*", "--output", str(output),
        "--comparisons", "none", "--max_megapixels", str(megapixels), "--quiet",
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


def problems_of(rows: pd.DataFrame, files: list[str], mode: str, code: int) -> list[str]:
    """The promises of the job for any folder that a run did not keep."""
    problems = []
    factor = 2 if mode == "restore" else 1
    if code not in _DOCUMENTED_CODES:
        problems.append(f"exit code {code}")
    problems += [f"no row for {name}" for name in sorted(set(files) - set(rows.index))]
    for name, row in rows.iterrows():
        if row.status == "failed" and not (row.stage and row.error_message):
            problems.append(f"{name}: a failed row without a stage or a message")
        elif row.status == "written":
            size = row.output_width, row.output_height
            if size != (factor * row.width, factor * row.height):
                problems.append(f"{name}: written with {size}")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Runs the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.corpus", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--mode", choices=("restore", "evaluate"), default="restore")
    parser.add_argument("--max_megapixels", type=float, default=_MEGAPIXELS)
    parser.add_argument("--details", type=Path, help="a file for one JSON line per input file")
    options = parser.parse_args(arguments)
    directory = options.directory.resolve()
    files = [str(p.relative_to(directory)) for p in sorted(directory.rglob("*")) if p.is_file()]
    if not files:
        parser.error(f"no file below {directory}")
    with tempfile.TemporaryDirectory(prefix="srcnn-corpus-") as output:
        code = run_job(directory, Path(output), options.mode, options.max_megapixels)
        rows = pd.read_parquet(f"{output}/metrics").set_index("relative_path")
    rows = rows[~rows.index.duplicated()]
    tally: dict[str, collections.Counter] = {
        "written": collections.Counter(), "failed": collections.Counter()
    }  # fmt: skip
    lines, details = [], []
    for name in files:
        if name not in rows.index:
            continue
        row, said = rows.loc[name], compare(directory / name)
        sees = {reader: words for reader, words in said.items() if not words.startswith("error")}
        differing = {reader: words for reader, words in sees.items() if words != "agrees"}
        if not sees:
            verdict = "no reader shows it"
        elif row.status == "failed":
            verdict = "a reader shows it"
        elif differing:
            verdict = "a reader differs" if len(differing) < len(sees) else "all readers differ"
        else:
            verdict = "all readers agree"
        tally[row.status][verdict] += 1
        details.append(
            {"name": name, "status": row.status, "stage": row.stage, "error": row.error_message}
            | {"verdict": verdict, "readers": said, "seconds": row.total_seconds}
            | {"warnings": list(row.warnings) if row.warnings is not None else []}
        )
        if differing:
            why = row.error_message if row.status == "failed" else "written"
            words = "; ".join(f"{reader}: {said}" for reader, said in differing.items())
            lines.append(f"{name}: {why} | {words}")
    if options.details:
        options.details.write_text("".join(json.dumps(each) + "\n" for each in details))
    print("\n".join(lines))
    print("\n| the job's row | readers | files |\n|---|---|---|")
    for status, counter in tally.items():
        for verdict, count in counter.most_common():
            print(f"| {status} | {verdict} | {count} |")
    counts = rows.status.value_counts().to_dict()
    print(f"\nexit code {code}; {len(rows)} rows (directories among them): {counts}")
    problems = problems_of(rows, files, options.mode, code)
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
