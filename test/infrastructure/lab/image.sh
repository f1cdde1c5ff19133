#!/usr/bin/env bash
# Makes a container image of one layer from files of this machine: a docker-archive, the same bytes each time.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
usage: image.sh --tag NAME:TAG [--output FILE.tar] [option...]

Writes FILE.tar (default: $CAPN_CACHE/images/<NAME_TAG>.tar) and prints its path. Does nothing when the file was made
before from the same options and files. Needs root (owners, file capabilities).

  --rootfs DIR             start from a folder's content, owners and modes kept
  --binary SRC:DEST        a program, with the shared libraries that ldd names
  --copy SRC:DEST[:MODE]   a file or a folder; owner root
  --link TARGET:PATH       a symbolic link
  --dir PATH[:MODE[:UID]]  an empty folder (0755, root)
  --caps DEST=CAPS         file capabilities, in setcap's words: /usr/local/bin/x=cap_net_bind_service=+ep
  --busybox APPLET,...     Debian's busybox as /bin/busybox with these links in /bin, or `all`
  --entrypoint WORD        repeat for more words
  --cmd WORD               repeat for more words
  --env NAME=VALUE         repeat for more
  --user UID[:GID]         numeric; root without it
  --workdir PATH           / without it

Every image gets /tmp, /etc/passwd and /etc/group (root, nobody, nonroot 65532), and the CA certificates.
Example: image.sh --tag localhost/capn/manager:v1.0.0 --binary target/release/manager:/manager --entrypoint /manager --user 65532
EOF
}

# To be raised when this script makes something else of the same options.
FORMAT=1

SPEC=()
TAG='' OUTPUT='' ROOTFS='' RUN_AS='' WORKDIR=/
ENTRYPOINT=() CMD=() ENVIRONMENT=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt)

parse() {
  while (($#)); do
    case $1 in
      --help | -h) usage; exit ;;
      --*) (($# > 1)) || die "image.sh: $1 needs a value (see --help)" ;;&
      --tag) TAG=$2 ;;
      --output) OUTPUT=$2 ;;
      --rootfs) ROOTFS=$2 ;;
      --user) RUN_AS=$2 ;;
      --workdir) WORKDIR=$2 ;;
      --entrypoint) ENTRYPOINT+=("$2") ;;
      --cmd) CMD+=("$2") ;;
      --env) ENVIRONMENT+=("$2") ;;
      --binary | --copy | --link | --dir | --caps | --busybox) SPEC+=("$1" "$2") ;;
      *) die "image.sh: unknown option '$1' (see --help)" ;;
    esac
    shift 2
  done
  [[ $TAG == *:* ]] || die "image.sh: --tag NAME:TAG is needed (see --help)"
  OUTPUT=${OUTPUT:-$(image_file "$TAG")}
}

# A name for everything that goes in: the options, and size and time of each source.
key() {
  local i source
  {
    printf '%s\n' "$@"
    printf '%s\n' "$FORMAT"
    [[ -z $ROOTFS ]] || find "$ROOTFS" -printf '%P %s %T@ %m %U %G %l\n' | sort
    for ((i = 0; i < ${#SPEC[@]}; i += 2)); do
      case ${SPEC[i]} in
        --binary | --copy)
          source=${SPEC[i + 1]%%:*}
          find -L "$source" -printf '%P %s %T@ %m\n' | sort
          ;;
      esac
    done
  } | sha256sum | cut -d' ' -f1
}

put() { # SRC DEST [MODE]
  local dest=$STAGE/$2
  mkdir -p "$(dirname "$dest")"
  if [[ -d $1 ]]; then
    mkdir -p "$dest"
    cp -RL --preserve=mode "$1/." "$dest/"
  else
    # Copied by content: a hard link or a mode of the host shall not leak in.
    install -m "${3:-$(stat -L -c %a "$1")}" "$1" "$dest"
  fi
}

libraries() { # PROGRAM
  local path
  # ldd fails for a static program, which needs nothing.
  { ldd "$1" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// { print $3; next } $1 ~ /^\// { print $1 }' |
    while read -r path; do
      [[ -e $STAGE/$path ]] || put "$path" "$path"
    done
}

busybox() { # APPLETS
  local applet
  "$LAB_DIR/binaries.sh" busybox >&2
  put "$BIN_BUSYBOX/busybox" /bin/busybox 755
  libraries "$BIN_BUSYBOX/busybox"
  if [[ $1 == all ]]; then
    "$BIN_BUSYBOX/busybox" --list
  else
    tr ',' '\n' <<<"$1"
  fi | while read -r applet; do
    [[ -e $STAGE/bin/$applet ]] || ln -s busybox "$STAGE/bin/$applet"
  done
}

stage() {
  local i value dest mode uid
  mkdir -p "$STAGE"
  chmod 755 "$STAGE"
  [[ -z $ROOTFS ]] || cp -a "$ROOTFS/." "$STAGE/"
  mkdir -p "$STAGE/etc" "$STAGE/tmp"
  chmod 1777 "$STAGE/tmp"
  [[ -e $STAGE/etc/passwd ]] ||
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
      nonroot:x:65532:65532:nonroot:/:/sbin/nologin >"$STAGE/etc/passwd"
  [[ -e $STAGE/etc/group ]] ||
    printf '%s\n' root:x:0: nobody:x:65534: nonroot:x:65532: >"$STAGE/etc/group"
  [[ -e $STAGE/etc/ssl/certs/ca-certificates.crt ]] ||
    put /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt 644

  for ((i = 0; i < ${#SPEC[@]}; i += 2)); do
    value=${SPEC[i + 1]}
    case ${SPEC[i]} in
      --binary)
        put "${value%%:*}" "${value#*:}" 755
        libraries "${value%%:*}"
        ;;
      --copy)
        IFS=: read -r value dest mode <<<"$value"
        put "$value" "$dest" "$mode"
        ;;
      --link)
        dest=$STAGE/${value#*:}
        mkdir -p "$(dirname "$dest")"
        ln -sfn "${value%%:*}" "$dest"
        ;;
      --dir)
        IFS=: read -r dest mode uid <<<"$value"
        mkdir -p "$STAGE/$dest"
        chmod "${mode:-755}" "$STAGE/$dest"
        chown "${uid:-0}:${uid:-0}" "$STAGE/$dest"
        ;;
      --caps) setcap "${value#*=}" "$STAGE/${value%%=*}" ;;
      --busybox) busybox "$value" ;;
    esac
  done
}

# The same tree gives the same bytes; file capabilities travel as extended attributes.
pack() { # FOLDER FILE
  tar --create --file "$2" --directory "$1" --sort=name --mtime=@0 --numeric-owner --format=posix \
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' --xattrs --xattrs-include=security.capability .
}

json_list() { jq -cn '$ARGS.positional' --args -- "$@"; }

archive() {
  local layer config arch
  case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
  esac
  pack "$STAGE" "$WORK/layer.tar"
  layer=$(sha256sum "$WORK/layer.tar" | cut -d' ' -f1)
  mkdir "$WORK/archive"
  mv "$WORK/layer.tar" "$WORK/archive/$layer.tar"
  jq -cn --arg arch "$arch" --arg layer "sha256:$layer" --arg user "$RUN_AS" --arg dir "$WORKDIR" \
    --argjson entrypoint "$(json_list "${ENTRYPOINT[@]}")" --argjson cmd "$(json_list "${CMD[@]}")" \
    --argjson env "$(json_list "${ENVIRONMENT[@]}")" \
    '{architecture: $arch, os: "linux", created: "1970-01-01T00:00:00Z",
      config: {User: $user, Env: $env, Entrypoint: $entrypoint, Cmd: $cmd, WorkingDir: $dir},
      rootfs: {type: "layers", diff_ids: [$layer]}, history: [{created: "1970-01-01T00:00:00Z"}]}' >"$WORK/config.json"
  config=$(sha256sum "$WORK/config.json" | cut -d' ' -f1)
  mv "$WORK/config.json" "$WORK/archive/$config.json"
  jq -cn --arg config "$config.json" --arg tag "$TAG" --arg layer "$layer.tar" \
    '[{Config: $config, RepoTags: [$tag], Layers: [$layer]}]' >"$WORK/archive/manifest.json"
  pack "$WORK/archive" "$WORK/image.tar"
}

main() {
  local key
  parse "$@"
  key=$(key "$@")
  if [[ -s $OUTPUT && $(cat "$OUTPUT.key" 2>/dev/null) == "$key" ]]; then
    printf '%s\n' "$OUTPUT"
    return
  fi
  [[ $(id -u) == 0 ]] || die "image.sh: only root can set owners and file capabilities"
  mkdir -p "$(dirname "$OUTPUT")"
  WORK=$(mktemp -d "$(dirname "$OUTPUT")/.work.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  STAGE=$WORK/rootfs
  stage
  archive
  rm -f "$OUTPUT.key"
  mv "$WORK/image.tar" "$OUTPUT"
  printf '%s\n' "$key" >"$OUTPUT.key"
  printf '%s\n' "$OUTPUT"
}

main "$@"
