# Control planes of other shapes than the template's: how they are reached, and how many members their store has.
# shellcheck shell=bash

control_planes_of_other_shapes() {
  local node
  node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
  control_plane node-port "{\"endpoint\": {\"type\": \"NodePort\", \"host\": \"$node\"}, \"datastore\": {\"etcd\": {\"replicas\": 3}}}"
  control_plane balanced '{"endpoint": {"type": "LoadBalancer", "port": 7443}}'
  # This cluster has one node, and members of etcd do not share one by themselves.
  wait_for 120 "the missing nodes to be reported" reported nestedcontrolplane node-port Available Unschedulable
  quiet kubectl -n "$NAMESPACE" patch nestedcontrolplane node-port --type merge -p '{"spec": {"datastore": {"etcd": {"podTemplate":
    {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]}}}}}'
  wait_for 60 "the load balancer to be waited for" waits_for_endpoint balanced
  # As a load balancer's controller does; kube-proxy leads what comes for this address to the Service.
  quiet kubectl -n "$NAMESPACE" patch service balanced-apiserver --subresource status --type merge \
    -p "{\"status\": {\"loadBalancer\": {\"ingress\": [{\"ip\": \"$node\"}]}}}"
  for name in node-port balanced; do
    wait_for 240 "$name to be available" holds nestedcontrolplane "$name" Available
    wait_for 60 "an answer of $name through its endpoint" answers_through_endpoint "$name" "$node"
  done
  [[ $(endpoint_of balanced) == "https://$node:7443" ]]
}

waits_for_endpoint() {
  kubectl -n "$NAMESPACE" get nestedcontrolplane "$1" -o json |
    jq -e '.status.conditions[] | select(.type == "Available" and .status == "False" and .reason == "WaitingForEndpoint")'
}

endpoint_of() {
  kubectl -n "$NAMESPACE" get secret "$1-kubeconfig" -o jsonpath='{.data.value}' | base64 -d >"$(dirname "$KUBECONFIG")/$1.kubeconfig"
  kubectl --kubeconfig "$(dirname "$KUBECONFIG")/$1.kubeconfig" config view -o jsonpath='{.clusters[0].cluster.server}'
}

answers_through_endpoint() {
  [[ $(endpoint_of "$1") == "https://$2:"* ]] &&
    kubectl --kubeconfig "$(dirname "$KUBECONFIG")/$1.kubeconfig" get --raw /readyz --request-timeout 5s
}

# What a user may do by mistake: the volume stays, and with it everything that the tenant holds.
store_outlives_its_stateful_set() {
  balanced create configmap kept >/dev/null
  quiet kubectl -n "$NAMESPACE" delete statefulset balanced-etcd --cascade=foreground --timeout 120s
  wait_for 120 "the store of balanced" balanced get configmap kept --request-timeout 5s
}

balanced() { kubectl --kubeconfig "$(dirname "$KUBECONFIG")/balanced.kubeconfig" "$@"; }

# What a user may do by mistake: the volume is gone. etcd does not start on an empty one until that is accepted, and
# then the workload cluster is prepared again.
lost_volume_of_etcd() {
  lose_volume balanced-etcd-0
  wait_for 120 "the loss to be reported" reported nestedcontrolplane balanced Available DatastoreLost
  wait_for 120 "the API servers to be stopped" no_api_server_of balanced
  wait_for 120 "etcd to refuse the empty volume" refuses_to_start balanced-etcd-0
  quiet kubectl -n "$NAMESPACE" annotate nestedcontrolplane balanced \
    "controlplane.cluster.x-k8s.io/accept-datastore=$(kubectl -n "$NAMESPACE" get pvc data-balanced-etcd-0 -o jsonpath='{.metadata.uid}')"
  wait_for 420 "balanced to be available again" holds nestedcontrolplane balanced Available
  wait_for 60 "the workload cluster to be prepared again" balanced get clusterrole kubeadm:get-nodes --request-timeout 5s
  ! balanced get configmap kept >/dev/null 2>&1
}

lose_volume() {
  quiet kubectl -n "$NAMESPACE" delete pvc "data-$1" --wait=false
  quiet kubectl -n "$NAMESPACE" delete pod "$1" --timeout 120s
}

no_api_server_of() {
  [[ -z $(kubectl -n "$NAMESPACE" get pods -l "cluster.x-k8s.io/cluster-name=$1,controlplane.cluster.x-k8s.io/component=apiserver" -o name) ]]
}

refuses_to_start() {
  kubectl -n "$NAMESPACE" get pod "$1" -o json | jq -e '.status.containerStatuses[0] |
    ((.state.terminated // .lastState.terminated).exitCode // 0) != 0 and .ready == false'
}

# Of three members, the others go on, and nobody starts on an empty volume.
volume_of_a_member_is_lost() {
  lose_volume node-port-etcd-2
  wait_for 120 "the loss to be reported" reported nestedcontrolplane node-port DatastoreHealthy MemberLost
  wait_for 120 "etcd to refuse the empty volume" refuses_to_start node-port-etcd-2
  kubectl --kubeconfig "$(dirname "$KUBECONFIG")/node-port.kubeconfig" create configmap writes-on >/dev/null
  holds nestedcontrolplane node-port Available
  patiently "the Clusters to be deleted" delete cluster node-port balanced --ignore-not-found --timeout 300s
}

# One of three members: the others keep the store, and it joins them again.
member_of_three_is_lost() {
  local old
  old=$(kubectl -n "$NAMESPACE" get pod node-port-etcd-1 -o jsonpath='{.metadata.uid}')
  quiet kubectl -n "$NAMESPACE" delete pod node-port-etcd-1 --grace-period 0 --force
  kubectl --kubeconfig "$(dirname "$KUBECONFIG")/node-port.kubeconfig" create configmap still-writes >/dev/null
  wait_for 120 "the member to be back" member_is_back "$old"
}

member_is_back() {
  kubectl -n "$NAMESPACE" get pod node-port-etcd-1 -o json | jq -e --arg old "$1" '.metadata.uid != $old and
    (.status.conditions[] | select(.type == "Ready") | .status == "True")'
}
