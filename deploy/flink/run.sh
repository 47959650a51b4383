#!/usr/bin/env bash
# Runs the job on the cluster that start.sh has started: deploy/flink/run.sh --input ... --output ...
set -euo pipefail
source "$(dirname "$0")/versions.sh"
source "$STATE/ports"
exec "$PYTHON" "$ROOT/run_pipeline.py" --runner PortableRunner \
  --job_endpoint "127.0.0.1:$JOB" --environment_type EXTERNAL \
  --environment_config "127.0.0.1:$POOL" --flink_master "127.0.0.1:$REST" --parallelism 2 "$@"
