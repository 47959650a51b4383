"""The job on runners in other processes has the local runner's results, and survives kills."""

import json
import signal
import time
from urllib.request import urlopen

import pandas as pd
import psutil
import pytest
from conftest import Outcome, files_below, run_in_process, start_job, write_images
from shard_files import parquet_bytes, parquet_table, picture, samples_of, tar_bytes

from .conftest import answers, fetched, prism_binary, run_script, running_flink, wait_for

IMAGES = 60
# Columns that differ between two runs of the same job.
OF_THE_RUN = ["run_id", "output_uri", "infer_seconds", "total_seconds", "finished_at", "host"]


@pytest.fixture
def folder(tmp_path, photo):
    images = {f"{i:03}.png": photo[i : i + 200, i : i + 300] for i in range(IMAGES)}
    write_images(tmp_path / "in", images)
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "in"


@pytest.fixture
def arguments(folder, tiny_weights):
    return [
        "--input", f"{folder}/*.png", "--weights", tiny_weights, "--comparisons", "none",
        "--max_failures", "1",
    ]  # fmt: skip


@pytest.fixture
def local(arguments, tmp_path) -> Outcome:
    """The results of the local runner."""
    made = run_in_process(*arguments, output=tmp_path / "local")
    assert made.code == 0, made.err
    return made


def start(engine, arguments, output, *more):
    return start_job(*arguments, *engine.options, *more, "--output", output)


def finish(process, output) -> Outcome:
    out, err = process.communicate(timeout=240)
    return Outcome(process.returncode, out, err, output)


def written(output) -> int:
    return len(list((output / "images").glob("*.png")))


def wait_for_images(process, output, number=5):
    wait_for(lambda: process.poll() is not None or written(output) >= number, 90)
    assert process.poll() is None, process.communicate()


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns=OF_THE_RUN)


def contents(output, kind="images") -> dict[str, bytes]:
    directory = output / kind
    return {name: (directory / name).read_bytes() for name in files_below(directory)}


def assert_complete(outcome, local) -> None:
    """Nothing lost, nothing twice, nothing half-written."""
    assert outcome.code == 0, outcome.err
    assert contents(outcome.output) == contents(local.output)
    history = outcome.rows
    runs = history.run_id.astype(str)
    last = history[runs == runs.max()]
    assert last.index.is_unique
    assert set(last.index) == set(local.rows.index)
    assert (last.status != "failed").sum() == IMAGES
    done = history[history.status == "written"]
    assert set(done.index) == set(local.rows.query("status == 'written'").index)
    for _, rows in history.groupby(runs):
        assert rows.index.is_unique
    assert not (outcome.output / ".scratch").exists()
    assert not list(outcome.output.glob("runs/*/rows/*"))


def test_results_equal_those_of_the_local_runner(engine, arguments, local, tmp_path):
    output = tmp_path / "out"
    outcome = finish(start(engine, arguments, output), output)
    assert outcome.code == 0, outcome.err
    assert contents(output) == contents(local.output)
    pd.testing.assert_frame_equal(comparable(outcome.rows), comparable(local.rows))
    if engine.name == "flink":
        assert_both_task_managers_worked(engine)


def test_shards_are_the_local_runners(engine, tiny_weights, tmp_path):
    (tmp_path / "in").mkdir()
    for shard in range(IMAGES // 10):
        keys = [f"{shard}{number}" for number in range(10)]
        images = [picture(shard * 10 + number, 100) for number in range(10)]
        tar, table = tar_bytes(samples_of(keys, images)), parquet_bytes(parquet_table(images))
        (tmp_path / f"in/{shard}.tar").write_bytes(tar)
        (tmp_path / f"in/{shard}.parquet").write_bytes(table)
    arguments = ["--input", f"{tmp_path}/in/*", "--weights", tiny_weights, "--comparisons", "none"]
    local = run_in_process(*arguments, output=tmp_path / "local")
    assert local.code == 0, local.err
    output = tmp_path / "out"
    outcome = finish(start(engine, arguments, output), output)
    assert outcome.code == 0, outcome.err
    assert contents(output, "shards") == contents(local.output, "shards")
    pd.testing.assert_frame_equal(comparable(outcome.rows), comparable(local.rows))
    again = finish(start(engine, arguments, output), output)
    assert f"{2 * IMAGES} skipped" in again.out, again.err


def test_random_chains_are_the_local_runners(engine, arguments, tmp_path):
    chain = "blur=0.2..1.2 shrink noise=0..10 jpeg=40..95"
    arguments = [*arguments, "--degrade", chain, "--seed", "5"]
    local = run_in_process(*arguments, output=tmp_path / "local")
    assert local.code == 0, local.err
    assert local.rows.degradation.dropna().nunique() == IMAGES
    outcome = finish(start(engine, arguments, tmp_path / "out"), tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert contents(outcome.output) == contents(local.output)
    pd.testing.assert_frame_equal(comparable(outcome.rows), comparable(local.rows))


def rest(engine, path: str) -> dict:
    with urlopen(f"http://127.0.0.1:{engine.rest}{path}", timeout=10) as answer:
        return json.load(answer)


def states_on_flink(engine) -> list[str]:
    return [job["state"] for job in rest(engine, "/jobs/overview")["jobs"]]


def assert_both_task_managers_worked(engine) -> None:
    """Each took references in and did something with them, by Flink's own figures."""
    (job,) = rest(engine, "/jobs/overview")["jobs"]
    records: dict[str, int] = {}
    for vertex in rest(engine, f"/jobs/{job['jid']}")["vertices"]:
        path = f"/jobs/{job['jid']}/vertices/{vertex['id']}/taskmanagers"
        for one in rest(engine, path)["taskmanagers"]:
            name = one["taskmanager-id"]
            records[name] = records.get(name, 0) + one["metrics"]["read-records"]
    assert len(records) == 2
    assert min(records.values()) > IMAGES // 10, records


# Flink repeats the work of a lost worker or TaskManager; Prism has no retries.
VICTIMS = {"worker": 0, "pool": 1, "job-server": 1, "taskmanager-2": 0}


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_of_a_worker_or_taskmanager_loses_nothing(engine, arguments, local, tmp_path, victim):
    if victim.startswith("taskmanager") and engine.name != "flink":
        pytest.skip("only Flink has TaskManagers")
    output = tmp_path / "out"
    process = start(engine, arguments, output)
    wait_for_images(process, output)
    if victim == "worker":
        engine.workers()[0].kill()
    else:
        engine.kill(victim)
    outcome = finish(process, output)
    assert outcome.code == (1 if engine.name == "prism" else VICTIMS[victim]), outcome.err
    if outcome.code == 1:
        assert outcome.err.count("error: the job failed") == 1
        assert "Traceback" not in outcome.err
        assert "Run it again: finished images are skipped" in outcome.err
    if victim == "job-server" and engine.name == "flink":
        wait_for(lambda: states_on_flink(engine) == ["CANCELED"])
    again = run_in_process(*arguments, output=output)
    assert_complete(again, local)


def test_workers_end_with_their_pool(engine, arguments, tmp_path):
    process = start(engine, arguments, tmp_path / "out")
    wait_for_images(process, tmp_path / "out")
    workers = engine.workers()
    assert workers
    engine.kill("pool")
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    process.kill()
    process.communicate(timeout=30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_cancels_the_job(engine, arguments, local, tmp_path, number, code):
    output = tmp_path / "out"
    process = start(engine, arguments, output)
    wait_for_images(process, output)
    process.send_signal(number)
    outcome = finish(process, output)
    assert outcome.code == code
    assert "interrupted" in outcome.err
    assert "Traceback" not in outcome.err
    assert "warning" not in outcome.err
    before = written(output)
    assert before < IMAGES
    time.sleep(3)
    assert written(output) == before
    if engine.name == "flink":
        assert states_on_flink(engine) == ["CANCELED"]
    assert_complete(run_in_process(*arguments, output=output), local)


def test_prism_by_its_own_name(arguments, local, tmp_path):
    output = tmp_path / "out"
    options = ["--runner", "PrismRunner", "--prism_location", prism_binary()]
    outcome = finish(start_job(*arguments, *options, "--output", output), output)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert contents(output) == contents(local.output)
    pd.testing.assert_frame_equal(comparable(outcome.rows), comparable(local.rows))


def test_flink_listens_on_localhost_only():
    fetched()
    try:
        assert run_script("start.sh", "--cluster").returncode == 0
        pids = running_flink().pids
        assert set(pids) == {"jobmanager", "taskmanager-1", "taskmanager-2", "pool"}
        listening = [
            connection.laddr
            for pid in pids.values()
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= len(pids)
        assert {place.ip for place in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert run_script("start.sh", "--cluster").returncode == 2
    finally:
        assert run_script("stop.sh").returncode == 0
    assert not any(answers(place.port) for place in listening)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
