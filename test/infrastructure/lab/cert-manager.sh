#!/usr/bin/env bash
# Renders cert-manager's manifest from the chart in its Go module, and prints the file's path.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local source work file=$CAPN_CACHE/manifests/cert-manager/$CERT_MANAGER_VERSION/cert-manager.yaml
  if [[ ! -s $file ]]; then
    source=$(cd "$LAB_DIR/go/cert-manager" && go mod download -json github.com/cert-manager/cert-manager | jq -er .Dir)
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    cp -r --no-preserve=mode "$source/deploy/charts/cert-manager/." "$work/"
    # The module holds the chart as its release tool finds it: without a version, the CRDs beside it.
    printf 'apiVersion: v1\nname: cert-manager\nversion: %s\nappVersion: %s\n' "$CERT_MANAGER_VERSION" "$CERT_MANAGER_VERSION" >"$work/Chart.yaml"
    cp --no-preserve=mode "$source"/deploy/crds/*.yaml "$work/templates/"
    mkdir -p "$(dirname "$file")"
    {
      printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: cert-manager\n'
      "$BIN_HELM/helm" template cert-manager "$work" --namespace cert-manager --set startupapicheck.enabled=false
    } >"$file.tmp"
    mv "$file.tmp" "$file"
  fi
  printf '%s\n' "$file"
}

main
