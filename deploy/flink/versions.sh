# The one place of versions of Flink and of Beam's job server: those that the tests have run with.
# Beam for Python is in requirements/lock.txt.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FLINK_VERSION=${FLINK_VERSION:-1.19.3}
FLINK_LINE=${FLINK_VERSION%.*}
# One of the job server's libraries, beam-runners-java-job-service, was not available in 2.70.0.
JOB_SERVICE_VERSION=${JOB_SERVICE_VERSION:-${JOB_SERVER_VERSION:-2.65.0}}
JOB_SERVER_VERSION=${JOB_SERVER_VERSION:-2.70.0}

HERE=$ROOT/.flink
export FLINK_HOME=$HERE/flink-$FLINK_VERSION/pyflink
JOB_SERVER=${FLINK_JOB_SERVER_JAR:-$HERE/job-server-$FLINK_LINE-$JOB_SERVER_VERSION.jar}
WORKERS=$HERE/workers      # the virtual environment of the Python workers
STATE=$HERE/run            # configuration, logs, process ids and ports of the running cluster
PYTHON=${VENV_PYTHON:-$ROOT/.venv/bin/python}
