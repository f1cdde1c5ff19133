//! Disks: names, targets, buses, and the settings that qemu would refuse. Pure.

use serde_json::Value;

use super::read::{is_pci_address, list, present, some_text, text};
use crate::admission::review::Cause;

const TARGETS: [&str; 3] = ["disk", "lun", "cdrom"];
const BUSES: [&str; 4] = ["virtio", "scsi", "sata", "usb"];
const CACHES: [&str; 3] = ["none", "writethrough", "writeback"];
const IO_MODES: [&str; 3] = ["native", "default", "threads"];
const ERROR_POLICIES: [&str; 4] = ["stop", "ignore", "report", "enospace"];
const LONGEST_SERIAL: usize = 256;

/// All disks of a spec.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let disks = list(spec, "/domain/devices/disks");
    let volumes = list(spec, "/volumes");
    let mut causes = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let at = format!("{field}.domain.devices.disks[{index}]");
        let name = text(disk, "/name").unwrap_or_default();
        if let Some(first) = disks[..index].iter().position(|other| other["name"] == disk["name"]) {
            let message =
                format!("{at} and {field}.domain.devices.disks[{first}] must not have the same name '{name}'");
            causes.push(Cause::invalid(&format!("{at}.name"), message));
        }
        let volume = volumes.iter().find(|volume| volume["name"] == disk["name"]);
        match volume {
            Some(volume) => causes.extend(lun(disk, volume, &at)),
            None => causes.push(Cause::at(&format!("{at}.Name"), &format!("'{name}' not found."))),
        }
        causes.extend(target(disk, &at));
        causes.extend(settings(disk, &at));
    }
    causes.extend(boot_order(spec, field));
    causes
}

/// How a disk is plugged in.
fn target(disk: &Value, at: &str) -> Vec<Cause> {
    let targets = present(disk, &TARGETS);
    let [kind] = targets[..] else {
        let several = targets.len() > 1;
        return several
            .then(|| Cause::at(at, "can only have a single target type defined: disk, lun or cdrom"))
            .into_iter()
            .collect();
    };
    let Some(bus) = some_text(&disk[kind], "/bus") else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    if !BUSES.contains(&bus) {
        let what = format!(
            "is set with an unrecognized bus {bus}, must be one of: [{}]",
            BUSES.join(" ")
        );
        causes.push(Cause::at(&format!("{at}.{kind}.bus"), &what));
    } else if kind == "cdrom" && bus == "virtio" {
        causes.push(Cause::at(
            &format!("{at}.cdrom.bus"),
            "virtio is an invalid bus type for a CD-ROM device",
        ));
    } else if kind == "lun" && !["scsi", "sata"].contains(&bus) {
        causes.push(Cause::at(
            &format!("{at}.lun.bus"),
            &format!("{bus} is an invalid bus type for a LUN device"),
        ));
    }
    causes
}

/// A LUN is a device of the cluster.
fn lun(disk: &Value, volume: &Value, at: &str) -> Option<Cause> {
    let is_lun = disk.get("lun").is_some_and(|lun| !lun.is_null());
    let mapped = !present(volume, &["dataVolume", "persistentVolumeClaim"]).is_empty();
    (is_lun && !mapped).then(|| {
        Cause::at(
            &format!("{at}.lun"),
            "can only be mapped to a DataVolume or PersistentVolumeClaim volume.",
        )
    })
}

/// Cache, IO mode, error policy, serial number, PCI address.
fn settings(disk: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, words) in [
        ("cache", &CACHES[..]),
        ("io", &IO_MODES[..]),
        ("errorPolicy", &ERROR_POLICIES[..]),
    ] {
        let value = some_text(disk, &format!("/{key}"));
        if let Some(value) = value.filter(|value| !words.contains(value)) {
            let what = format!("has invalid value {value}, must be one of: [{}]", words.join(" "));
            causes.push(Cause::at(&format!("{at}.{key}"), &what));
        }
    }
    let serial = text(disk, "/serial").unwrap_or_default();
    if serial.len() > LONGEST_SERIAL {
        causes.push(Cause::at(
            &format!("{at}.serial"),
            "must be no more than 256 characters",
        ));
    }
    if !serial.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        causes.push(Cause::at(
            &format!("{at}.serial"),
            "must be made up of the characters [A-Za-z0-9_.+-]",
        ));
    }
    if let Some(address) = some_text(disk, "/disk/pciAddress") {
        let at = format!("{at}.disk.pciAddress");
        if text(disk, "/disk/bus") != Some("virtio") {
            causes.push(Cause::at(&at, "is only allowed with bus virtio"));
        } else if !is_pci_address(address) {
            causes.push(Cause::at(&at, &format!("is a malformed PCI address ({address})")));
        }
    }
    causes
}

/// Boot orders of disks and interfaces: from 1, each once.
fn boot_order(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = Vec::new();
    for kind in ["disks", "interfaces"] {
        for (index, device) in list(spec, &format!("/domain/devices/{kind}")).iter().enumerate() {
            let at = format!("{field}.domain.devices.{kind}[{index}].bootOrder");
            match device["bootOrder"].as_u64() {
                Some(0) => causes.push(Cause::at(&at, "must be greater than 0")),
                Some(order) if seen.contains(&order) => {
                    causes.push(Cause::at(
                        &at,
                        &format!("{order} is already set for a different device"),
                    ));
                }
                Some(order) => seen.push(order),
                None => {}
            }
        }
    }
    causes
}
