"""Makes and reads shards for tests."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from support import random_image

Members = Iterable[tuple[str, bytes]]
HUGGING_FACE = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"dtype": "int64", "_type": "Value"},
            "caption": {"dtype": "string", "_type": "Value"},
        }
    }
}


def picture(seed: int, side: int = 24, ending: str = ".jpg") -> bytes:
    image = cv2.GaussianBlur(random_image((side, side + 4, 3), seed=seed), (5, 5), 2)
    return cv2.imencode(ending, image)[1].tobytes()


def info_of(name: str, size: int = 0, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.uname = size, 1_700_000_000, "bigdata"
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_bytes(members: Members, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar as WebDataset's own writer makes it: name and content of its members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in members:
            tar.addfile(info_of(name, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def raw_tar(*parts: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of headers, each with its content."""
    blocks = b"".join(
        info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
        for info, content in parts
    )
    return blocks + bytes(1024)


def sparse_header() -> bytes:
    """The header of a sparse member x.jpg that states ten gigabytes and has no data."""
    header = bytearray(info_of("x.jpg", type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"00000000000\0", b"00000000000\0"
    header[483:495] = b"\x80" + (10 << 30).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header)


def sample_of(key: str, image: bytes, ending: str = "jpg") -> list[tuple[str, bytes]]:
    return [
        (f"{key}.{ending}", image),
        (f"{key}.json", json.dumps({"key": key}).encode()),
        (f"{key}.txt", f"caption of {key}".encode()),
    ]


def samples_of(keys: Iterable[str], images: Iterable[bytes]) -> list[tuple[str, bytes]]:
    return [
        member for key, image in zip(keys, images, strict=True) for member in sample_of(key, image)
    ]


def parquet_table(images: list[bytes | None], names: list[str] | None = None) -> pa.Table:
    """A table as Hugging Face's library makes it; without names, images are plain binary."""
    if names is None:
        column = pa.array(images, pa.binary())
    else:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        values = [
            None if image is None else {"bytes": image, "path": name}
            for image, name in zip(images, names, strict=True)
        ]
        column = pa.array(values, kind)
    numbers = list(range(len(images)))
    captions = [f"caption {number}" for number in numbers]
    table = pa.table({"label": numbers, "image": column, "caption": captions})
    return table.replace_schema_metadata({"huggingface": json.dumps(HUGGING_FACE), "mine": "kept"})


def parquet_bytes(table: pa.Table, **options) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def read_tar(path: Path) -> list[dict]:
    """The samples of a tar as WebDataset gives them."""
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    return [
        {k: v for k, v in one.items() if k not in ("__url__", "__local_path__")} for one in samples
    ]


def decoded(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
