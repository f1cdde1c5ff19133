#!/usr/bin/env bash
# The demo on a machine with Docker, kind, kubectl and clusterctl: upstream images and the real KubeVirt.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
version=${CAPN_VERSION:-v1.0.0}
kubernetes=${KUBERNETES_VERSION:-v1.36.3}
kubevirt=${KUBEVIRT_VERSION:-v1.9.0}
flannel=${FLANNEL_VERSION:-v0.28.4}
name=${KIND_CLUSTER:-capn-demo}
cluster=${CLUSTER:-acme}
release=${CAPN_RELEASE_DIR:-$root/out/release}
image=ghcr.io/cluster-api-provider-nested/manager:$version
# shellcheck source=../../config/layout.sh
. "$root/config/layout.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in docker kind kubectl clusterctl; do
  command -v "$tool" >/dev/null || { echo "make demo-kind needs $tool, which is not installed" >&2; exit 1; }
done
docker info >/dev/null || { echo "make demo-kind needs a Docker engine that runs and that you may use" >&2; exit 1; }
echo "This makes a kind cluster '$name' with Cluster API, KubeVirt $kubevirt and a tenant '$cluster' in it."
echo "'kind delete cluster --name $name' removes all of it."

say() { printf '\n== %s\n' "$*"; }

say "kind cluster"
kind get clusters | grep -qx "$name" || kind create cluster --name "$name" --wait 5m
kubectl config use-context "kind-$name"

say "manager image and release layout"
docker build --tag "$image" "$root"
kind load docker-image --name "$name" "$image"
release_layout kubectl "$version" "$release"

say "KubeVirt $kubevirt"
base=https://github.com/kubevirt/kubevirt/releases/download/$kubevirt
kubectl apply --server-side -f "$base/kubevirt-operator.yaml" -f "$base/kubevirt-cr.yaml"
# Without /dev/kvm, VMs are emulated.
if [[ ! -e /dev/kvm ]]; then
  kubectl -n kubevirt patch kubevirt kubevirt --type merge \
    --patch '{"spec": {"configuration": {"developerConfiguration": {"useEmulation": true}}}}'
fi
kubectl -n kubevirt wait kubevirt/kubevirt --for condition=Available --timeout 15m

say "providers"
cat >"$work/clusterctl.yaml" <<YAML
providers:
  - name: nested
    type: ControlPlaneProvider
    url: $release/control-plane-nested/$version/control-plane-components.yaml
  - name: kubevirt
    type: InfrastructureProvider
    url: $release/infrastructure-kubevirt/$version/infrastructure-components.yaml
YAML
kubectl get namespace capn-system >/dev/null 2>&1 ||
  clusterctl init --config "$work/clusterctl.yaml" --bootstrap kubeadm --control-plane nested --infrastructure kubevirt --wait-providers

say "network for tenants' pods"
curl -fsSL "https://github.com/flannel-io/flannel/releases/download/$flannel/kube-flannel.yml" |
  sed 's#10\.244\.0\.0/16#10.243.0.0/16#' >"$work/flannel.yaml"
kubectl create configmap cni-flannel --from-file=flannel.yaml="$work/flannel.yaml" --dry-run=client -o yaml | kubectl apply --server-side -f -
kubectl apply --server-side -f "$root/test/demo/cni.yaml"

say "tenant $cluster"
clusterctl generate cluster "$cluster" --config "$work/clusterctl.yaml" --kubernetes-version "$kubernetes" \
  --worker-machine-count 1 | kubectl apply -f -
kubectl wait "cluster/$cluster" --for condition=ControlPlaneAvailable --timeout 10m
kubectl wait "machinedeployment/$cluster-md-0" --for condition=Available --timeout 30m
mkdir -p "$root/out"
clusterctl get kubeconfig "$cluster" >"$root/out/$cluster.kubeconfig"
kubectl --kubeconfig "$root/out/$cluster.kubeconfig" get nodes -o wide
clusterctl describe cluster "$cluster"
