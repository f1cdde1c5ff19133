//! Machine type, firmware, host devices and credentials. Pure.

use serde_json::Value;

use super::read::{list, some_text, text};
use crate::admission::review::Cause;

/// The machine types of each architecture; KubeVirt finds out about another one when it makes the instance.
const MACHINES: [(&str, &[&str]); 3] = [
    ("amd64", &["q35*", "pc-q35*"]),
    ("arm64", &["virt*"]),
    ("s390x", &["s390-ccw-virtio*"]),
];

/// What a spec says about the hardware that is not a disk or a network.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let domain = &spec["domain"];
    let mut causes = Vec::new();
    causes.extend(machine(spec, field));
    let efi = domain.pointer("/firmware/bootloader/efi").filter(|efi| efi.is_object());
    let smm = domain
        .pointer("/features/smm")
        .is_some_and(|smm| smm.is_object() && smm["enabled"] != false);
    if efi.is_some_and(|efi| efi["secureBoot"] != false) && !smm {
        let what = "has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.";
        causes.push(Cause::at(&format!("{field}.domain"), what));
    }
    if efi.is_none() && domain.pointer("/launchSecurity/sev").is_some_and(Value::is_object) {
        causes.push(Cause::at(
            &format!("{field}.domain.launchSecurity"),
            "SEV requires OVMF (UEFI)",
        ));
    }
    for kind in ["hostDevices", "gpus"] {
        if !list(domain, &format!("/devices/{kind}")).is_empty() {
            let what = "are not possible: the Host Devices feature gate is not enabled in kubevirt-config";
            causes.push(Cause::at(&format!("{field}.domain.devices.{kind}"), what));
        }
    }
    causes.extend(credentials(spec, field));
    causes
}

fn machine(spec: &Value, field: &str) -> Option<Cause> {
    let architecture = some_text(spec, "/architecture").unwrap_or("amd64");
    let (_, allowed) = MACHINES.iter().find(|(name, _)| *name == architecture)?;
    let kind = some_text(spec, "/domain/machine/type")?;
    let known = allowed
        .iter()
        .any(|pattern| kind.starts_with(pattern.trim_end_matches('*')));
    (!known).then(|| {
        let what = format!("is not supported: {kind} (allowed values: [{}])", allowed.join(" "));
        Cause::at(&format!("{field}.domain.machine.type"), &what)
    })
}

/// Keys that travel by cloud-init need a volume to travel on.
fn credentials(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, credential) in list(spec, "/accessCredentials").iter().enumerate() {
        for (method, source) in [("noCloud", "cloudInitNoCloud"), ("configDrive", "cloudInitConfigDrive")] {
            let used = credential
                .pointer(&format!("/sshPublicKey/propagationMethod/{method}"))
                .is_some_and(Value::is_object);
            let there = list(spec, "/volumes").iter().any(|volume| volume[source].is_object());
            if used && !there {
                let what =
                    format!("requires a {method} volume to exist when the {method} propagationMethod is in use.");
                causes.push(Cause::at(&format!("{field}.accessCredentials[{index}]"), &what));
            }
        }
        let kinds = ["sshPublicKey", "userPassword"];
        if kinds
            .iter()
            .all(|kind| text(credential, &format!("/{kind}/source/secret/secretName")).is_none())
        {
            causes.push(Cause::at(
                &format!("{field}.accessCredentials[{index}]"),
                "must name a Secret",
            ));
        }
    }
    causes
}
