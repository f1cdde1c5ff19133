//! The domain that a launcher is told to run. Pure.

use std::fmt;

use crate::api::VirtualMachineInstance;
use crate::domain::{CloudInitForm, Disk, Domain, Source};
use crate::machine::{self, CloudInit, Machine, Volume};

/// Volumes with files of the cluster. The pod waits for them, the guest does not get them.
pub const FILES: [&str; 4] = ["configMap", "secret", "serviceAccount", "downwardAPI"];

/// What this stand-in does not do, told as the reason why there is no pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// A feature of KubeVirt's.
    Feature(String),
    /// A binding plugin, of which there is none.
    Plugin(String),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(feature) => {
                write!(formatter, "vm-runner is a stand-in for KubeVirt and has no {feature}")
            }
            Self::Plugin(name) => write!(formatter, "couldn't find configuration for network binding: {name}"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// Translates an instance.
pub fn domain(vmi: &VirtualMachineInstance, machine: &Machine) -> Result<Domain, Unsupported> {
    let name = vmi.metadata.name.clone().unwrap_or_default();
    let cpu = &machine.domain.cpu;
    let interface = interface(machine)?;
    let disks: Result<Vec<Disk>, Unsupported> = ordered(machine)
        .into_iter()
        .filter_map(|disk| one_disk(machine, disk).transpose())
        .collect();
    Ok(Domain {
        host_name: machine.host_name(&name),
        namespace: vmi.metadata.namespace.clone().unwrap_or_default(),
        uuid: machine.domain.firmware.uuid.clone().unwrap_or_default(),
        serial: machine.domain.firmware.serial.clone().unwrap_or_default(),
        topology: cpu.topology(),
        memory_mib: machine.memory().unwrap_or_default().div_ceil(1 << 20),
        grace: machine.grace().unsigned_abs(),
        disks: disks?,
        mac: interface.and_then(|interface| interface.mac_address.clone()),
        model: interface.and_then(|interface| interface.model.clone()),
        queues: machine.queues(),
        name,
    })
}

/// Disks with a boot order first, in that order; else as listed.
fn ordered(machine: &Machine) -> Vec<&machine::Disk> {
    let mut disks: Vec<&machine::Disk> = machine.domain.devices.disks.iter().collect();
    disks.sort_by_key(|disk| disk.boot_order.unwrap_or(u32::MAX));
    disks
}

/// The interface on the pod's network. Masquerade and passt are run as a bridge: the guest has the pod's address either way.
fn interface(machine: &Machine) -> Result<Option<&machine::Interface>, Unsupported> {
    let plugin = machine
        .domain
        .devices
        .interfaces
        .iter()
        .find_map(|interface| interface.binding.as_ref());
    match plugin {
        Some(plugin) => Err(Unsupported::Plugin(plugin.name.clone())),
        None => Ok(machine.pod_interface()),
    }
}

/// None for what the guest does not get: files of the cluster, and what is plugged in later.
fn one_disk(machine: &Machine, disk: &machine::Disk) -> Result<Option<Disk>, Unsupported> {
    let missing = || Unsupported::Feature(format!("volume for disk {}", disk.name));
    let volume = machine
        .volumes
        .iter()
        .find(|volume| volume.name == disk.name)
        .ok_or_else(missing)?;
    let source = source(volume)?;
    Ok(source.map(|source| Disk {
        name: disk.name.clone(),
        bus: disk.bus().to_owned(),
        cdrom: disk.cdrom.is_some(),
        serial: disk.serial.clone(),
        source,
    }))
}

fn source(volume: &Volume) -> Result<Option<Source>, Unsupported> {
    if let Some(disk) = &volume.container_disk {
        return Ok(Some(Source::ContainerDisk {
            path: disk.path.clone(),
        }));
    }
    if let Some(data) = &volume.cloud_init_config_drive {
        return Ok(Some(cloud_init(CloudInitForm::ConfigDrive, data)));
    }
    if let Some(data) = &volume.cloud_init_no_cloud {
        return Ok(Some(cloud_init(CloudInitForm::NoCloud, data)));
    }
    if let Some(disk) = &volume.empty_disk {
        let capacity = machine::quantity_value(&disk.capacity);
        let capacity = capacity.ok_or_else(|| Unsupported::Feature("emptyDisk without capacity".into()))?;
        return Ok(Some(Source::EmptyDisk { capacity }));
    }
    if volume.claim().is_some() {
        let ephemeral = volume.ephemeral.is_some();
        return Ok(Some(if ephemeral {
            Source::EphemeralClaim
        } else {
            Source::Claim
        }));
    }
    if volume.persistent_volume_claim.is_some() || volume.data_volume.is_some() {
        return Ok(None);
    }
    let kind = volume.rest.keys().next().cloned().unwrap_or_default();
    if FILES.contains(&kind.as_str()) {
        return Ok(None);
    }
    Err(Unsupported::Feature(format!("volume source {kind}")))
}

fn cloud_init(form: CloudInitForm, data: &CloudInit) -> Source {
    Source::CloudInit {
        form,
        user_data: data.user_data.clone(),
        user_data_base64: data.user_data_base64.clone(),
        network_data: data.network_data.clone(),
        network_data_base64: data.network_data_base64.clone(),
    }
}
