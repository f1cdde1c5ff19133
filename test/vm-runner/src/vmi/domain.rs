//! The domain that a launcher is told to run. Pure.

use std::fmt;

use crate::api::VirtualMachineInstance;
use crate::domain::{CloudInitForm, Disk, Domain, Source};
use crate::machine::{self, CloudInit, Machine, Volume};

/// What this stand-in does not do. The webhook refuses it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "vm-runner is a stand-in for KubeVirt and has no {}", self.0)
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
        .map(|disk| one_disk(machine, disk))
        .collect();
    Ok(Domain {
        host_name: machine.host_name(&name),
        namespace: vmi.metadata.namespace.clone().unwrap_or_default(),
        uuid: machine.domain.firmware.uuid.clone().unwrap_or_default(),
        serial: machine.domain.firmware.serial.clone().unwrap_or_default(),
        topology: [
            cpu.sockets.unwrap_or(1),
            cpu.cores.unwrap_or(1),
            cpu.threads.unwrap_or(1),
        ],
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

/// The one interface: bridge binding on the pod network.
fn interface(machine: &Machine) -> Result<Option<&machine::Interface>, Unsupported> {
    match machine.domain.devices.interfaces.as_slice() {
        [] => Ok(None),
        [interface] if interface.bridge.is_some() => {
            let network = machine.networks.iter().find(|network| network.name == interface.name);
            if network.is_some_and(|network| network.pod.is_some()) {
                Ok(Some(interface))
            } else {
                Err(Unsupported(format!("network but the pod's ({})", interface.name)))
            }
        }
        [interface] => Err(Unsupported(format!(
            "binding but bridge (interface {})",
            interface.name
        ))),
        _ => Err(Unsupported("second interface".into())),
    }
}

fn one_disk(machine: &Machine, disk: &machine::Disk) -> Result<Disk, Unsupported> {
    let missing = || Unsupported(format!("volume for disk {}", disk.name));
    let volume = machine
        .volumes
        .iter()
        .find(|volume| volume.name == disk.name)
        .ok_or_else(missing)?;
    let target = disk.disk.as_ref().or(disk.cdrom.as_ref());
    let bus = target
        .and_then(|target| target.bus.clone())
        .unwrap_or_else(|| "sata".into());
    if !["virtio", "sata", "scsi"].contains(&bus.as_str()) {
        return Err(Unsupported(format!("disk bus {bus}")));
    }
    Ok(Disk {
        name: disk.name.clone(),
        bus,
        cdrom: disk.cdrom.is_some(),
        serial: disk.serial.clone(),
        source: source(volume)?,
    })
}

fn source(volume: &Volume) -> Result<Source, Unsupported> {
    if let Some(disk) = &volume.container_disk {
        return Ok(Source::ContainerDisk {
            path: disk.path.clone(),
        });
    }
    if let Some(data) = &volume.cloud_init_config_drive {
        return Ok(cloud_init(CloudInitForm::ConfigDrive, data));
    }
    if let Some(data) = &volume.cloud_init_no_cloud {
        return Ok(cloud_init(CloudInitForm::NoCloud, data));
    }
    if let Some(disk) = &volume.empty_disk {
        let capacity = machine::quantity_value(&disk.capacity);
        return Ok(Source::EmptyDisk {
            capacity: capacity.ok_or_else(|| Unsupported("emptyDisk without capacity".into()))?,
        });
    }
    if volume.persistent_volume_claim.is_some() {
        return Ok(Source::Claim);
    }
    let kind = volume.rest.keys().next().cloned().unwrap_or_default();
    Err(Unsupported(format!("volume source {kind}")))
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
