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
use capn_integration::{KubeVirt, TenantApiServer, World, run};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::json;

/// MUST: `spec.providerID`, `status.addresses` and `status.initialization.provisioned`.
#[test]
fn a_machine_is_provisioned_with_provider_id_and_addresses_once_its_vm_runs() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, unchecked(template())).await;
        let vm = virtual_machine(world).await;
        assert!(vm.owner_references().is_empty(), "clusterctl move would follow it");
        let data = user_data(world).await.unwrap().data.unwrap();
        assert_eq!(data["userdata"], ByteString(b"#cloud-config\n".to_vec()));
        let early = wait_ready(world, "VMNotReady").await;
        assert_eq!((provisioned(&early), early.spec.provider_id), (None, None));
        run_instance(world).await;
        let ready = wait_ready(world, "Ready").await;
        assert_eq!(provisioned(&ready), Some(true));
        assert_eq!(ready.spec.provider_id.as_deref(), Some("kubevirt://tenant-md-0-abcde"));
        assert!(ready.status.unwrap().ready, "older readers look at this");
        let status = world.raw::<KubevirtMachine>(NAME).await["status"].take();
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
    run(async |world| {
        let _manager = manager(world).await;
        let worker = worker(world).await;
        worker_ready(world).await;
        let id = world.get::<KubevirtMachine>(NAME).await.unwrap().spec.provider_id;
        assert_eq!(worker.tenant.node(NAME).unwrap()["spec"]["providerID"], json!(id));
    });
}

#[test]
fn a_machine_waits_for_its_node_to_register_and_says_so() {
    run(async |world| {
        let _manager = manager(world).await;
        let tenant = TenantApiServer::alone(world).await;
        machine(world, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(world).await;
        let waiting = wait_ready(world, "WaitingForNode").await;
        assert_eq!(provisioned(&waiting), Some(true), "the infrastructure is there");
        tenant.register(NAME, json!({}));
        wait_ready(world, "Ready").await;
    });
}

#[test]
fn a_node_with_another_provider_id_is_told_and_left_as_it_is() {
    run(async |world| {
        let _manager = manager(world).await;
        let tenant = TenantApiServer::alone(world).await;
        tenant.register(NAME, json!({"providerID": "other://x"}));
        machine(world, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(world).await;
        let conflict = wait_ready(world, "ProviderIDConflict").await;
        let message = condition(&conflict).unwrap().message;
        assert!(
            message.contains("other://x") && message.contains("replace the Machine"),
            "{message}"
        );
        assert_eq!(tenant.node(NAME).unwrap()["spec"]["providerID"], "other://x");
    });
}

/// Waits for what a machine says that it waits for, and checks that nothing is made meanwhile.
async fn waits(world: &World, reason: &str) {
    let waiting = wait_ready(world, reason).await;
    assert!(!condition(&waiting).unwrap().message.is_empty(), "{waiting:?}");
    let vm = world.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
    assert!(vm.is_none() && user_data(world).await.is_none(), "made during {reason}");
}

/// The contract's workflow: owner Machine, Cluster, its infrastructure, bootstrap data, and only
/// then the VM.
#[test]
fn a_machine_waits_for_owner_cluster_infrastructure_and_bootstrap_data_in_this_order() {
    run(async |world| {
        let _manager = manager(world).await;
        infra_machine(world, None, unchecked(template())).await;
        waits(world, "WaitingForMachine").await;
        let owner = machine_of(world, false).await;
        infra_machine(world, Some(&owner), unchecked(template())).await;
        waits(world, "WaitingForCluster").await;
        cluster_with_endpoint(world).await;
        waits(world, "WaitingForClusterInfrastructure").await;
        let reached = |initialization| json!({"initialization": initialization});
        world
            .merge_status::<Cluster>("tenant", &reached(json!({"infrastructureProvisioned": true})))
            .await;
        waits(world, "WaitingForControlPlaneAvailable").await;
        world
            .merge_status::<Cluster>("tenant", &reached(json!({"controlPlaneInitialized": true})))
            .await;
        waits(world, "WaitingForBootstrapData").await;
        bootstrap_data(world).await;
        machine_of(world, true).await;
        virtual_machine(world).await;
    });
}

/// SHOULD: `status.conditions`; Ready is mirrored in the Machine.
#[test]
fn every_condition_of_a_machine_has_a_reason_and_the_generation_that_it_speaks_of() {
    run(async |world| {
        let _manager = manager(world).await;
        let _worker = worker(world).await;
        worker_ready(world).await;
        let current = |object: &KubevirtMachine| {
            condition(object).is_some_and(|ready| ready.observed_generation == object.metadata.generation)
        };
        let object = world.wait_for(NAME, "Ready of this generation", current).await;
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
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        let vms = world.kubevirt("VirtualMachine");
        vms.delete(NAME, &Default::default()).await.unwrap();
        let lost = wait_ready(world, "VMDeleted").await;
        assert!(condition(&lost).unwrap().message.contains("delete the Machine"));
        world
            .wait_warning::<KubevirtMachine>(NAME, "VMDeleted", &["delete the Machine"])
            .await;
        assert_eq!(provisioned(&lost), Some(true), "what was reached once stays");
        manager.look_again(world).await;
        assert!(vms.get_opt(NAME).await.unwrap().is_none());
    });
}

#[test]
fn a_vm_that_started_again_on_a_fresh_root_disk_is_reported_for_replacement() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, unchecked(template())).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        let instances = world.kubevirt("VirtualMachineInstance");
        instances.delete(NAME, &Default::default()).await.unwrap();
        run_instance(world).await;
        let lost = wait_ready(world, "RootDiskLost").await;
        assert!(condition(&lost).unwrap().message.contains("delete the Machine"));
        assert_eq!(provisioned(&lost), Some(true), "what was reached once stays");
        assert!(!lost.status.unwrap().ready);
    });
}

#[test]
fn a_control_plane_machine_is_said_to_be_not_supported() {
    run(async |world| {
        let _manager = manager(world).await;
        machine_of(world, true).await;
        let label = json!({"metadata": {"labels": {"cluster.x-k8s.io/control-plane": ""}}});
        world.merge::<Machine>(NAME, &label).await;
        machine(world, unchecked(template())).await;
        let refused = wait_ready(world, "NotSupported").await;
        assert!(
            condition(&refused)
                .unwrap()
                .message
                .contains("use a NestedControlPlane")
        );
        world
            .wait_warning::<KubevirtMachine>(NAME, "NotSupported", &["use a NestedControlPlane"])
            .await;
    });
}

#[test]
fn bootstrap_data_that_changes_reaches_the_user_data_and_leaves_the_vm_alone() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        let vm = virtual_machine(world).await;
        let renewed = ByteString(b"#cloud-config\n#renewed\n".to_vec());
        world.merge::<Secret>(NAME, &json!({"data": {"value": renewed}})).await;
        manager.look_again(world).await;
        assert_eq!(user_data(world).await.unwrap().data.unwrap()["userdata"], renewed);
        assert_eq!(virtual_machine(world).await.metadata.generation, vm.metadata.generation);
    });
}
