//! What KubeVirt's objects say of a VM.

use super::desired::Vm;
use super::kubevirt::{VirtualMachine, VirtualMachineInstance, condition};
use super::names;
use crate::text::excerpt;
use capn_api::{
    KubevirtMachine, Reason,
    kubevirt_machine::{AddressType, MachineAddress},
};
use kube::ResourceExt;
use std::net::IpAddr;

/// State of a VM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// The instance runs and has addresses.
    Running {
        /// UID of the instance.
        instance: String,
        /// Addresses that are its own.
        addresses: Vec<IpAddr>,
    },
    /// It does not run; heals by itself or by a user, as the reason says.
    NotReady {
        /// One word for programs.
        reason: Reason,
        /// A sentence for people.
        message: String,
    },
    /// The guest lost what it had bootstrapped: only a new machine helps.
    Lost {
        /// One word for programs.
        reason: Reason,
        /// A sentence for people.
        message: String,
    },
}

/// Reads the state.
pub fn state(
    object: &KubevirtMachine,
    wanted: &Vm,
    vm: Option<&VirtualMachine>,
    vmi: Option<&VirtualMachineInstance>,
) -> State {
    let place = format!("{}/{}", wanted.namespace, wanted.name);
    let Some(vm) = vm else {
        return State::Lost {
            reason: Reason::VMDeleted,
            message: format!(
                "VirtualMachine {place} was removed; delete the Machine so that it is replaced, as a MachineHealthCheck does"
            ),
        };
    };
    let bootstrapped = object.annotations().get(names::INSTANCE_ANNOTATION);
    let instance = vmi.and_then(ResourceExt::uid);
    if let Some(bootstrapped) = bootstrapped
        && !wanted.root_disk_survives
        && (instance.as_ref() != Some(bootstrapped) || vmi.is_some_and(ended))
    {
        return State::Lost {
            reason: Reason::RootDiskLost,
            message: format!(
                "the instance of VirtualMachine {place} that bootstrapped has ended, and its root disk went with it; delete the Machine so that it is replaced, as a MachineHealthCheck does"
            ),
        };
    }
    match vmi {
        Some(vmi) if running(vmi) => {
            let addresses = addresses(wanted, vmi);
            match (instance, addresses.is_empty()) {
                (Some(instance), false) => State::Running { instance, addresses },
                _ => not_ready(
                    Reason::WaitingForAddress,
                    format!("waiting for an address of VirtualMachineInstance {place}"),
                ),
            }
        }
        _ => why_not(&place, vm, vmi),
    }
}

fn phase(vmi: &VirtualMachineInstance) -> &str {
    vmi.status
        .as_ref()
        .map(|status| status.phase.as_str())
        .unwrap_or_default()
}

fn ended(vmi: &VirtualMachineInstance) -> bool {
    matches!(phase(vmi), "Succeeded" | "Failed")
}

/// Whether a guest runs.
pub fn running(vmi: &VirtualMachineInstance) -> bool {
    let conditions = vmi
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    phase(vmi) == "Running"
        && vmi.metadata.deletion_timestamp.is_none()
        && condition(conditions, "Paused").is_none_or(|paused| paused.status != "True")
}

fn not_ready(reason: Reason, message: String) -> State {
    State::NotReady { reason, message }
}

/// KubeVirt's own words, where it has any.
fn why_not(place: &str, vm: &VirtualMachine, vmi: Option<&VirtualMachineInstance>) -> State {
    let status = vm.status.clone().unwrap_or_default();
    let on_vmi = vmi
        .and_then(|vmi| vmi.status.as_ref())
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    // Conditions are copied to the VM and not removed when the instance goes: the instance's first.
    let says = |type_: &str| {
        let found = condition(on_vmi, type_).or_else(|| condition(&status.conditions, type_))?;
        found
            .message
            .as_deref()
            .map(excerpt)
            .filter(|message| !message.is_empty())
    };
    let with = |what: &str, type_: &str| match says(type_) {
        Some(message) => format!("VirtualMachine {place} {what}: {message}"),
        None => format!("VirtualMachine {place} {what}"),
    };
    let refused = |type_: &str, when: &str| {
        let found = condition(on_vmi, type_).or_else(|| condition(&status.conditions, type_))?;
        (found.status == when).then_some(found)
    };
    match status.printable_status.as_str() {
        "ErrorUnschedulable" => not_ready(Reason::Unschedulable, with("cannot be placed", "PodScheduled")),
        "ErrImagePull" | "ImagePullBackOff" => not_ready(
            Reason::ImagePullFailed,
            with("has an image that cannot be pulled", "Synchronized"),
        ),
        "ErrorPvcNotFound" => not_ready(
            Reason::PVCNotFound,
            with("names a claim that is not there", "Synchronized"),
        ),
        "DataVolumeError" => not_ready(
            Reason::DVFailed,
            with("has a DataVolume that failed", "DataVolumesReady"),
        ),
        "Provisioning" => not_ready(Reason::DVNotReady, with("waits for its DataVolume", "DataVolumesReady")),
        "WaitingForVolumeBinding" => not_ready(
            Reason::WaitingForVolume,
            format!("VirtualMachine {place} waits for its volume"),
        ),
        "CrashLoopBackOff" => not_ready(
            Reason::CrashLoopBackOff,
            with("ends again and again before it runs", "Failure"),
        ),
        "" => not_ready(
            Reason::VMNotReady,
            format!("waiting for KubeVirt to start VirtualMachine {place}"),
        ),
        other => match (refused("Failure", "True"), refused("Synchronized", "False")) {
            (Some(_), _) => not_ready(Reason::VMRefused, with("cannot be started", "Failure")),
            // What its pod asks for is refused, by a quota for instance.
            (None, Some(found)) if found.reason.as_deref() == Some("FailedCreate") => {
                not_ready(Reason::FailedCreate, with("gets no pod", "Synchronized"))
            }
            (None, Some(_)) => not_ready(Reason::VMRefused, with("cannot be started", "Synchronized")),
            (None, None) => not_ready(
                Reason::VMNotReady,
                format!("VirtualMachine {place} is {}", excerpt(other)),
            ),
        },
    }
}

/// Addresses that are the guest's own and reached by others: named interfaces only, since agents
/// add those of CNIs without a name, and not what masquerade shows inside the guest.
fn addresses(wanted: &Vm, vmi: &VirtualMachineInstance) -> Vec<IpAddr> {
    let interfaces = vmi
        .status
        .as_ref()
        .map(|status| status.interfaces.as_slice())
        .unwrap_or_default();
    let mut found = Vec::new();
    for interface in interfaces.iter().filter(|interface| interface.name.is_some()) {
        let all = interface.ip_address.iter().chain(&interface.ip_addresses);
        for address in all.filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok()) {
            if reachable(address, masqueraded(wanted, interface.name.as_deref())) && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

fn reachable(address: IpAddr, masqueraded: bool) -> bool {
    match address {
        IpAddr::V4(address) => {
            // The guest's side of masquerade, in every VM the same.
            let inside = masqueraded && address.octets()[..3] == [10, 0, 2];
            !(address.is_link_local() || address.is_loopback() || inside)
        }
        IpAddr::V6(address) => !(address.is_unicast_link_local() || address.is_loopback()),
    }
}

fn masqueraded(wanted: &Vm, name: Option<&str>) -> bool {
    let spec = serde_json::Value::Object(wanted.spec.clone());
    let interfaces = spec
        .pointer("/template/spec/domain/devices/interfaces")
        .and_then(serde_json::Value::as_array);
    interfaces.into_iter().flatten().any(|interface| {
        interface.get("name").and_then(serde_json::Value::as_str) == name && interface.get("masquerade").is_some()
    })
}

/// The addresses as Cluster API has them. Host name and internal DNS name are the VM's.
pub fn machine_addresses(name: &str, addresses: &[IpAddr]) -> Vec<MachineAddress> {
    let address = |type_, address: String| MachineAddress { type_, address };
    let mut all = vec![address(AddressType::Hostname, name.to_owned())];
    for ip in addresses {
        all.push(address(AddressType::InternalIP, ip.to_string()));
        all.push(address(AddressType::ExternalIP, ip.to_string()));
    }
    all.push(address(AddressType::InternalDNS, name.to_owned()));
    all
}
