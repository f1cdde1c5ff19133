#!/usr/bin/env bash
# Builds the stand-in for KubeVirt and its two images into the cache: the controller's and the launcher's. Does nothing when
# nothing changed. Prints the paths of the two tars.
#
# Built without optimization: it waits most of the time, and tests compile the same dependencies anyway. CAPN_PROFILE=release
# for the other.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=../lab/lib.sh
. "$root/test/infrastructure/lab/lib.sh"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CAPN_CACHE/target}
profile=${CAPN_PROFILE:-dev}
folder=$profile
[[ $profile != dev ]] || folder=debug

missing=$(while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
done <"$here/packages.txt")
[[ -z $missing ]] || die "vm-runner needs packages: apt-get install $missing"
"$LAB_DIR/binaries.sh" pause >&2

(cd "$root" && cargo build --quiet --locked --profile "$profile" -p capn-vm-runner)
binary=$CARGO_TARGET_DIR/$folder/capn-vm-runner
[[ $binary.stripped -nt $binary ]] || strip -o "$binary.stripped" "$binary"
binary=$binary.stripped

"$LAB_DIR/image.sh" --tag localhost/capn/vm-runner:dev \
    --binary "$binary:/capn-vm-runner" --entrypoint /capn-vm-runner --user 65532:65532

# qemu with what a q35 machine of virtio, SATA and SCSI devices needs: its firmware, and the accelerators, which are modules.
modules=/usr/lib/x86_64-linux-gnu/qemu
launcher=(
    --binary "$binary:/capn-vm-runner"
    --binary /usr/bin/qemu-system-x86_64:/usr/bin/qemu-system-x86_64
    --binary /usr/bin/qemu-img:/usr/bin/qemu-img
    --binary /usr/bin/genisoimage:/usr/bin/genisoimage
    --binary "$(type -P ip):/usr/bin/ip"
    --binary "$BIN_PAUSE/pause:/usr/local/bin/disk-holder"
    --busybox all
    --copy /usr/share/qemu/kvmvapic.bin:/usr/share/qemu/kvmvapic.bin:644
    --copy /usr/share/seabios/bios-256k.bin:/usr/share/seabios/bios-256k.bin:644
)
for module in "$modules"/accel-*.so; do
    [[ ! -e $module ]] || launcher+=(--binary "$module:$module")
done
"$LAB_DIR/image.sh" --tag localhost/capn/vm-launcher:dev "${launcher[@]}" --entrypoint /capn-vm-runner --cmd launch
