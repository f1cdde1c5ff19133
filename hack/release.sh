#!/usr/bin/env bash
# Makes the release layout, a folder a provider as clusterctl reads it, and the manager image.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
: "${CAPN_CACHE:?run make release}" "${CAPN_VERSION:?}" "${CAPN_RELEASE_DIR:?}" "${CARGO_TARGET_DIR:?}"
# shellcheck source=layout.sh
. hack/layout.sh
image=$CAPN_IMAGE:$CAPN_VERSION

test/infrastructure/lab/packages.sh
test/infrastructure/lab/binaries.sh kubernetes
# shellcheck source=../test/infrastructure/lab/versions.env
. test/infrastructure/lab/versions.env
kubectl=$CAPN_CACHE/bin/kubernetes-$KUBERNETES_VERSION/kubectl

echo "building the manager ..."
cargo build --release --quiet --package capn-controllers --bin manager
test/infrastructure/lab/image.sh --tag "$image" --binary "$CARGO_TARGET_DIR/release/manager:/manager" \
  --entrypoint /manager --user 65532 >"$CAPN_CACHE/manager-image"

echo "$image is in $(cat "$CAPN_CACHE/manager-image")"
release_layout "$kubectl" "$CAPN_VERSION" "$CAPN_RELEASE_DIR"
