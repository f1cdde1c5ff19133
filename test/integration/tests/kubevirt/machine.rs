//! Rules of docs/book/src/developer/providers/contracts/infra-machine.md that can be seen without
//! VMs. Those of the CRDs themselves are in the tests of admission.

use super::{
    NAME, bootstrap_data, cluster_with_endpoint, condition, infra_machine, machine, machine_of, manager, provisioned,
    run_instance, template, unchecked, user_data, virtual_machine, wait_ready, worker, worker_ready,
};
use capn_api::{
    KubevirtMachine,
    cluster_api::{Cluster, Machine},
};
use capn_integration::{KubeVirt, TenantApiServer, TestEnv, run};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::json;

/// MUST: `spec.providerID`, `status.addresses` and `status.initialization.provisioned`.
#[test]
fn a_machine_is_provisioned_with_provider_id_and_addresses_once_its_vm_runs() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(template())).await;
        let vm = virtual_machine(env).await;
        assert!(vm.owner_references().is_empty(), "clusterctl move would follow it");
        let data = user_data(env).await.unwrap().data.unwrap();
        assert_eq!(data["userdata"], ByteString(b"#cloud-config\n".to_vec()));
        let early = wait_ready(env, "VMNotReady").await;
        assert_eq!((provisioned(&early), early.spec.provider_id), (None, None));
        run_instance(env).await;
        let ready = wait_ready(env, "Ready").await;
        assert_eq!(provisioned(&ready), Some(true));
        assert_eq!(ready.spec.provider_id.as_deref(), Some("kubevirt://tenant-md-0-abcde"));
        assert!(ready.status.unwrap().ready, "older readers look at this");
        let status = env.raw::<KubevirtMachine>(NAME).await["status"].take();
        assert_eq!(status["initialization"], json!({"provisioned": true}));
        let ip = KubeVirt::ADDRESS;
        let addresses = [
            ("Hostname", NAME),
            ("InternalIP", ip),
            ("ExternalIP", ip),
            ("InternalDNS", NAME),
        ];
        let addresses = addresses.map(|(type_, address)| json!({"type": type_, "address": address}));
        assert_eq!(status["addresses"], json!(addresses));
    });
}

/// MUST: `spec.providerID` is the Node's own.
#[test]
fn the_node_gets_the_provider_id_of_its_machine_where_it_has_none() {
    run(async |env| {
        let _manager = manager(env).await;
        let worker = worker(env).await;
        worker_ready(env).await;
        let id = env.get::<KubevirtMachine>(NAME).await.unwrap().spec.provider_id;
        assert_eq!(worker.tenant.node(NAME).unwrap()["spec"]["providerID"], json!(id));
    });
}

#[test]
fn a_machine_waits_for_its_node_to_register_and_says_so() {
    run(async |env| {
        let _manager = manager(env).await;
        let tenant = TenantApiServer::alone(env).await;
        machine(env, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(env).await;
        let waiting = wait_ready(env, "WaitingForNode").await;
        assert_eq!(provisioned(&waiting), Some(true), "the infrastructure is there");
        tenant.register(NAME, json!({}));
        wait_ready(env, "Ready").await;
    });
}

#[test]
fn a_node_with_another_provider_id_is_told_and_left_as_it_is() {
    run(async |env| {
        let _manager = manager(env).await;
        let tenant = TenantApiServer::alone(env).await;
        tenant.register(NAME, json!({"providerID": "other://x"}));
        machine(env, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(env).await;
        let conflict = wait_ready(env, "ProviderIDConflict").await;
        let message = condition(&conflict).unwrap().message;
        assert!(
            message.contains("other://x") && message.contains("replace the Machine"),
            "{message}"
        );
        assert_eq!(tenant.node(NAME).unwrap()["spec"]["providerID"], "other://x");
    });
}

/// Waits for what a machine says that it waits for, and checks that nothing is made meanwhile.
async fn waits(env: &TestEnv, reason: &str) {
    let waiting = wait_ready(env, reason).await;
    assert!(!condition(&waiting).unwrap().message.is_empty(), "{waiting:?}");
    let vm = env.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
    assert!(vm.is_none() && user_data(env).await.is_none(), "made during {reason}");
}

/// The contract's workflow: owner Machine, Cluster, its infrastructure, bootstrap data, and only
/// then the VM.
#[test]
fn a_machine_waits_for_owner_cluster_infrastructure_and_bootstrap_data_in_this_order() {
    run(async |env| {
        let _manager = manager(env).await;
        infra_machine(env, None, unchecked(template())).await;
        waits(env, "WaitingForMachine").await;
        let owner = machine_of(env, false).await;
        infra_machine(env, Some(&owner), unchecked(template())).await;
        waits(env, "WaitingForCluster").await;
        cluster_with_endpoint(env).await;
        waits(env, "WaitingForClusterInfrastructure").await;
        let reached = |initialization| json!({"initialization": initialization});
        env.merge_status::<Cluster>("tenant", &reached(json!({"infrastructureProvisioned": true})))
            .await;
        waits(env, "WaitingForControlPlaneAvailable").await;
        env.merge_status::<Cluster>("tenant", &reached(json!({"controlPlaneInitialized": true})))
            .await;
        waits(env, "WaitingForBootstrapData").await;
        bootstrap_data(env).await;
        machine_of(env, true).await;
        virtual_machine(env).await;
    });
}

/// SHOULD: `status.conditions`; Ready is mirrored in the Machine.
#[test]
fn every_condition_of_a_machine_has_a_reason_and_the_generation_that_it_speaks_of() {
    run(async |env| {
        let _manager = manager(env).await;
        let _worker = worker(env).await;
        worker_ready(env).await;
        let current = |object: &KubevirtMachine| {
            condition(object).is_some_and(|ready| ready.observed_generation == object.metadata.generation)
        };
        let object = env.wait_for(NAME, "Ready of this generation", current).await;
        let generation = object.metadata.generation;
        let conditions = object.status.unwrap().conditions;
        let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(
            types,
            ["BootstrapExecSucceeded", "Deleting", "Paused", "Ready", "VMProvisioned"]
        );
        for condition in conditions {
            assert!(!condition.reason.is_empty(), "{condition:?}");
            assert_eq!(condition.observed_generation, generation, "{condition:?}");
        }
    });
}

#[test]
fn a_vm_that_was_removed_by_hand_is_reported_and_not_made_again() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        let vms = env.kubevirt("VirtualMachine");
        vms.delete(NAME, &Default::default()).await.unwrap();
        let lost = wait_ready(env, "VMDeleted").await;
        assert!(condition(&lost).unwrap().message.contains("delete the Machine"));
        env.wait_warning::<KubevirtMachine>(NAME, "VMDeleted", &["delete the Machine"])
            .await;
        assert_eq!(provisioned(&lost), Some(true), "what was reached once stays");
        manager.look_again(env).await;
        assert!(vms.get_opt(NAME).await.unwrap().is_none());
    });
}

#[test]
fn a_vm_that_started_again_on_a_fresh_root_disk_is_reported_for_replacement() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        let instances = env.kubevirt("VirtualMachineInstance");
        instances.delete(NAME, &Default::default()).await.unwrap();
        run_instance(env).await;
        let lost = wait_ready(env, "RootDiskLost").await;
        assert!(condition(&lost).unwrap().message.contains("delete the Machine"));
        assert_eq!(provisioned(&lost), Some(true), "what was reached once stays");
        assert!(!lost.status.unwrap().ready);
    });
}

#[test]
fn a_control_plane_machine_is_said_to_be_not_supported() {
    run(async |env| {
        let _manager = manager(env).await;
        machine_of(env, true).await;
        let label = json!({"metadata": {"labels": {"cluster.x-k8s.io/control-plane": ""}}});
        env.merge::<Machine>(NAME, &label).await;
        machine(env, unchecked(template())).await;
        let refused = wait_ready(env, "NotSupported").await;
        assert!(
            condition(&refused)
                .unwrap()
                .message
                .contains("use a NestedControlPlane")
        );
        env.wait_warning::<KubevirtMachine>(NAME, "NotSupported", &["use a NestedControlPlane"])
            .await;
    });
}

#[test]
fn bootstrap_data_that_changes_reaches_the_user_data_and_leaves_the_vm_alone() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        let vm = virtual_machine(env).await;
        let renewed = ByteString(b"#cloud-config\n#renewed\n".to_vec());
        env.merge::<Secret>(NAME, &json!({"data": {"value": renewed}})).await;
        manager.look_again(env).await;
        assert_eq!(user_data(env).await.unwrap().data.unwrap()["userdata"], renewed);
        assert_eq!(virtual_machine(env).await.metadata.generation, vm.metadata.generation);
    });
}
