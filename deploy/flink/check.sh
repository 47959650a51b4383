#!/usr/bin/env bash
# Shows the running parts of the cluster and their addresses; exits with 1 if a part does not answer.
#
# --cluster: without Beam's job server.
set -euo pipefail
source "$(dirname "$0")/versions.sh"
if [ ! -e "$STATE/ports" ]; then
  echo "the cluster is not running: deploy/flink/start.sh" >&2
  exit 1
fi
source "$STATE/ports"
"$PYTHON" - "$REST" "$POOL" "${1:-$JOB}" <<'EOF'
import json
import socket
import sys
from urllib.request import urlopen

rest, *ports = sys.argv[1:]
try:
    with urlopen(f"http://127.0.0.1:{rest}/overview", timeout=5) as answer:
        seen = json.load(answer)
except OSError as error:
    sys.exit(f"the JobManager does not answer at port {rest}: {error}")
if seen["taskmanagers"] != 2:
    sys.exit(f"{seen['taskmanagers']} TaskManagers instead of 2")
names = ["pool of workers", "job server"]
for name, port in zip(names, (port for port in ports if port != "--cluster")):
    try:
        socket.create_connection(("127.0.0.1", int(port)), 5).close()
    except OSError as error:
        sys.exit(f"the {name} does not answer at port {port}: {error}")
print(f"Flink {seen['flink-version']}: {seen['taskmanagers']} TaskManagers, "
      f"{seen['slots-total']} slots; its pages: http://127.0.0.1:{rest}")
EOF
