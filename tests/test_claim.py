"""One run at a time writes to an OUTPUT."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import PATIENCE, start_job, write_images

from pipeline import claim as claims
from pipeline.claim import CLAIM, Claim
from pipeline.errors import UsageError
from storage.store import OutputStore


def nobody(why):
    pytest.fail(f"lost the claim: {why}")


def held(tmp_path) -> dict:
    return json.loads((tmp_path / CLAIM).read_text())


def store(tmp_path, run="run"):
    return OutputStore(str(tmp_path), run)


def abandon(tmp_path, **changes):
    """A claim that its holder did not release."""
    with Claim(store(tmp_path, "old"), True, nobody):
        content = held(tmp_path) | {"token": "old"} | changes
    (tmp_path / CLAIM).write_text(json.dumps(content))


def test_second_claim_is_refused_naming_the_holder_and_its_start(tmp_path):
    with Claim(store(tmp_path, "first"), False, nobody):
        since = held(tmp_path)["since"]
        with pytest.raises(UsageError) as refusal, Claim(store(tmp_path), False, nobody):
            pass
        for words in ("run first", f"process {os.getpid()}", since, "--take_over"):
            assert words in str(refusal.value)
        assert held(tmp_path)["run_id"] == "first"
    assert not (tmp_path / CLAIM).exists()
    with Claim(store(tmp_path), False, nobody):
        assert held(tmp_path)["run_id"] == "run"


def test_one_of_many_simultaneous_claims_succeeds(tmp_path):
    start, got, refused = threading.Barrier(8), [], []

    def come(number):
        one = Claim(store(tmp_path, f"run-{number}"), False, nobody)
        start.wait()
        try:
            one.__enter__()
            got.append(one)
        except UsageError:
            refused.append(number)

    threads = [threading.Thread(target=come, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].release()


def test_claim_of_a_dead_local_process_is_taken_over(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    abandon(tmp_path, pid=child.pid)
    with Claim(store(tmp_path), False, nobody):
        assert held(tmp_path)["run_id"] == "run"


def test_claim_of_a_reused_process_id_is_taken_over(tmp_path):
    abandon(tmp_path, pid=os.getpid(), pid_started=psutil.Process().create_time() - 100)
    with Claim(store(tmp_path), False, nobody):
        assert held(tmp_path)["run_id"] == "run"


@pytest.mark.parametrize("place", [{"host": "another"}, {"processes": "pid:[1]"}])
def test_claim_of_another_host_expires_without_renewal(tmp_path, place):
    abandon(tmp_path, **place, pid=1, renewed=time.time() - 200)
    with pytest.raises(UsageError, match="is being written"), Claim(store(tmp_path), False, nobody):
        pass
    abandon(tmp_path, **place, pid=1, renewed=time.time() - 400)
    with Claim(store(tmp_path), False, nobody):
        assert held(tmp_path)["run_id"] == "run"


def test_damaged_claim_is_taken_over(tmp_path):
    (tmp_path / CLAIM).write_text("{")
    with Claim(store(tmp_path), False, nobody):
        assert held(tmp_path)["run_id"] == "run"


def test_claim_is_renewed_and_its_loss_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_BEAT_SECONDS", 0.05)
    lost, notified = [], threading.Event()
    with Claim(store(tmp_path, "first"), False, lambda why: (lost.append(why), notified.set())):
        before = held(tmp_path)["renewed"]
        end = time.monotonic() + PATIENCE
        while held(tmp_path)["renewed"] == before and time.monotonic() < end:
            time.sleep(0.02)
        assert held(tmp_path)["renewed"] > before
        with Claim(store(tmp_path, "second"), True, nobody):
            assert notified.wait(PATIENCE)
            assert lost == ["the output was taken over by run second"]
            time.sleep(0.2)
            assert held(tmp_path)["run_id"] == "second"


def test_release_during_a_renewal_reports_no_loss_and_leaves_no_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_BEAT_SECONDS", 0.0)
    lost = []
    for _ in range(100):
        with Claim(store(tmp_path), False, lost.append) as claim:
            time.sleep(0.001)
        claim._thread.join()
        assert not lost
        assert not (tmp_path / CLAIM).exists()


def test_claim_works_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Claim(store(tmp_path, "first"), False, nobody):
        with pytest.raises(UsageError), Claim(store(tmp_path), False, nobody):
            pass
        assert held(tmp_path)["run_id"] == "first"


def test_second_run_into_the_same_output_is_refused_and_the_first_completes(
    tmp_path, photo, tiny_weights, run_job
):
    write_images(tmp_path / "in", {"a.png": photo[:40, :50]})
    arguments = ("--input", f"{tmp_path}/in/*.png")
    first = start_job(
        *arguments, "--output", tmp_path / "out", "--weights", tiny_weights,
        "--comparisons", "none", "--run_id", "first",
    )  # fmt: skip
    try:
        wait_for(tmp_path / "out" / CLAIM)
        # The claim is taken before the job is built: stopped here, the first run is not over.
        first.send_signal(signal.SIGSTOP)
        second = run_job(*arguments, "--run_id", "second")
        first.send_signal(signal.SIGCONT)
        assert second.code == 2
        assert "is being written by run first" in second.err
        assert not (tmp_path / "out/runs/second").exists()
        _, err = first.communicate(timeout=PATIENCE)
        assert first.returncode == 0, err
    finally:
        first.kill()
    assert not (tmp_path / "out" / CLAIM).exists()
    assert (tmp_path / "out/images/a.png").exists()


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)
