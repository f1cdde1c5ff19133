//! qemu's command line. Pure.

use crate::domain::{CONSOLE, Domain};
use crate::launch::disks::File;

/// QMP socket.
pub const QMP: &str = "/run/qmp.sock";

/// How the guest's CPU is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// In hardware.
    Kvm,
    /// Emulated, a thread a vCPU.
    Tcg,
}

/// The arguments. `mac` is none when there is no interface.
#[must_use]
pub fn arguments(domain: &Domain, files: &[File], accelerator: Accelerator, mac: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |key: &str, value: String| all.extend([format!("-{key}"), value]);
    add("name", format!("{}_{}", domain.namespace, domain.name));
    add("machine", "q35,usb=off,vmport=off,dump-guest-core=off".into());
    match accelerator {
        Accelerator::Kvm => {
            add("accel", "kvm".into());
            add("cpu", "host".into());
        }
        Accelerator::Tcg => {
            add("accel", "tcg,thread=multi,tb-size=512".into());
            // Five-level page tables and wide vectors cost more to emulate than they save.
            add("cpu", "max,la57=off,avx=off,avx2=off".into());
        }
    }
    let [sockets, cores, threads] = domain.topology;
    add(
        "smp",
        format!(
            "{},sockets={sockets},cores={cores},threads={threads}",
            sockets * cores * threads
        ),
    );
    add("m", format!("{}M", domain.memory_mib));
    if !domain.uuid.is_empty() {
        add("uuid", domain.uuid.clone());
    }
    let serial = if domain.serial.is_empty() {
        String::new()
    } else {
        format!(",serial={}", escape(&domain.serial))
    };
    add(
        "smbios",
        format!("type=1,manufacturer=KubeVirt,product=None,family=KubeVirt{serial}"),
    );
    add("display", "none".into());
    add("chardev", format!("file,id=serial0,path={CONSOLE}/serial0-log"));
    add("serial", "chardev:serial0".into());
    add("qmp", format!("unix:{QMP},server=on,wait=off"));
    add("object", "rng-random,id=rng0,filename=/dev/urandom".into());
    add("device", "virtio-rng-pci,rng=rng0".into());
    if domain.disks.iter().any(|disk| disk.bus == "scsi") {
        add("device", "virtio-scsi-pci,id=scsi0".into());
    }
    let mut sata = 0;
    for (index, (disk, file)) in domain.disks.iter().zip(files).enumerate() {
        let read_only = if file.read_only || disk.cdrom {
            ",readonly=on"
        } else {
            ""
        };
        // Nothing here outlives the pod but claims: only those are flushed.
        let cache = if file.path.starts_with(crate::domain::CLAIMS) {
            "none"
        } else {
            "unsafe"
        };
        let path = escape(&file.path.display().to_string());
        add(
            "drive",
            format!(
                "if=none,id=drive{index},file={path},format={},cache={cache},discard=unmap{read_only}",
                file.format
            ),
        );
        let serial = disk
            .serial
            .as_deref()
            .map(|serial| format!(",serial={}", escape(serial)))
            .unwrap_or_default();
        let boot = index + 1;
        let device = match (disk.bus.as_str(), disk.cdrom) {
            ("virtio", _) => "virtio-blk-pci".to_owned(),
            ("scsi", true) => "scsi-cd,bus=scsi0.0".into(),
            ("scsi", false) => "scsi-hd,bus=scsi0.0".into(),
            (_, cdrom) => {
                sata += 1;
                format!("{},bus=ide.{}", if cdrom { "ide-cd" } else { "ide-hd" }, sata - 1)
            }
        };
        add(
            "device",
            format!("{device},drive=drive{index},bootindex={boot}{serial}"),
        );
    }
    if let Some(mac) = mac {
        let (queues, device) = match domain.queues {
            0 | 1 => (String::new(), String::new()),
            queues => (
                format!(",queues={queues}"),
                format!(",mq=on,vectors={}", queues * 2 + 2),
            ),
        };
        let model = match domain.model.as_deref() {
            None | Some("virtio") => "virtio-net-pci".to_owned(),
            Some(other) => escape(other),
        };
        let device = if model == "virtio-net-pci" {
            format!("{device},romfile=")
        } else {
            String::new()
        };
        add(
            "netdev",
            format!("tap,id=net0,ifname=tap0,script=no,downscript=no{queues}"),
        );
        add("device", format!("{model},netdev=net0,mac={mac}{device}"));
    }
    all.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    all
}

/// A comma in a value is written twice.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Disk, Source};

    fn line(queues: u32, bus: &str) -> String {
        let disk = |name: &str| Disk {
            name: name.into(),
            bus: bus.into(),
            cdrom: false,
            serial: None,
            source: Source::Claim,
        };
        let domain = Domain {
            topology: [1, 2, 1],
            memory_mib: 2048,
            queues,
            uuid: "u".into(),
            disks: vec![disk("a"), disk("b")],
            ..Domain::default()
        };
        let file = |path: &str, read_only| File {
            path: path.into(),
            format: "raw".into(),
            read_only,
        };
        arguments(
            &domain,
            &[file("/a", false), file("/b", true)],
            Accelerator::Tcg,
            Some("0a:00:00:00:00:01"),
        )
        .join(" ")
    }

    #[test]
    fn without_kvm_each_vcpu_is_an_emulated_thread() {
        assert!(line(1, "virtio").contains("-accel tcg,thread=multi"));
        assert!(line(1, "virtio").contains("-smp 2,sockets=1,cores=2,threads=1"));
    }

    #[test]
    fn disks_boot_in_order_on_their_bus() {
        let virtio = line(1, "virtio");
        assert!(virtio.contains("virtio-blk-pci,drive=drive0,bootindex=1"));
        assert!(virtio.contains("file=/b,format=raw,cache=unsafe,discard=unmap,readonly=on"));
        assert!(line(1, "sata").contains("ide-hd,bus=ide.1,drive=drive1"));
    }

    #[test]
    fn several_queues_need_a_tap_and_a_device_with_several() {
        assert!(line(2, "virtio").contains("downscript=no,queues=2"));
        assert!(line(2, "virtio").contains("mac=0a:00:00:00:00:01,mq=on,vectors=6"));
        assert!(!line(1, "virtio").contains("mq=on"));
    }
}
