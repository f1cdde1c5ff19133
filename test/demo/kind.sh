#!/usr/bin/env bash
# The demo on a machine with Docker, kind, kubectl and clusterctl: upstream images and the real KubeVirt.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
# shellcheck source=../infrastructure/lab/lib.sh
. "$root/test/infrastructure/lab/lib.sh"
PATIENCE=5
# shellcheck source=steps.sh
. "$root/test/demo/steps.sh"
# shellcheck source=../../hack/layout.sh
. "$root/hack/layout.sh"
kubevirt=${KUBEVIRT_VERSION:-v1.9.0}
name=${KIND_CLUSTER:-capn-demo}
release=$root/out/release
image=$CAPN_IMAGE:$CAPN_VERSION
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$root/out"
export KUBECONFIG=$root/out/$name.kubeconfig
TENANT_KUBECONFIG=$root/out/$CLUSTER.kubeconfig

# Not every `date` knows milliseconds.
now_ms() { date +%s000; }
kubectl() { command kubectl "$@"; }
clusterctl() { command clusterctl --config "$work/clusterctl.yaml" "$@"; }

# The tenant's endpoint is an address inside the kind cluster, so its API server is asked from there.
tenant() {
  docker cp "$TENANT_KUBECONFIG" "$name-control-plane:/root/tenant.kubeconfig" >/dev/null 2>&1 || return 1
  docker exec -i "$name-control-plane" kubectl --kubeconfig /root/tenant.kubeconfig "$@"
}

bring_up_kind() {
  if kind get clusters 2>/dev/null | grep -qx "$name"; then
    quiet kind export kubeconfig --name "$name"
  else
    quiet kind create cluster --name "$name" --wait 5m
  fi
}

make_images() {
  quiet docker build --tag "$image" "$root"
  quiet kind load docker-image --name "$name" "$image"
  quiet release_layout kubectl "$CAPN_VERSION" "$release"
}

install_kubevirt() {
  local base=https://github.com/kubevirt/kubevirt/releases/download/$kubevirt
  quiet kubectl apply --server-side -f "$base/kubevirt-operator.yaml" -f "$base/kubevirt-cr.yaml"
  # Without /dev/kvm, VMs are emulated.
  docker exec "$name-control-plane" test -e /dev/kvm || quiet kubectl -n kubevirt patch kubevirt kubevirt --type merge \
    --patch '{"spec": {"configuration": {"developerConfiguration": {"useEmulation": true}}}}'
  quiet kubectl -n kubevirt wait kubevirt/kubevirt --for condition=Available --timeout 15m
}

init_providers() {
  cat >"$work/clusterctl.yaml" <<YAML
providers:
  - name: nested
    type: ControlPlaneProvider
    url: $release/control-plane-nested/$CAPN_VERSION/control-plane-components.yaml
  - name: kubevirt
    type: InfrastructureProvider
    url: $release/infrastructure-kubevirt/$CAPN_VERSION/infrastructure-components.yaml
YAML
  init_missing kubevirt --wait-providers
}

offer_cni() {
  curl -fsSL "https://github.com/flannel-io/flannel/releases/download/$FLANNEL_VERSION/kube-flannel.yml" >"$work/flannel.yaml"
  offer_flannel "$work/flannel.yaml"
}

for tool in docker kind kubectl clusterctl curl; do
  command -v "$tool" >/dev/null || die "make demo-kind needs $tool, which is not installed"
done
docker info >/dev/null || die "make demo-kind needs a Docker engine that runs and that you may use"
start=$(now_ms)
say "This makes a kind cluster '$name' with Cluster API, KubeVirt $kubevirt and a tenant '$CLUSTER' in it."
say "'kind delete cluster --name $name' removes all of it."
step "kind cluster" bring_up_kind
step "manager image and release layout" make_images
step "KubeVirt $kubevirt" install_kubevirt
show_tenant_in_providers
cat <<TEXT

Done after $(since "$start"). What to try next:
  export KUBECONFIG=$KUBECONFIG
$(what_to_try)
  kind delete cluster --name $name                       remove all of it
TEXT
