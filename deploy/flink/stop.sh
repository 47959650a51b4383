#!/usr/bin/env bash
# Stops the processes of start.sh, and their children.
set -euo pipefail
source "$(dirname "$0")/versions.sh"
[ -e "$STATE/pids" ] || exit 0
for signal in TERM KILL; do
  while read -r _ pid; do
    kill -s "$signal" -- "-$pid" 2>/dev/null || true
  done < "$STATE/pids"
  for _ in $(seq 50); do
    alive=
    while read -r _ pid; do
      if kill -0 -- "-$pid" 2>/dev/null; then alive=yes; fi
    done < "$STATE/pids"
    [ -n "$alive" ] || break 2
    sleep 0.2
  done
done
rm -f "$STATE/ports" "$STATE/pids"
