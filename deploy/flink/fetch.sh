#!/usr/bin/env bash
# Fetches a Flink distribution, builds Beam's job server, and makes the Python workers' environment.
#
# Flink comes from two Python packages, unpacked together and not installed. The job server is built
# from Beam's libraries in Maven. The workers have the project as a wheel that is built from its source
# distribution, as on another machine; their libraries are those of .venv.
set -euo pipefail
source "$(dirname "$0")/versions.sh"
mkdir -p "$HERE"

if [ ! -e "$FLINK_HOME/.complete" ]; then
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  "$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$wheels" \
    "apache-flink==$FLINK_VERSION" "apache-flink-libraries==$FLINK_VERSION"
  for wheel in "$wheels"/*.whl; do
    "$PYTHON" -m zipfile -e "$wheel" "$HERE/flink-$FLINK_VERSION"
  done
  chmod +x "$FLINK_HOME"/bin/*.sh "$FLINK_HOME/bin/flink"
  touch "$FLINK_HOME/.complete"
  echo "Flink $FLINK_VERSION is in $FLINK_HOME"
fi

sources=$(cd "$ROOT" && find pipeline transforms shards storage codec srcnn weights setup.py run_pipeline.py \
  -type f ! -name '*.pyc' -newer "$WORKERS/.complete" 2>/dev/null | head -1 || true)
if [ ! -e "$WORKERS/.complete" ] || [ -n "$sources" ]; then
  built=$(mktemp -d)
  "$PYTHON" -m build --no-isolation --skip-dependency-check --outdir "$built" "$ROOT" >"$HERE/build.log"
  [ -x "$WORKERS/bin/python" ] || "$PYTHON" -m venv --without-pip "$WORKERS"
  libraries=$("$PYTHON" -c 'import os, numpy; print(os.path.dirname(os.path.dirname(numpy.__file__)))')
  site=$("$WORKERS/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  # A plain path: .venv's link to this checkout is not followed.
  echo "$libraries" > "$site/libraries.pth"
  "$PYTHON" -m pip --python "$WORKERS/bin/python" install --quiet --disable-pip-version-check \
    --no-deps --no-index --force-reinstall "$built"/*.whl
  rm -rf "$built"
  touch "$WORKERS/.complete"
  echo "the workers' Python is $WORKERS/bin/python"
fi

if [ ! -e "$JOB_SERVER" ]; then
  built=$HERE/job-server
  if ! mvn --batch-mode --file "$ROOT/deploy/flink/pom.xml" -Dflink.line="$FLINK_LINE" \
    -Dbeam.version="$JOB_SERVER_VERSION" -Djob.service.version="$JOB_SERVICE_VERSION" \
    -Doutput="$built" package >"$HERE/mvn.log" 2>&1
  then
    echo "error: Beam's job server $JOB_SERVER_VERSION for Flink $FLINK_LINE could not be built from" \
      "Maven's libraries (see $HERE/mvn.log); name another with JOB_SERVER_VERSION, or a jar with" \
      "FLINK_JOB_SERVER_JAR" >&2
    exit 3
  fi
  mv "$built/flink-job-server.jar" "$JOB_SERVER"
  rm -rf "$built"
  echo "Beam's job server is $JOB_SERVER"
fi
