# Turns the running namespaces into a cluster: certificates and configuration, the components, the add-ons.
# shellcheck shell=bash

# render FILE: with the lab's values; nothing else that looks like a variable is touched
render() {
  # shellcheck disable=SC2016
  envsubst '$STATE $CAPN_LAB $NODE_NAME $NODE_IP $POD_CIDR $SERVICE_CIDR $DNS_IP $KUBERNETES_VERSION $PAUSE_IMAGE_TAG
    $BUSYBOX_IMAGE_TAG $LOCAL_PATH_VERSION $RESTRICT_OOM_SCORE_ADJ' <"$1"
}

render_to() { # FILE TARGET: written only when it differs, so that nothing restarts for it
  local text
  text=$(render "$1")
  [[ -e $2 && $(cat "$2") == "$text" ]] || printf '%s\n' "$text" >"$2"
}

write_config() {
  local target=$STATE/kubernetes file
  RESTRICT_OOM_SCORE_ADJ=true
  # Without this capability nobody may make a process harder to kill, and runc fails when it tries.
  ! capsh --has-p=cap_sys_resource 2>/dev/null || RESTRICT_OOM_SCORE_ADJ=false
  set -a
  # shellcheck source=../versions.env
  . "$LAB_DIR/versions.env"
  set +a
  export CAPN_LAB RESTRICT_OOM_SCORE_ADJ
  for file in containerd.toml kubeadm.yaml kubelet.yaml audit-policy.yaml; do
    render_to "$LAB_DIR/config/$file" "$target/$file"
  done
  render_to "$LAB_DIR/config/cni.conflist" "$STATE/cni/net.d/10-lab.conflist"
}

make_certificates() {
  if [[ ! -s $STATE/kubernetes/kubelet.conf ]]; then
    phase certs all
    phase kubeconfig all
  fi
  install -m 600 "$STATE/kubernetes/super-admin.conf" "$HOST_KUBECONFIG"
}

phase() { # kubeadm's, quiet unless it fails
  local out
  out=$(inside kubeadm init phase "$@" --config /etc/kubernetes/kubeadm.yaml 2>&1) || { printf '%s\n' "$out" >&2; return 1; }
}

api() { kubectl --kubeconfig "$HOST_KUBECONFIG" --request-timeout 20s "$@"; }

# What explains that a component does not come up.
component_trouble() {
  warn "the end of $STATE/logs/$1.log:"
  tail -n 15 "$STATE/logs/$1.log" >&2 || true
  return 1
}

wait_for_control_plane() {
  wait_for 120 "the API server" api get --raw /readyz || component_trouble kube-apiserver
}

ctr_ready() { inside ctr version; }

# load FILE...: into the node's image store; a docker-archive names its tags itself
load() {
  local file
  for file in "$@"; do
    inside ctr --namespace k8s.io images import - <"$file" >/dev/null || die "containerd refused $file"
  done
}

# Without these the node's own pods would ask a registry, and wait long after that.
# shellcheck disable=SC2034
OWN_IMAGES='_pause_|_kube-proxy_|_coredns_|_local-path-provisioner_|_busybox_|_cert-manager-'

# load_images [PATTERN]: each file that matches, once, known by the key that image.sh left beside it
load_images() {
  local file key mark pattern=${1:-.}
  wait_for 60 "containerd" ctr_ready || component_trouble containerd
  for file in "$IMAGE_DIR"/*.tar; do
    [[ ${file##*/} =~ $pattern ]] || continue
    key=$(cat "$file.key" 2>/dev/null || stat -c '%s %Y' "$file")
    mark=$STATE/loaded/$(basename "$file")
    [[ $(cat "$mark" 2>/dev/null) != "$key" ]] || continue
    load "$file"
    printf '%s\n' "$key" >"$mark"
  done
}

# once NAME INPUT COMMAND...: runs the command unless it was done with the same input
once() {
  local mark=$STATE/applied/$1 sum
  sum=$(sha256sum <<<"$2" | cut -d' ' -f1)
  shift 2
  [[ $(cat "$mark" 2>/dev/null) != "$sum" ]] || return 0
  "$@"
  printf '%s\n' "$sum" >"$mark"
}

apply_text() { api apply --server-side --force-conflicts --field-manager lab -f - <<<"$1" >/dev/null; }

add_ons() {
  local rbac dns storage cert_manager
  rbac=$(render "$LAB_DIR/manifests/rbac.yaml")
  dns=$(render "$LAB_DIR/manifests/corefile.yaml")
  storage=$(render "$LAB_DIR/manifests/storage.yaml")
  cert_manager=$(cat "$("$LAB_DIR/cert-manager.sh")")
  once rbac "$rbac" apply_text "$rbac"
  once network "$(cat "$STATE/kubernetes/kubeadm.yaml") $dns" add_network "$dns"
  once storage "$storage" apply_text "$storage"
  once cert-manager "$cert_manager" apply_text "$cert_manager"
}

add_network() {
  local before
  before=$(api --namespace kube-system get deployment coredns --ignore-not-found --output name)
  phase addon kube-proxy
  phase addon coredns
  apply_text "$1"
  api --namespace kube-system scale deployment coredns --replicas 1 >/dev/null
  # Neither reads a changed configuration by itself.
  [[ -z $before ]] || api --namespace kube-system rollout restart deployment/coredns daemonset/kube-proxy >/dev/null
}

start_node() {
  start_components kubelet
  wait_for 90 "the node to be registered" api get node "$NODE_NAME" || component_trouble kubelet
  api wait node "$NODE_NAME" --for condition=Ready --timeout 90s >/dev/null || component_trouble kubelet
}

workloads_ready() {
  local -a trouble
  mapfile -t trouble < <(not_ready)
  ((${#trouble[@]} == 0)) || { printf '%s\n' "${trouble[@]}"; return 1; }
}

# The lab's own workloads of which not every pod is ready.
not_ready() {
  api get deployments,daemonsets --all-namespaces -o json | jq -r '
    .items[] | select(.metadata.namespace | IN("kube-system", "local-path-storage", "cert-manager"))
    | (.spec.replicas // .status.desiredNumberScheduled) as $want
    | (.status.readyReplicas // .status.numberReady // 0) as $have
    | select($have < $want or $want == 0 or .status.observedGeneration != .metadata.generation)
    | "\(.kind) \(.metadata.namespace)/\(.metadata.name): \($have) of \($want) pods ready"'
}

wait_for_workloads() {
  wait_for 180 "CoreDNS, kube-proxy, storage and cert-manager" workloads_ready || {
    api get pods --all-namespaces -o wide >&2
    api get events --all-namespaces --field-selector type=Warning --sort-by .lastTimestamp 2>/dev/null | tail -n 15 >&2
    return 1
  }
  wait_for 60 "an answer of the cluster's DNS through its Service" dns_answers
  wait_for 90 "cert-manager's webhook" cert_manager_answers
}

# Also after a restart, when the API server still tells how things were before.
dns_answers() { inside "$BIN_BUSYBOX/busybox" nslookup kubernetes.default.svc.cluster.local "$DNS_IP"; }

# Its pods are ready before the API server trusts them.
cert_manager_answers() {
  api create --dry-run=server -f - <<<'{"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "probe", "namespace": "default"}, "spec": {"selfSigned": {}}}'
}
