#!/usr/bin/env bash
# Every test, in the order of what it costs. What explains a failure is kept in one folder.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
export CAPN_ARTIFACTS=${CAPN_ARTIFACTS:-$CARGO_TARGET_DIR/artifacts}
rm -rf "$CAPN_ARTIFACTS"

part() { printf '\n== %s\n' "$1"; }

part "packages"
test/lab/packages.sh
part "kube-apiserver, etcd and kubectl"
test/lab/binaries.sh kubernetes etcd
# Its CRDs are what the integration tests install.
(cd test/lab/go/cluster-api && go mod download sigs.k8s.io/cluster-api)
part "format, lints, generated files"
test/lint.sh
part "unit and golden tests"
cargo test --locked --workspace --exclude capn-integration
part "integration tests against a real API server"
cargo build --locked --package capn-controllers --bin manager
cargo test --locked --package capn-integration
part "end to end, on the lab"
test/e2e/run.sh
