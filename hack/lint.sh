#!/usr/bin/env bash
# Format, lints, licenses and sources of dependencies, that generated files are fresh, and the book.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
: "${CAPN_CACHE:?run make lint}" "${CARGO_TARGET_DIR:?}"
# shellcheck source=../test/infrastructure/lab/versions.env
. test/infrastructure/lab/versions.env
# shellcheck source=tools.sh
. hack/tools.sh

cargo fmt --all --check
shellcheck .ci/run hack/*.sh test/*.sh test/*/*.sh test/infrastructure/*/*.sh test/infrastructure/lab/lab
cargo clippy --workspace --all-targets --locked -- --deny warnings

# Decisions cannot do I/O: the crate that holds them has nothing to do it with.
doers=$(cargo tree --locked --package capn-core --edges normal --prefix none | grep -E '^(kube-client|kube-runtime|tokio|hyper|reqwest|mio) ' || true)
[[ -z $doers ]] || { printf 'core depends on what does I/O:\n%s\n' "$doers" >&2; exit 1; }

deny=$(cargo_tool cargo-deny "$CARGO_DENY_VERSION")
"$deny" --all-features check bans licenses sources

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
cargo run --quiet --locked --package capn-api --bin crdgen "$fresh/crd"
cargo run --quiet --locked --package capn-controllers --bin rbacgen "$fresh/rbac"
for file in $(cd "$fresh" && find crd rbac -type f); do
  diff -u "config/$file" "$fresh/$file" >&2 || { echo "config/$file is stale: run make generate" >&2; exit 1; }
done
for file in $(cd config && ls crd/*/*_*.yaml rbac/*/*_role.yaml); do
  [[ -e $fresh/$file ]] || { echo "config/$file is generated no more: remove it" >&2; exit 1; }
done
cargo run --quiet --locked --package capn-api --bin apidoc "$fresh/reference.md"
cargo run --quiet --locked --package capn-api --bin conditionsdoc "$fresh/conditions.md"
for page in reference conditions; do
  diff -u "docs/$page.md" "$fresh/$page.md" >&2 || { echo "docs/$page.md is stale: run make generate" >&2; exit 1; }
done

hack/book.sh
