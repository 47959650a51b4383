"""Shards on object stores: few requests, and no partial object."""

import io
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import files_below
from shard_files import parquet_bytes, parquet_table, picture, samples_of, tar_bytes
from stores import BUCKET, serving_s3

from storage import objects
from storage.errors import StoreError
from storage.objects import read_object, upload_object

OUT = f"s3://{BUCKET}/out"
IMAGES = [picture(seed, 40) for seed in range(12)]


@pytest.fixture
def s3(monkeypatch):
    # Small parts, so that a test's shard has several.
    monkeypatch.setattr(objects, "_PART_BYTES", 1 << 14)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(objects, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(objects, "_LONGEST_WAIT", 0.02)
    with serving_s3(monkeypatch) as server:
        yield server


def of_the(s3, key: str) -> dict[str, int]:
    """Requests for an object, by method and whether they concern a part."""
    counts: dict[str, int] = {}
    for method, path in s3.requests:
        name, _, query = path.partition("?")
        if name == f"/{BUCKET}/{key}":
            kind = "PUT part" if "partNumber" in query else method
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def test_shards_on_a_store_equal_those_on_disk_with_few_requests(s3, run_job, tmp_path):
    shards = {
        "a.tar": tar_bytes(samples_of(map(str, range(12)), IMAGES)),
        "b.parquet": parquet_bytes(parquet_table(IMAGES), row_group_size=5),
    }
    (tmp_path / "in").mkdir()
    for name, content in shards.items():
        (tmp_path / "in" / name).write_bytes(content)
        s3.put(f"in/{name}", content)
    s3.forget()
    job = run_job(
        "--input", f"s3://{BUCKET}/in/*", "--output_format", "png", "--comparisons", 0, output=OUT
    )
    assert job.code == 0, job.err
    for name in shards:
        read, written = of_the(s3, f"in/{name}"), of_the(s3, f"out/shards/{name}")
        assert written["PUT part"] > 1
        # The pre-run checks read a byte, and a table's schema.
        before = 1 + 4 * name.endswith("parquet")
        besides = sum(read.values()) + written["POST"] - read["GET"]
        assert besides <= 5 and read["GET"] <= before + 2
        assert "PUT" not in written and "DELETE" not in written
    local = run_job("--input", f"{tmp_path}/in/*", "--output_format", "png")
    assert local.code == 0
    assert set(s3.files("out/shards/")) == files_below(local.output / "shards")
    for name, content in s3.files("out/shards/").items():
        assert (local.output / "shards" / name).read_bytes() == content
    drawn = [name for name in s3.files("out/comparisons/")]
    assert not drawn

    s3.forget()
    again = run_job("--input", f"s3://{BUCKET}/in/*", "--output_format", "png", output=OUT)
    assert "24 skipped" in again.out
    assert not of_the(s3, "in/a.tar").get("HEAD") and not of_the(s3, "out/shards/a.tar")
    rows = pd.concat(
        pq.read_table(io.BytesIO(content)).to_pandas()
        for content in s3.files("out/metrics/").values()
    )
    assert (rows.status == "written").sum() == 24 == (rows.status == "skipped").sum()
    assert set(rows.output_uri.str.extract(f"^{re.escape(OUT)}/shards/([ab]\\.\\w+)!")[0]) == set(
        shards
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", [503, "drop", "lose"])
def test_each_multipart_request_is_retried(s3, fault):
    content = bytes(range(256)) * 200
    s3.fault = lambda method, path, before: fault if before == 0 and "x.tar" in path else None
    upload_object(f"{OUT}/x.tar", io.BytesIO(content))
    s3.fault = lambda *_: None
    assert read_object(f"{OUT}/x.tar") == content


def test_failed_upload_leaves_nothing_behind(s3, monkeypatch):
    monkeypatch.setattr("storage.bucket.BusyError.patience", 0.1)
    s3.fault = lambda method, path, before: 503 if "partNumber=3" in path else None
    with pytest.raises(StoreError):
        upload_object(f"{OUT}/x.tar", io.BytesIO(bytes(100_000)))
    assert s3.asked("DELETE", "/out/x.tar") == 1
    s3.fault = lambda *_: None
    assert not s3.files("out/")
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=BUCKET)


def test_shard_that_fits_one_part_is_a_single_put(s3):
    upload_object(f"{OUT}/x.tar", io.BytesIO(b"x"))
    assert of_the(s3, "out/x.tar") == {"PUT": 1}
