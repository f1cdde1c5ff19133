//! What this stand-in understands of an instance's spec, and KubeVirt's defaults for it. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

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
        [self.cores, self.sockets, self.threads]
            .iter()
            .map(|n| n.unwrap_or(1).max(1))
            .product()
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
    /// Masquerade binding, which this stand-in cannot.
    pub masquerade: Option<Value>,
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

/// One volume: a name and exactly one source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Disk in a container image.
    pub container_disk: Option<ContainerDisk>,
    /// cloud-init by config drive.
    pub cloud_init_config_drive: Option<CloudInit>,
    /// cloud-init by NoCloud.
    pub cloud_init_no_cloud: Option<CloudInit>,
    /// Scratch disk.
    pub empty_disk: Option<EmptyDisk>,
    /// Claim with a disk.img.
    pub persistent_volume_claim: Option<Claim>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A disk in a container image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDisk {
    /// The image.
    pub image: String,
    /// Pull policy.
    pub image_pull_policy: Option<String>,
    /// Pull secret.
    pub image_pull_secret: Option<String>,
    /// Path of the disk when it is not the one file in /disk.
    pub path: Option<String>,
}

/// User data and network data, each inline, as Base64 or in a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudInit {
    /// Secret of the user data.
    pub secret_ref: Option<Reference>,
    /// Inline.
    pub user_data: Option<String>,
    /// Inline.
    pub user_data_base64: Option<String>,
    /// Secret of the network data.
    pub network_data_secret_ref: Option<Reference>,
    /// Inline.
    pub network_data: Option<String>,
    /// Inline.
    pub network_data_base64: Option<String>,
}

/// Name of an object in the same namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Name.
    pub name: String,
}

/// A scratch disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EmptyDisk {
    /// Size.
    pub capacity: Value,
}

/// A claim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    /// Name.
    pub claim_name: String,
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
