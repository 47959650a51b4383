"""Shards against the same images as loose files: time, memory, and equality of the results.

    python -m benchmarks.shards --shards 20 --samples 1000 -- --model subpixel-small
    python -m benchmarks.shards --shards 1 --samples 60 --sides 1000 1000 --kinds loose tar

Generates the same JPEGs as loose files, as tars with captions and metadata, and as Parquet files
with captions and labels. Runs the command on each kind. Reads sources and results with `webdataset`
and `datasets`, and compares: every image with the loose one, everything else with the source.
"""

import argparse
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skimage
import webdataset

from benchmarks.memory import measure

HUGGING_FACE = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"dtype": "int64", "_type": "Value"},
            "caption": {"dtype": "string", "_type": "Value"},
        }
    }
}


@dataclass(frozen=True)
class Sample:
    """An image with its key and the other members of its sample."""

    key: str
    image: bytes
    rest: Any = None


def samples(shard: int, options: argparse.Namespace) -> Iterator[Sample]:
    """Generates the images of a shard."""
    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))
    generator = np.random.default_rng(shard)
    low, high = options.sides
    for index in range(options.samples):
        left, top = generator.integers(0, photo.shape[0] // 2, 2)
        size = tuple(map(int, generator.integers(low, high + 1, 2)))
        image = cv2.resize(photo[top:, left:], size, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, options.quality])[1]
        yield Sample(f"{shard:05}{index:04}", content.tobytes())


def write_tar(path: Path, content: Iterable[Sample]) -> None:
    """Writes samples as WebDataset and img2dataset do."""
    with tarfile.open(path, "w") as tar:
        for sample in content:
            metadata = {"key": sample.key, "bytes": len(sample.image)}
            members = {
                "jpg": sample.image,
                "json": json.dumps(metadata).encode(),
                "txt": f"caption of {sample.key}".encode(),
            }
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{sample.key}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_table(path: Path, content: Iterable[Sample]) -> None:
    """Writes samples as rows, a hundred in a row group."""
    rows = [
        {
            "image": {"bytes": sample.image, "path": f"{sample.key}.jpg"},
            "label": int(sample.key),
            "caption": f"caption of {sample.key}",
        }
        for sample in content
    ]
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps(HUGGING_FACE)}
    )
    pq.write_table(table, path, row_group_size=100, write_batch_size=16)


def write_files(path: Path, content: Iterable[Sample]) -> None:
    """Writes the images alone."""
    path.mkdir()
    for sample in content:
        (path / f"{sample.key}.jpg").write_bytes(sample.image)


def read_tars(place: Path) -> Iterator[Sample]:
    """Reads samples as WebDataset does."""
    paths = list(map(str, sorted(place.glob("*.tar"))))
    for sample in webdataset.WebDataset(paths, shardshuffle=False):
        own = ("__key__", "__url__", "__local_path__", "jpg")
        rest = {name: value for name, value in sample.items() if name not in own}
        yield Sample(sample["__key__"], sample["jpg"], rest)


def read_tables(place: Path) -> Iterator[Sample]:
    """Reads rows as `datasets` does."""
    paths = list(map(str, sorted(place.glob("*.parquet"))))
    rows = datasets.load_dataset("parquet", data_files=paths, split="train", streaming=True)
    if not isinstance(rows.features["image"], datasets.Image):
        raise ValueError(f"{place}: its column of images is {rows.features['image']}")
    for row in rows.cast_column("image", datasets.Image(decode=False)):
        image = row.pop("image")
        yield Sample(Path(image["path"]).stem, image["bytes"], row)


def read_files(place: Path) -> Iterator[Sample]:
    """Reads the images alone."""
    for path in sorted(place.glob("*/*.jpg")):
        yield Sample(path.stem, path.read_bytes())


@dataclass(frozen=True)
class Kind:
    """A way to store a dataset.

    Attributes:
      write: writes a shard's samples to a path.
      read: yields the samples of all shards in a directory, in order.
      ending: of shards.
      pattern: of the files in a directory.
      results: directory of the output that holds the results.
    """

    write: Callable[[Path, Iterable[Sample]], None]
    read: Callable[[Path], Iterator[Sample]]
    ending: str
    pattern: str
    results: str = "shards"


KINDS = {
    "loose": Kind(write_files, read_files, "", "*/*.jpg", "images"),
    "tar": Kind(write_tar, read_tars, ".tar", "*.tar"),
    "parquet": Kind(write_table, read_tables, ".parquet", "*.parquet"),
}


def compare(
    before: Iterator[Sample], after: Iterator[Sample], loose: dict[str, bytes]
) -> tuple[int, int, dict[str, bytes]]:
    """Compares a dataset with its restored one, sample by sample.

    Args:
      before, after: samples of both.
      loose: the hash of each restored image as a loose file; empty: not known.

    Returns:
      The number of samples, how many of them are wrong, and the hashes of the restored images.
    """
    number, wrong, hashes = 0, 0, {}
    for old, new in zip_longest(before, after):
        number += 1
        if old is None or new is None or (old.key, old.rest) != (new.key, new.rest):
            wrong += 1
            continue
        hashes[new.key] = hashlib.sha256(new.image).digest()
        wrong += new.image == old.image or (bool(loose) and loose.get(new.key) != hashes[new.key])
    return number, wrong, hashes


def main() -> int:
    """Runs the benchmark; returns 1 if results differ, or the worst exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--samples", type=int, default=100, help="samples of a shard")
    parser.add_argument("--sides", type=int, nargs=2, default=(64, 512), help="in pixels")
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--no_check", action="store_true", help="do not compare")
    parser.add_argument("job", nargs="*", help="further arguments of the job, after --")
    options = parser.parse_args()
    worst, loose = 0, {}
    for name in options.kinds:
        kind = KINDS[name]
        with tempfile.TemporaryDirectory() as scratch:
            place, output = Path(scratch) / "in", Path(scratch) / "out"
            place.mkdir()
            for shard in range(options.shards):
                kind.write(place / f"{shard:05}{kind.ending}", samples(shard, options))
            size = sum(path.stat().st_size for path in place.glob(kind.pattern))
            command = [sys.executable, "run_pipeline.py", "--input", f"{place}/{kind.pattern}"]
            command += ["--output", str(output), "--comparisons", "none", *options.job]
            measured = measure(command)
            result = "not compared"
            if not options.no_check:
                before, after = kind.read(place), kind.read(output / kind.results)
                number, wrong, loose = compare(before, after, loose)
                result = f"{number} samples, {wrong or 'none'} wrong"
                worst = max(worst, int(wrong > 0))
        worst = max(worst, measured.code)
        print(
            f"{name:8} {size / 1e6:6.0f} MB in {measured.seconds:7.1f} s "
            f"{measured.core_seconds:7.1f} core-seconds, peak {measured.peak / 1e6:5.0f} MB, "
            f"exit {measured.code}: {result}",
            flush=True,
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
