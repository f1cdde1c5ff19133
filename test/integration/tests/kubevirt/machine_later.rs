//! What can only be seen once a machine is on its way: a condition and an event tell a user what
//! to do, and it heals when that is done.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, condition, infra_machine, machine, machine_of,
    manager, run_instance, template, unchecked, virtual_machine, wait_ready, waiting_machine,
};
use capn_api::{KubevirtMachine, cluster_api::Machine};
use capn_integration::{Manager, TestEnv, run};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Checks that condition and event say all of these words.
async fn assert_reported(env: &TestEnv, reason: &str, words: &[&str]) {
    let object = wait_ready(env, reason).await;
    let message = condition(&object).unwrap().message;
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
    env.wait_warning::<KubevirtMachine>(NAME, reason, words).await;
}

/// Writes what KubeVirt says of the VM.
async fn kubevirt_says(vms: &Api<DynamicObject>, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    vms.patch_status(NAME, &PatchParams::default(), &patch).await.unwrap();
}

/// A machine whose VM KubeVirt cannot start, for a reason that goes by later.
async fn assert_reported_and_recovers(env: &TestEnv, status: Value, reason: &str, words: &[&str]) {
    let _manager: Manager = manager(env).await;
    machine(env, unchecked(template())).await;
    virtual_machine(env).await;
    kubevirt_says(&env.kubevirt("VirtualMachine"), status).await;
    assert_reported(env, reason, words).await;
    run_instance(env).await;
    wait_ready(env, "Ready").await;
}

#[test]
fn bootstrap_data_that_is_missing_is_told_and_heals_when_it_is_there() {
    run(async |env| {
        let _manager = manager(env).await;
        waiting_machine(env, true).await;
        assert_reported(env, "WaitingForBootstrapData", &[NAME, "restore it"]).await;
        bootstrap_data(env).await;
        virtual_machine(env).await;
    });
}

#[test]
fn a_machine_whose_bootstrap_data_has_an_empty_name_waits_like_one_without() {
    run(async |env| {
        let _manager = manager(env).await;
        cluster_with_endpoint(env).await;
        cluster_initialized(env).await;
        let owner = machine_of(env, false).await;
        let empty = json!({"spec": {"bootstrap": {"dataSecretName": ""}}});
        env.merge::<Machine>(NAME, &empty).await;
        infra_machine(env, Some(&owner), unchecked(template())).await;
        wait_ready(env, "WaitingForBootstrapData").await;
        bootstrap_data(env).await;
        machine_of(env, true).await;
        virtual_machine(env).await;
    });
}

#[test]
fn a_template_without_a_vm_is_told_and_heals_when_it_is_written() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, json!({})).await;
        assert_reported(
            env,
            "InvalidTemplate",
            &["spec.virtualMachineTemplate.spec is missing", "set it to"],
        )
        .await;
        let mended = json!({"spec": {"virtualMachineTemplate": {"spec": template()}}});
        env.merge::<KubevirtMachine>(NAME, &mended).await;
        virtual_machine(env).await;
    });
}

#[test]
fn a_virtual_machine_that_is_refused_is_told_and_heals_when_it_is_mended() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(json!({"runStrategy": 5}))).await;
        assert_reported(env, "VMCreateFailed", &["spec.runStrategy"]).await;
        let mended = json!({"spec": {"virtualMachineTemplate": {"spec": template()}}});
        env.merge::<KubevirtMachine>(NAME, &mended).await;
        virtual_machine(env).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
    });
}

#[test]
fn a_vm_that_no_node_has_room_for_is_told_and_heals_when_one_has() {
    run(async |env| {
        let why = "0/1 nodes are available: 1 Insufficient memory.";
        let status = json!({"printableStatus": "ErrorUnschedulable", "conditions": [
            {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"},
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why},
        ]});
        assert_reported_and_recovers(env, status, "Unschedulable", &["cannot be placed", why]).await;
    });
}

#[test]
fn a_vm_whose_image_cannot_be_pulled_is_told_and_heals_when_it_can() {
    run(async |env| {
        let why = "Back-off pulling image \"example.com/worker:1\"";
        let status = json!({"printableStatus": "ImagePullBackOff", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "ImagePullBackOff", "message": why},
        ]});
        assert_reported_and_recovers(env, status, "ImagePullFailed", &["cannot be pulled", why]).await;
    });
}

#[test]
fn a_vm_that_names_a_claim_that_is_not_there_is_told_and_heals_when_it_is() {
    run(async |env| {
        let why = "PVC default/root does not exist, waiting for it to appear";
        let status = json!({"printableStatus": "ErrorPvcNotFound", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "FailedPvcNotFound", "message": why},
        ]});
        assert_reported_and_recovers(env, status, "PVCNotFound", &["a claim that is not there", why]).await;
    });
}

#[test]
fn an_instance_that_kubevirt_refuses_is_told_and_heals_when_it_starts() {
    run(async |env| {
        let why = "Failure while starting VMI: no memory requested";
        let status = json!({"printableStatus": "Stopped", "conditions": [
            {"type": "Failure", "status": "True", "reason": "FailedCreate", "message": why},
            {"type": "Ready", "status": "False", "reason": "VMINotExists", "message": "VMI does not exist"},
        ]});
        assert_reported_and_recovers(env, status, "VMRefused", &["cannot be started", why]).await;
    });
}
