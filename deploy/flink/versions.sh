# The one place of versions: Flink is named here, Beam in requirements/lock.txt.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FLINK_VERSION=${FLINK_VERSION:-2.2.1}
FLINK_LINE=${FLINK_VERSION%.*}
BEAM_VERSION=$(sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' "$ROOT/requirements/lock.txt")

HERE=${FLINK_DEMO_HOME:-$ROOT/.flink}
export FLINK_HOME=$HERE/flink-$FLINK_VERSION/pyflink
JOB_SERVER=${FLINK_JOB_SERVER_JAR:-$HERE/beam-runners-flink-$FLINK_LINE-job-server-$BEAM_VERSION.jar}
WORKERS=$HERE/workers      # the virtual environment of the Python workers
STATE=$HERE/run            # configuration, logs, process ids and ports of what runs
PYTHON=${VENV_PYTHON:-$ROOT/.venv/bin/python}
