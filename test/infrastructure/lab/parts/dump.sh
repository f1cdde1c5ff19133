# Collects what explains a failure into one folder: objects without the data of Secrets, pod logs, logs of the node's processes.
# shellcheck shell=bash

dump() {
  local to=$1 kind name
  mkdir -p "$to"/{objects,pods,node}
  cp "$STATE"/logs/*.log "$to/node/" 2>/dev/null || true
  cp "$STATE/audit.log" "$to/node/" 2>/dev/null || true
  status >"$to/status.txt" 2>&1 || true
  api get --raw /readyz >/dev/null 2>&1 || { warn "the API server does not answer: only the node's logs are in $to"; return 0; }

  while read -r kind; do
    [[ $kind != secrets ]] || continue
    api get "$kind" --all-namespaces -o yaml >"$to/objects/$kind.yaml" 2>"$to/objects/.error" ||
      cp "$to/objects/.error" "$to/objects/$kind.yaml"
  done < <(api api-resources --verbs list -o name)
  rm -f "$to/objects/.error"
  # Each value becomes '(left out)' in base64, and the copy that `kubectl apply` leaves in an annotation is cut; the keys tell what was there.
  api get secrets --all-namespaces -o json | jq '
    .items[] |= (del(.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"], .metadata.managedFields)
      | if .data then .data |= map_values("KGxlZnQgb3V0KQ==") else . end)' |
    kubectl patch --local -f - --type merge -p '{}' -o yaml | sed 's/^apiVersion:/---\n&/' >"$to/objects/secrets.yaml" || true
  api get events --all-namespaces --sort-by .lastTimestamp >"$to/events.txt" 2>&1 || true
  api get pods --all-namespaces -o wide >"$to/pods.txt" 2>&1 || true
  # Straight from the node's disk: every container that ran, the earlier ones included.
  while read -r name; do
    mkdir -p "$to/pods/$(dirname "$name")"
    cp "$STATE/pods/$name" "$to/pods/$name"
  done < <(cd "$STATE/pods" && find . -name '*.log' -type f)
}
