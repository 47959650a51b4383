"""The DAG in Airflow itself: `make airflow-test`, in an environment that lacks the job's packages.

The job's interpreter is .venv/bin/python, or the one that SRCNN_PYTHON names.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("SRCNN_PYTHON", str(ROOT / ".venv/bin/python"))


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory):
    """Airflow looks for its settings when it is first imported."""
    assert "airflow" not in sys.modules
    home = tmp_path_factory.mktemp("airflow")
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    }
    return home


@pytest.fixture
def dag(tmp_path, monkeypatch):
    """The DAG as Airflow loads it from a folder, with a job's home that has this checkout's job."""
    from airflow.dag_processing.dagbag import DagBag

    home = tmp_path / "home"
    (home / ".venv/bin").mkdir(parents=True)
    # A link would make Python look for its packages beside itself.
    (home / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    (home / ".venv/bin/python").chmod(0o755)
    (home / "run_pipeline.py").symlink_to(ROOT / "run_pipeline.py")
    monkeypatch.setenv("SRCNN_HOME", str(home))
    monkeypatch.setenv("SRCNN_CONFIG", str(tmp_path / "nightly.yaml"))
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "deploy/schedule/srcnn_nightly_dag.py", dags)
    bag = DagBag(str(dags))
    assert bag.import_errors == {}
    assert list(bag.dags) == ["srcnn_nightly"]
    return bag.dags["srcnn_nightly"]


@pytest.fixture
def restore(dag, tmp_path):
    """Executes the task on some pictures, as a try of a run; returns OUTPUT."""
    subprocess.run(
        [PYTHON, "-c", "import sys, cv2, skimage.data as d; x = d.chelsea()[:60, :80]\n"
         "for i in range(3): cv2.imwrite(f'{sys.argv[1]}/{i}.png', x[i:])", str(tmp_path)],
        check=True,
    )  # fmt: skip

    def execute(pattern="*.png", attempt=1):
        (tmp_path / "nightly.yaml").write_text(
            f"input: {tmp_path}/{pattern}\noutput: {tmp_path}/out\nmodel: srcnn-915\n"
            "comparisons: none\n"
        )
        task = dag.get_task("restore").prepare_for_execution()
        context = {
            "run_id": "scheduled__2026-01-02T02:00:00+00:00",
            "ti": SimpleNamespace(try_number=attempt),
        }
        task.render_template_fields(context)
        task.execute(context)
        return tmp_path / "out"

    return execute


def test_dag_runs_one_beam_job_at_a_time_with_three_retries(dag):
    task = dag.get_task("restore")
    assert (dag.catchup, dag.max_active_runs, task.retries) == (False, 1, 3)
    from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator

    assert isinstance(task, BeamRunPythonPipelineOperator)


def test_task_restores_and_each_try_is_a_separate_run(restore):
    restore()
    output = restore(attempt=2)
    assert len(list((output / "images").iterdir())) == 3
    name = "airflow-scheduled__2026-01-02T020000-0000"
    assert sorted(run.name for run in (output / "runs").iterdir()) == [f"{name}-1", f"{name}-2"]


def test_permanent_exit_codes_fail_without_a_retry(restore, tmp_path):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    with pytest.raises(AirflowFailException, match="return code 4"):
        restore("*.nothing")
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(AirflowFailException, match="return code 3"):
        restore(attempt=2)
    (tmp_path / "home/run_pipeline.py").unlink()
    (tmp_path / "home/run_pipeline.py").write_text("raise SystemExit(1)")
    with pytest.raises(AirflowException, match="return code 1") as caught:
        restore(attempt=3)
    assert not isinstance(caught.value, AirflowFailException)
