"""Requests to object stores, whole jobs on them, and failures of a store."""

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import PATIENCE, files_below
from stores import BUCKET, forget_clients, serving_s3
from support import random_image

from pipeline import history, pages
from pipeline.claim import Claim
from pipeline.errors import UsageError
from storage import bucket, objects
from storage import s3 as amazon
from storage.errors import StoreError, may_pass
from storage.objects import (
    Stored,
    delete_object,
    find_object,
    list_objects,
    open_object,
    read_object,
    write_object,
)
from storage.store import OutputStore
from transforms.match import expand_glob
from transforms.records import ImageRef, ReportRow

OUT = f"s3://{BUCKET}/out"
# Times, random words, and hashes of URIs.
_OF_A_RUN = r"\d{8}T\w+-\w+|[0-9a-f]{16}.*"
ODD = ["a b.png", "ü/漢 字.png", "100%41.png", "h#1.png", "plus+x.png", "q?x.png", "[t]~^|.png"]


def png(seed: int, side: int = 24) -> bytes:
    return cv2.imencode(".png", random_image((side, side + 3, 3), seed=seed))[1].tobytes()


@pytest.fixture
def s3(monkeypatch):
    with serving_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def hasty(monkeypatch):
    """Shortens the waits between tries, not their number."""
    monkeypatch.setattr(objects, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(objects, "_LONGEST_WAIT", 0.02)


@pytest.fixture
def impatient(monkeypatch, hasty):
    monkeypatch.setattr(bucket.AgainError, "patience", 0.1)
    monkeypatch.setattr(bucket.BusyError, "patience", 0.1)


class Clock:
    """A clock that only sleeping advances."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(objects, "time", Clock())
    return objects.time


@pytest.fixture
def photos(s3):
    for seed, name in enumerate(("a.png", "b.png", "deep/c.png")):
        s3.put(f"in/{name}", png(seed))
    return f"s3://{BUCKET}/in/**/*.png"


def report(s3, prefix: str = "out/") -> pd.DataFrame:
    """The rows of all runs, in order of time."""
    files = s3.files(f"{prefix}metrics/")
    frames = [pq.read_table(io.BytesIO(content)).to_pandas() for content in files.values()]
    return pd.concat(frames).sort_values("finished_at").reset_index(drop=True)


def last_rows(s3) -> pd.DataFrame:
    rows = report(s3)
    return rows[rows.run_id == rows.run_id.iloc[-1]].set_index("relative_path").sort_index()


# Single requests.


def test_any_key_can_be_written_listed_and_read(s3):
    for name in ODD:
        assert write_object(f"s3://{BUCKET}/{name}", name.encode())
    assert set(s3.files()) == set(ODD)
    listed = list(list_objects(f"s3://{BUCKET}/"))
    assert {one.uri for one in listed} == {f"s3://{BUCKET}/{name}" for name in ODD}
    for one in listed:
        assert find_object(one.uri) == one
        assert read_object(one.uri).decode() == one.uri.removeprefix(f"s3://{BUCKET}/")


def test_write_is_a_single_put(s3):
    for size in (0, 1, 6 << 20):
        s3.forget()
        write_object(f"{OUT}/x.html", bytes(size))
        assert [method for method, _ in s3.requests] == ["PUT"]
        assert len(read_object(f"{OUT}/x.html")) == size
    found = s3.client().head_object(Bucket=BUCKET, Key="out/x.html")
    assert found["ContentType"] == "text/html"


def test_listing_spans_several_pages(s3):
    for name in (*(f"{number:04}.png" for number in range(1005)), "deep/x.png", ""):
        s3.put(f"many/{name}", b"")
    s3.forget()
    assert len(list(list_objects(f"s3://{BUCKET}/many/"))) == 1006
    assert len(s3.requests) == 2
    assert len(list(list_objects(f"s3://{BUCKET}/many/", deep=False))) == 1005
    s3.forget()
    assert next(expand_glob(f"s3://{BUCKET}/many/*.png")).relative_path == "0000.png"
    assert len(s3.requests) == 1
    s3.forget()
    # The store filters by the prefix before the first wildcard.
    assert len(list(expand_glob(f"s3://{BUCKET}/many/01*.png"))) == 100
    assert len(s3.requests) == 1


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png"]),
        ("**/*.png", ["a.png", "x/b.png", "x/y/c.png"]),
        ("**", ["a.png", "n.txt", "x/b.png", "x/y/c.png"]),
        ("*/*.png", ["x/b.png"]),
        ("x/**/[bc].png", ["x/b.png", "x/y/c.png"]),
        ("a.png", ["a.png"]),
        ("nothing.png", []),
        (".h/*", [".h/d.png"]),
    ],
)
def test_globs_match_as_on_disk(s3, tmp_path, pattern, found):
    for name in ("a.png", "n.txt", "x/b.png", "x/y/c.png", ".h/d.png", "x/.e.png"):
        s3.put(f"in/{name}", b"x")
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    s3.put("in/x/", b"")  # a directory marker
    refs = list(expand_glob(f"s3://{BUCKET}/in/{pattern}"))
    assert [ref.uri for ref in refs] == [f"s3://{BUCKET}/in/{name}" for name in found]
    local = [ref.relative_path for ref in expand_glob(f"{tmp_path}/{pattern}")]
    assert sorted(local) == [ref.relative_path for ref in refs if ref.size]


def test_key_that_is_no_path_fails_alone(s3):
    for key in ("in/a.png", "in/x//b.png", "in/e/x/../c.png"):
        s3.put(key, b"x")
    found = list(expand_glob(f"s3://{BUCKET}/in/**"))
    refused = [one.error_message for one in found if isinstance(one, ReportRow)]
    assert "'..'" in refused[0]
    assert [one.uri for one in found if isinstance(one, ImageRef)] == [f"s3://{BUCKET}/in/a.png"]


def test_opened_object_is_seekable(s3):
    content = bytes(range(256)) * 100
    write_object(f"{OUT}/x", content)
    with open_object(f"{OUT}/x") as file:
        assert file.read(3) == content[:3]
        assert file.seek(-5, io.SEEK_END) == len(content) - 5
        assert file.read() == content[-5:] and file.read() == b""
        file.seek(1000)
        assert file.read(7) == content[1000:1007]


def test_only_new_does_not_overwrite(s3):
    assert write_object(f"{OUT}/x", b"1", only_new=True)
    assert not write_object(f"{OUT}/x", b"2", only_new=True)
    assert read_object(f"{OUT}/x") == b"1"
    delete_object(f"{OUT}/x")
    delete_object(f"{OUT}/x")
    assert find_object(f"{OUT}/x") is None


@pytest.mark.parametrize("fault", [503, 500, 429, "drop", "cut"])
def test_temporary_faults_are_retried(s3, hasty, fault):
    content = bytes(100_000)
    write_object(f"{OUT}/x", content)
    s3.forget()
    s3.fault = lambda method, path, before: fault if before < 3 else None
    assert read_object(f"{OUT}/x") == content
    assert [one.size for one in list_objects(f"{OUT}/")] == [len(content)]
    assert len(s3.requests) == 8
    if fault != "cut":
        assert write_object(f"{OUT}/y", content)
        assert find_object(f"{OUT}/y").size == len(content)
    s3.fault = lambda *_: None
    assert all(len(content) == 100_000 for content in s3.files("out/").values())


def test_retry_waits_grow_with_jitter(s3, clock, monkeypatch):
    waits = []
    monkeypatch.setattr(clock, "sleep", waits.append, raising=False)
    s3.fault = lambda method, path, before: 503 if before < 8 else None
    for name in ("x", "y"):
        write_object(f"{OUT}/{name}", b"")
    first, second = waits[:8], waits[8:]
    for number in range(8):
        top = min(0.25 * 2**number, 15.0)
        assert all(top / 2 <= wait <= top for wait in (first[number], second[number]))
    assert first != second


def test_busy_store_is_given_up_with_its_answer(s3, impatient):
    s3.fault = lambda *_: 503
    with pytest.raises(StoreError, match=r"s3://bucket/out/x: .*SlowDown 503.*tried \d+ times"):
        write_object(f"{OUT}/x", b"")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://no-such-bucket/x", "NoSuchBucket"),
        ("az://bucket/x", "s3:// or gs://"),
        ("s3:///x", "no bucket"),
        ("s3://UPPER_case!/x", "bucket"),
    ],
)
def test_invalid_buckets_and_schemes_are_reported(s3, uri, words):
    """For an entry of a list this is the entry's error, and permanent."""
    with pytest.raises(OSError, match=words) as caught:
        read_object(uri)
    assert not may_pass(caught.value) and not isinstance(caught.value, FileNotFoundError)


def test_expired_credentials_are_not_an_image_error(s3):
    s3.fault = lambda *_: 400
    with pytest.raises(StoreError, match="ExpiredToken"):
        read_object(f"{OUT}/x")


def test_missing_and_denied_objects_are_image_errors(s3):
    with pytest.raises(FileNotFoundError):
        read_object(f"{OUT}/nothing")
    s3.fault = lambda *_: 403
    with pytest.raises(PermissionError, match="AccessDenied"):
        read_object(f"{OUT}/x")


def test_listing_and_head_give_the_same_identity(s3, monkeypatch):
    s3.put("in/a.png", b"x")
    uri = f"s3://{BUCKET}/in/a.png"
    assert next(list_objects(uri)) == find_object(uri)
    # Unlike moto, other stores list fractions of a second, which HEAD lacks.
    answers = {
        "list_objects_v2": {"Contents": [{"Key": "in/a.png", "Size": 1}]},
        "head_object": {"ContentLength": 1},
    }
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    answers["list_objects_v2"]["Contents"][0]["LastModified"] = moment.replace(microsecond=678_000)
    answers["head_object"]["LastModified"] = moment
    for name, answer in answers.items():
        monkeypatch.setattr(amazon._s3_client(), name, lambda answer=answer, **_: answer)
    assert next(list_objects(uri)) == find_object(uri) == Stored(uri, 1, moment.timestamp())


# Whole jobs.


def test_job_writes_the_same_images_as_on_disk(s3, run_job, tmp_path):
    names = [f"{number}/{name}" for number, name in enumerate(ODD)]
    for seed, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
        s3.put(f"in/{name}", png(seed))
    s3.forget()
    done = run_job("--input", f"s3://{BUCKET}/in/**/*.png", "--comparisons", 3, output=OUT)
    assert done.code == 0, done.err
    # An image costs one GET and one PUT; a byte of the first is read before the run.
    assert s3.asked("GET", f"/{BUCKET}/in/") == len(names) + 1 + 3
    assert s3.asked("PUT", "/out/images/") == len(names)
    assert not s3.asked("HEAD", "/in/") and not s3.asked("HEAD", "/images/")

    local = run_job("--input", f"{tmp_path}/in/**/*.png", "--comparisons", 3)
    made, local_files = s3.files("out/"), files_below(local.output)
    for name in names:
        assert made[f"images/{name}"] == (local.output / "images" / name).read_bytes()
    kept = [{re.sub(_OF_A_RUN, "*", name) for name in names} for names in (made, local_files)]
    assert kept[0] == kept[1]
    (run,) = {name.split("/")[1] for name in made if name.startswith("runs/")}
    assert json.loads(made[f"runs/{run}/summary.json"])["counts"]["written"] == len(names)
    assert b"<html" in made[f"runs/{run}/index.html"] and b"<html" in made["index.html"]

    columns = ["relative_path", "status", "psnr_enhanced", "output_bytes", "source_bytes"]
    ours = report(s3)[columns].sort_values("relative_path").reset_index(drop=True)
    theirs = pd.read_parquet(local.output / "metrics")[columns].sort_values("relative_path")
    pd.testing.assert_frame_equal(ours, theirs.reset_index(drop=True))


def test_second_run_skips_without_a_request_per_image(s3, photos, run_job):
    assert run_job("--input", photos, output=OUT).code == 0
    s3.forget()
    assert run_job("--input", photos, output=OUT).code == 0
    assert list(last_rows(s3).status) == ["skipped"] * 3
    assert not s3.asked("HEAD", "/images/") and not s3.asked("HEAD", "/in/")
    assert s3.asked("GET", "/in/") == 1 and not s3.asked("PUT", "/images/")
    listings = [path for method, path in s3.requests if "list-type=2" in path and "images" in path]
    assert len(listings) == 1


def test_changed_new_removed_and_lost_files_are_detected(s3, photos, run_job):
    assert run_job("--input", photos, output=OUT).code == 0
    client = s3.client()
    s3.put("in/a.png", png(9, 30))
    s3.put("in/d.png", png(4))
    client.delete_object(Bucket=BUCKET, Key="in/deep/c.png")
    client.delete_object(Bucket=BUCKET, Key="out/images/b.png")
    assert run_job("--input", photos, output=OUT).code == 0
    assert last_rows(s3).change.to_dict() == {
        "a.png": "source changed",
        "b.png": "output missing",
        "d.png": "new",
        "deep/c.png": "source gone",
    }
    assert "images/deep/c.png" in s3.files("out/")
    assert run_job("--input", photos, "--prune", output=OUT).code == 0
    assert last_rows(s3).status.to_dict() == {
        "a.png": "skipped",
        "b.png": "skipped",
        "d.png": "skipped",
        "deep/c.png": "pruned",
    }
    assert set(s3.files("out/images/")) == {"a.png", "b.png", "d.png"}


def test_missing_or_denied_image_is_a_failed_row(s3, photos, run_job):
    def fault(method, path, before):
        if method == "GET" and "/in/" in path and "list-type" not in path:
            return {"b.png": 404, "c.png": 403}.get(path.rsplit("/")[-1].split("?")[0])
        return None

    s3.fault = fault
    assert run_job("--input", photos, output=OUT).code == 3
    rows = last_rows(s3)
    assert rows.status.to_dict() == {
        "a.png": "written", "b.png": "failed", "deep/c.png": "failed",
    }  # fmt: skip
    assert rows.error_type["b.png"] == "FileNotFoundError"
    assert "access denied" in rows.error_message["deep/c.png"]


def test_job_completes_when_every_third_request_fails(s3, photos, run_job, hasty):
    count = iter(range(10_000))
    faults = [503, 500, "drop"]

    def fault(method, path, before):
        number = next(count)
        return faults[number // 3 % 3] if number % 3 == 0 else None

    s3.fault = fault
    assert run_job("--input", photos, "--comparisons", 1, output=OUT).code == 0
    s3.fault = lambda *_: None
    assert list(last_rows(s3).status) == ["written"] * 3
    for content in s3.files("out/images/").values():
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    assert not [name for name in s3.files("out/") if "claim" in name or "/rows/" in name]


def test_store_failure_ends_the_run_and_the_next_continues(s3, photos, run_job, impatient):
    def fault(method, path, before):
        return 500 if method == "PUT" and "images/deep" in path else None

    s3.fault = fault
    dead = run_job("--input", photos, "--direct_num_workers", 1, output=OUT)
    assert dead.code == 1
    last = dead.err.splitlines()[-1]
    assert re.fullmatch("error: s3://bucket/out/images/deep/c.png: .*; run it again", last)
    s3.fault = lambda *_: None
    assert run_job("--input", photos, output=OUT).code == 0
    assert set(s3.files("out/images/")) == {"a.png", "b.png", "deep/c.png"}
    states = [json.loads(c)["state"] for n, c in s3.files("out/runs/").items() if "manifest" in n]
    assert sorted(states) == ["complete", "failed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "s3://no-such-bucket/*.png"], "NoSuchBucket"),
        (["--input", "s3://buck*/a.png"], "wildcards"),
        (["--input", "az://bucket/*.png"], "s3:// or gs://"),
        (["--input", f"s3://{BUCKET}/in/"], "is a directory"),
        (["--input", f"s3://{BUCKET}"], "is a directory"),
        (["--input", f"s3://{BUCKET}/**"], "lies inside the input glob"),
        (["--input", "{photos}", "--output", "s3://no-such-bucket/out"], "NoSuchBucket"),
        (["--input", "{photos}", "--weights", "s3://bucket/no.weights.h5"], "no model card"),
        (["--input", "{photos}", "--config", "s3://bucket/no.yaml"], "No such file"),
        (["--input", "{photos}", "--s3_access_key_id", "x"], "AWS_ACCESS_KEY_ID"),
    ],
)
def test_impossible_settings_are_refused_before_writing(s3, photos, run_job, arguments, words):
    arguments = [word.format(photos=photos) for word in arguments]
    output = arguments.pop(arguments.index("--output") + 1) if "--output" in arguments else OUT
    refused = run_job(*[word for word in arguments if word != "--output"], output=output)
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert line.startswith("error: ") and words in line
    assert set(s3.files()) == {"in/a.png", "in/b.png", "in/deep/c.png"}


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        (("GET", "list-type"), "input: "),
        (("GET", "/in/"), "input: "),
        (("PUT", "/out/"), "output: "),
    ],
)
def test_missing_permissions_refuse_the_run(s3, photos, run_job, denied, words):
    s3.fault = lambda method, path, _: 403 if method == denied[0] and denied[1] in path else None
    refused = run_job("--input", photos, output=OUT)
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert line.startswith(f"error: {words}") and "access denied (AccessDenied 403" in line


def test_dead_endpoint_is_reported_in_one_line_within_a_minute(s3, clock, run_job, tmp_path):
    s3.close()
    done = run_job("--input", f"s3://{BUCKET}/*.png")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("error: input: ") and f"no answer from {s3.url}" in line
    # Even if the last try hangs on connecting or on the answer:
    assert clock.now + sum(bucket.TIMEOUTS) < 60
    assert clock.now > 10 and not done.output.exists()


def test_ending_process_does_not_wait_for_a_dead_store(s3, clock, monkeypatch):
    s3.close()
    monkeypatch.setattr(objects, "_most_patience", objects._most_patience)
    objects.limit_retries()
    with pytest.raises(StoreError):
        write_object(f"{OUT}/x", b"")
    assert clock.now <= 2


def test_weights_and_configuration_are_read_from_a_store(s3, photos, run_job, tiny_weights):
    card = Path(str(tiny_weights).replace(".weights.h5", ".json"))
    s3.put("models/own.weights.h5", tiny_weights.read_bytes())
    s3.put("models/own.json", card.read_bytes())
    s3.put("job.yaml", b"mode: restore\nmax_failures: 1\n")
    weights = f"s3://{BUCKET}/models/own.weights.h5"
    done = run_job(
        "--config", f"s3://{BUCKET}/job.yaml", "--weights", weights, "--input", photos, output=OUT
    )
    assert done.code == 0, done.err
    assert set(last_rows(s3)["mode"]) == {"restore"}
    s3.put("models/own.weights.h5", tiny_weights.read_bytes()[:-1])
    refused = run_job("--weights", weights, "--input", photos, output=OUT)
    assert refused.code == 2 and f"{weights}: sha256" in refused.err


def test_list_on_a_store_is_read_and_bad_entries_fail_alone(s3, photos, run_job):
    names = [f"s3://{BUCKET}/in/a.png", f"s3://{BUCKET}/in/none.png", "az://bucket/y.png"]
    s3.put("lists/1.txt", "\n".join([*names, "s3://no-such-bucket/x.png", ""]).encode())
    arguments = ["--input_list", f"s3://{BUCKET}/lists/*.txt", "--max_failures", 3]
    assert run_job(*arguments, output=OUT).code == 0
    assert last_rows(s3).status.to_dict() == {
        "in/a.png": "written",
        "in/none.png": "failed",
        "x.png": "failed",
        "y.png": "failed",
    }


def test_runs_are_listed_and_pages_regenerated_from_a_store(s3, photos, run_job, capfd):
    assert run_job("--input", photos, "--comparisons", 2, output=OUT).code == 0
    made = s3.files("out/")
    for name in made:
        if name.endswith(".html"):
            delete_object(f"{OUT}/{name}")
    assert pages.main([OUT]) == 0
    again = s3.files("out/")
    assert again.keys() == made.keys()
    capfd.readouterr()
    assert history.main([OUT]) == 0
    assert "complete" in capfd.readouterr().out
    assert history.main(["s3://no-such-bucket/out"]) == 2
    assert "NoSuchBucket" in capfd.readouterr().err


def test_claim_on_a_store_is_respected(s3, photos, run_job):
    held = {"run_id": "other", "token": "x", "host": "elsewhere", "pid": 1, "renewed": 9e12}
    s3.put("out/.claim.json", json.dumps(held).encode())
    refused = run_job("--input", photos, output=OUT)
    assert refused.code == 2 and "run other on elsewhere" in refused.err
    s3.put("out/.claim.json", json.dumps(held | {"renewed": 0}).encode())
    assert run_job("--input", photos, output=OUT).code == 0
    assert ".claim.json" not in s3.files("out/")


def test_claim_with_a_lost_answer_is_recognised_as_own(s3, hasty):
    s3.fault = lambda method, path, before: "lose" if method == "PUT" and not before else None
    with Claim(OutputStore(OUT, "run"), False, pytest.fail):
        s3.fault = lambda *_: None
        with pytest.raises(UsageError, match="run run on"):
            Claim(OutputStore(OUT, "second"), False, pytest.fail).__enter__()
    assert find_object(f"{OUT}/.claim.json") is None


def test_pandas_reads_the_report_from_the_store(s3, photos, run_job):
    assert run_job("--input", photos, output=OUT).code == 0
    code = f"import pandas; print(len(pandas.read_parquet('{OUT}/metrics')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout.strip() == "3", done.stderr


def test_missing_extra_is_reported_by_name(monkeypatch):
    forget_clients()
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(StoreError, match=r"pip install 'srcnn-beam\[s3\]'"):
        read_object("s3://bucket/x")
