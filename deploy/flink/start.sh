#!/usr/bin/env bash
# Starts a JobManager, two TaskManagers, a pool of Python workers for both and Beam's job server.
#
# Everything is bound to this machine's loopback interface, on ports that are free; they are written
# to .flink/run/ports. --cluster: without Beam's job server.
set -euo pipefail
source "$(dirname "$0")/versions.sh"
if [ -e "$STATE/ports" ]; then
  echo "error: the cluster is already running, or was not stopped: deploy/flink/stop.sh" >&2
  exit 2
fi
rm -rf "$STATE"
mkdir -p "$STATE/conf" "$STATE/log" "$STATE/artifacts" "$STATE/tmp"

read -r rest rpc blob pool job artifact expansion < <("$PYTHON" - <<'EOF'
import socket
held = [socket.socket() for _ in range(7)]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))
EOF
)

# The flags that Flink needs on Java 17 are those of its own configuration.
opts=$(sed -n 's/^ *all: \(--add-exports.*\)/\1/p' "$FLINK_HOME/conf/config.yaml")
cp "$FLINK_HOME"/conf/log4j*.properties "$STATE/conf/"
cat > "$STATE/conf/config.yaml" <<EOF
env.java.opts.all: $opts
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: $rpc
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1024m
blob.server.port: $blob
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: $rest
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.memory.process.size: 1280m
taskmanager.memory.managed.size: 128m
# A run has a slot on each TaskManager, and both on one when the other is lost: buffers for two.
taskmanager.memory.network.min: 192m
taskmanager.memory.network.max: 192m
taskmanager.numberOfTaskSlots: 2
taskmanager.load-balance.mode: SLOTS
parallelism.default: 2
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 5
restart-strategy.fixed-delay.delay: 5 s
heartbeat.interval: 2000
heartbeat.timeout: 10000
slot.request.timeout: 60000
io.tmp.dirs: $STATE/tmp
EOF
printf 'REST=%s\nJOB=%s\nPOOL=%s\n' "$rest" "$job" "$pool" > "$STATE/ports"

export FLINK_CONF_DIR=$STATE/conf FLINK_LOG_DIR=$STATE/log FLINK_PID_DIR=$STATE
# Outside the checkout, so that the workers import the installed package.
cd "$STATE"
start() {  # name command...
  local name=$1
  shift
  setsid nohup "$@" > "$STATE/log/$name.out" 2>&1 < /dev/null &
  echo "$name $!" >> "$STATE/pids"
}
start jobmanager "$FLINK_HOME/bin/jobmanager.sh" start-foreground
for number in 1 2; do
  start "taskmanager-$number" "$FLINK_HOME/bin/taskmanager.sh" start-foreground
done
start pool "$WORKERS/bin/python" -m pipeline.worker_pool --port "$pool"
if [ "${1:-}" != --cluster ]; then
  # shellcheck disable=SC2086 (the flags are several words)
  start job-server java -Xmx512m $opts -Djava.io.tmpdir="$STATE/tmp" -jar "$JOB_SERVER" \
    --flink-master "127.0.0.1:$rest" --job-host 127.0.0.1 --job-port "$job" \
    --artifact-port "$artifact" --expansion-port "$expansion" --artifacts-dir "$STATE/artifacts"
fi
for _ in $(seq 60); do
  "$ROOT/deploy/flink/check.sh" "$@" > "$STATE/check" 2>&1 && { cat "$STATE/check"; exit; }
  sleep 1
done
cat "$STATE/check" >&2
echo "error: the cluster did not start within a minute; logs are in $STATE/log" >&2
exit 1
