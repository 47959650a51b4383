"""Makes the README's picture: details of three photographs, interpolated and restored.

scikit-image's photographs are halved and saved as JPEG 70. The job enlarges them twice: with
`--strength 0`, which is interpolation alone, and with its default network. Takes half a minute.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFont

import run_pipeline

# The photographs and the upper left corner of their details. Their terms, as scikit-image states
# them: astronaut NASA, public domain; rocket SpaceX, public domain; coffee Rachel Michetti, CC0.
DETAILS = {"astronaut.png": (150, 330), "coffee.png": (310, 150), "rocket.jpg": (300, 318)}
SIDE, ZOOM, GAP, MARGIN = 108, 3, 8, 30
LABELS = ("interpolated", "restored")


def write_small(folder: Path) -> None:
    """Writes the photographs at half their size, as JPEG 70."""
    for name in DETAILS:
        photo = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        half = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX)
        half.save((folder / name).with_suffix(".jpg"), quality=70)


def restored(inputs: Path, output: Path, *words: str) -> list[np.ndarray]:
    """The details of the job's results."""
    arguments = ["--mode", "restore", "--input", f"{inputs}/*", "--output", str(output)]
    code = run_pipeline.main([*arguments, "--output_format", "png", "--quiet", *words])
    if code:
        raise SystemExit(code)
    details = []
    for name, (x, y) in DETAILS.items():
        image = np.asarray(Image.open(output / "images" / f"{Path(name).stem}.jpg.png"))
        details.append(image[y : y + SIDE, x : x + SIDE])
    return details


def sheet(rows: list[list[np.ndarray]]) -> Image.Image:
    """A labelled row of enlarged details for each of LABELS."""
    size = SIDE * ZOOM
    picture = Image.new("RGB", (3 * size + 2 * GAP, 2 * (size + MARGIN)), "white")
    draw = ImageDraw.Draw(picture)
    for row, (label, details) in enumerate(zip(LABELS, rows, strict=True)):
        top = row * (size + MARGIN)
        draw.text((2, top + 5), label, "black", ImageFont.load_default(18))
        for column, detail in enumerate(details):
            pixels = Image.fromarray(detail).resize((size, size), Image.Resampling.NEAREST)
            picture.paste(pixels, (column * (size + GAP), top + MARGIN))
    return picture


def main(arguments: list[str] | None = None) -> int:
    """Writes the picture; returns an exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.before_after", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/before_after.png"))
    output = parser.parse_args(arguments).output
    with tempfile.TemporaryDirectory() as folder:
        small, results = Path(folder, "small"), Path(folder, "results")
        small.mkdir()
        write_small(small)
        rows = [restored(small, results / "0", "--strength", "0"), restored(small, results / "1")]
    sheet(rows).save(output, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
