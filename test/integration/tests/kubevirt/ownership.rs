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
use capn_integration::{TestEnv, run};
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
async fn allow(env: &TestEnv, other: &TestEnv, allowed: bool) {
    let from = allowed.then_some(&env.namespace);
    let labels = json!({"metadata": {"labels": {"infrastructure.cluster.x-k8s.io/allow-vms-from": from}}});
    let namespaces = Api::<Namespace>::all(env.client.clone());
    namespaces
        .patch(&other.namespace, &PatchParams::default(), &Patch::Merge(&labels))
        .await
        .unwrap();
}

#[test]
fn a_vm_goes_into_another_namespace_only_while_its_owner_allows_it() {
    run(async |env| {
        let other = env.sibling().await;
        let manager = manager(env).await;
        machine(env, placed(&other.namespace)).await;
        let refused = wait_ready(env, "NamespaceNotAllowed").await;
        let message = condition(&refused).unwrap().message;
        let label = format!("allow-vms-from={}", env.namespace);
        assert!(
            message.contains(&other.namespace) && message.contains(&label),
            "{message}"
        );
        manager.look_again(env).await;
        assert_eq!(other.list::<Secret>().await, []);
        assert!(other.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap().is_none());

        allow(env, &other, true).await;
        virtual_machine(&other).await;
        assert!(other.get::<Secret>(USER_DATA).await.is_some());
        run_instance(&other).await;
        wait_ready(env, "Ready").await;

        // What is there is kept, and goes with its machine, whether or not it would be allowed now.
        allow(env, &other, false).await;
        manager.look_again(env).await;
        wait_ready(env, "Ready").await;
        env.delete::<KubevirtMachine>(NAME).await;
        other
            .wait("the VirtualMachine to go", async || {
                let vm = other.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
                vm.is_none().then_some(())
            })
            .await;
        let instances = other.kubevirt("VirtualMachineInstance");
        instances.delete(NAME, &Default::default()).await.unwrap();
        env.wait_gone::<KubevirtMachine>(NAME).await;
        assert_eq!(other.list::<Secret>().await, []);
    });
}

#[test]
fn a_namespace_that_allows_another_one_allows_no_third() {
    run(async |env| {
        let (other, third) = (env.sibling().await, env.sibling().await);
        let _manager = manager(env).await;
        allow(&third, &other, true).await;
        machine(env, placed(&other.namespace)).await;
        wait_ready(env, "NamespaceNotAllowed").await;
    });
}

/// Somebody's Secret under the name of the user data.
async fn somebodys_secret(env: &TestEnv) -> Secret {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": USER_DATA}, "stringData": {"password": "x"},
    });
    serde_json::from_value(env.apply(&object).await).unwrap()
}

/// Creates a machine whose user data would overwrite somebody's Secret, and deletes it.
async fn secret_is_left_alone(env: &TestEnv, place: &TestEnv, spec: Value) {
    let manager = manager(env).await;
    let before = somebodys_secret(place).await;
    machine(env, spec).await;
    let taken = wait_ready(env, "NameTaken").await;
    let message = condition(&taken).unwrap().message;
    assert!(
        message.contains(&format!("{}/{USER_DATA}", place.namespace)),
        "{message}"
    );
    env.wait_warning::<KubevirtMachine>(NAME, "NameTaken", &[USER_DATA])
        .await;
    manager.look_again(env).await;
    assert_eq!(place.secret(USER_DATA).await, before);
    let vm = place.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
    assert!(vm.is_none(), "it would boot with somebody's data");
    env.delete::<KubevirtMachine>(NAME).await;
    env.wait_gone::<KubevirtMachine>(NAME).await;
    assert_eq!(place.secret(USER_DATA).await, before);
}

#[test]
fn a_secret_of_somebody_else_does_not_become_user_data() {
    run(async |env| secret_is_left_alone(env, env, unchecked(template())).await);
}

#[test]
fn a_secret_of_somebody_else_in_another_namespace_does_not_become_user_data() {
    run(async |env| {
        let other = env.sibling().await;
        allow(env, &other, true).await;
        secret_is_left_alone(env, &other, placed(&other.namespace)).await;
    });
}

/// Somebody's VirtualMachine under the name of the machine, whose guest runs and which mounts
/// somebody's Secret.
async fn somebodys_vm(env: &TestEnv, labels: Value) -> DynamicObject {
    let mut template = template();
    let volume = json!({"name": "cloudinitvolume", "cloudInitConfigDrive": {"secretRef": {"name": "prod-secret"}}});
    template["template"]["spec"]["volumes"]
        .as_array_mut()
        .unwrap()
        .push(volume);
    template["template"]["metadata"] = json!({"labels": labels});
    let vm = env
        .apply(&json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": NAME, "labels": labels},
            "spec": template,
        }))
        .await;
    run_instance(env).await;
    serde_json::from_value(vm).unwrap()
}

/// A machine whose name is taken by somebody's VirtualMachine with these labels: it neither takes it
/// over, nor tells of it, nor evicts nor deletes it.
async fn vm_is_left_alone(env: &TestEnv, labels: Value) {
    let prod = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prod-secret"}, "stringData": {"userdata": "x"},
    });
    env.apply(&prod).await;
    let vm = somebodys_vm(env, labels).await;
    let instances = env.kubevirt("VirtualMachineInstance");
    let evicted = json!({"spec": {"evictionStrategy": "External"}, "status": {"evacuationNodeName": "node-1"}});
    let instance = instances
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&evicted))
        .await
        .unwrap();
    let manager = manager(env).await;
    machine(env, unchecked(template())).await;
    let taken = wait_ready(env, "NameTaken").await;
    assert!(taken.spec.provider_id.is_none() && taken.status.unwrap().addresses.is_empty());
    manager.look_again(env).await;
    env.delete::<KubevirtMachine>(NAME).await;
    env.wait_gone::<KubevirtMachine>(NAME).await;
    assert_eq!(virtual_machine(env).await.uid(), vm.uid());
    assert_eq!(instances.get(NAME).await.unwrap().uid(), instance.uid());
    env.secret("prod-secret").await;
}

#[test]
fn a_vm_of_somebody_else_is_left_alone() {
    run(async |env| vm_is_left_alone(env, json!({"app": "database"})).await);
}

#[test]
fn a_vm_of_an_earlier_machine_of_the_same_name_is_left_alone() {
    run(async |env| {
        let labels = json!({
            "capk.cluster.x-k8s.io/kubevirt-machine-name": NAME,
            "capk.cluster.x-k8s.io/kubevirt-machine-namespace": env.namespace,
            "capk.cluster.x-k8s.io/kubevirt-machine-uid": "0b5c3a3e",
        });
        vm_is_left_alone(env, labels).await;
    });
}

/// The Go provider's VMs have the labels but no UID.
#[test]
fn a_vm_of_the_go_provider_is_taken_over() {
    run(async |env| {
        let labels = json!({
            "capk.cluster.x-k8s.io/kubevirt-machine-name": NAME,
            "capk.cluster.x-k8s.io/kubevirt-machine-namespace": env.namespace,
        });
        somebodys_vm(env, labels).await;
        let _manager = manager(env).await;
        machine(env, unchecked(template())).await;
        wait_ready(env, "Ready").await;
    });
}

/// A Machine that names this Secret as its bootstrap data, and its KubevirtMachine.
async fn machine_with_data(env: &TestEnv, secret: &str) {
    cluster_with_endpoint(env).await;
    cluster_initialized(env).await;
    let machine = machine_of(env, false).await;
    let named = json!({"spec": {"bootstrap": {"dataSecretName": secret}}});
    env.merge::<Machine>(NAME, &named).await;
    infra_machine(env, Some(&machine), unchecked(template())).await;
}

/// A Secret that the manager may read must not become user data.
async fn not_used(env: &TestEnv, secret: Value) {
    let manager = manager(env).await;
    let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
    env.apply(&secret).await;
    machine_with_data(env, &name).await;
    let refused = wait_ready(env, "InvalidBootstrapData").await;
    assert!(condition(&refused).unwrap().message.contains(&name));
    manager.look_again(env).await;
    assert!(env.get::<Secret>(&format!("{name}-userdata")).await.is_none());
    let vm = env.kubevirt("VirtualMachine").get_opt(NAME).await.unwrap();
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
    run(async |env| not_used(env, readable("neighbour-kubeconfig", "neighbour", json!([]))).await);
}

#[test]
fn the_kubeconfig_of_the_cluster_itself_does_not_become_user_data() {
    run(async |env| not_used(env, readable("tenant-kubeconfig", "tenant", json!([]))).await);
}

#[test]
fn bootstrap_data_of_another_machine_does_not_become_user_data() {
    let owners = json!([{
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "name": "another", "uid": "1",
        "controller": true,
    }]);
    run(async |env| not_used(env, readable("another", "tenant", owners)).await);
}

#[test]
fn any_other_secret_does_not_become_user_data() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}, "stringData": {"value": "password"},
    });
    run(async |env| not_used(env, secret).await);
}

#[test]
fn an_owner_reference_to_a_machine_that_names_another_object_counts_for_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        virtual_machine(env).await;
        let theirs = env.get::<Machine>(NAME).await.unwrap();
        env.apply(&json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtMachine",
            "metadata": {"name": "thief", "ownerReferences": owner("Machine", NAME, theirs.uid())},
            "spec": unchecked(template()),
        }))
        .await;
        let waits = |object: &KubevirtMachine| condition(object).is_some_and(|c| c.reason == "WaitingForMachine");
        env.wait_for("thief", "to wait for its Machine", waits).await;
        manager.look_again_at::<KubevirtMachine>(env, "thief").await;
        assert!(env.kubevirt("VirtualMachine").get_opt("thief").await.unwrap().is_none());
    });
}

/// A machine that the Go provider has running in another cluster.
async fn taken_over(env: &TestEnv) -> KubevirtMachine {
    cluster_with_endpoint(env).await;
    cluster_initialized(env).await;
    bootstrap_data(env).await;
    let owner = machine_of(env, true).await;
    let mut spec = unchecked(template());
    spec["providerID"] = json!(format!("kubevirt://{NAME}"));
    spec["infraClusterSecretRef"] = json!({"name": "elsewhere"});
    infra_machine(env, Some(&owner), spec).await;
    let finalizers = json!({"metadata": {"finalizers": ["kubevirtmachine.infrastructure.cluster.x-k8s.io"]}});
    env.merge::<KubevirtMachine>(NAME, &finalizers).await;
    let ready = json!({
        "ready": true, "nodeupdated": true,
        "addresses": [{"type": "InternalIP", "address": "192.0.2.9"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    env.merge_status::<KubevirtMachine>(NAME, &ready).await;
    env.get(NAME).await.unwrap()
}

#[test]
fn a_machine_in_another_cluster_is_left_as_it_is_and_never_let_go_while_its_vm_lives() {
    run(async |env| {
        let before = taken_over(env).await;
        let manager = manager(env).await;
        env.wait_warning::<KubevirtMachine>(NAME, "NotSupported", &["infraClusterSecretRef"])
            .await;
        manager.look_again(env).await;
        let now = env.get::<KubevirtMachine>(NAME).await.unwrap();
        assert_eq!(
            (now.status, now.metadata.finalizers),
            (before.status, before.metadata.finalizers)
        );
        env.delete::<KubevirtMachine>(NAME).await;
        let deleting = wait_ready(env, "Deleting").await;
        let message = condition(&deleting).unwrap().message;
        assert!(
            message.contains("elsewhere") && message.contains("finalizer"),
            "{message}"
        );
        manager.look_again(env).await;
        assert!(env.get::<KubevirtMachine>(NAME).await.is_some());
    });
}

/// A KubevirtCluster as the Go provider leaves it, with its Service for control planes in VMs.
async fn go_providers_cluster(env: &TestEnv, selector: Value) {
    cluster_with_endpoint(env).await;
    let cluster = env.get::<Cluster>("tenant").await.unwrap();
    env.apply(&json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
        "metadata": {
            "name": "tenant", "ownerReferences": owner("Cluster", "tenant", cluster.uid()),
            "finalizers": ["kubevirtcluster.infrastructure.cluster.x-k8s.io"],
        },
        "spec": {},
    }))
    .await;
    env.apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "tenant-lb", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        "spec": {"ports": [{"port": 6443}], "selector": selector},
    }))
    .await;
    let _manager = manager(env).await;
    env.delete::<KubevirtCluster>("tenant").await;
    env.wait_gone::<KubevirtCluster>("tenant").await;
}

#[test]
fn the_service_that_the_go_provider_made_goes_with_its_cluster() {
    run(async |env| {
        let selector = json!({"cluster.x-k8s.io/role": "control-plane", "cluster.x-k8s.io/cluster-name": "tenant"});
        go_providers_cluster(env, selector).await;
        assert!(env.get::<Service>("tenant-lb").await.is_none());
    });
}

#[test]
fn another_service_of_that_name_stays() {
    run(async |env| {
        go_providers_cluster(env, json!({"app": "x"})).await;
        assert!(env.get::<Service>("tenant-lb").await.is_some());
    });
}

#[test]
fn user_data_is_not_written_again_once_the_guest_has_run() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        // As when a quota is used up: nobody can make a Secret any more.
        env.apply(&json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
            "spec": {"hard": {"count/secrets": "0"}},
        }))
        .await;
        let full = json!({"hard": {"count/secrets": "0"}, "used": {"count/secrets": "2"}});
        env.merge_status::<ResourceQuota>("none", &full).await;
        env.delete::<Secret>(USER_DATA).await;
        let changed = json!({"data": {"value": ByteString(b"#cloud-config\n{}\n".to_vec())}});
        env.merge::<Secret>(NAME, &changed).await;
        manager.look_again(env).await;
        assert!(user_data(env).await.is_none());
        wait_ready(env, "Ready").await;
    });
}

#[test]
fn an_instance_that_outlived_its_vm_goes_with_its_machine() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        // What is left of `kubectl delete vm --cascade=orphan`.
        let (vms, instances) = (env.kubevirt("VirtualMachine"), env.kubevirt("VirtualMachineInstance"));
        vms.delete(NAME, &Default::default()).await.unwrap();
        let orphaned = Patch::Merge(json!({"metadata": {"ownerReferences": []}}));
        instances.patch(NAME, &PatchParams::default(), &orphaned).await.unwrap();
        env.delete::<KubevirtMachine>(NAME).await;
        env.wait_gone::<KubevirtMachine>(NAME).await;
        let instance = env.kubevirt("VirtualMachineInstance").get_opt(NAME).await.unwrap();
        assert!(instance.is_none());
    });
}
