//! What the controller tells a launcher about the machine to run: one JSON value in an environment variable.

use serde::{Deserialize, Serialize};

/// Variable of container compute that holds the domain.
pub const VARIABLE: &str = "VIRT_DOMAIN";
/// Variable of a container-disk container that names its volume: the launcher finds the process by it.
pub const DISK_VARIABLE: &str = "CONTAINER_DISK";
/// Where Secrets of cloud-init are mounted, a folder a volume.
pub const SECRETS: &str = "/var/run/kubevirt-private/secret";
/// Folder shared with the container that shows the guest's console.
pub const CONSOLE: &str = "/var/run/kubevirt-private/console";
/// Where claims are mounted, a folder a volume.
pub const CLAIMS: &str = "/var/run/kubevirt-private/vmi-disks";
/// Scratch space of the pod: overlays and scratch disks.
pub const SCRATCH: &str = "/var/run/kubevirt-ephemeral-disks";
/// On the node: what was found out about KVM.
pub const NODE_FACTS: &str = "/run/capn-vm-runner";
/// There once the domain runs: what container compute's probe looks for.
pub const RUNNING: &str = "/run/domain-running";
/// Start of the line in compute's log with the facts that only the pod knows.
pub const FACTS_PREFIX: &str = "guest-interface ";

/// A machine to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Name of the instance.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The guest's name.
    pub host_name: String,
    /// Firmware UUID.
    pub uuid: String,
    /// Firmware serial number.
    pub serial: String,
    /// Sockets, cores, threads.
    pub topology: [u32; 3],
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Seconds between ACPI shutdown and kill.
    pub grace: u64,
    /// Disks in boot order.
    pub disks: Vec<Disk>,
    /// Fixed MAC of the one interface; the pod's when empty.
    pub mac: Option<String>,
    /// Its device model.
    pub model: Option<String>,
    /// Its queues.
    pub queues: u32,
}

/// A disk of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Name of the volume.
    pub name: String,
    /// virtio, sata or scsi.
    pub bus: String,
    /// Shown as a CD.
    pub cdrom: bool,
    /// Serial number.
    pub serial: Option<String>,
    /// Content.
    pub source: Source,
}

/// Content of a disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The file in the image of the container that carries this volume's name.
    ContainerDisk {
        /// Its path when it is not the one file in /disk.
        path: Option<String>,
    },
    /// cloud-init data on an ISO.
    CloudInit {
        /// Form of the ISO.
        form: CloudInitForm,
        /// User data, unless a Secret has it.
        user_data: Option<String>,
        /// Base64 of the same.
        user_data_base64: Option<String>,
        /// Network data, unless a Secret has it.
        network_data: Option<String>,
        /// Base64 of the same.
        network_data_base64: Option<String>,
    },
    /// Scratch.
    EmptyDisk {
        /// Size in bytes.
        capacity: u64,
    },
    /// disk.img on a claim.
    Claim,
    /// The same, not written to.
    EphemeralClaim,
}

/// Form of a cloud-init ISO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CloudInitForm {
    /// Label config-2.
    ConfigDrive,
    /// Label cidata.
    NoCloud,
}

/// What the launcher found out about its network, told in its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestInterface {
    /// The guest's MAC.
    pub mac: String,
    /// The guest's IPv4.
    pub ip: String,
}
