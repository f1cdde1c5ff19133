#!/usr/bin/env bash
# Every test, in the order of what it costs, or one stage of them. What explains a failure is kept in one folder.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
: "${CARGO_TARGET_DIR:?run make test}"
export CAPN_ARTIFACTS=${CAPN_ARTIFACTS:-$CARGO_TARGET_DIR/artifacts}

usage() {
  cat <<TEXT
usage: run.sh [lint | unit | integration | e2e]

Without an argument, all of them. lint and unit need neither root nor a cluster; integration runs etcd and kube-apiserver
as processes; e2e brings up a lab of its own, as root.
TEXT
}

part() { printf '\n== %s\n' "$1"; }

packages() {
  part "packages"
  test/infrastructure/lab/packages.sh
}

control_plane_binaries() {
  part "kube-apiserver, etcd and kubectl"
  test/infrastructure/lab/binaries.sh kubernetes etcd
  # Its CRDs are what the integration tests install.
  (cd test/infrastructure/lab/go/cluster-api && go mod download sigs.k8s.io/cluster-api)
}

lint() {
  part "format, lints, generated files"
  hack/lint.sh
}

unit() {
  part "unit and golden tests"
  cargo test --locked --workspace --exclude capn-integration --exclude capn-simulation
  # Optimized: the more histories in its time, the better.
  cargo test --locked --release --package capn-simulation
}

integration() {
  part "integration tests against a real API server"
  cargo build --locked --package capn-controllers --bin manager
  cargo test --locked --package capn-integration
}

e2e() {
  part "end to end, on the lab"
  test/e2e/run.sh
}

stage=${1:-all}
case $stage in
  all | lint | unit | integration | e2e) rm -rf "$CAPN_ARTIFACTS" ;;
  --help | -h) usage; exit ;;
  *) usage >&2; exit 2 ;;
esac
case $stage in
  lint | unit) "$stage" ;;
  integration)
    control_plane_binaries
    integration
    ;;
  e2e)
    packages
    e2e
    ;;
  all)
    packages
    control_plane_binaries
    lint
    unit
    integration
    e2e
    ;;
esac
