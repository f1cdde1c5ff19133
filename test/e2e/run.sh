#!/usr/bin/env bash
# The main job on a lab of its own, then what only a running tenant can prove, then its end. Each
# check says what held; the first that does not dumps the lab's state and ends the run.
set -euo pipefail
export CAPN_LAB=${CAPN_LAB:-e2e} NAMESPACE=tenants CLUSTER=acme
# shellcheck source=../demo/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../demo/lib.sh"
# shellcheck source=checks.sh
. "$ROOT/test/e2e/checks.sh"
# shellcheck source=faults.sh
. "$ROOT/test/e2e/faults.sh"
# shellcheck source=variants.sh
. "$ROOT/test/e2e/variants.sh"
ARTIFACTS=${CAPN_ARTIFACTS:-$CARGO_TARGET_DIR/artifacts}/e2e
passed=0
running="the lab comes up"

check() {
  running=$1
  shift
  step "$running" "$@"
  passed=$((passed + 1))
}

failed() {
  trap - ERR
  warn "failed: $running ($BASH_COMMAND)"
  mkdir -p "$ARTIFACTS"
  "$ROOT/test/infrastructure/lab/lab" dump "$ARTIFACTS" >/dev/null 2>&1 || true
  [[ ! -s ${TENANT_KUBECONFIG:-} ]] || tenant get nodes,pods,events -A -o wide >"$ARTIFACTS/tenant.txt" 2>&1 || true
  warn "objects, events and logs are in $ARTIFACTS"
  say "$passed passed, 1 failed"
  exit 1
}
set -E
trap failed ERR

bring_up_lab
check "release made" make_release
check "images loaded" load_built_images
check "VM runner runs" install_kubevirt
check "clusterctl init" init_providers
check "namespaces: restricted for control planes, another for VMs" make_namespaces
check "network for tenants' pods offered" offer_cni
listed >"$(dirname "$KUBECONFIG")/before"
check "clusterctl generate cluster | kubectl apply" create_tenant
check "API server answers" tenant_answers
check "VM worker has joined and is Ready" node_ready
check "CoreDNS runs on it" core_dns_runs
check "a pod answers another by its Service's name" pods_talk
check "logs, exec and port-forward work on the worker" logs_exec_port_forward
check "default/kubernetes leads to the API server from a pod" kubernetes_from_a_pod
check "the worker's kernel is not the host's" kernel_is_its_own
check "machine, Node and status agree on the provider ID" provider_ids_agree
check "everything of a release passes a server-side dry run" manifests_pass_a_dry_run
check "made again after a kill, it answers and no UID has changed" applied_again
check "a lost leaf Secret comes back and nothing restarts" leaf_secret_comes_back
check "the manager can be killed" manager_killed
check "two replicas and back to one" scale_control_plane
check "faults of machines are conditions and Events" machines_with_faults
check "and heal once they are mended" machines_heal
check "an eviction drains the Node, then ends its instance" eviction_drains_the_node
check "the machine is replaced by another that joins" machine_is_replaced
check "a killed qemu makes the Node NotReady and is reported" killed_qemu_is_reported
check "no container of the control plane has restarted" no_restarts
check "a killed controller manager is told and takes no API server off its Service" controller_manager_killed
check "faults of control planes are conditions and Events" control_planes_with_faults
check "and heal once they are mended" control_planes_heal
check "NodePort and LoadBalancer endpoints, three etcd members" control_planes_of_other_shapes
check "a deleted StatefulSet of etcd costs no data" store_outlives_its_stateful_set
check "a lost volume of etcd is told, and replaced only when that is accepted" lost_volume_of_etcd
check "one of three members can be lost" member_of_three_is_lost
check "and the volume of one, while the others serve" volume_of_a_member_is_lost
check "managers hold at most 30 MiB together" managers_are_small
check "deletion leaves nothing behind" nothing_left
check "managers used the rights that they ship with" rights_are_used
if [[ -z ${CAPN_KEEP_LAB:-} ]]; then "$ROOT/test/infrastructure/lab/lab" down; fi
say "$passed passed, 0 failed"
