# The lab's own root: the host's programs, and folders of the lab's where Kubernetes writes.
# shellcheck shell=bash

ROOT=$STATE/root

# mirror FOLDER NAME...: everything of the host's folder except the names
mirror() {
  local folder=$1 entry name
  shift
  for entry in "${folder%/}"/* "${folder%/}"/.[!.]*; do
    name=${entry##*/}
    [[ -e $entry || -L $entry ]] || continue
    [[ " $* " != *" $name "* ]] || continue
    if [[ -L $entry ]]; then
      cp -P --remove-destination "$entry" "$ROOT$entry"
    elif [[ -d $entry ]]; then
      mkdir -p "$ROOT$entry"
      mount --rbind "$entry" "$ROOT$entry"
    elif [[ -f $entry ]]; then
      touch "$ROOT$entry"
      mount --bind "$entry" "$ROOT$entry"
    fi
  done
}

# own FOLDER PATH: the lab's folder at that path
own() {
  mkdir -p "$ROOT$2"
  mount --bind "$STATE/$1" "$ROOT$2"
}

# keep PATH: at the same path as outside, if the mirror has not brought it already
keep() {
  [[ -e $ROOT$1 && $1 -ef $ROOT$1 ]] && return
  mkdir -p "$ROOT$1"
  mount --bind "$1" "$ROOT$1"
}

make_root() {
  mount --make-rprivate /
  mount --bind "$ROOT" "$ROOT"
  # So that a mirrored folder that holds the lab's state does not bring this tree along once more.
  mount --make-private "$ROOT"
  mount --make-unbindable "$ROOT"

  mirror / etc opt proc run sys var lost+found
  mkdir -p "$ROOT"/{etc,opt,proc,run,sys,var/{lib,log,tmp,cache},.capn-old}
  chmod 1777 "$ROOT/var/tmp"
  mirror /opt cni
  mount -t overlay -o "lowerdir=/etc,upperdir=$STATE/etc/upper,workdir=$STATE/etc/work" overlay "$ROOT/etc"
  mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
  mkdir -m 1777 "$ROOT/run/lock"
  ln -sfn /run "$ROOT/var/run"
  ln -sfn /run/lock "$ROOT/var/lock"
  mount -t proc proc "$ROOT/proc"
  # A new one shows the interfaces of the lab's own network.
  mount -t sysfs sysfs "$ROOT/sys"
  mount --rbind /sys/fs/cgroup "$ROOT/sys/fs/cgroup"

  own kubernetes /etc/kubernetes
  own cni /etc/cni
  own cni-bin /opt/cni/bin
  own kubelet /var/lib/kubelet
  own containerd /var/lib/containerd
  own pods /var/log/pods
  own containers /var/log/containers
  keep "$STATE"
  keep "$CAPN_CACHE"
  keep "$LAB_DIR"

  rm -f "$ROOT/etc/resolv.conf" "$ROOT/etc/hosts"
  printf 'nameserver %s\n' "$DNS_IP" >"$ROOT/etc/resolv.conf"
  printf '127.0.0.1 localhost\n%s %s\n' "$NODE_IP" "$NODE_NAME" >"$ROOT/etc/hosts"

  cd "$ROOT" || return
  pivot_root . .capn-old
  cd /
  umount --lazy /.capn-old
  rmdir /.capn-old
  # Volumes that pods mount must reach the kubelet and other pods.
  mount --make-rshared /
}

make_sysctls() {
  local name value file
  # Those of a network namespace are the lab's own.
  for name in net/ipv4/ip_forward=1 net/bridge/bridge-nf-call-iptables=1 net/bridge/bridge-nf-call-ip6tables=1 \
    net/ipv4/conf/all/rp_filter=0 net/ipv4/conf/default/rp_filter=0; do
    printf '%s\n' "${name#*=}" >"/proc/sys/${name%%=*}"
  done
  # The rest are the whole machine's. The kubelet writes these unless it finds them as it wants them: it is shown a file.
  for name in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    value=${name#*=}
    [[ $(cat "/proc/sys/${name%%=*}") != "$value" ]] || continue
    file=/run/capn-sysctl/${name%%=*}
    mkdir -p "$(dirname "$file")"
    printf '%s\n' "$value" >"$file"
    mount --bind "$file" "/proc/sys/${name%%=*}"
  done
}
