#!/usr/bin/env bash
# Builds the workers' VM image: a Debian 12 disk with kubelet, kubeadm, containerd and the images a node needs, inside a
# container image with the disk at /disk/disk.qcow2 (a KubeVirt containerDisk). Written once per content of its inputs.
#
#   build.sh            build unless it is there; prints the path of the tar (nothing else on stdout)
#   build.sh --path     print the path only
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
wanted=${KUBERNETES_VERSION:-}
# shellcheck source=../lab/lib.sh
. "$here/../lab/lib.sh"
cache=$CAPN_CACHE
version=${wanted:-$KUBERNETES_VERSION}
image=localhost/capn/debian-12-worker:$version
disk_size=${WORKER_DISK_SIZE:-10G}
bin=$cache/bin/kubernetes-$version
# Image references (patterns for `case`) that are unpacked into the disk's containerd.
preload=(
    'registry.k8s.io/pause:*'
    "registry.k8s.io/kube-proxy:$version"
    'registry.k8s.io/coredns/coredns:*'
    '*flannel*'
    '*busybox:*'
)

say() { printf '%s\n' "worker-image: $*" >&2; }

missing=$(while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
done <"$here/packages.txt")
[[ -z $missing ]] || die "install first: apt-get install $missing"
for program in kubelet kubeadm; do
    [[ -x $bin/$program ]] || die "$bin/$program is missing: build the lab's binaries first"
done

# The tars in the cache that hold an image named above; of two tars with one name the newer.
declare -A tars=()
pause=
while IFS= read -r tar; do
    for reference in $(tar --wildcards -xOf "$tar" '*manifest.json' 2>/dev/null | grep -oP '"RepoTags":\s*\[\s*"\K[^"]+'); do
        for pattern in "${preload[@]}"; do
            # shellcheck disable=SC2254 # a pattern on purpose
            case $reference in $pattern) [[ -n ${tars[$reference]:-} ]] || tars[$reference]=$tar ;; esac
        done
    done
done < <(find "$cache/images" -maxdepth 1 -name '*.tar' ! -name 'worker-*' -printf '%T@ %p\n' 2>/dev/null | sort -rn | cut -d' ' -f2-)
for reference in "${!tars[@]}"; do
    case $reference in registry.k8s.io/pause:*) pause=$reference ;; esac
done
[[ -n $pause ]] || die "no image registry.k8s.io/pause in $cache/images: build the lab's images first"

hash_of() { sha256sum | cut -c1-16; }
base_options=(
    --variant=minbase --mode=root --quiet --include="$(paste -sd, "$here/guest-packages.txt")"
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*'
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*'
    --aptopt='Acquire::Languages "none"'
)
base_key=$({ printf '%s\n' "${base_options[@]}"; cat "$here/rootfs/etc/tiny-initramfs/tiny-initramfs.conf"; } | hash_of)
base=$cache/worker-image/base-$base_key.tar
key=$({
    printf '%s\n' "$version" "$disk_size" "$base_key"
    cat "$here/build.sh"
    (cd "$here/rootfs" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    sha256sum <"$bin/kubelet"
    sha256sum <"$bin/kubeadm"
    for reference in $(printf '%s\n' "${!tars[@]}" | sort); do
        # The lab's image.sh leaves a key of the content beside each tar.
        printf '%s ' "$reference"
        cat "${tars[$reference]}.key" 2>/dev/null || sha256sum <"${tars[$reference]}"
    done
} | hash_of)
result=$cache/images/worker-$version-$key.tar

if [[ ${1:-} == --path || -s $result ]]; then
    printf '%s\n' "$result"
    exit
fi
[[ $(id -u) == 0 ]] || die "run as root: a disk is mounted and containerd runs in a chroot"
mkdir -p "$cache/worker-image" "$cache/images"
# One build at a time; mounts live in a namespace of their own and are gone with this process.
if [[ -z ${WORKER_IMAGE_INSIDE:-} ]]; then
    exec env WORKER_IMAGE_INSIDE=1 flock "$cache/worker-image/lock" \
        unshare --mount --pid --fork --kill-child --propagation private "$here/build.sh" "$@"
fi
started=$SECONDS
work=$(mktemp -d "$cache/worker-image/work.XXXXXX")
trap 'umount -R "$work/root" 2>/dev/null || true; rm -rf "$work"' EXIT

if [[ ! -s $base ]]; then
    say "installing Debian's packages"
    mmdebstrap "${base_options[@]}" \
        --essential-hook="mkdir -p \"\$1/etc/tiny-initramfs\"" \
        --essential-hook="copy-in $here/rootfs/etc/tiny-initramfs/tiny-initramfs.conf /etc/tiny-initramfs" \
        bookworm "$base.tmp.tar" >&2
    mv "$base.tmp.tar" "$base"
    say "packages: $((SECONDS - started)) s"
fi

say "making the disk"
root=$work/root
mkdir "$root"
truncate -s "$disk_size" "$work/disk.raw"
echo 'start=2048, type=83, bootable' | sfdisk --quiet "$work/disk.raw" >&2
dd if=/usr/lib/EXTLINUX/mbr.bin of="$work/disk.raw" conv=notrunc bs=440 count=1 status=none
uuid=$(cat /proc/sys/kernel/random/uuid)
mkfs.ext4 -q -L worker -U "$uuid" -O ^64bit,^metadata_csum -m 0 -J size=32 \
    -E offset=$((2048 * 512)),lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -N 262144 \
    "$work/disk.raw" "$((($(numfmt --from=iec "$disk_size") - 2048 * 512) / 1024))k"
mount -o loop,offset=$((2048 * 512)),discard "$work/disk.raw" "$root"
tar -xf "$base" -C "$root" --numeric-owner --xattrs --xattrs-include='*'
cp -a --no-preserve=ownership "$here/rootfs/." "$root/"
chown -R 0:0 "$root/etc"

sed -i "s|@PAUSE@|$pause|" "$root/etc/containerd/config.toml"
install -m 0755 "$bin/kubelet" "$bin/kubeadm" "$root/usr/bin/"
install -d "$root/opt/cni/bin" "$root/etc/cni/net.d" "$root/etc/kubernetes/manifests" "$root/boot/extlinux"
for plugin in "$root"/usr/lib/cni/*; do ln -s "../../../usr/lib/cni/${plugin##*/}" "$root/opt/cni/bin/"; done
printf 'UUID=%s / ext4 noatime,discard 0 0\n' "$uuid" >"$root/etc/fstab"
# Without it cloud-init does not check user data against its schema: seconds at each boot.
rm -rf "$root/usr/lib/python3/dist-packages/jsonschema"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
: >"$root/etc/machine-id"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
# Locked, but a password is not what opens it: sshd lets keys in.
chroot "$root" passwd -q -l root

kernel=$(basename "$root"/boot/vmlinuz-*)
kernel=${kernel#vmlinuz-}
[[ -s $root/boot/initrd.img-$kernel ]] || die "the kernel's package made no initrd"
cat >"$root/boot/extlinux/extlinux.conf" <<CONF
serial 0 115200
default worker
prompt 0
timeout 0
label worker
  linux /boot/vmlinuz-$kernel
  initrd /boot/initrd.img-$kernel
  append root=UUID=$uuid ro console=tty0 console=ttyS0 loglevel=6 net.ifnames=0 mitigations=off apparmor=0 audit=0 random.trust_cpu=on no_timer_check
CONF
extlinux --install "$root/boot/extlinux" >&2

# What a node needs is enabled; what wakes up by itself in a machine that lives for hours is not.
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved systemd-networkd-wait-online containerd kubelet ssh.socket >&2
chroot "$root" systemctl --quiet disable ssh.service >&2
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    man-db.timer systemd-tmpfiles-clean.timer getty@tty1.service serial-getty@ttyS0.service \
    systemd-pstore.service systemd-machine-id-commit.service cloud-init-hotplugd.socket \
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-repart.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-network-generator.service systemd-journal-flush.service \
    systemd-boot-system-token.service systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-sysusers.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
    systemd-random-seed.service cloud-init.service cloud-config.service cloud-final.service >&2

say "unpacking images: ${!tars[*]}"
for mount in proc sys dev; do mount --rbind "/$mount" "$root/$mount"; done
mount -t tmpfs tmpfs "$root/run"
sed 's|^disabled_plugins = \[|&"io.containerd.grpc.v1.cri", |' "$root/etc/containerd/config.toml" >"$root/run/config.toml"
chroot "$root" containerd --config /run/config.toml --log-level warn >&2 &
containerd=$!
for _ in $(seq 100); do
    chroot "$root" ctr version >/dev/null 2>&1 && break
    sleep 0.1
done
for reference in "${!tars[@]}"; do
    cp "${tars[$reference]}" "$root/run/image.tar"
    chroot "$root" ctr -n k8s.io images import /run/image.tar >&2
    rm "$root/run/image.tar"
done
kill "$containerd"
wait "$containerd" || true
umount -R "$root/run" "$root/dev" "$root/sys" "$root/proc"
rm -rf "$root/var/lib/apt/lists" "$root"/var/cache/apt/*.bin "$root"/var/log/*.log
umount "$root"

say "packing"
mkdir -p "$work/layer/disk"
qemu-img convert -c -W -O qcow2 -o compression_type=zstd "$work/disk.raw" "$work/layer/disk/disk.qcow2"
rm "$work/disk.raw"
# 107 is KubeVirt's qemu.
chown -R 107:107 "$work/layer/disk"
chmod 0444 "$work/layer/disk/disk.qcow2"
"$LAB_DIR/image.sh" --tag "$image" --rootfs "$work/layer" --user 107:107 --output "$work/image.tar" >&2
mv "$work/image.tar" "$result"
# Older builds of the same version are of no more use.
find "$cache/images" -maxdepth 1 -name "worker-$version-*.tar" ! -name "${result##*/}" -delete
say "$image: $(du -h "$result" | cut -f1) in $((SECONDS - started)) s"
printf '%s\n' "$result"
