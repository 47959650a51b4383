"""An Airflow DAG that restores the new images of a dataset every night.

Copy it to Airflow's DAG folder. Airflow needs apache-airflow-providers-apache-beam, and beside it
apache-airflow-providers-google, without which the former's operators refuse to load. The job keeps
the environment that `make setup` makes.
"""

import os
import re
from datetime import timedelta

import pendulum
from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

HOME = os.environ.get("SRCNN_HOME", "/opt/srcnn-beam")
CONFIG = os.environ.get("SRCNN_CONFIG", "/etc/srcnn-nightly.yaml")

# Bad configuration, too many failed images, nothing matched: another try would end the same way.
_NO_USE_TRYING_AGAIN = {2, 3, 4}


class RestoreOperator(BeamRunPythonPipelineOperator):
    """Runs the job; fails at once, without Airflow's retries, where those are of no use."""

    def execute(self, context):
        """Raises AirflowFailException or AirflowException, by the job's exit code."""
        try:
            return super().execute(context)
        except AirflowException as error:
            code = re.search(r"return code (-?\d+)", str(error))
            if code and int(code[1]) in _NO_USE_TRYING_AGAIN:
                raise AirflowFailException(str(error)) from error
            raise


with DAG(
    dag_id="srcnn_nightly",
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,  # one run makes up for all missed nights
    max_active_runs=1,  # OUTPUT has one writer; a second run would be refused
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
):
    RestoreOperator(
        task_id="restore",
        py_file=f"{HOME}/run_pipeline.py",
        py_interpreter=f"{HOME}/.venv/bin/python",
        runner="DirectRunner",
        pipeline_options={
            "config": CONFIG,
            # A run id is used once, so the number of the try is part of it.
            "run_id": "airflow-{{ run_id | replace(':', '') | replace('+', '-') }}-"
            "{{ ti.try_number }}",
        },
    )
