//! What can only be seen once a machine is on its way: a condition and an event tell a person what
//! to do, and it heals when that is done.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, condition, infra_machine, machine, machine_of,
    manager, run_instance, template, unchecked, virtual_machine, wait_ready, waiting_machine,
};
use capn_api::{KubevirtMachine, cluster_api::Machine};
use capn_integration::{Manager, World, run};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Checks that condition and event say all of these words.
async fn told(world: &World, reason: &str, words: &[&str]) {
    let object = wait_ready(world, reason).await;
    let message = condition(&object).unwrap().message;
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
    world.wait_warning::<KubevirtMachine>(NAME, reason, words).await;
}

/// Writes what KubeVirt says of the VM.
async fn kubevirt_says(vms: &Api<DynamicObject>, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    vms.patch_status(NAME, &PatchParams::default(), &patch).await.unwrap();
}

/// A machine whose VM KubeVirt cannot start, for a reason that goes by later.
async fn told_and_healed(world: &World, status: Value, reason: &str, words: &[&str]) {
    let _manager: Manager = manager(world).await;
    machine(world, unchecked(template())).await;
    virtual_machine(world).await;
    kubevirt_says(&world.kubevirt("VirtualMachine"), status).await;
    told(world, reason, words).await;
    run_instance(world).await;
    wait_ready(world, "Ready").await;
}

#[test]
fn bootstrap_data_that_is_missing_is_told_and_heals_when_it_is_there() {
    run(async |world| {
        let _manager = manager(world).await;
        waiting_machine(world, true).await;
        told(world, "WaitingForBootstrapData", &[NAME, "restore it"]).await;
        bootstrap_data(world).await;
        virtual_machine(world).await;
    });
}

#[test]
fn a_machine_whose_bootstrap_data_has_an_empty_name_waits_like_one_without() {
    run(async |world| {
        let _manager = manager(world).await;
        cluster_with_endpoint(world).await;
        cluster_initialized(world).await;
        let owner = machine_of(world, false).await;
        let empty = json!({"spec": {"bootstrap": {"dataSecretName": ""}}});
        world.merge::<Machine>(NAME, &empty).await;
        infra_machine(world, Some(&owner), unchecked(template())).await;
        wait_ready(world, "WaitingForBootstrapData").await;
        bootstrap_data(world).await;
        machine_of(world, true).await;
        virtual_machine(world).await;
    });
}

#[test]
fn a_template_without_a_vm_is_told_and_heals_when_it_is_written() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, json!({})).await;
        told(
            world,
            "InvalidTemplate",
            &["spec.virtualMachineTemplate.spec is missing", "set it to"],
        )
        .await;
        let mended = json!({"spec": {"virtualMachineTemplate": {"spec": template()}}});
        world.merge::<KubevirtMachine>(NAME, &mended).await;
        virtual_machine(world).await;
    });
}

#[test]
fn a_virtual_machine_that_is_refused_is_told_and_heals_when_it_is_mended() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, unchecked(json!({"runStrategy": 5}))).await;
        told(world, "VMCreateFailed", &["spec.runStrategy"]).await;
        let mended = json!({"spec": {"virtualMachineTemplate": {"spec": template()}}});
        world.merge::<KubevirtMachine>(NAME, &mended).await;
        virtual_machine(world).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
    });
}

#[test]
fn a_vm_that_no_node_has_room_for_is_told_and_heals_when_one_has() {
    run(async |world| {
        let why = "0/1 nodes are available: 1 Insufficient memory.";
        let status = json!({"printableStatus": "ErrorUnschedulable", "conditions": [
            {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"},
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why},
        ]});
        told_and_healed(world, status, "Unschedulable", &["cannot be placed", why]).await;
    });
}

#[test]
fn a_vm_whose_image_cannot_be_pulled_is_told_and_heals_when_it_can() {
    run(async |world| {
        let why = "Back-off pulling image \"example.com/worker:1\"";
        let status = json!({"printableStatus": "ImagePullBackOff", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "ImagePullBackOff", "message": why},
        ]});
        told_and_healed(world, status, "ImagePullFailed", &["cannot be pulled", why]).await;
    });
}

#[test]
fn a_vm_that_names_a_claim_that_is_not_there_is_told_and_heals_when_it_is() {
    run(async |world| {
        let why = "PVC default/root does not exist, waiting for it to appear";
        let status = json!({"printableStatus": "ErrorPvcNotFound", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "FailedPvcNotFound", "message": why},
        ]});
        told_and_healed(world, status, "PVCNotFound", &["a claim that is not there", why]).await;
    });
}

#[test]
fn an_instance_that_kubevirt_refuses_is_told_and_heals_when_it_starts() {
    run(async |world| {
        let why = "Failure while starting VMI: no memory requested";
        let status = json!({"printableStatus": "Stopped", "conditions": [
            {"type": "Failure", "status": "True", "reason": "FailedCreate", "message": why},
            {"type": "Ready", "status": "False", "reason": "VMINotExists", "message": "VMI does not exist"},
        ]});
        told_and_healed(world, status, "VMRefused", &["cannot be started", why]).await;
    });
}
