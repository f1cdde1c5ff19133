#!/usr/bin/env bash
# Makes the release layout, a folder a provider as clusterctl reads it, and the manager image.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
: "${CAPN_CACHE:?run make release}" "${CAPN_VERSION:?}" "${CAPN_RELEASE_DIR:?}" "${CARGO_TARGET_DIR:?}"
image=ghcr.io/cluster-api-provider-nested/manager:$CAPN_VERSION

test/lab/packages.sh
test/lab/binaries.sh kubernetes
# shellcheck source=../test/lab/versions.env
. test/lab/versions.env
kubectl=$CAPN_CACHE/bin/kubernetes-$KUBERNETES_VERSION/kubectl

echo "building the manager ..."
cargo build --release --quiet --package capn-controllers --bin manager
test/lab/image.sh --tag "$image" --binary "$CARGO_TARGET_DIR/release/manager:/manager" \
  --entrypoint /manager --user 65532 >"$CAPN_CACHE/manager-image"

# provider NAME OVERLAY COMPONENTS METADATA: one folder of the layout, replaced as a whole.
provider() {
  local folder=$CAPN_RELEASE_DIR/$1/$CAPN_VERSION new
  mkdir -p "$CAPN_RELEASE_DIR/$1"
  new=$(mktemp -d "$CAPN_RELEASE_DIR/$1/.new.XXXXXX")
  {
    "$kubectl" kustomize "config/$2" | sed "s|\(manager\):v1.0.0|\1:$CAPN_VERSION|"
    echo ---
    "$kubectl" kustomize "config/admission/$2"
  } >"$new/$3"
  cp "$4" "$new/metadata.yaml"
  if [[ $2 == kubevirt ]]; then cp templates/cluster-template*.yaml "$new/"; fi
  chmod 755 "$new"
  rm -rf "$folder"
  mv "$new" "$folder"
  echo "$folder"
}
provider control-plane-nested nested control-plane-components.yaml config/metadata.yaml
provider infrastructure-kubevirt kubevirt infrastructure-components.yaml config/metadata-kubevirt.yaml
