# Programs from the crates registry that checks and documentation need. Whoever sources this has CAPN_CACHE and CARGO_TARGET_DIR.
# shellcheck shell=bash

# cargo_tool NAME VERSION [OPTION...]: builds the program into the cache unless it is there already, and prints its
# path; OPTIONs are those of cargo install
cargo_tool() {
  local name=$1 version=$2
  shift 2
  local root=$CAPN_CACHE/tools/$name-$version
  if [[ ! -x $root/bin/$name ]]; then
    echo "building $name $version ..." >&2
    cargo install --quiet --locked --root "$root" --target-dir "$CARGO_TARGET_DIR/$name" "$@" "$name@$version" >&2 || return 1
    rm -rf "${CARGO_TARGET_DIR:?}/$name"
  fi
  printf '%s\n' "$root/bin/$name"
}
