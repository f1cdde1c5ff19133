# Steps that the demo and the end-to-end test share: providers into the lab, a tenant into the providers.
# shellcheck shell=bash

DEMO_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$DEMO_DIR/../.." && pwd)
export CAPN_LAB=${CAPN_LAB:-demo}
# shellcheck source=../infrastructure/lab/lib.sh
. "$ROOT/test/infrastructure/lab/lib.sh"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CAPN_CACHE/target}
# The check asks a server that this machine may not reach.
export CLUSTERCTL_DISABLE_VERSIONCHECK=true

# shellcheck source=steps.sh
. "$DEMO_DIR/steps.sh"

clusterctl() { "$BIN_CLUSTER_API/clusterctl" --config "$CLUSTERCTL_CONFIG" "$@"; }
tenant() { kubectl --kubeconfig "$TENANT_KUBECONFIG" "$@"; }

# The management cluster.
bring_up_lab() {
  command -v cargo >/dev/null || die "the provider is built with Rust, which is not installed: install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml") with rustup"
  "$ROOT/test/infrastructure/lab/lab" up
  KUBECONFIG=$("$ROOT/test/infrastructure/lab/lab" kubeconfig)
  TENANT_KUBECONFIG=$(dirname "$KUBECONFIG")/$CLUSTER.kubeconfig
  export KUBECONFIG TENANT_KUBECONFIG
}

make_release() { quiet make --no-print-directory -C "$ROOT" release; }

load_built_images() {
  quiet "$ROOT/test/infrastructure/vm-runner/build-images.sh"
  quiet "$ROOT/test/infrastructure/worker-image/build.sh"
  "$ROOT/test/infrastructure/lab/lab" load "$(cat "$CAPN_CACHE/manager-image")" "$IMAGE_DIR"/localhost_capn_vm-*.tar "$IMAGE_DIR"/worker-"$KUBERNETES_VERSION"-*.tar
}

install_kubevirt() {
  quiet kubectl apply --server-side -f "$ROOT/test/infrastructure/vm-runner/manifests/crds.json" -f "$ROOT/test/infrastructure/vm-runner/manifests/virt-controller.yaml"
  quiet kubectl -n kubevirt rollout status deployment/virt-controller --timeout 180s
}

# init_providers [INFRASTRUCTURE]: what clusterctl installed before is kept; a manager of an older build is replaced.
init_providers() {
  local infrastructure=${1:-kubevirt} deployment ours=(capn-system/capn)
  CLUSTERCTL_CONFIG=$("$ROOT/test/infrastructure/lab/clusterctl.sh")
  export CLUSTERCTL_CONFIG
  [[ $infrastructure == - ]] || ours+=(capk-system/capk)
  init_missing "$infrastructure"
  for deployment in "${ours[@]}"; do use_new_image "${deployment%/*}" "deployment/${deployment#*/}-controller-manager"; done
  for deployment in capi-system/capi capi-kubeadm-bootstrap-system/capi-kubeadm-bootstrap "${ours[@]}"; do
    quiet kubectl -n "${deployment%/*}" rollout status "deployment/${deployment#*/}-controller-manager" --timeout 180s
  done
}

# use_new_image NAMESPACE DEPLOYMENT: images of different builds have the same name, so that only a restart takes the new one
use_new_image() {
  local image running
  image=$(sha256sum "$(cat "$CAPN_CACHE/manager-image")" | cut -c1-16)
  running=$(kubectl -n "$1" get "$2" -o jsonpath='{.metadata.annotations.demo/image}')
  [[ $running != "$image" ]] || return 0
  [[ -z $running ]] || quiet kubectl -n "$1" rollout restart "$2"
  quiet kubectl -n "$1" annotate --overwrite "$2" "demo/image=$image"
}

offer_cni() {
  local module
  module=$(cd "$ROOT/test/infrastructure/lab/go/flannel" && go mod download -json github.com/flannel-io/flannel | jq -er .Dir)
  offer_flannel "$module/Documentation/kube-flannel.yml"
}
