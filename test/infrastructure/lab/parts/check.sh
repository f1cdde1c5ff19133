# Whether this machine can run a lab at all: each answer is a sentence that says what is needed.
# shellcheck shell=bash

MEMORY_MIB=6000
DISK_MIB=15000

check_machine() {
  local have folder
  [[ $(id -u) == 0 ]] || die "the lab needs root: it makes namespaces, mounts and cgroups of its own"
  have=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
  ((have >= MEMORY_MIB)) || die "the lab needs $MEMORY_MIB MiB of memory, this machine has $have MiB"
  mkdir -p "$STATE" "$CAPN_CACHE"
  for folder in "$STATE" "$CAPN_CACHE"; do
    have=$(df --output=avail -m "$folder" | tail -n 1)
    ((have >= DISK_MIB)) || die "the lab needs $DISK_MIB MiB of disk in $folder, $((have)) MiB are free"
  done
  unshare --mount --net --pid --uts --ipc --fork true 2>/dev/null || die "this kernel or container does not allow namespaces to be made (unshare failed)"
  check_go
}

# Only what is not cached yet needs a registry.
check_go() {
  local version out
  [[ ! -x $BIN_CERT_MANAGER/controller || ! -x $BIN_KUBERNETES/kube-proxy ]] || return 0
  command -v go >/dev/null || die "the lab's programs are built with Go, which is not installed: install Go 1.26 or newer"
  version=$(cd "$LAB_DIR/go/kubernetes" && go env GOVERSION) || die "Go here cannot build modules of Go 1.26: install Go 1.26 or newer"
  [[ $version == go1.2[6-9]* || $version == go1.[3-9]* || $version == go[2-9]* ]] ||
    die "the lab's programs need Go 1.26 or newer, this is $version"
  out=$(cd "$LAB_DIR/go/kubernetes" && timeout 120 go list -m -json k8s.io/kubernetes 2>&1) ||
    die "no Go module registry is reached (GOPROXY): ${out##*$'\n'}"
}

check_kernel() {
  local name
  for name in overlay br_netfilter; do
    case $name in
      overlay) grep -qw overlay /proc/filesystems && continue ;;
      br_netfilter) [[ ! -e /proc/sys/net/bridge ]] || continue ;;
    esac
    modprobe "$name" || die "this kernel has no '$name', which pods need"
    say "  loaded the kernel module $name (it stays loaded)"
  done
}
