# The demo's steps once there is a management cluster, on the lab as on kind. Who sources this has test/infrastructure/lab/lib.sh
# and says what kubectl, clusterctl, tenant (the tenant's own kubectl), init_providers and offer_cni are.
# shellcheck shell=bash

CLUSTER=${CLUSTER:-acme}
NAMESPACE=${NAMESPACE:-default}
# Deadlines are longer by this factor, for instance where images have to be pulled.
PATIENCE=${PATIENCE:-1}

# quiet COMMAND...: what it prints is shown only when it fails
quiet() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# init_missing [INFRASTRUCTURE | -] [OPTION...]: what clusterctl has not installed yet
init_missing() {
  local infrastructure=$1 missing=()
  shift
  has_provider bootstrap-kubeadm || missing+=(--bootstrap kubeadm)
  has_provider control-plane-nested || missing+=(--control-plane nested)
  [[ $infrastructure == - ]] || has_provider "infrastructure-$infrastructure" || missing+=(--infrastructure "$infrastructure")
  ((${#missing[@]} == 0)) || quiet clusterctl init "${missing[@]}" "$@"
}

has_provider() { kubectl get providers.clusterctl.cluster.x-k8s.io --all-namespaces -o name 2>/dev/null | grep -q "/$1\$"; }

# offer_flannel MANIFEST: what Cluster API applies in a tenant once its API server answers
offer_flannel() {
  local manifest
  manifest=$(sed 's#10\.244\.0\.0/16#10.243.0.0/16#' "$1")
  kubectl create configmap cni-flannel --namespace "$NAMESPACE" --from-literal=flannel.yaml="$manifest" --dry-run=client -o yaml |
    quiet kubectl apply --server-side -f -
  quiet kubectl apply --server-side --namespace "$NAMESPACE" -f "$(dirname "${BASH_SOURCE[0]}")/cni.yaml"
}

tenant_steps() {
  step "clusterctl generate cluster | kubectl apply" create_tenant
  step "API server answers" tenant_answers
  step "VM worker has joined and is Ready" node_ready
  step "CoreDNS runs on it" core_dns_runs
  step "a pod answers another by its Service's name" pods_talk
}

# The second half of the demo: providers, a tenant, and what it looks like.
show_tenant_in_providers() {
  step "clusterctl init" init_providers
  step "network for tenants' pods offered" offer_cni
  say "tenant $CLUSTER"
  tenant_steps
  say
  kubectl -n "$NAMESPACE" get cluster,nestedcontrolplane,machine,kubevirtmachine
  say
  clusterctl describe cluster "$CLUSTER" --namespace "$NAMESPACE"
  say
  tenant get nodes -o wide
}

what_to_try() {
  cat <<TEXT
  kubectl get pods                                       the control plane, and the VM's pod
  kubectl describe nestedcontrolplane $CLUSTER
  kubectl scale machinedeployment $CLUSTER-md-0 --replicas 2
  kubectl delete cluster $CLUSTER
TEXT
}

generate() {
  clusterctl generate cluster "$CLUSTER" --target-namespace "$NAMESPACE" \
    --kubernetes-version "$KUBERNETES_VERSION" --worker-machine-count 1
}

create_tenant() { generate | quiet kubectl apply -f -; }

tenant_answers() {
  wait_for $((180 * PATIENCE)) "the kubeconfig of $CLUSTER" tenant_kubeconfig
  wait_for $((180 * PATIENCE)) "the tenant's API server" tenant get --raw /readyz
}

tenant_kubeconfig() {
  kubectl -n "$NAMESPACE" get secret "$CLUSTER-kubeconfig" -o jsonpath='{.data.value}' | base64 -d >"$TENANT_KUBECONFIG.new" &&
    [[ -s $TENANT_KUBECONFIG.new ]] && chmod 600 "$TENANT_KUBECONFIG.new" && mv "$TENANT_KUBECONFIG.new" "$TENANT_KUBECONFIG"
}

has_node() { tenant get nodes -o name | grep -q .; }

node_ready() {
  wait_for $((600 * PATIENCE)) "a VM to join $CLUSTER" has_node
  quiet tenant wait nodes --all --for condition=Ready --timeout "$((600 * PATIENCE))s"
}

core_dns_runs() {
  quiet tenant -n kube-system rollout status deployment/coredns --timeout "$((600 * PATIENCE))s"
}

# A pod that serves, and one that asks it by its Service's name.
pods_talk() {
  quiet tenant apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: web
      image: docker.io/library/busybox:1.36
      imagePullPolicy: IfNotPresent
      command: [sh, -c, "mkdir -p /www && echo hello from the tenant >/www/index.html && exec httpd -f -p 8080 -h /www"]
      readinessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
    - name: client
      image: docker.io/library/busybox:1.36
      imagePullPolicy: IfNotPresent
      command: [sleep, infinity]
YAML
  quiet tenant wait pod/web pod/client --for condition=Ready --timeout "$((300 * PATIENCE))s"
  wait_for $((120 * PATIENCE)) "an answer of web.default.svc in the tenant" ask_web
}

ask_web() {
  tenant exec client -- timeout 10 wget -q -O - http://web.default.svc | grep -q 'hello from the tenant'
}
