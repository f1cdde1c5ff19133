# Starts and ends the one process that holds the lab's namespaces, and links its network to the host's.
# shellcheck shell=bash

make_folders() {
  local name
  mkdir -p "$STATE"/{etcd,kubelet,containerd,kubernetes,cni/net.d,cni-bin,pods,containers,volumes,logs,pids,loaded,applied} \
    "$STATE"/etc/{upper,work} "$STATE/root"
  chmod 700 "$STATE/etcd" "$STATE/kubernetes"
  for name in /usr/lib/cni/*; do
    [[ -e $STATE/cni-bin/${name##*/} ]] || cp "$name" "$STATE/cni-bin/"
  done
}

start_init() {
  ! init_pid >/dev/null || return 0
  # What an earlier life left: the kubelet takes the cgroups of dead pods for running ones, and waits for each.
  stop_lab
  wait_for 20 "the cgroups to be empty" remove_cgroups
  make_cgroups
  rm -f "$STATE/init" "$STATE/control" "$STATE"/pids/*
  mkfifo -m 600 "$STATE/control"
  (
    enter_cgroups
    exec 9>&-
    exec setsid unshare --mount --net --pid --uts --ipc --fork -- "$LAB_DIR/inside/init.sh" "$STATE" \
      </dev/null >>"$STATE/logs/init.log" 2>&1
  ) &
  disown
  wait_for 20 "the lab's init process" init_pid >/dev/null || { tail -n 5 "$STATE/logs/init.log" >&2; return 1; }
}

link_network() {
  local pid
  pid=$(init_pid)
  if ! ip link show "$LINK" >/dev/null 2>&1; then
    ip link add "$LINK" type veth peer name eth0 netns "$pid"
  fi
  ip address replace "$HOST_IP/30" dev "$LINK"
  ip link set "$LINK" up
  # shellcheck disable=SC2016
  nsenter --target "$pid" --net -- sh -euc '
    ip link set lo up
    ip address replace "$1/30" dev eth0
    ip link set eth0 up
    # A process of the node itself chooses a route before the Service address is translated.
    ip route replace "$2" via "$3"
  ' link "$NODE_IP" "$SERVICE_CIDR" "$HOST_IP"
  # Pods and Services answer the host, which is not a router for them: the lab has no other way out.
  ip route replace "$SUBNET" via "$NODE_IP"
}

start_components() {
  local name
  for name in "$@"; do
    printf 'start %s\n' "$name" >"$STATE/control"
  done
}

stop_lab() {
  local pid
  if pid=$(init_pid); then
    kill -KILL "$pid"
  fi
  # The end of its init ends every process of a PID namespace.
  wait_for 60 "the lab's processes to end" no_cgroup_processes || { cgroup_processes | xargs -r ps -o pid,stat,wchan:20,args -p >&2; return 1; }
}

unlink_network() {
  load_env || return 0
  # The veth goes with the lab's network namespace, which the kernel takes down in its own time.
  ! ip link show "$LINK" >/dev/null 2>&1 || ip link delete "$LINK" 2>/dev/null || true
  wait_for 30 "the interface $LINK to go" link_gone
}

link_gone() { ! ip link show "$LINK" 2>/dev/null; }
