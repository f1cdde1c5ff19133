# The few kernel limits that have no namespace and are too low for many tenants. The first lab raises them, the last one restores them.
# shellcheck shell=bash

RAISED=(fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=1048576)

raise_limits() {
  local saved=$CAPN_LAB_ROOT/.sysctl pair name
  [[ -e $saved ]] || : >"$saved"
  for pair in "${RAISED[@]}"; do
    name=${pair%%=*}
    (($(sysctl -n "$name") < ${pair#*=})) || continue
    grep -q "^$name=" "$saved" || printf '%s=%s\n' "$name" "$(sysctl -n "$name")" >>"$saved"
    sysctl -qw "$pair"
  done
}

restore_limits() {
  local saved=$CAPN_LAB_ROOT/.sysctl
  [[ -e $saved ]] || return 0
  [[ -z $(find "$CAPN_LAB_ROOT/.subnets" -type f ! -name .lock -print -quit) ]] || return 0
  [[ ! -s $saved ]] || sysctl -qp "$saved"
  rm -f "$saved"
}
