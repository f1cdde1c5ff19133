# Steps that the demo and the end-to-end test share: providers into the lab, a tenant into the providers.
# shellcheck shell=bash

DEMO_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$DEMO_DIR/../.." && pwd)
export CAPN_LAB=${CAPN_LAB:-demo}
# shellcheck source=../lab/lib.sh
. "$ROOT/test/lab/lib.sh"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CAPN_CACHE/target}
# The check asks a server that this machine may not reach.
export CLUSTERCTL_DISABLE_VERSIONCHECK=true

CLUSTER=${CLUSTER:-acme}
NAMESPACE=${NAMESPACE:-default}

clusterctl() { "$BIN_CLUSTER_API/clusterctl" --config "$CLUSTERCTL_CONFIG" "$@"; }
tenant() { kubectl --kubeconfig "$TENANT_KUBECONFIG" "$@"; }

# The management cluster.
bring_up_lab() {
  "$ROOT/test/lab/lab" up
  KUBECONFIG=$("$ROOT/test/lab/lab" kubeconfig)
  TENANT_KUBECONFIG=$(dirname "$KUBECONFIG")/$CLUSTER.kubeconfig
  export KUBECONFIG TENANT_KUBECONFIG
}

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

make_release() { quiet make --no-print-directory -C "$ROOT" release; }

load_built_images() {
  quiet "$ROOT/test/vm-runner/build-images.sh"
  quiet "$ROOT/test/worker-image/build.sh"
  "$ROOT/test/lab/lab" load "$(cat "$CAPN_CACHE/manager-image")" "$IMAGE_DIR"/localhost_capn_vm-*.tar "$IMAGE_DIR"/worker-"$KUBERNETES_VERSION"-*.tar
}

install_kubevirt() {
  quiet kubectl apply --server-side -f "$ROOT/test/vm-runner/manifests/crds.json" -f "$ROOT/test/vm-runner/manifests/virt-controller.yaml"
  quiet kubectl -n kubevirt rollout status deployment/virt-controller --timeout 180s
}

# init_providers [INFRASTRUCTURE]: what clusterctl installed before is kept; a manager of an older build is replaced.
init_providers() {
  local infrastructure=${1:-kubevirt} deployment ours=(capn-system/capn)
  CLUSTERCTL_CONFIG=$("$ROOT/test/lab/clusterctl.sh")
  export CLUSTERCTL_CONFIG
  [[ $infrastructure == - ]] || ours+=(capk-system/capk)
  if ! kubectl get providers.clusterctl.cluster.x-k8s.io --all-namespaces -o name 2>/dev/null | grep -q control-plane-nested; then
    quiet clusterctl init --bootstrap kubeadm --control-plane nested --infrastructure "$infrastructure"
  fi
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

# The network of pods in the tenant, which Cluster API applies once its API server answers.
offer_cni() {
  local module manifest
  module=$(cd "$ROOT/test/lab/go/flannel" && go mod download -json github.com/flannel-io/flannel | jq -er .Dir)
  manifest=$(sed 's#10\.244\.0\.0/16#10.243.0.0/16#' "$module/Documentation/kube-flannel.yml")
  kubectl create configmap cni-flannel --namespace "$NAMESPACE" --from-literal=flannel.yaml="$manifest" --dry-run=client -o yaml |
    quiet kubectl apply --server-side -f -
  quiet kubectl apply --server-side --namespace "$NAMESPACE" -f "$DEMO_DIR/cni.yaml"
}

generate() {
  clusterctl generate cluster "$CLUSTER" --target-namespace "$NAMESPACE" \
    --kubernetes-version "$KUBERNETES_VERSION" --worker-machine-count 1
}

create_tenant() { generate | quiet kubectl apply -f -; }

tenant_answers() {
  wait_for 180 "the kubeconfig of $CLUSTER" tenant_kubeconfig
  wait_for 180 "the tenant's API server" tenant get --raw /readyz
}

tenant_kubeconfig() {
  kubectl -n "$NAMESPACE" get secret "$CLUSTER-kubeconfig" -o jsonpath='{.data.value}' | base64 -d >"$TENANT_KUBECONFIG.new" &&
    [[ -s $TENANT_KUBECONFIG.new ]] && chmod 600 "$TENANT_KUBECONFIG.new" && mv "$TENANT_KUBECONFIG.new" "$TENANT_KUBECONFIG"
}

has_node() { tenant get nodes -o name | grep -q .; }

node_ready() {
  wait_for 600 "a VM to join $CLUSTER" has_node
  quiet tenant wait nodes --all --for condition=Ready --timeout 600s
}

core_dns_runs() {
  quiet tenant -n kube-system rollout status deployment/coredns --timeout 600s
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
  quiet tenant wait pod/web pod/client --for condition=Ready --timeout 300s
  wait_for 120 "an answer of web.default.svc in the tenant" ask_web
}

ask_web() {
  tenant exec client -- timeout 10 wget -q -O - http://web.default.svc | grep -q 'hello from the tenant'
}
