#!/usr/bin/env bash
# Builds what the lab runs from Go modules into the cache, each version once.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WITH_CGO=0
ALL_GROUPS=(kubernetes etcd pause busybox coredns cluster-api cert-manager helm local-path flannel flannel-cni)

usage() {
  cat <<EOF
usage: binaries.sh [group...]

Builds the groups (all of them by default) into $CAPN_CACHE/bin/<name>-<version>/.
Groups: ${ALL_GROUPS[*]}
EOF
}

# build GROUP FOLDER MODULE VERSION TAGS LDFLAGS NAME=PACKAGE...
build() {
  local group=$1 folder=$2 module=$3 version=$4 tags=$5 ldflags=$6 pair name start pinned
  local -a missing=()
  shift 6
  for pair in "$@"; do
    [[ -x $folder/${pair%%=*} ]] || missing+=("$pair")
  done
  ((${#missing[@]})) || return 0

  mkdir -p "$CAPN_CACHE/locks" "$folder"
  (
    take_lock "$CAPN_CACHE/locks/build" "the build lock" 3600 "$group"
    cd "$LAB_DIR/go/$group"
    pinned=$(go list -m -f '{{.Version}}' "$module")
    [[ $pinned == "$version" ]] ||
      die "versions.env says $module $version, go/$group/go.mod says $pinned: run 'go get $module@$version && go mod tidy' there"
    for pair in "${missing[@]}"; do
      name=${pair%%=*}
      [[ ! -x $folder/$name ]] || continue
      start=$(now_ms)
      CGO_ENABLED=${WITH_CGO:-0} GOFLAGS="" go build -buildvcs=false -trimpath -tags "$tags" -ldflags "-s -w $ldflags" \
        -o "$folder/.$name.tmp" "${pair#*=}" 9>&-
      mv "$folder/.$name.tmp" "$folder/$name"
      say "$(printf '  built %-46s %8s' "$name $version" "$(since "$start")")"
    done
  )
}

# stamp PACKAGE VERSION: the linker flags by which Kubernetes' projects learn their version
stamp() {
  local minor=${2#v*.}
  local major=${2%%.*}
  printf -- '-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s -X %s.gitTreeState=clean' \
    "$1" "$2" "$1" "${major#v}" "$1" "${minor%%.*}" "$1"
}

build_kubernetes() {
  local name
  local -a pairs=()
  for name in kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kubeadm kube-proxy; do
    pairs+=("$name=k8s.io/kubernetes/cmd/$name")
  done
  build kubernetes "$BIN_KUBERNETES" k8s.io/kubernetes "$KUBERNETES_VERSION" '' \
    "$(stamp k8s.io/component-base/version "$KUBERNETES_VERSION")" "${pairs[@]}"
}

build_etcd() {
  build etcd "$BIN_ETCD" go.etcd.io/etcd/server/v3 "$ETCD_VERSION" '' '' \
    etcd=go.etcd.io/etcd/server/v3 etcdctl=go.etcd.io/etcd/etcdctl/v3 etcdutl=go.etcd.io/etcd/etcdutl/v3
}

build_coredns() {
  build coredns "$BIN_COREDNS" github.com/coredns/coredns "$COREDNS_VERSION" '' '' coredns=github.com/coredns/coredns
}

build_cluster-api() {
  local module=sigs.k8s.io/cluster-api
  build cluster-api "$BIN_CLUSTER_API" "$module" "$CLUSTER_API_VERSION" fieldsv1string \
    "$(stamp "$module/version" "$CLUSTER_API_VERSION")" "clusterctl=$module/cmd/clusterctl" "core=$module/core" \
    "bootstrap-kubeadm=$module/bootstrap/kubeadm" "controlplane-kubeadm=$module/controlplane/kubeadm"
}

build_cert-manager() {
  local module=github.com/cert-manager/cert-manager
  build cert-manager "$BIN_CERT_MANAGER" "$module" "$CERT_MANAGER_VERSION" '' \
    "-X $module/pkg/util.AppVersion=$CERT_MANAGER_VERSION" \
    "controller=$module/cmd/controller" "webhook=$module/cmd/webhook" "cainjector=$module/cmd/cainjector"
}

build_helm() {
  build helm "$BIN_HELM" helm.sh/helm/v3 "$HELM_VERSION" '' '' helm=helm.sh/helm/v3/cmd/helm
}

build_local-path() {
  local module=github.com/rancher/local-path-provisioner
  build local-path "$BIN_LOCAL_PATH" "$module" "$LOCAL_PATH_VERSION" '' \
    "-X main.VERSION=$LOCAL_PATH_VERSION" "local-path-provisioner=$module"
}

build_flannel() {
  local module=github.com/flannel-io/flannel
  # One of its backends is in C.
  WITH_CGO=1 build flannel "$BIN_FLANNEL" "$module" "$FLANNEL_VERSION" netgo,osusergo \
    "-X $module/pkg/version.Version=$FLANNEL_VERSION -extldflags -static" "flanneld=$module"
}

build_flannel-cni() {
  local module=github.com/containernetworking/plugins
  build flannel-cni "$BIN_FLANNEL_CNI" "$module" "$FLANNEL_CNI_VERSION" '' '' "flannel=$module/plugins/meta/flannel"
}

# The only one in C: Kubernetes' own pause program, whose source comes with its module.
build_pause() {
  local source start
  [[ ! -x $BIN_PAUSE/pause ]] || return 0
  (
    mkdir -p "$CAPN_CACHE/locks" "$BIN_PAUSE"
    take_lock "$CAPN_CACHE/locks/build" "the build lock" 3600 pause
    start=$(now_ms)
    source=$(cd "$LAB_DIR/go/kubernetes" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c
    gcc -Os -Wall -static -DVERSION="v$PAUSE_IMAGE_TAG" -o "$BIN_PAUSE/.pause.tmp" "$source"
    strip "$BIN_PAUSE/.pause.tmp"
    mv "$BIN_PAUSE/.pause.tmp" "$BIN_PAUSE/pause"
    say "$(printf '  built %-46s %8s' "pause $PAUSE_IMAGE_TAG" "$(since "$start")")"
  )
}

# Debian's, taken out of its package: the static one, which may be installed, cannot look up names in a container.
build_busybox() {
  local work start
  [[ ! -x $BIN_BUSYBOX/busybox ]] || return 0
  start=$(now_ms)
  work=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" RETURN
  chmod 755 "$work"
  (
    cd "$work"
    apt-get download busybox >log 2>&1 || { apt-get update && apt-get download busybox; } >>log 2>&1 || { tail log >&2; exit 1; }
    dpkg-deb --extract busybox_*.deb .
  )
  mkdir -p "$BIN_BUSYBOX"
  install -m 755 "$(find "$work" -path '*bin/busybox' -print -quit)" "$BIN_BUSYBOX/.busybox.$$"
  mv "$BIN_BUSYBOX/.busybox.$$" "$BIN_BUSYBOX/busybox"
  say "$(printf '  took  %-46s %8s' "busybox from Debian" "$(since "$start")")"
}

main() {
  local group
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    return
  fi
  (($#)) || set -- "${ALL_GROUPS[@]}"
  for group in "$@"; do
    declare -F "build_$group" >/dev/null || die "no group '$group'; there are: ${ALL_GROUPS[*]}"
    "build_$group"
  done
}

main "$@"
