//! What a pod says becomes phase, conditions and interfaces.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::conditions::{find, says};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn vmi(phase: &str, deleting: bool) -> VirtualMachineInstance {
    let mut vmi: VirtualMachineInstance =
        serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": "a"}, "spec": spec(), "status": {"phase": phase}}))
        .unwrap();
    if deleting {
        vmi.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-21T00:00:00Z")).unwrap();
    }
    vmi
}

fn spec() -> serde_json::Value {
    json!({"domain": {"cpu": {"cores": 2}, "devices": {"networkInterfaceMultiqueue": true,
        "disks": [{"name": "root", "disk": {"bus": "virtio"}}, {"name": "cloudinit", "disk": {"bus": "virtio"}}],
        "interfaces": [{"name": "default", "bridge": {}}]}},
        "volumes": [{"name": "root", "containerDisk": {"image": "i"}}, {"name": "cloudinit", "cloudInitConfigDrive": {}}]})
}

fn run(vmi: &VirtualMachineInstance, launcher: Option<&Launcher>) -> (Act, VirtualMachineInstanceStatus) {
    let machine = Machine::read(&vmi.spec.fields).unwrap();
    let guest = GuestInterface {
        mac: "0a:00:00:00:00:01".into(),
        ip: "10.1.0.7".into(),
    };
    decide(&Facts {
        vmi,
        machine: &machine,
        launcher,
        guest: Some(&guest),
        now: NOW,
    })
}

fn pod() -> Launcher {
    Launcher {
        uid: "p".into(),
        node: Some("n".into()),
        ..Launcher::default()
    }
}

#[test]
fn the_phase_follows_the_pod_and_never_goes_back() {
    let runs = Launcher {
        compute_runs: true,
        ..pod()
    };
    let domain = Launcher {
        compute_runs: true,
        domain_runs: true,
        gate: true,
        ..pod()
    };
    let shut = Launcher {
        ended: Some(End::Shutdown),
        ..pod()
    };
    let crashed = Launcher {
        ended: Some(End::Crash),
        ..pod()
    };
    for (before, deleting, launcher, after, act) in [
        ("Pending", false, None, Phase::Pending, Act::CreatePod),
        ("Pending", false, Some(pod()), Phase::Scheduling, Act::Nothing),
        ("Scheduling", false, Some(runs.clone()), Phase::Scheduled, Act::OpenGate),
        (
            "Scheduling",
            false,
            Some(domain.clone()),
            Phase::Scheduled,
            Act::Nothing,
        ),
        ("Scheduled", false, Some(domain.clone()), Phase::Running, Act::Nothing),
        ("Running", false, Some(pod()), Phase::Running, Act::Nothing),
        ("Running", false, Some(shut.clone()), Phase::Succeeded, Act::Nothing),
        ("Running", false, Some(crashed.clone()), Phase::Failed, Act::Nothing),
        ("Running", false, None, Phase::Failed, Act::Nothing),
        ("Scheduling", false, Some(crashed), Phase::Failed, Act::Nothing),
        ("Succeeded", false, None, Phase::Succeeded, Act::Nothing),
        ("Running", true, Some(domain), Phase::Running, Act::DeletePod),
        ("Scheduling", true, Some(pod()), Phase::Failed, Act::DeletePod),
        ("Pending", true, None, Phase::Failed, Act::Release),
        (
            "Running",
            true,
            Some(Launcher { deleting: true, ..shut }),
            Phase::Succeeded,
            Act::Nothing,
        ),
        ("Succeeded", true, None, Phase::Succeeded, Act::Release),
    ] {
        let (does, status) = run(&vmi(before, deleting), launcher.as_ref());
        assert_eq!(
            (status.phase, does),
            (Some(after), act),
            "{before} {deleting} {launcher:?}"
        );
    }
}

#[test]
fn interfaces_have_a_name_when_scheduled_and_the_pods_address_when_running() {
    let (_, scheduled) = run(
        &vmi("Scheduling", false),
        Some(&Launcher {
            compute_runs: true,
            ..pod()
        }),
    );
    assert_eq!(
        serde_json::to_value(&scheduled.interfaces).unwrap(),
        json!([{"name": "default", "podInterfaceName": "eth0"}])
    );
    let (_, running) = run(
        &vmi("Scheduled", false),
        Some(&Launcher {
            compute_runs: true,
            domain_runs: true,
            ..pod()
        }),
    );
    assert_eq!(
        serde_json::to_value(&running.interfaces).unwrap(),
        json!([{"name": "default", "ipAddress": "10.1.0.7", "ipAddresses": ["10.1.0.7"], "mac": "0a:00:00:00:00:01",
            "podInterfaceName": "eth0", "infoSource": "domain", "queueCount": 2, "linkState": "up"}])
    );
    assert_eq!(
        serde_json::to_value(&running.volume_status).unwrap(),
        json!([{"name": "cloudinit", "target": "vdb"}, {"name": "root", "target": "vda"}])
    );
}

#[test]
fn ready_is_the_pods_once_the_guest_runs() {
    let ready = |before: &str, launcher: Option<&Launcher>| {
        let (_, status) = run(&vmi(before, false), launcher);
        let ready = find(&status.conditions, "Ready").unwrap().clone();
        (ready.status, ready.reason)
    };
    let domain = Launcher {
        compute_runs: true,
        domain_runs: true,
        ready: Some((true, String::new(), String::new())),
        ..pod()
    };
    assert_eq!(ready("Pending", None), ("False".into(), Some("PodNotExists".into())));
    assert_eq!(
        ready("Scheduling", Some(&pod())),
        ("False".into(), Some("GuestNotRunning".into()))
    );
    assert_eq!(ready("Running", Some(&domain)), ("True".into(), None));
    let going = Launcher {
        deleting: true,
        ..domain
    };
    assert_eq!(
        ready("Running", Some(&going)),
        ("False".into(), Some("PodTerminating".into()))
    );
}

#[test]
fn trouble_with_node_or_image_is_told_and_heals() {
    let mut instance = vmi("Scheduling", false);
    let trouble = Launcher {
        unschedulable: Some("0/1 nodes".into()),
        image_trouble: Some(("ErrImagePull".into(), "no such host".into())),
        ..pod()
    };
    let (_, status) = run(&instance, Some(&trouble));
    assert!(says(&status.conditions, "PodScheduled", "False", "Unschedulable"));
    assert!(says(&status.conditions, "Synchronized", "False", "ErrImagePull"));
    instance.status = Some(status);
    let (_, healed) = run(&instance, Some(&pod()));
    assert!(find(&healed.conditions, "PodScheduled").is_none() && find(&healed.conditions, "Synchronized").is_none());
}

#[test]
fn a_second_pass_changes_nothing() {
    let domain = Launcher {
        compute_runs: true,
        domain_runs: true,
        gate: true,
        ready: Some((true, String::new(), String::new())),
        ..pod()
    };
    let mut instance = vmi("Running", false);
    let (_, first) = run(&instance, Some(&domain));
    instance.status = Some(first.clone());
    let (act, second) = run(&instance, Some(&domain));
    assert_eq!((act, second), (Act::Nothing, first));
}
