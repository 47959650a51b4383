"""Google Cloud Storage on an emulator, and on a second one that `make gcs-test` installs."""

import io
import json
import os
import socket
import subprocess
import time

import cv2
import pytest
from conftest import files_below
from gcp_storage_emulator.server import create_server
from google.cloud import storage
from stores import BUCKET, forget_clients
from support import random_image

from pipeline.claim import Claim
from pipeline.errors import UsageError
from storage import objects
from storage.objects import (
    delete_object,
    find_object,
    list_objects,
    open_object,
    read_object,
    write_object,
)
from storage.store import OutputStore

OUT = f"gs://{BUCKET}/out"
# The path of github.com/fsouza/fake-gcs-server, which supports conditions; the other does not.
SERVER = os.environ.get("GCS_SERVER")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def connected(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=["emulator", "fake-gcs-server"])
def server(request):
    """The address of a server."""
    if request.param == "emulator":
        emulator = create_server("127.0.0.1", 0, in_memory=True)
        emulator.start()
        yield f"http://127.0.0.1:{emulator._api._httpd.server_port}"
        emulator.stop()
        return
    if not SERVER:
        pytest.skip("needs fake-gcs-server; make gcs-test")
    port = free_port()
    command = [SERVER, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if connected(port):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def bucket(server, monkeypatch):
    """An empty bucket, through a client independent of the code under test."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    forget_clients()
    one = storage.Client(project="test").bucket(BUCKET)
    if not one.exists():
        one.create()
    for blob in list(one.list_blobs()):
        blob.delete()
    yield one
    forget_clients()


def contents(bucket, prefix: str) -> dict[str, bytes]:
    blobs = bucket.list_blobs(prefix=prefix)
    return {blob.name.removeprefix(prefix): blob.download_as_bytes() for blob in blobs}


def test_objects_are_written_listed_read_and_deleted(bucket, request):
    names = ["a b.png", "ü/漢 字.png", "plus+x.png", "x//y"]
    if "fake-gcs" in request.node.name:  # the other one reads odd names as URLs
        names += ["100%41.png", "h#1.png", "q?x.png"]
    for name in names:
        assert write_object(f"{OUT}/{name}", name.encode())
    assert set(contents(bucket, "out/")) == set(names)
    listed = list(list_objects(f"{OUT}/"))
    assert {one.uri.removeprefix(f"{OUT}/") for one in listed} == set(names)
    for one in listed:
        assert find_object(one.uri) == one
        assert read_object(one.uri) == one.uri.removeprefix(f"{OUT}/").encode()
    flat = {one.uri.removeprefix(f"{OUT}/") for one in list_objects(f"{OUT}/", deep=False)}
    assert flat == {name for name in names if "/" not in name}
    delete_object(listed[0].uri)
    delete_object(listed[0].uri)
    assert find_object(listed[0].uri) is None
    with pytest.raises(FileNotFoundError):
        read_object(listed[0].uri)


@pytest.mark.parametrize("size", [0, 1, 9 << 20])
def test_objects_of_any_size_are_read_whole(bucket, size):
    content = os.urandom(size)
    write_object(f"{OUT}/x.html", content)
    assert read_object(f"{OUT}/x.html") == content
    assert bucket.get_blob("out/x.html").content_type == "text/html"
    with open_object(f"{OUT}/x.html") as file:
        file.seek(size // 2)
        assert file.read() == content[size // 2 :]


def test_missing_bucket_is_reported(bucket):
    with pytest.raises(OSError, match="NoSuchBucket"):
        list(list_objects("gs://no-such-bucket/"))


def test_listing_spans_several_pages(bucket, request):
    if "fake-gcs" not in request.node.name:
        pytest.skip("the emulator has no pages")
    for number in range(1005):
        write_object(f"{OUT}/{number:04}", b"")
    assert len(list(list_objects(f"{OUT}/"))) == 1005


def test_one_run_at_a_time_claims_the_output(bucket, request, monkeypatch):
    """By a conditional put where supported, else by checking the last writer."""
    monkeypatch.setattr("pipeline.claim._SETTLE_SECONDS", 0.0)
    conditional = "fake-gcs" in request.node.name
    assert write_object(f"{OUT}/x", b"1", only_new=True)
    assert write_object(f"{OUT}/x", b"2", only_new=True) != conditional
    with Claim(OutputStore(OUT, "first"), False, pytest.fail):
        with (
            pytest.raises(UsageError, match="run first"),
            Claim(OutputStore(OUT, "second"), False, pytest.fail),
        ):
            pass
        assert json.loads(read_object(f"{OUT}/.claim.json"))["run_id"] == "first"
    assert find_object(f"{OUT}/.claim.json") is None


@pytest.mark.slow
def test_job_writes_the_same_images_as_on_disk(bucket, run_job, tmp_path):
    for seed, name in enumerate(["a b.png", "ü/c.png"]):
        content = cv2.imencode(".png", random_image((24, 20, 3), seed=seed))[1].tobytes()
        write_object(f"gs://{BUCKET}/in/{name}", content)
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    arguments = ("--input", f"gs://{BUCKET}/in/**/*.png", "--comparisons", 1)
    assert run_job(*arguments, output=OUT).code == 0
    local = run_job("--input", f"{tmp_path}/in/**/*.png")
    made = contents(bucket, "out/")
    for name in files_below(local.output / "images"):
        assert made[f"images/{name}"] == (local.output / "images" / name).read_bytes()
    done = run_job(*arguments, "--json", output=OUT)
    assert done.code == 0 and json.loads(done.out)["counts"]["skipped"] == 2


def test_multipart_upload_is_read_back_whole(bucket, monkeypatch):
    monkeypatch.setattr(objects, "_PART_BYTES", 1 << 18)
    content = bytes(range(256)) * 3000
    objects.upload_object(f"{OUT}/x.tar", io.BytesIO(content))
    assert read_object(f"{OUT}/x.tar") == content
