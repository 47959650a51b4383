"""Shards against the same images as loose files: time, memory, and that the results are equal.

    python -m benchmarks.shards --shards 20 --samples 1000
    python -m benchmarks.shards --shards 1 --samples 2000 --sides 1000 1000 --kinds tar loose

Makes tars, Parquet files and loose files of the same JPEGs, with captions and labels beside them,
and runs the command on each kind. Core-seconds tell more than seconds on a machine that has other
work.
"""

import argparse
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skimage

from benchmarks.memory import measure

Sample = tuple[str, bytes, bytes, str]


def samples(shard: int, number: int, sides: tuple[int, int]) -> Iterator[Sample]:
    """Yields key, image, metadata and caption of a shard's samples."""
    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))
    generator = np.random.default_rng(shard)
    for index in range(number):
        left, top = generator.integers(0, photo.shape[0] // 2, 2)
        size = tuple(map(int, generator.integers(sides[0], sides[1] + 1, 2)))
        image = cv2.resize(photo[top:, left:], size, interpolation=cv2.INTER_AREA)
        key = f"{shard:05}{index:04}"
        content = cv2.imencode(".jpg", image)[1].tobytes()
        yield key, content, json.dumps({"key": key}).encode(), f"caption of {key}"


def write_tar(path: Path, content: Iterator[Sample]) -> None:
    """Writes samples as WebDataset and img2dataset do."""
    with tarfile.open(path, "w") as tar:
        for key, image, metadata, caption in content:
            members = {"jpg": image, "json": metadata, "txt": caption.encode()}
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_table(path: Path, content: Iterator[Sample]) -> None:
    """Writes samples as rows, a hundred in a row group."""
    rows = [
        {"image": {"bytes": image, "path": f"{key}.jpg"}, "label": int(key), "caption": caption}
        for key, image, _, caption in content
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, write_batch_size=16)


def write_files(path: Path, content: Iterator[Sample]) -> None:
    """Writes images alone."""
    path.mkdir()
    for key, image, _, _ in content:
        (path / f"{key}.jpg").write_bytes(image)


# How each kind is written, the ending of its shards, and what the job is told.
KINDS = {
    "loose": (write_files, "", "*/*.jpg"),
    "tar": (write_tar, ".tar", "*.tar"),
    "parquet": (write_table, ".parquet", "*.parquet"),
}


def images_of(kind: str, output: Path) -> dict[str, bytes]:
    """The restored images, by key."""
    if kind == "loose":
        return {path.stem: path.read_bytes() for path in output.glob("images/*/*.jpg")}
    found = {}
    for path in sorted(output.glob("shards/*")):
        if kind == "tar":
            with tarfile.open(path) as tar:
                members = [m for m in tar if m.name.endswith(".jpg")]
                found |= {m.name[:-4]: tar.extractfile(m).read() for m in members}
        else:
            images = pq.read_table(path, columns=["image"])["image"].to_pylist()
            found |= {image["path"][:-4]: image["bytes"] for image in images}
    return found


def main() -> int:
    """Runs the benchmark; returns 1 if results differ, or the worst exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--samples", type=int, default=100, help="of a shard")
    parser.add_argument("--sides", type=int, nargs=2, default=(64, 512), help="least and largest")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--no_check", action="store_true", help="do not compare the images")
    parser.add_argument("job", nargs="*", help="further arguments of the job, after --")
    options = parser.parse_args()
    worst, first = 0, None
    for kind in options.kinds:
        write, ending, pattern = KINDS[kind]
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "in"
            place.mkdir()
            for shard in range(options.shards):
                content = samples(shard, options.samples, options.sides)
                write(place / f"{shard:05}{ending}", content)
            command = [sys.executable, "run_pipeline.py", "--input", f"{place}/{pattern}"]
            command += ["--output", f"{scratch}/out", "--comparisons", "none", *options.job]
            measured = measure(command)
            same = "not compared"
            if not options.no_check:
                images = images_of(kind, Path(scratch) / "out")
                first = first or images
                same = f"{len(images)} images, {'equal' if images == first else 'DIFFERENT'}"
                worst = max(worst, int(images != first))
        worst = max(worst, measured.code)
        print(
            f"{kind:8} {measured.seconds:7.1f} s {measured.core_seconds:7.1f} core-seconds "
            f"{measured.peak / 1e6:6.0f} MB  {same}",
            flush=True,
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
