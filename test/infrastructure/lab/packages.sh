#!/usr/bin/env bash
# Installs the Debian packages whose commands are missing, and notes their names for `lab down`.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

INSTALLED=$CAPN_CACHE/packages-installed
POLICY=/usr/sbin/policy-rc.d

# What must be there, and the package that brings it. A command of another origin (Docker's containerd) serves as well.
# shellcheck disable=SC2054
NEEDED=(
  containerd:containerd ctr:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins
  nft:nftables xtables-nft-multi:iptables conntrack:conntrack ip:iproute2 /etc/protocols:netbase
  setcap:libcap2-bin capsh:libcap2-bin unshare:util-linux nsenter:util-linux flock:util-linux ps:procps jq:jq envsubst:gettext-base
  gcc:gcc strip:binutils /usr/include/stdio.h:libc6-dev modprobe:kmod
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
  shellcheck:shellcheck curl:curl socat:socat openssl:openssl
)
# What the VM runner and the worker's image ask for, by package.
LISTS=("$LAB_DIR/../vm-runner/packages.txt" "$LAB_DIR/../worker-image/packages.txt")

present() {
  local one
  for one in ${1//,/ }; do
    case $one in
      /*) [[ ! -e $one ]] || return 0 ;;
      *) PATH=$PATH:/usr/sbin:/sbin command -v "$one" >/dev/null && return 0 ;;
    esac
  done
  return 1
}

missing() {
  local pair
  for pair in "${NEEDED[@]}"; do
    present "${pair%:*}" || printf '%s\n' "${pair##*:}"
  done | sort -u
  cat "${LISTS[@]}" | sort -u | while read -r pair; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$pair" 2>/dev/null | grep -qx installed || printf '%s\n' "$pair"
  done
}

main() {
  local log policy_is_ours=
  local -a packages
  mapfile -t packages < <(missing)
  ((${#packages[@]})) || return 0
  [[ $(id -u) == 0 ]] || die "these packages are missing and only root can install them: ${packages[*]}"
  command -v apt-get >/dev/null || die "no apt-get here; install by hand what Debian calls: ${packages[*]}"

  say "  installing from Debian: ${packages[*]}"
  log=$(mktemp)
  # The lab runs a containerd of its own; Debian's service shall not start beside it.
  if [[ ! -e $POLICY ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod +x "$POLICY"
    policy_is_ours=yes
  fi
  # shellcheck disable=SC2064
  trap "rm -f '$log'; [[ -z '$policy_is_ours' ]] || rm -f '$POLICY'" EXIT
  # --no-remove: rather stop than replace what a person has installed (Docker brings a containerd that conflicts).
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --no-remove "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: ${packages[*]}"
  fi
  mkdir -p "$CAPN_CACHE"
  printf '%s\n' "${packages[@]}" >>"$INSTALLED"
  mapfile -t packages < <(missing)
  ((${#packages[@]} == 0)) || die "still missing after the installation: ${packages[*]}"
}

main "$@"
