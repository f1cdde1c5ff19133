#!/usr/bin/env bash
# Shows the whole of it: a management cluster, both providers, a tenant, a VM worker, pods that talk.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"
start=$(now_ms)

say "This shows a tenant cluster on a management cluster of this machine's own (test/lab/README.md)."
bring_up_lab
say "providers"
step "release made" make_release
step "images of manager, VM runner and worker loaded" load_built_images
step "VM runner (in place of KubeVirt) runs" install_kubevirt
step "clusterctl init" init_providers
step "network for tenants' pods offered" offer_cni
say "tenant $CLUSTER"
tenant_steps
show_tenant
cat <<TEXT

Done after $(since "$start"). What to try next:
  export PATH=$BIN_KUBERNETES:$BIN_CLUSTER_API:\$PATH
  export KUBECONFIG=$KUBECONFIG
  kubectl get pods                                       the control plane, and the VM's pod
  kubectl describe nestedcontrolplane $CLUSTER
  kubectl --kubeconfig $TENANT_KUBECONFIG get pods -A    inside the tenant
  kubectl scale machinedeployment $CLUSTER-md-0 --replicas 2
  kubectl delete cluster $CLUSTER
  make demo-down                                         remove all of it
TEXT
