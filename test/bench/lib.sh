# A lab with the control plane provider, for the benchmarks.
# shellcheck shell=bash

export CAPN_LAB=${CAPN_LAB:-bench}
# shellcheck source=../demo/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../demo/lib.sh"

# bench VERB [option...]: brings the lab up, measures, takes it down again
bench() {
  local state
  bring_up_lab
  step "release made" make_release
  step "manager's image loaded" "$ROOT/test/infrastructure/lab/lab" load "$(cat "$CAPN_CACHE/manager-image")"
  step "clusterctl init" init_providers -
  (cd "$ROOT" && cargo build --release --quiet --locked --package capn-bench)
  state=$(dirname "$KUBECONFIG")
  "$CARGO_TARGET_DIR/release/capn-bench" --volumes "$state/volumes" --kubernetes "$BIN_KUBERNETES" --etcd "$BIN_ETCD" \
    --version "$KUBERNETES_VERSION" "$@" | tee "$state/figures"
  [[ -n ${CAPN_KEEP_LAB:-} ]] || "$ROOT/test/infrastructure/lab/lab" down >/dev/null
}
