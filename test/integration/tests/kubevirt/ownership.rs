//! Objects that are not a machine's are never written, adopted or deleted, in its own namespace and
//! in others; and what the manager may read but a user may not never becomes user data.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, condition, infra_machine, machine, machine_of,
    manager, owner, run_instance, template, unchecked, user_data, virtual_machine, wait_ready,
};
use capn_api::{
    KubevirtCluster, KubevirtMachine,
    cluster_api::{Cluster, Machine},
};
use capn_integration::{World, run};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, ResourceQuota, Secret, Service},
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

const USER_DATA: &str = "tenant-md-0-abcde-userdata";

/// The spec of a KubevirtMachine whose VM is to be made in another namespace.
fn placed(namespace: &str) -> Value {
    let mut spec = unchecked(template());
    spec["virtualMachineTemplate"]["metadata"] = json!({"namespace": namespace});
    spec
}

/// Lets, or no longer lets, machines of this world have VMs in the other.
async fn allow(world: &World, other: &World, allowed: bool) {
    let from = allowed.then_some(&world.namespace);
    let labels = json!({"metadata": {"labels": {"infrastructure.cluster.x-k8s.io/allow-vms-from": from}}});
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces
        .patch(&other.namespace, &PatchParams::default(), &Patch::Merge(&labels))
        .await
        .unwrap();
}

#[test]
fn a_vm_goes_into_another_namespace_only_while_its_owner_allows_it() {
    run(async |world| {
        let other = world.beside().await;
        let manager = manager(world).await;
        machine(world, placed(&other.namespace)).await;
        let refused = wait_ready(world, "NamespaceNotAllowed").await;
        let message = condition(&refused).unwrap().message;
        let label = format!("allow-vms-from={}", world.namespace);
        assert!(
            message.contains(&other.namespace) && message.contains(&label),
            "{message}"
        );
        manager.look_again(world).await;
        assert_eq!(other.list::<Secret>().await, []);
        assert!(other.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap().is_none());

        allow(world, &other, true).await;
        virtual_machine(&other).await;
        assert!(other.get::<Secret>(USER_DATA).await.is_some());
        run_instance(&other).await;
        wait_ready(world, "Ready").await;

        // What is there is kept, and goes with its machine, whether or not it would be allowed now.
        allow(world, &other, false).await;
        manager.look_again(world).await;
        wait_ready(world, "Ready").await;
        world.delete::<KubevirtMachine>(NAME).await;
        other
            .wait("the VirtualMachine to go", async || {
                let vm = other.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
                vm.is_none().then_some(())
            })
            .await;
        let instances = other.kubevirt("VirtualMachineInstance");
        instances.delete(NAME, &Default::default()).await.unwrap();
        world.wait_gone::<KubevirtMachine>(NAME).await;
        assert_eq!(other.list::<Secret>().await, []);
    });
}

#[test]
fn a_namespace_that_allows_another_one_allows_no_third() {
    run(async |world| {
        let (other, third) = (world.beside().await, world.beside().await);
        let _manager = manager(world).await;
        allow(&third, &other, true).await;
        machine(world, placed(&other.namespace)).await;
        wait_ready(world, "NamespaceNotAllowed").await;
    });
}

/// Somebody's Secret under the name of the user data.
async fn somebodys_secret(world: &World) -> Secret {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": USER_DATA}, "stringData": {"password": "x"},
    });
    serde_json::from_value(world.apply(&object).await).unwrap()
}

/// Creates a machine whose user data would overwrite somebody's Secret, and deletes it.
async fn secret_is_left_alone(world: &World, place: &World, spec: Value) {
    let manager = manager(world).await;
    let before = somebodys_secret(place).await;
    machine(world, spec).await;
    let taken = wait_ready(world, "NameTaken").await;
    let message = condition(&taken).unwrap().message;
    assert!(
        message.contains(&format!("{}/{USER_DATA}", place.namespace)),
        "{message}"
    );
    world
        .wait_warning::<KubevirtMachine>(NAME, "NameTaken", &[USER_DATA])
        .await;
    manager.look_again(world).await;
    assert_eq!(place.secret(USER_DATA).await, before);
    let vm = place.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
    assert!(vm.is_none(), "it would boot with somebody's data");
    world.delete::<KubevirtMachine>(NAME).await;
    world.wait_gone::<KubevirtMachine>(NAME).await;
    assert_eq!(place.secret(USER_DATA).await, before);
}

#[test]
fn a_secret_of_somebody_else_does_not_become_user_data() {
    run(async |world| secret_is_left_alone(world, world, unchecked(template())).await);
}

#[test]
fn a_secret_of_somebody_else_in_another_namespace_does_not_become_user_data() {
    run(async |world| {
        let other = world.beside().await;
        allow(world, &other, true).await;
        secret_is_left_alone(world, &other, placed(&other.namespace)).await;
    });
}

/// Somebody's VirtualMachine under the name of the machine, whose guest runs and which mounts
/// somebody's Secret.
async fn somebodys_vm(world: &World, labels: Value) -> DynamicObject {
    let mut template = template();
    let volume = json!({"name": "cloudinitvolume", "cloudInitConfigDrive": {"secretRef": {"name": "prod-secret"}}});
    template["template"]["spec"]["volumes"]
        .as_array_mut()
        .unwrap()
        .push(volume);
    template["template"]["metadata"] = json!({"labels": labels});
    let vm = world
        .apply(&json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": NAME, "labels": labels},
            "spec": template,
        }))
        .await;
    run_instance(world).await;
    serde_json::from_value(vm).unwrap()
}

/// A machine whose name is taken by somebody's VirtualMachine with these labels: it neither takes it
/// over, nor tells of it, nor evicts nor deletes it.
async fn vm_is_left_alone(world: &World, labels: Value) {
    let prod = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prod-secret"}, "stringData": {"userdata": "x"},
    });
    world.apply(&prod).await;
    let vm = somebodys_vm(world, labels).await;
    let instances = world.kubevirt("VirtualMachineInstance");
    let evicted = json!({"spec": {"evictionStrategy": "External"}, "status": {"evacuationNodeName": "node-1"}});
    let instance = instances
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&evicted))
        .await
        .unwrap();
    let manager = manager(world).await;
    machine(world, unchecked(template())).await;
    let taken = wait_ready(world, "NameTaken").await;
    assert!(taken.spec.provider_id.is_none() && taken.status.unwrap().addresses.is_empty());
    manager.look_again(world).await;
    world.delete::<KubevirtMachine>(NAME).await;
    world.wait_gone::<KubevirtMachine>(NAME).await;
    assert_eq!(virtual_machine(world).await.uid(), vm.uid());
    assert_eq!(instances.get(NAME).await.unwrap().uid(), instance.uid());
    world.secret("prod-secret").await;
}

#[test]
fn a_vm_of_somebody_else_is_left_alone() {
    run(async |world| vm_is_left_alone(world, json!({"app": "database"})).await);
}

#[test]
fn a_vm_of_an_earlier_machine_of_the_same_name_is_left_alone() {
    run(async |world| {
        let labels = json!({
            "capk.cluster.x-k8s.io/kubevirt-machine-name": NAME,
            "capk.cluster.x-k8s.io/kubevirt-machine-namespace": world.namespace,
            "capk.cluster.x-k8s.io/kubevirt-machine-uid": "0b5c3a3e",
        });
        vm_is_left_alone(world, labels).await;
    });
}

/// The Go provider's VMs have the labels but no UID.
#[test]
fn a_vm_of_the_go_provider_is_taken_over() {
    run(async |world| {
        let labels = json!({
            "capk.cluster.x-k8s.io/kubevirt-machine-name": NAME,
            "capk.cluster.x-k8s.io/kubevirt-machine-namespace": world.namespace,
        });
        somebodys_vm(world, labels).await;
        let _manager = manager(world).await;
        machine(world, unchecked(template())).await;
        wait_ready(world, "Ready").await;
    });
}

/// A Machine that names this Secret as its bootstrap data, and its KubevirtMachine.
async fn machine_with_data(world: &World, secret: &str) {
    cluster_with_endpoint(world).await;
    cluster_initialized(world).await;
    let machine = machine_of(world, false).await;
    let named = json!({"spec": {"bootstrap": {"dataSecretName": secret}}});
    world.merge::<Machine>(NAME, &named).await;
    infra_machine(world, Some(&machine), unchecked(template())).await;
}

/// A Secret that the manager may read must not become user data.
async fn not_used(world: &World, secret: Value) {
    let manager = manager(world).await;
    let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
    world.apply(&secret).await;
    machine_with_data(world, &name).await;
    let refused = wait_ready(world, "InvalidBootstrapData").await;
    assert!(condition(&refused).unwrap().message.contains(&name));
    manager.look_again(world).await;
    assert!(world.get::<Secret>(&format!("{name}-userdata")).await.is_none());
    let vm = world.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
    assert!(vm.is_none());
}

fn readable(name: &str, cluster: &str, owners: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": cluster}, "ownerReferences": owners},
        "data": {"value": ByteString(b"somebody's kubeconfig".to_vec())},
    })
}

#[test]
fn the_kubeconfig_of_a_neighbour_does_not_become_user_data() {
    run(async |world| not_used(world, readable("neighbour-kubeconfig", "neighbour", json!([]))).await);
}

#[test]
fn the_kubeconfig_of_the_cluster_itself_does_not_become_user_data() {
    run(async |world| not_used(world, readable("tenant-kubeconfig", "tenant", json!([]))).await);
}

#[test]
fn bootstrap_data_of_another_machine_does_not_become_user_data() {
    let owners = json!([{
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "name": "another", "uid": "1",
        "controller": true,
    }]);
    run(async |world| not_used(world, readable("another", "tenant", owners)).await);
}

#[test]
fn any_other_secret_does_not_become_user_data() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}, "stringData": {"value": "password"},
    });
    run(async |world| not_used(world, secret).await);
}

#[test]
fn an_owner_reference_to_a_machine_that_names_another_object_counts_for_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        virtual_machine(world).await;
        let theirs = world.get::<Machine>(NAME).await.unwrap();
        world
            .apply(&json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtMachine",
                "metadata": {"name": "thief", "ownerReferences": owner("Machine", NAME, theirs.uid())},
                "spec": unchecked(template()),
            }))
            .await;
        let waits = |object: &KubevirtMachine| condition(object).is_some_and(|c| c.reason == "WaitingForMachine");
        world.wait_for("thief", "to wait for its Machine", waits).await;
        manager.look_again_at::<KubevirtMachine>(world, "thief").await;
        assert!(
            world
                .kubevirt("VirtualMachine")
                .get_opt("thief")
                .await
                .unwrap()
                .is_none()
        );
    });
}

/// A machine that the Go provider has running in another cluster.
async fn taken_over(world: &World) -> KubevirtMachine {
    cluster_with_endpoint(world).await;
    cluster_initialized(world).await;
    bootstrap_data(world).await;
    let owner = machine_of(world, true).await;
    let mut spec = unchecked(template());
    spec["providerID"] = json!(format!("kubevirt://{NAME}"));
    spec["infraClusterSecretRef"] = json!({"name": "elsewhere"});
    infra_machine(world, Some(&owner), spec).await;
    let finalizers = json!({"metadata": {"finalizers": ["kubevirtmachine.infrastructure.cluster.x-k8s.io"]}});
    world.merge::<KubevirtMachine>(NAME, &finalizers).await;
    let ready = json!({
        "ready": true, "nodeupdated": true,
        "addresses": [{"type": "InternalIP", "address": "192.0.2.9"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    world.merge_status::<KubevirtMachine>(NAME, &ready).await;
    world.get(NAME).await.unwrap()
}

#[test]
fn a_machine_in_another_cluster_is_left_as_it_is_and_never_let_go_while_its_vm_lives() {
    run(async |world| {
        let before = taken_over(world).await;
        let manager = manager(world).await;
        world
            .wait_warning::<KubevirtMachine>(NAME, "NotSupported", &["infraClusterSecretRef"])
            .await;
        manager.look_again(world).await;
        let now = world.get::<KubevirtMachine>(NAME).await.unwrap();
        assert_eq!(
            (now.status, now.metadata.finalizers),
            (before.status, before.metadata.finalizers)
        );
        world.delete::<KubevirtMachine>(NAME).await;
        let deleting = wait_ready(world, "Deleting").await;
        let message = condition(&deleting).unwrap().message;
        assert!(
            message.contains("elsewhere") && message.contains("finalizer"),
            "{message}"
        );
        manager.look_again(world).await;
        assert!(world.get::<KubevirtMachine>(NAME).await.is_some());
    });
}

/// A KubevirtCluster as the Go provider leaves it, with its Service for control planes in VMs.
async fn go_providers_cluster(world: &World, selector: Value) {
    cluster_with_endpoint(world).await;
    let cluster = world.get::<Cluster>("tenant").await.unwrap();
    world
        .apply(&json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
            "metadata": {
                "name": "tenant", "ownerReferences": owner("Cluster", "tenant", cluster.uid()),
                "finalizers": ["kubevirtcluster.infrastructure.cluster.x-k8s.io"],
            },
            "spec": {},
        }))
        .await;
    world
        .apply(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "tenant-lb", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
            "spec": {"ports": [{"port": 6443}], "selector": selector},
        }))
        .await;
    let _manager = manager(world).await;
    world.delete::<KubevirtCluster>("tenant").await;
    world.wait_gone::<KubevirtCluster>("tenant").await;
}

#[test]
fn the_service_that_the_go_provider_made_goes_with_its_cluster() {
    run(async |world| {
        let selector = json!({"cluster.x-k8s.io/role": "control-plane", "cluster.x-k8s.io/cluster-name": "tenant"});
        go_providers_cluster(world, selector).await;
        assert!(world.get::<Service>("tenant-lb").await.is_none());
    });
}

#[test]
fn another_service_of_that_name_stays() {
    run(async |world| {
        go_providers_cluster(world, json!({"app": "x"})).await;
        assert!(world.get::<Service>("tenant-lb").await.is_some());
    });
}

#[test]
fn user_data_is_not_written_again_once_the_guest_has_run() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        // As when a quota is used up: nobody can make a Secret any more.
        world
            .apply(&json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
                "spec": {"hard": {"count/secrets": "0"}},
            }))
            .await;
        let full = json!({"hard": {"count/secrets": "0"}, "used": {"count/secrets": "2"}});
        world.merge_status::<ResourceQuota>("none", &full).await;
        world.delete::<Secret>(USER_DATA).await;
        let changed = json!({"data": {"value": ByteString(b"#cloud-config\n{}\n".to_vec())}});
        world.merge::<Secret>(NAME, &changed).await;
        manager.look_again(world).await;
        assert!(user_data(world).await.is_none());
        wait_ready(world, "Ready").await;
    });
}

#[test]
fn an_instance_that_outlived_its_vm_goes_with_its_machine() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, unchecked(template())).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        // What is left of `kubectl delete vm --cascade=orphan`.
        let (vms, instances) = (
            world.kubevirt("VirtualMachine"),
            world.kubevirt("VirtualMachineInstance"),
        );
        vms.delete(NAME, &Default::default()).await.unwrap();
        let orphaned = Patch::Merge(json!({"metadata": {"ownerReferences": []}}));
        instances.patch(NAME, &PatchParams::default(), &orphaned).await.unwrap();
        world.delete::<KubevirtMachine>(NAME).await;
        world.wait_gone::<KubevirtMachine>(NAME).await;
        let instance = world.kubevirt("VirtualMachineInstance").get_opt(NAME).await.unwrap();
        assert!(instance.is_none());
    });
}
