#!/usr/bin/env bash
# Makes every image that the lab's clusters run, under its upstream name, from the built programs and Debian's.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ALL_GROUPS=(kubernetes cluster-api cert-manager network storage)

image() { # TAG OPTION...
  local start file before
  start=$(now_ms)
  file=$(image_file "$1")
  before=$(stat -c %i "$file" 2>/dev/null || true)
  "$LAB_DIR/image.sh" --tag "$@" >/dev/null
  [[ $(stat -c %i "$file") == "$before" ]] || say "$(printf '  image %-46s %8s' "${1##*/}" "$(since "$start")")"
}

kubernetes() {
  local name
  # Upstream's kube-apiserver carries this capability and does not start where it is not granted.
  image "registry.k8s.io/kube-apiserver:$KUBERNETES_VERSION" --binary "$BIN_KUBERNETES/kube-apiserver:/usr/local/bin/kube-apiserver" \
    --caps /usr/local/bin/kube-apiserver=cap_net_bind_service=+ep --entrypoint /usr/local/bin/kube-apiserver
  for name in kube-controller-manager kube-scheduler; do
    image "registry.k8s.io/$name:$KUBERNETES_VERSION" --binary "$BIN_KUBERNETES/$name:/usr/local/bin/$name" --entrypoint "/usr/local/bin/$name"
  done
  packet_filters
  image "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION" --binary "$BIN_KUBERNETES/kube-proxy:/usr/local/bin/kube-proxy" \
    "${FILTERS[@]}" --binary "$(type -P conntrack):/usr/sbin/conntrack" --entrypoint /usr/local/bin/kube-proxy
  image "registry.k8s.io/pause:$PAUSE_IMAGE_TAG" --binary "$BIN_PAUSE/pause:/pause" --entrypoint /pause --user 65535:65535
  image "registry.k8s.io/etcd:$ETCD_IMAGE_TAG" --binary "$BIN_ETCD/etcd:/usr/local/bin/etcd" \
    --binary "$BIN_ETCD/etcdctl:/usr/local/bin/etcdctl" --binary "$BIN_ETCD/etcdutl:/usr/local/bin/etcdutl" --cmd etcd
  image "registry.k8s.io/coredns/coredns:$COREDNS_VERSION" --binary "$BIN_COREDNS/coredns:/coredns" \
    --caps /coredns=cap_net_bind_service=+ep --entrypoint /coredns --user 65532:65532
}

# nft, and iptables on top of it with its extensions. Without the names of protocols nft prints numbers, and kube-proxy
# takes its own map elements for foreign ones and deletes them.
packet_filters() {
  local modules name
  modules=$(dirname "$(find /usr/lib -path '*/xtables/libxt_comment.so' -print -quit)")
  FILTERS=(--binary "$(type -P nft):/usr/sbin/nft" --binary "$(command -v xtables-nft-multi):/usr/sbin/xtables-nft-multi" --copy "$modules:$modules"
    # The one extension that needs a library of its own.
    --binary "$modules/libxt_statistic.so:$modules/libxt_statistic.so"
    --copy /etc/protocols:/etc/protocols:644)
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    FILTERS+=(--link "xtables-nft-multi:/usr/sbin/$name" --link "xtables-nft-multi:/usr/sbin/${name/tables/tables-nft}")
  done
}

cluster_api() {
  local pair
  for pair in core=cluster-api-controller bootstrap-kubeadm=kubeadm-bootstrap-controller controlplane-kubeadm=kubeadm-control-plane-controller; do
    image "registry.k8s.io/cluster-api/${pair#*=}:$CLUSTER_API_VERSION" --binary "$BIN_CLUSTER_API/${pair%%=*}:/manager" --entrypoint /manager --user 65532
  done
}

cert_manager() {
  local name
  for name in controller webhook cainjector; do
    image "quay.io/jetstack/cert-manager-$name:$CERT_MANAGER_VERSION" --binary "$BIN_CERT_MANAGER/$name:/app/cmd/$name/$name" \
      --entrypoint "/app/cmd/$name/$name" --user 1000
  done
}

network() {
  packet_filters
  image "ghcr.io/flannel-io/flannel:$FLANNEL_VERSION" --binary "$BIN_FLANNEL/flanneld:/opt/bin/flanneld" "${FILTERS[@]}" \
    --busybox sh,cp,cat,mkdir,ls --entrypoint /opt/bin/flanneld
  image "ghcr.io/flannel-io/flannel-cni-plugin:$FLANNEL_CNI_IMAGE_TAG" --binary "$BIN_FLANNEL_CNI/flannel:/flannel" --busybox sh,cp
}

storage() {
  image "docker.io/library/busybox:$BUSYBOX_IMAGE_TAG" --busybox all --cmd sh
  image "docker.io/rancher/local-path-provisioner:$LOCAL_PATH_VERSION" --busybox sh \
    --binary "$BIN_LOCAL_PATH/local-path-provisioner:/usr/bin/local-path-provisioner" --cmd local-path-provisioner
}

main() {
  local group
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    printf 'usage: images.sh [group...]\n\nGroups, all by default: %s\n' "${ALL_GROUPS[*]}"
    return
  fi
  (($#)) || set -- "${ALL_GROUPS[@]}"
  mkdir -p "$CAPN_CACHE/locks"
  take_lock "$CAPN_CACHE/locks/images" "the image lock" 1800
  for group in "$@"; do
    [[ " ${ALL_GROUPS[*]} " == *" $group "* ]] || die "no group '$group'; there are: ${ALL_GROUPS[*]}"
    "${group//-/_}"
  done
}

main "$@"
