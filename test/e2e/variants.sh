# Control planes of other shapes than the template's: how they are reached, and how many members their store has.
# shellcheck shell=bash

control_planes_of_other_shapes() {
  local node
  node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
  control_plane node-port "{\"endpoint\": {\"type\": \"NodePort\", \"host\": \"$node\"}, \"datastore\": {\"etcd\": {\"replicas\": 3}}}"
  control_plane balanced '{"endpoint": {"type": "LoadBalancer", "port": 7443}}'
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

# What a person may do by mistake: the volume stays, and with it everything that the tenant holds.
store_outlives_its_stateful_set() {
  balanced create configmap kept >/dev/null
  quiet kubectl -n "$NAMESPACE" delete statefulset balanced-etcd --cascade=foreground --timeout 120s
  wait_for 120 "the store of balanced" balanced get configmap kept --request-timeout 5s
}

balanced() { kubectl --kubeconfig "$(dirname "$KUBECONFIG")/balanced.kubeconfig" "$@"; }

# One of three members: the others keep the store, and it joins them again.
member_of_three_is_lost() {
  local old
  old=$(kubectl -n "$NAMESPACE" get pod node-port-etcd-1 -o jsonpath='{.metadata.uid}')
  quiet kubectl -n "$NAMESPACE" delete pod node-port-etcd-1 --grace-period 0 --force
  kubectl --kubeconfig "$(dirname "$KUBECONFIG")/node-port.kubeconfig" create configmap still-writes >/dev/null
  wait_for 120 "the member to be back" member_is_back "$old"
  quiet kubectl -n "$NAMESPACE" delete cluster node-port balanced --timeout 300s
}

member_is_back() {
  kubectl -n "$NAMESPACE" get pod node-port-etcd-1 -o json | jq -e --arg old "$1" '.metadata.uid != $old and
    (.status.conditions[] | select(.type == "Ready") | .status == "True")'
}
