//! What this stand-in understands of an instance's spec, and KubeVirt's defaults for it. Pure.

mod volume;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::volume::{CloudInit, ContainerDisk, Reference, Volume};
use crate::quantity;

/// Typed view of a spec. Fields that are not here are accepted and have no effect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    /// amd64 or nothing.
    pub architecture: Option<String>,
    /// The guest's hardware.
    pub domain: Domain,
    /// Disks' contents.
    pub volumes: Vec<Volume>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Name for the guest.
    pub hostname: Option<String>,
    /// What an eviction does.
    pub eviction_strategy: Option<String>,
    /// Seconds between ACPI shutdown and kill.
    pub termination_grace_period_seconds: Option<i64>,
}

/// Hardware.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Domain {
    /// Topology.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Requests and limits of the guest.
    pub resources: Resources,
    /// Machine type.
    pub machine: MachineType,
    /// UUID and serial number.
    pub firmware: Firmware,
    /// Disks and interfaces.
    pub devices: Devices,
}

/// CPU topology.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Cores a socket.
    pub cores: Option<u32>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Threads a core.
    pub threads: Option<u32>,
}

impl Cpu {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.topology().into_iter().fold(1, u32::saturating_mul)
    }

    /// Sockets, cores, threads: one where nothing or zero is said.
    #[must_use]
    pub fn topology(&self) -> [u32; 3] {
        [self.sockets, self.cores, self.threads].map(|n| n.unwrap_or(1).max(1))
    }
}

/// Memory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// What the guest sees.
    pub guest: Option<Value>,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Requests.
    pub requests: Map<String, Value>,
    /// Limits.
    pub limits: Map<String, Value>,
}

/// Machine type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineType {
    /// q35 or pc-q35-*.
    #[serde(rename = "type")]
    pub type_: String,
}

/// Firmware.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Firmware {
    /// UUID, also of the cloud-init metadata.
    pub uuid: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
}

/// Devices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Devices {
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// Interfaces, in order.
    pub interfaces: Vec<Interface>,
    /// A queue for each vCPU.
    pub network_interface_multiqueue: bool,
}

/// One disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// Name of its volume.
    pub name: String,
    /// As a disk.
    pub disk: Option<Target>,
    /// As a CD.
    pub cdrom: Option<Target>,
    /// As a LUN.
    pub lun: Option<Target>,
    /// Boot order.
    pub boot_order: Option<u32>,
    /// Serial number.
    pub serial: Option<String>,
}

/// Where a disk is plugged in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    /// virtio, sata, scsi.
    pub bus: Option<String>,
}

/// One interface.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Name of its network.
    pub name: String,
    /// Bridge binding.
    pub bridge: Option<Value>,
    /// Binding by a plugin.
    pub binding: Option<Reference>,
    /// Device model.
    pub model: Option<String>,
    /// Fixed MAC.
    pub mac_address: Option<String>,
}

/// One network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Name.
    pub name: String,
    /// The pod's own.
    pub pod: Option<Value>,
}

impl Disk {
    /// How it is plugged in.
    #[must_use]
    pub fn bus(&self) -> &str {
        let target = self.disk.as_ref().or(self.cdrom.as_ref()).or(self.lun.as_ref());
        target.and_then(|target| target.bus.as_deref()).unwrap_or("sata")
    }
}

impl Machine {
    /// Reads a spec.
    pub fn read(spec: &Map<String, Value>) -> Result<Machine, serde_json::Error> {
        Machine::deserialize(Value::Object(spec.clone()))
    }

    /// What the guest sees, from memory.guest, requests or limits.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let resources = &self.domain.resources;
        [
            self.domain.memory.guest.as_ref(),
            resources.requests.get("memory"),
            resources.limits.get("memory"),
        ]
        .into_iter()
        .flatten()
        .find_map(quantity_value)
    }

    /// The interface on the pod's network; this stand-in has no others.
    #[must_use]
    pub fn pod_interface(&self) -> Option<&Interface> {
        let elsewhere = |name: &str| {
            self.networks
                .iter()
                .any(|network| network.name == name && network.pod.is_none())
        };
        let mut interfaces = self.domain.devices.interfaces.iter();
        interfaces.find(|interface| !elsewhere(&interface.name))
    }

    /// The claims that must exist before the pod can be made.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(Volume::claim)
    }

    /// Seconds between ACPI shutdown and kill.
    #[must_use]
    pub fn grace(&self) -> i64 {
        self.termination_grace_period_seconds.unwrap_or(30).max(0)
    }

    /// The guest's host name: spec.hostname or the name, to the first dot, 63 characters.
    #[must_use]
    pub fn host_name(&self, name: &str) -> String {
        let full = self
            .hostname
            .as_deref()
            .filter(|hostname| !hostname.is_empty())
            .unwrap_or(name);
        full.split('.')
            .next()
            .unwrap_or(full)
            .chars()
            .take(63)
            .collect::<String>()
            .trim_end_matches('-')
            .to_owned()
    }

    /// Queues of an interface.
    #[must_use]
    pub fn queues(&self) -> u32 {
        if self.domain.devices.network_interface_multiqueue {
            self.domain.cpu.count()
        } else {
            1
        }
    }
}

/// A quantity that JSON may hold as text or as a number.
#[must_use]
pub fn quantity_value(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => quantity::bytes(text),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(spec: Value) -> Machine {
        Machine::read(spec.as_object().unwrap()).unwrap()
    }

    #[test]
    fn memory_comes_from_the_first_place_that_names_it() {
        let requests = json!({"domain": {"resources": {"requests": {"memory": "1Gi"}}}});
        assert_eq!(machine(requests).memory(), Some(1 << 30));
        let both = json!({"domain": {"memory": {"guest": "2Gi"}, "resources": {"requests": {"memory": "1Gi"}}}});
        assert_eq!(machine(both).memory(), Some(2 << 30));
        assert_eq!(machine(json!({"domain": {}})).memory(), None);
    }

    #[test]
    fn a_host_name_ends_at_the_first_dot() {
        assert_eq!(machine(json!({"domain": {}})).host_name("a.b"), "a");
        assert_eq!(machine(json!({"hostname": "h", "domain": {}})).host_name("a.b"), "h");
    }
}
