//! Phase, conditions and interfaces of an instance from its launcher pod, and what to do next. Pure.

use jiff::Timestamp;
use serde_json::json;

use crate::api::{
    Condition, InterfaceStatus, Phase, PhaseTransition, VirtualMachineInstance, VirtualMachineInstanceStatus,
    VolumeStatus,
};
use crate::conditions::{condition, explained, remove, set};
use crate::domain::GuestInterface;
use crate::machine::{Machine, Volume};
use crate::vmi::observe::{End, Launcher};

/// What is known in one pass.
pub struct Facts<'a> {
    /// The instance.
    pub vmi: &'a VirtualMachineInstance,
    /// Its spec, read.
    pub machine: &'a Machine,
    /// Its pod.
    pub launcher: Option<&'a Launcher>,
    /// What the launcher's log says, looked up once the domain runs.
    pub guest: Option<&'a GuestInterface>,
    /// The clock.
    pub now: Timestamp,
}

/// What to do with the pod, and with the instance itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Create the pod.
    CreatePod,
    /// Delete it.
    DeletePod,
    /// Set its readiness gate.
    OpenGate,
    /// Let the instance go.
    Release,
    /// Nothing.
    Nothing,
}

/// The next act and the status as it is then.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> (Act, VirtualMachineInstanceStatus) {
    let mut status = facts.vmi.status.clone().unwrap_or_default();
    let before = status.phase.unwrap_or(Phase::Pending);
    let deleting = facts.vmi.metadata.deletion_timestamp.is_some();
    let after = phase(before, deleting, facts.launcher);
    enter(&mut status, after, facts.now);
    if let Some(launcher) = facts.launcher {
        pod_facts(&mut status, launcher, after);
    } else {
        status.active_pods.clear();
    }
    match after {
        Phase::Scheduled => {
            status.interfaces = scheduled_interfaces(facts.machine, &status.interfaces);
            status.volume_status = volumes(facts.machine);
        }
        Phase::Running => {
            status.interfaces = running_interfaces(facts, &status.interfaces);
            status.volume_status = volumes(facts.machine);
            if facts
                .machine
                .volumes
                .iter()
                .any(|volume| volume.container_disk.is_some())
            {
                status.migration_method = Some("BlockMigration".into());
            }
        }
        Phase::Pending | Phase::Scheduling | Phase::Succeeded | Phase::Failed | Phase::Unknown => {}
    }
    all_conditions(&mut status, facts, after);
    (act(facts, before, after, deleting), status)
}

fn act(facts: &Facts<'_>, before: Phase, after: Phase, deleting: bool) -> Act {
    match (facts.launcher, deleting) {
        (Some(launcher), true) if !launcher.deleting => Act::DeletePod,
        (None, true) => Act::Release,
        (None, false) if before == Phase::Pending => Act::CreatePod,
        (Some(launcher), _) if !launcher.gate && !after.is_final() && launcher.compute_runs => Act::OpenGate,
        (_, _) => Act::Nothing,
    }
}

/// Phases go forward only; a pod that is gone after it was there is a failure.
fn phase(before: Phase, deleting: bool, launcher: Option<&Launcher>) -> Phase {
    if before.is_final() {
        return before;
    }
    let Some(launcher) = launcher else {
        return if before == Phase::Pending && !deleting {
            Phase::Pending
        } else {
            Phase::Failed
        };
    };
    match launcher.ended {
        Some(End::Shutdown) => return Phase::Succeeded,
        Some(End::Crash) => return Phase::Failed,
        None => {}
    }
    match before {
        Phase::Pending | Phase::Scheduling | Phase::Unknown if deleting => Phase::Failed,
        Phase::Running => Phase::Running,
        Phase::Pending | Phase::Scheduling | Phase::Scheduled | Phase::Unknown => {
            if launcher.domain_runs && before == Phase::Scheduled {
                Phase::Running
            } else if launcher.compute_runs && launcher.node.is_some() {
                Phase::Scheduled
            } else {
                Phase::Scheduling
            }
        }
        Phase::Succeeded | Phase::Failed => before,
    }
}

fn enter(status: &mut VirtualMachineInstanceStatus, phase: Phase, now: Timestamp) {
    status.phase = Some(phase);
    if !status
        .phase_transition_timestamps
        .iter()
        .any(|transition| transition.phase == phase)
    {
        status.phase_transition_timestamps.push(PhaseTransition {
            phase,
            phase_transition_timestamp: now,
        });
    }
}

fn pod_facts(status: &mut VirtualMachineInstanceStatus, launcher: &Launcher, phase: Phase) {
    status.qos_class.clone_from(&launcher.qos);
    status.active_pods = [(launcher.uid.clone(), launcher.node.clone().unwrap_or_default())].into();
    if matches!(phase, Phase::Scheduled | Phase::Running) {
        status.node_name.clone_from(&launcher.node);
        status.launcher_container_image_version.clone_from(&launcher.image);
    }
}

fn scheduled_interfaces(machine: &Machine, before: &[InterfaceStatus]) -> Vec<InterfaceStatus> {
    if !before.is_empty() {
        return before.to_vec();
    }
    let interface = |name: &String| InterfaceStatus {
        name: Some(name.clone()),
        pod_interface_name: Some("eth0".into()),
        ..InterfaceStatus::default()
    };
    machine
        .pod_interface()
        .map(|i| interface(&i.name))
        .into_iter()
        .collect()
}

/// The pod's IPv4, told once and kept: KubeVirt, too, remembers it from before the boot.
fn running_interfaces(facts: &Facts<'_>, before: &[InterfaceStatus]) -> Vec<InterfaceStatus> {
    let Some(guest) = facts.guest else {
        return before.to_vec();
    };
    let interface = |name: &String| InterfaceStatus {
        name: Some(name.clone()),
        ip_address: Some(guest.ip.clone()),
        ip_addresses: vec![guest.ip.clone()],
        mac: Some(guest.mac.clone()),
        pod_interface_name: Some("eth0".into()),
        info_source: Some("domain".into()),
        queue_count: Some(facts.machine.queues()),
        link_state: Some("up".into()),
    };
    let interfaces = facts.machine.pod_interface();
    interfaces.map(|i| interface(&i.name)).into_iter().collect()
}

fn volumes(machine: &Machine) -> Vec<VolumeStatus> {
    let mut letters: std::collections::BTreeMap<&str, u8> = std::collections::BTreeMap::new();
    let mut all = Vec::new();
    for disk in &machine.domain.devices.disks {
        let prefix = if disk.bus() == "virtio" { "vd" } else { "sd" };
        let letter = letters.entry(prefix).or_insert(b'a');
        let target = format!("{prefix}{}", char::from(*letter));
        *letter += 1;
        let claim = machine
            .volumes
            .iter()
            .find(|volume| volume.name == disk.name)
            .and_then(Volume::claim);
        let mut rest = serde_json::Map::new();
        if let Some(claim) = claim {
            rest.insert("persistentVolumeClaimInfo".into(), json!({"claimName": claim}));
        }
        all.push(VolumeStatus {
            name: disk.name.clone(),
            target,
            rest,
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn all_conditions(status: &mut VirtualMachineInstanceStatus, facts: &Facts<'_>, phase: Phase) {
    let now = facts.now;
    let conditions = &mut status.conditions;
    set(conditions, ready(facts.launcher, phase), now);
    if let Some(launcher) = facts.launcher {
        match &launcher.unschedulable {
            Some(message) => set(
                conditions,
                explained("PodScheduled", false, "Unschedulable", message),
                now,
            ),
            None => remove(conditions, "PodScheduled"),
        }
        match launcher.image_trouble.as_ref().filter(|_| phase == Phase::Scheduling) {
            Some((reason, message)) => set(conditions, explained("Synchronized", false, reason, message), now),
            None => remove(conditions, "Synchronized"),
        }
    }
    if phase == Phase::Running {
        let message = "cannot migrate VMI which does not use masquerade, bridge with kubevirt.io/allow-pod-bridge-network-live-migration VM annotation or a migratable plugin to connect to the pod network";
        set(
            conditions,
            explained("LiveMigratable", false, "InterfaceNotLiveMigratable", message),
            now,
        );
        set(
            conditions,
            explained("StorageLiveMigratable", false, "NotMigratable", message),
            now,
        );
    }
    if status.evacuation_node_name.is_some() {
        set(conditions, condition("EvictionRequested", true), now);
    } else {
        remove(conditions, "EvictionRequested");
    }
}

/// Notes that the pod cannot be made.
pub fn pod_refused(status: &mut VirtualMachineInstanceStatus, message: &str, now: Timestamp) {
    remove(&mut status.conditions, "PodScheduled");
    let refused = explained("Synchronized", false, "FailedCreate", message);
    set(&mut status.conditions, refused, now);
}

/// Notes that the pod waits for a claim; returns what is said.
pub fn claim_missing(
    status: &mut VirtualMachineInstanceStatus,
    namespace: &str,
    claim: &str,
    now: Timestamp,
) -> String {
    let message = format!("PVC {namespace}/{claim} does not exist, waiting for it to appear");
    for (type_, reason) in [("Synchronized", "FailedPvcNotFound"), ("PodScheduled", "Unschedulable")] {
        set(&mut status.conditions, explained(type_, false, reason, &message), now);
    }
    message
}

fn ready(launcher: Option<&Launcher>, phase: Phase) -> Condition {
    let Some(launcher) = launcher else {
        return explained(
            "Ready",
            false,
            "PodNotExists",
            "virt-launcher pod has not yet been scheduled",
        );
    };
    if launcher.deleting || launcher.ended.is_some() {
        return explained("Ready", false, "PodTerminating", "virt-launcher pod is terminating");
    }
    if phase != Phase::Running {
        return explained("Ready", false, "GuestNotRunning", "Guest VM is not reported as running");
    }
    match &launcher.ready {
        Some((status, reason, message)) => explained("Ready", *status, reason, message),
        None => explained(
            "Ready",
            false,
            "PodConditionMissing",
            "virt-launcher pod is missing the Ready condition",
        ),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
