# Where a lab's state lies, who holds it, and which subnets are its own.
# shellcheck shell=bash

CAPN_LAB=${CAPN_LAB:-demo}
CAPN_LAB_ROOT=${CAPN_LAB_ROOT:-/var/lib/capn-lab}
STATE=$CAPN_LAB_ROOT/$CAPN_LAB
HOST_KUBECONFIG=$STATE/kubeconfig
export STATE HOST_KUBECONFIG

[[ $CAPN_LAB =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || die "CAPN_LAB='$CAPN_LAB': use lower case letters, digits and dashes"

hold() { # VERB
  mkdir -p "$CAPN_LAB_ROOT/.locks"
  take_lock "$CAPN_LAB_ROOT/.locks/$CAPN_LAB" "the lab '$CAPN_LAB'" 1800 "$1"
}

# The lab's /16: pods in its first quarter, Services in the third, the link to the host at the end.
# 10.100 to 10.139 stay clear of the tenants' own 10.95 and 10.243.
allocate_subnets() {
  local table=$CAPN_LAB_ROOT/.subnets index
  mkdir -p "$table"
  exec {allocation}>>"$table/.lock"
  flock "$allocation"
  index=$(subnet_files | head -n 1)
  index=${index##*/}
  if [[ -z $index ]]; then
    for ((index = 0; index < 40; index++)); do
      [[ ! -e $table/$index && -z $(ip -4 route show root "10.$((100 + index)).0.0/16") ]] && break
    done
    ((index < 40)) || die "every subnet from 10.100.0.0/16 to 10.139.0.0/16 is taken"
    printf '%s\n' "$CAPN_LAB" >"$table/$index"
  fi
  exec {allocation}>&-
  local net=10.$((100 + index))
  cat >"$STATE/lab.env.tmp" <<EOF
NODE_NAME=capn-$CAPN_LAB
LINK=capn$index
SUBNET=$net.0.0/16
POD_CIDR=$net.0.0/18
SERVICE_CIDR=$net.128.0/18
KUBERNETES_IP=$net.128.1
DNS_IP=$net.128.10
HOST_IP=$net.255.1
NODE_IP=$net.255.2
EOF
  mv "$STATE/lab.env.tmp" "$STATE/lab.env"
}

release_subnets() { subnet_files | xargs -r rm -f; }

subnet_files() { grep -lxs "$CAPN_LAB" "$CAPN_LAB_ROOT"/.subnets/* || true; }

load_env() {
  [[ -s $STATE/lab.env ]] || return 1
  set -a
  # shellcheck disable=SC1091
  . "$STATE/lab.env"
  set +a
}

start_time() { # PID: when it started, which tells it from a later process of the same number
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in brackets may hold spaces.
  awk '{ print $20 }' <<<"${stat##*) }"
}

init_pid() { # prints the lab's init process if it lives
  local pid born
  read -r pid born 2>/dev/null <"$STATE/init" || return 1
  # One that is about to end has left its namespaces already.
  [[ $(start_time "$pid") == "$born" && -e /proc/$pid/ns/ipc ]] || return 1
  printf '%s\n' "$pid"
}

component_pid() { # NAME: its number inside the lab, if it lives
  local pid
  pid=$(cat "$STATE/pids/$1" 2>/dev/null) && inside test -d "/proc/$pid" && printf '%s\n' "$pid"
}

# inside COMMAND...: in the lab's namespaces, in the same folder when that exists there
inside() {
  local pid
  pid=$(init_pid) || die "the lab '$CAPN_LAB' is not up"
  # shellcheck disable=SC2016
  nsenter --target "$pid" --mount --uts --ipc --net --pid -- env PATH="$BIN_KUBERNETES:$BIN_ETCD:$PATH:/usr/sbin:/sbin" \
    KUBECONFIG=/etc/kubernetes/super-admin.conf sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
}

# shellcheck disable=SC2034
COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet)
