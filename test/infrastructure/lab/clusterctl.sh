#!/usr/bin/env bash
# Writes a clusterctl configuration and a local provider repository into the lab's state, and prints the configuration's path.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=parts/state.sh
. "$LAB_DIR/parts/state.sh"

NODE_VM_IMAGE_TEMPLATE=${NODE_VM_IMAGE_TEMPLATE:-localhost/capn/debian-12-worker:$KUBERNETES_VERSION}
REPOSITORY=$STATE/clusterctl/repository

usage() {
  cat <<EOF
usage: clusterctl.sh

Writes $STATE/clusterctl/clusterctl.yaml. Use it as: clusterctl --config FILE ...
Providers: cluster-api, kubeadm (bootstrap, control plane) $CLUSTER_API_VERSION from their Go module;
nested and kubevirt $CAPN_VERSION from $CAPN_RELEASE_DIR (CAPN_RELEASE_DIR, CAPN_VERSION).
EOF
}

# components LABEL FOLDER FILE: what a release of Cluster API would hold for one provider
components() {
  local target=$REPOSITORY/$1/$CLUSTER_API_VERSION
  mkdir -p "$target"
  install -m 644 "$MODULE/metadata.yaml" "$target/metadata.yaml"
  # The module names the images of its development branch, which are pulled always.
  kubectl kustomize "$MODULE/$2/config/default" |
    sed -E "s#image: gcr\.io/k8s-staging-cluster-api/([a-z-]+):.*#image: registry.k8s.io/cluster-api/\1:$CLUSTER_API_VERSION#; s#imagePullPolicy: Always#imagePullPolicy: IfNotPresent#" \
      >"$target/$3"
  grep -q "image: registry.k8s.io/cluster-api/.*:$CLUSTER_API_VERSION" "$target/$3" || die "no image of $CLUSTER_API_VERSION in $target/$3"
}

configuration() {
  cat <<EOF
providers:
  - name: cluster-api
    type: CoreProvider
    url: $REPOSITORY/cluster-api/$CLUSTER_API_VERSION/core-components.yaml
  - name: kubeadm
    type: BootstrapProvider
    url: $REPOSITORY/bootstrap-kubeadm/$CLUSTER_API_VERSION/bootstrap-components.yaml
  - name: kubeadm
    type: ControlPlaneProvider
    url: $REPOSITORY/control-plane-kubeadm/$CLUSTER_API_VERSION/control-plane-components.yaml
  - name: nested
    type: ControlPlaneProvider
    url: $CAPN_RELEASE_DIR/control-plane-nested/$CAPN_VERSION/control-plane-components.yaml
  - name: kubevirt
    type: InfrastructureProvider
    url: $CAPN_RELEASE_DIR/infrastructure-kubevirt/$CAPN_VERSION/infrastructure-components.yaml
cert-manager:
  url: $1
  version: $CERT_MANAGER_VERSION
overridesFolder: $STATE/clusterctl/overrides
CLUSTER_TOPOLOGY: "true"
NODE_VM_IMAGE_TEMPLATE: $NODE_VM_IMAGE_TEMPLATE
EOF
}

main() {
  local manifest
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    return
  fi
  MODULE=$(cd "$LAB_DIR/go/cluster-api" && go mod download -json sigs.k8s.io/cluster-api | jq -er .Dir)
  components cluster-api core core-components.yaml
  components bootstrap-kubeadm bootstrap/kubeadm bootstrap-components.yaml
  components control-plane-kubeadm controlplane/kubeadm control-plane-components.yaml
  mkdir -p "$STATE/clusterctl/overrides"
  manifest=$("$LAB_DIR/cert-manager.sh")
  configuration "$manifest" >"$STATE/clusterctl/clusterctl.yaml"
  printf '%s\n' "$STATE/clusterctl/clusterctl.yaml"
}

main "$@"
