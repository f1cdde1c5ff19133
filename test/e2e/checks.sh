# What the end-to-end run checks. Each function fails, or says nothing.
# shellcheck shell=bash

VM_NAMESPACE=tenants-vms

make_namespaces() {
  quiet kubectl apply -f - <<YAML
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: Namespace
metadata:
  name: $VM_NAMESPACE
  labels: {infrastructure.cluster.x-k8s.io/allow-vms-from: $NAMESPACE}
YAML
}

# The template's VMs are placed where their pods may run.
generate() {
  clusterctl generate cluster "$CLUSTER" --target-namespace "$NAMESPACE" \
    --kubernetes-version "$KUBERNETES_VERSION" --worker-machine-count 1 |
    sed "s#^\( *\)virtualMachineTemplate:#&\n\1  metadata:\n\1    namespace: $VM_NAMESPACE#"
}

# Every object of every kind that can be listed, but for Events and for the pods of deployments that
# are replaced in other namespaces.
listed() {
  local kinds objects
  kinds=$(kubectl api-resources --verbs list -o name | grep -vE '^events(\.|$)' | sort -u | paste -sd,) || return 1
  objects=$(kubectl get "$kinds" --all-namespaces -o json --ignore-not-found 2> >(grep -v '^Warning: .* deprecated' >&2)) || return 1
  jq -r '.items[] | "\(.kind) \(.metadata.namespace // "-")/\(.metadata.name)"' <<<"$objects" |
    grep -vE '^(Pod|ReplicaSet) (cap|kube|cert|local)' | sort -u
}

nothing_left() {
  patiently "Cluster $CLUSTER to be deleted" delete cluster "$CLUSTER" --ignore-not-found --timeout 300s
  wait_for 120 "everything of $CLUSTER to be gone" same_as_before
}

same_as_before() {
  local after left
  after=$(listed) || return 1
  left=$(comm -13 "$(dirname "$KUBECONFIG")/before" - <<<"$after")
  [[ -z $left ]] || { printf 'left behind:\n%s\n' "$left"; return 1; }
}

logs_exec_port_forward() {
  local pid answer
  tenant -n kube-system logs deployment/coredns --tail 1 | grep -q .
  [[ $(tenant exec client -- cat /proc/sys/kernel/ostype) == Linux ]]
  tenant port-forward pod/web :8080 >"$(dirname "$KUBECONFIG")/forward" 2>&1 &
  pid=$!
  wait_for 60 "the forwarded port" grep -qo '127.0.0.1:[0-9]*' "$(dirname "$KUBECONFIG")/forward"
  answer=$(curl -sS --max-time 20 "http://$(grep -o '127.0.0.1:[0-9]*' "$(dirname "$KUBECONFIG")/forward" | head -1)")
  kill "$pid"
  [[ $answer == *'hello from the tenant'* ]]
}

kubernetes_from_a_pod() {
  wait_for 60 "kubernetes.default.svc to answer" api_from_a_pod
}

# From inside the pod, with its own token and the tenant's authority: no other server answers to both.
api_from_a_pod() {
  local folder socket pid answer token
  folder=$(dirname "$KUBECONFIG")
  socket=$folder/api.sock
  token=$(tenant exec client -- cat /var/run/secrets/kubernetes.io/serviceaccount/token) || return 1
  tenant config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$folder/tenant-ca.crt"
  socat "UNIX-LISTEN:$socket,unlink-early" \
    EXEC:"$BIN_KUBERNETES/kubectl --kubeconfig $TENANT_KUBECONFIG exec -i client -- nc kubernetes.default.svc 443" &
  pid=$!
  wait_for 10 "the socket" test -S "$socket"
  answer=$(curl -sS --max-time 20 --unix-socket "$socket" --cacert "$folder/tenant-ca.crt" \
    --header "Authorization: Bearer $token" https://kubernetes.default.svc/version)
  kill "$pid" 2>/dev/null || true
  jq -e --arg version "$KUBERNETES_VERSION" '.gitVersion == $version' <<<"$answer"
}

# Each start of a kernel has an identity of its own; containers have that of their host.
kernel_is_its_own() {
  local boot
  boot=$(tenant get nodes -o jsonpath='{.items[0].status.nodeInfo.bootID}')
  [[ -n $boot && $boot != "$(cat /proc/sys/kernel/random/boot_id)" ]]
}

provider_ids_agree() {
  local node machine infra
  node=$(tenant get nodes -o jsonpath='{.items[0].spec.providerID}')
  machine=$(kubectl -n "$NAMESPACE" get machines -o jsonpath='{.items[0].spec.providerID}')
  infra=$(kubectl -n "$NAMESPACE" get kubevirtmachines -o jsonpath='{.items[0].spec.providerID}')
  [[ $node == kubevirt://* && $node == "$machine" && $node == "$infra" ]]
}

# Also for make demo-kind, which lays out the same and cannot run here.
manifests_pass_a_dry_run() {
  local apply=(kubectl apply --server-side --force-conflicts --dry-run=server)
  quiet "${apply[@]}" -f "$CAPN_RELEASE_DIR/control-plane-nested/$CAPN_VERSION/control-plane-components.yaml" \
    -f "$CAPN_RELEASE_DIR/infrastructure-kubevirt/$CAPN_VERSION/infrastructure-components.yaml"
  quiet "${apply[@]}" --namespace "$NAMESPACE" -f "$ROOT/test/demo/cni.yaml"
  generate | quiet "${apply[@]}" -f -
}

uids() {
  kubectl -n "$NAMESPACE" get cluster,nestedcontrolplane,kubevirtcluster,machine,kubevirtmachine,deployment,replicaset,statefulset,service,secret,pvc \
    -o jsonpath='{range .items[*]}{.kind}{" "}{.metadata.name}{" "}{.metadata.uid}{"\n"}{end}' | sort
}

# As `make demo` does when it runs again after a part was killed.
applied_again() {
  local before killed
  before=$(uids)
  killed=$(kubectl -n "$NAMESPACE" delete pod -l "cluster.x-k8s.io/cluster-name=$CLUSTER,controlplane.cluster.x-k8s.io/component=apiserver" -o name --timeout 60s)
  [[ $killed == "pod/$CLUSTER-apiserver-"* ]] || return 1
  create_tenant
  tenant_answers
  node_ready
  core_dns_runs
  pods_talk
  wait_for 60 "one ready replica" replicas_ready 1
  diff <(cat <<<"$before") <(uids)
}

leaf_secret_comes_back() {
  quiet kubectl -n "$NAMESPACE" delete secret "$CLUSTER-scheduler"
  wait_for 60 "Secret $CLUSTER-scheduler" kubectl -n "$NAMESPACE" get secret "$CLUSTER-scheduler"
  quiet kubectl -n "$NAMESPACE" patch secret "$CLUSTER-scheduler" --type merge -p '{"data": {"tls.crt": "bm9uc2Vuc2U="}}'
  wait_for 60 "a certificate in place of the nonsense" certificate_in "$CLUSTER-scheduler"
}

certificate_in() {
  kubectl -n "$NAMESPACE" get secret "$1" -o jsonpath='{.data.tls\.crt}' | base64 -d | grep -q 'BEGIN CERTIFICATE'
}

manager_killed() {
  quiet kubectl -n capn-system delete pod -l cluster.x-k8s.io/provider=control-plane-nested --grace-period 0 --force
  quiet kubectl -n capn-system rollout status deployment/capn-controller-manager --timeout 120s
  tenant get --raw /readyz >/dev/null
}

scale_control_plane() {
  quiet kubectl -n "$NAMESPACE" scale nestedcontrolplane "$CLUSTER" --replicas 2
  wait_for 120 "two ready replicas" replicas_ready 2
  kubectl -n "$NAMESPACE" get poddisruptionbudget "$CLUSTER-apiserver" "$CLUSTER-controllers" >/dev/null
  quiet kubectl -n "$NAMESPACE" scale nestedcontrolplane "$CLUSTER" --replicas 1
  wait_for 120 "one ready replica" replicas_ready 1
}

replicas_ready() {
  [[ $(kubectl -n "$NAMESPACE" get nestedcontrolplane "$CLUSTER" -o jsonpath='{.status.replicas}/{.status.readyReplicas}') == "$1/$1" ]]
}

# As `kubectl drain` of the management cluster's node asks: KubeVirt leaves the rest to the provider.
eviction_drains_the_node() {
  local pod
  pod=$(kubectl -n "$VM_NAMESPACE" get pods -l kubevirt.io=virt-launcher -o jsonpath='{.items[0].metadata.name}')
  ! kubectl create --raw "/api/v1/namespaces/$VM_NAMESPACE/pods/$pod/eviction" -f - >/dev/null 2>&1 <<JSON || return 1
{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$pod", "namespace": "$VM_NAMESPACE"}}
JSON
  wait_for 120 "the Node to be cordoned" node_cordoned
  wait_for 180 "the instance to be deleted" event_says Evicted
  [[ -z $(tenant get pods client -o name --ignore-not-found) ]]
  wait_for 180 "the machine to be reported" machine_says RootDiskLost
}

node_cordoned() { [[ $(tenant get nodes -o jsonpath='{.items[0].spec.unschedulable}') == true ]]; }

event_says() {
  kubectl -n "$NAMESPACE" get events -o jsonpath='{.items[*].reason}' | grep -qw "$1"
}

# As a MachineHealthCheck does after its time.
machine_is_replaced() {
  local old
  old=$(kubectl -n "$NAMESPACE" get machines -l cluster.x-k8s.io/deployment-name -o jsonpath='{.items[0].metadata.name}')
  patiently "Machine $old to be deleted" delete machine "$old" --ignore-not-found --timeout 300s
  wait_for 600 "another Node" other_node_ready "$old"
  [[ -z $(tenant get node "$old" -o name --ignore-not-found) ]]
}

other_node_ready() {
  tenant get nodes -o json | jq -e --arg old "$1" \
    '[.items[] | select(.metadata.name != $old) | .status.conditions[] | select(.type == "Ready" and .status == "True")] | length == 1'
}

killed_qemu_is_reported() {
  # Inside the lab's own PID namespace, so that no other lab's VM is hit.
  "$ROOT/test/infrastructure/lab/lab" exec -- pkill -KILL -f qemu-system-x86_64
  wait_for 180 "the machine to be reported" machine_says RootDiskLost
  wait_for 180 "the Node to be NotReady" node_not_ready
}

machine_says() {
  kubectl -n "$NAMESPACE" get kubevirtmachines -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].reason}' | grep -qw "$1"
}

node_not_ready() {
  tenant get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}' | grep -qE 'Unknown|False'
}

no_restarts() {
  local restarts
  restarts=$(kubectl -n "$NAMESPACE" get pods -o json |
    jq '[.items[].status.containerStatuses // [] | .[].restartCount] | add')
  [[ $restarts == 0 ]]
}

# Killed twice, because the kubelet starts it at once after the first time and waits after the second.
controller_manager_killed() {
  local before
  before=$(ready_api_servers)
  wait_for 60 "a controller manager to kill" kill_controller_manager
  wait_for 60 "the next one to kill" kill_controller_manager
  wait_for 60 "the failure to be reported" reported nestedcontrolplane "$CLUSTER" ControlPlaneComponentsHealthy CrashLoopBackOff
  diff <(cat <<<"$before") <(ready_api_servers)
  holds nestedcontrolplane "$CLUSTER" Available
  wait_for 120 "the components to be healthy again" holds nestedcontrolplane "$CLUSTER" ControlPlaneComponentsHealthy
}

# Inside the lab's own PID namespace; the management cluster's own has another name.
kill_controller_manager() {
  "$ROOT/test/infrastructure/lab/lab" exec -- pkill -KILL -f "^kube-controller-manager .*--cluster-name=$CLUSTER"'( |$)'
}

ready_api_servers() {
  kubectl -n "$NAMESPACE" get endpointslices -l "kubernetes.io/service-name=$CLUSTER-apiserver" -o json |
    jq -c '[.items[].endpoints[] | select(.conditions.ready) | .targetRef.uid] | sort'
}

# Working set as the kubelet reports it.
managers_are_small() {
  local bytes
  bytes=$(kubectl get --raw "/api/v1/nodes/$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')/proxy/stats/summary" |
    jq '[.pods[] | select(.podRef.namespace == "capn-system" or .podRef.namespace == "capk-system") | .memory.workingSetBytes] | add')
  say "    $((bytes / 1048576)) MiB"
  ((bytes <= 30 * 1048576))
}

# Verbs granted and never seen in the audit log are named here, each with its reason.
UNUSED_REASONS=(
  "capn controllerrevisions get: finds out whose an object is that was made meanwhile"
  "capn events patch: an event that comes again is counted up"
  "capk events patch: an event that comes again is counted up"
  "capk kubevirtclusters patch: takes off the finalizer that the Go provider put there"
  "capk services delete: removes the Service in front of control planes in VMs, which the Go provider made"
  "capk services get: looks for that Service"
)

rights_are_used() {
  local provider line known reason
  for provider in capn capk; do
    unused_rights "$provider"
  done | sort >"$(dirname "$KUBECONFIG")/unused"
  while read -r line; do
    known=
    for reason in "${UNUSED_REASONS[@]}"; do
      [[ $reason != "$line":* ]] || known=1
    done
    [[ -n $known ]] || { warn "granted and never used: $line"; return 1; }
  done <"$(dirname "$KUBECONFIG")/unused"
  roles_of_managers | diff <(printf '%s\n' "${ROLES[@]}") -
  kubectl get clusterroles,roles --all-namespaces -l 'cluster.x-k8s.io/provider in (control-plane-nested, infrastructure-kubevirt)' -o json |
    jq -e '[.items[].rules[]? | .verbs + .resources + .apiGroups | index("*")] | length > 0 and all(. == null)' >/dev/null
}

# All that the managers may do comes by these, so that none of it is cluster-admin's.
ROLES=(
  "capk-system/capk-manager -/ClusterRole/capk-manager-role"
  "capk-system/capk-manager capk-system/Role/capk-leader-election-role"
  "capn-system/capn-manager -/ClusterRole/capn-manager-role"
  "capn-system/capn-manager capn-system/Role/capn-leader-election-role"
)

# "ACCOUNT NAMESPACE/KIND/NAME" for each role that is bound to a manager's account, in whichever words, or to a
# group that it is in by its namespace.
roles_of_managers() {
  kubectl get clusterrolebindings,rolebindings --all-namespaces -o json |
    jq -r '.items[] | . as $binding | .subjects[]? |
      (if .kind == "ServiceAccount" then "\(.namespace)/\(.name)" else .name | sub("^system:serviceaccounts?:"; "") | sub(":"; "/") end) |
      select(test("^cap[nk]-system")) |
      "\(.) \($binding.metadata.namespace // "-")/\($binding.roleRef.kind)/\($binding.roleRef.name)"' | sort
}

# unused_rights PREFIX: "PREFIX RESOURCE VERB" for each right of that manager that its user never used. A patch
# that made an object used `create` too.
unused_rights() {
  local user="system:serviceaccount:$1-system:$1-manager" used
  used=$(jq -r --arg user "$user" 'select(.user.username == $user and .stage == "ResponseComplete") |
    ((.objectRef.resource // "") + (if .objectRef.subresource then "/" + .objectRef.subresource else "" end)) as $resource |
    "\($resource) \(.verb)", (if .responseStatus.code == 201 then "\($resource) create" else empty end)' \
    "$(dirname "$KUBECONFIG")/audit.log" | sort -u)
  kubectl -n "$1-system" get "clusterrole/$1-manager-role" "role/$1-leader-election-role" -o json |
    jq -r '.items[].rules[] | .resources[] as $resource | .verbs[] | "\($resource) \(.)"' | sort -u |
    comm -23 - <(printf '%s\n' "$used") | sed "s/^/$1 /"
}
