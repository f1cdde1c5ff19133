#!/usr/bin/env bash
# PID 1 of a lab: makes its file system, then starts what it is told to and restarts what ends.
set -euo pipefail

STATE=$1
INSIDE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$INSIDE/../lib.sh"
set -a
# shellcheck disable=SC1091
. "$STATE/lab.env"
set +a
export STATE

# /proc is still the host's here, so this is the number by which the host knows this process.
read -r HOST_PID _ </proc/self/stat
BORN=$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$HOST_PID/stat")

# shellcheck source=inside/root.sh
. "$INSIDE/root.sh"
make_root
printf '%s\n' "$NODE_NAME" >/proc/sys/kernel/hostname
make_sysctls

supervise() { # NAME
  local name=$1 child began code
  while :; do
    began=$SECONDS
    "$INSIDE/run/$name" >>"$STATE/logs/$name.log" 2>&1 &
    child=$!
    printf '%s\n' "$child" >"$STATE/pids/$name"
    code=0
    wait "$child" || code=$?
    printf '%s %s ended with %s after %s s\n' "$(date +%FT%T)" "$name" "$code" "$((SECONDS - began))"
    # Not to spin on a part that cannot start.
    ((SECONDS - began >= 5)) || sleep 1
  done
}

declare -A supervisors=()
# Opened for both, so that the last writer's close is no end of file.
exec {control}<>"$STATE/control"
printf '%s %s\n' "$HOST_PID" "$BORN" >"$STATE/init.tmp"
mv "$STATE/init.tmp" "$STATE/init"

while :; do
  read -r verb name <&"$control" || continue
  [[ $verb == start && -x $INSIDE/run/$name ]] || continue
  if [[ -n ${supervisors[$name]:-} ]] && kill -0 "${supervisors[$name]}" 2>/dev/null; then
    continue
  fi
  supervise "$name" &
  supervisors[$name]=$!
done
