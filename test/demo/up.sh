#!/usr/bin/env bash
# Shows the whole of it: a management cluster, both providers, a tenant, a VM worker, pods that talk.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"
start=$(now_ms)

say "This shows a tenant cluster on a management cluster of this machine's own (test/infrastructure/lab/README.md)."
bring_up_lab
say "providers"
step "release made" make_release
step "images of manager, VM runner and worker loaded" load_built_images
step "VM runner (in place of KubeVirt) runs" install_kubevirt
show_tenant_in_providers
cat <<TEXT

Done after $(since "$start"). What to try next:
  export PATH=$BIN_KUBERNETES:$BIN_CLUSTER_API:\$PATH
  export KUBECONFIG=$KUBECONFIG
  kubectl --kubeconfig $TENANT_KUBECONFIG get pods -A    inside the tenant
$(what_to_try)
  make demo-down                                         remove all of it
TEXT
