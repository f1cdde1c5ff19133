# What every script of the lab shares: where things lie, how it speaks, how it waits.
# shellcheck shell=bash

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
. "$LAB_DIR/versions.env"

PATH=$PATH:/usr/sbin:/sbin

CAPN_CACHE=${CAPN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cluster-api-provider-nested}
CAPN_VERSION=${CAPN_VERSION:-v1.0.0}
CAPN_RELEASE_DIR=${CAPN_RELEASE_DIR:-$CAPN_CACHE/release}
export CAPN_CACHE CAPN_VERSION CAPN_RELEASE_DIR

BIN_KUBERNETES=$CAPN_CACHE/bin/kubernetes-$KUBERNETES_VERSION
BIN_ETCD=$CAPN_CACHE/bin/etcd-$ETCD_VERSION
BIN_CLUSTER_API=$CAPN_CACHE/bin/cluster-api-$CLUSTER_API_VERSION
BIN_CERT_MANAGER=$CAPN_CACHE/bin/cert-manager-$CERT_MANAGER_VERSION
BIN_COREDNS=$CAPN_CACHE/bin/coredns-$COREDNS_VERSION
BIN_FLANNEL=$CAPN_CACHE/bin/flannel-$FLANNEL_VERSION
BIN_FLANNEL_CNI=$CAPN_CACHE/bin/flannel-cni-$FLANNEL_CNI_VERSION
BIN_LOCAL_PATH=$CAPN_CACHE/bin/local-path-provisioner-$LOCAL_PATH_VERSION
BIN_HELM=$CAPN_CACHE/bin/helm-$HELM_VERSION
BIN_PAUSE=$CAPN_CACHE/bin/pause-$PAUSE_IMAGE_TAG
BIN_BUSYBOX=$CAPN_CACHE/bin/busybox-debian
IMAGE_DIR=$CAPN_CACHE/images
export BIN_KUBERNETES BIN_ETCD BIN_CLUSTER_API BIN_CERT_MANAGER BIN_COREDNS BIN_FLANNEL BIN_FLANNEL_CNI
export BIN_LOCAL_PATH BIN_HELM BIN_PAUSE BIN_BUSYBOX IMAGE_DIR

say() { printf '%s\n' "$*"; }
warn() { printf 'lab: %s\n' "$*" >&2; }
die() { warn "$*"; exit 1; }

now_ms() { date +%s%3N; }

# since START_MS: seconds with one decimal
since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# step TEXT COMMAND...: one line, with its time, once the command has succeeded
step() {
  local text=$1 start
  shift
  start=$(now_ms)
  "$@"
  say "$(printf '  %-52s %8s' "$text" "$(since "$start")")"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; the last output explains a failure
wait_for() {
  local limit=$1 what=$2 end out
  shift 2
  end=$(($(now_ms) + limit * 1000))
  until out=$("$@" 2>&1); do
    if (($(now_ms) >= end)); then
      warn "waited $limit s for $what in vain"
      [[ -z $out ]] || printf '%s\n' "$out" | tail -n 20 | sed 's/^/    /' >&2
      return 1
    fi
    sleep 0.1
  done
}

# take_lock FILE WHAT SECONDS: holds FILE on descriptor 9 until the script ends, and says who has it meanwhile
take_lock() {
  local file=$1 what=$2 limit=$3
  mkdir -p "$(dirname "$file")"
  # Again when the holder has removed the file meanwhile: that lock is nobody's any more.
  until [[ $file -ef /dev/fd/9 ]]; do
    exec 9>>"$file"
    if ! flock --nonblock 9; then
      say "waiting for $what, held by: $(tail -n 1 "$file.holder" 2>/dev/null || echo 'someone unknown')"
      flock --timeout "$limit" 9 || die "$what is still held after $limit s by: $(tail -n 1 "$file.holder" 2>/dev/null)"
    fi
  done
  printf 'pid %s: %s, since %s\n' "$$" "$0 ${*:4}" "$(date +%T)" >"$file.holder"
}

image_file() { printf '%s/%s.tar' "$IMAGE_DIR" "$(tr '/:' '__' <<<"$1")"; }

kubectl() { "$BIN_KUBERNETES/kubectl" "$@"; }
