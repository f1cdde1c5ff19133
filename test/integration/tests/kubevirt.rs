//! The infrastructure provider against an API server without KubeVirt's controllers: the test
//! says what KubeVirt would say, rule by rule of Cluster API's infra contracts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use capn_api::{
    Condition, KubevirtCluster, KubevirtMachine,
    cluster_api::{Cluster, Machine},
    condition::find,
};
use capn_integration::{Manager, Options, World, run};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

const NAME: &str = "tenant-md-0-abcde";

async fn manager(world: &World) -> Manager {
    let options = Options {
        controllers: "kubevirt",
        ..Options::default()
    };
    Manager::start_with(world, options).await
}

fn owner(kind: &str, name: &str, uid: Option<String>) -> Value {
    json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

/// A KubevirtCluster, owned as Cluster API's core would have it.
async fn infrastructure(world: &World, annotations: Value) -> KubevirtCluster {
    let cluster = world.get::<Cluster>("tenant").await.unwrap();
    let object = world
        .apply(&json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
            "metadata": {
                "name": "tenant", "annotations": annotations,
                "ownerReferences": owner("Cluster", "tenant", cluster.uid()),
            },
            "spec": {},
        }))
        .await;
    serde_json::from_value(object).unwrap()
}

async fn status<K: capn_integration::Object>(world: &World, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    world
        .api::<K>()
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Cluster, Machine, bootstrap data and KubevirtMachine, as Cluster API would have them.
async fn machine(world: &World, template: Value) {
    world.cluster(json!({})).await;
    let initialized = json!({"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true}});
    status::<Cluster>(world, "tenant", initialized).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME},
        "data": {"value": ByteString(b"#cloud-config\n".to_vec())},
    });
    world.apply(&secret).await;
    let machine = world
        .apply(&json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "metadata": {"name": NAME},
            "spec": {
                "clusterName": "tenant", "version": "v1.36.3", "bootstrap": {"dataSecretName": NAME},
                "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "KubevirtMachine", "name": NAME},
            },
        }))
        .await;
    let uid = machine["metadata"]["uid"].as_str().map(str::to_owned);
    world
        .apply(&json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtMachine",
            "metadata": {
                "name": NAME, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"},
                "ownerReferences": owner("Machine", NAME, uid),
            },
            "spec": {
                "virtualMachineBootstrapCheck": {"checkStrategy": "none"},
                "virtualMachineTemplate": {"spec": template},
            },
        }))
        .await;
}

fn template() -> Value {
    json!({"runStrategy": "Always", "template": {"spec": {
        "domain": {"memory": {"guest": "1Gi"}, "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}},
        "volumes": [{"name": "root", "containerDisk": {"image": "example.com/worker:1"}}],
    }}})
}

fn kubevirt(world: &World, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kubevirt.io", "v1", kind));
    Api::namespaced_with(world.client.clone(), &world.namespace, &resource)
}

async fn virtual_machine(world: &World) -> DynamicObject {
    let vms = kubevirt(world, "VirtualMachine");
    world
        .wait("the VirtualMachine", async || vms.get_opt(NAME).await.unwrap())
        .await
}

/// What KubeVirt does once the guest runs.
async fn run_instance(world: &World) {
    let vm = virtual_machine(world).await;
    let instance = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": NAME, "labels": vm.data["spec"]["template"]["metadata"]["labels"]},
        "spec": {"domain": {"devices": {}}},
        "status": {"phase": "Running", "interfaces": [{"name": "default", "ipAddress": "10.1.2.3", "ipAddresses": ["10.1.2.3"]}]},
    });
    let instances = kubevirt(world, "VirtualMachineInstance");
    instances
        .patch(NAME, &PatchParams::apply("kubevirt"), &Patch::Apply(&instance))
        .await
        .unwrap();
}

async fn wait_ready(world: &World, reason: &str) -> KubevirtMachine {
    let is = |object: &KubevirtMachine| condition(object).is_some_and(|ready| ready.reason == reason);
    world.wait_for(NAME, &format!("Ready with reason {reason}"), is).await
}

fn condition(object: &KubevirtMachine) -> Option<Condition> {
    find(&object.status.as_ref()?.conditions, "Ready").cloned()
}

fn provisioned(object: &KubevirtMachine) -> Option<bool> {
    object.status.as_ref()?.initialization.as_ref()?.provisioned
}

#[test]
fn infrastructure_beside_a_nested_control_plane_is_provisioned_once_the_cluster_has_its_endpoint() {
    run(async |world| {
        let _manager = manager(world).await;
        world.cluster(json!({})).await;
        infrastructure(world, json!({})).await;
        let waits = |object: &KubevirtCluster| {
            let ready = object
                .status
                .as_ref()
                .and_then(|status| find(&status.conditions, "Ready"));
            ready.is_some_and(|ready| ready.reason == "WaitingForControlPlaneEndpoint")
        };
        world.wait_for("tenant", "to wait for the endpoint", waits).await;
        let endpoint = json!({"spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}});
        world.merge::<Cluster>("tenant", &endpoint).await;
        let done = |object: &KubevirtCluster| object.status.as_ref().is_some_and(|status| status.ready);
        let object = world.wait_for("tenant", "to be provisioned", done).await;
        let initialization = object.status.unwrap().initialization.unwrap();
        assert_eq!(initialization.provisioned, Some(true));
        assert_eq!(
            object.spec.control_plane_endpoint, None,
            "the control plane publishes the endpoint"
        );
    });
}

#[test]
fn control_planes_in_vms_are_said_to_be_not_supported() {
    run(async |world| {
        let _manager = manager(world).await;
        let kubeadm =
            json!({"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "tenant"});
        world.cluster(json!({"controlPlaneRef": kubeadm})).await;
        infrastructure(world, json!({})).await;
        let says = |object: &KubevirtCluster| {
            let ready = object
                .status
                .as_ref()
                .and_then(|status| find(&status.conditions, "Ready"));
            ready.is_some_and(|ready| {
                ready.reason == "NotSupported" && ready.message.contains("use a NestedControlPlane")
            })
        };
        world.wait_for("tenant", "to say so", says).await;
    });
}

#[test]
fn infrastructure_that_others_manage_is_left_alone_but_for_the_newer_field() {
    run(async |world| {
        let _manager = manager(world).await;
        world.cluster(json!({})).await;
        infrastructure(world, json!({"cluster.x-k8s.io/managed-by": "others"})).await;
        status::<KubevirtCluster>(world, "tenant", json!({"ready": true})).await;
        let mirrored = |object: &KubevirtCluster| {
            let initialization = object.status.as_ref().and_then(|status| status.initialization.as_ref());
            initialization.is_some_and(|initialization| initialization.provisioned == Some(true))
        };
        let object = world.wait_for("tenant", "to mirror ready", mirrored).await;
        assert_eq!(object.status.unwrap().conditions, []);
    });
}

#[test]
fn a_machine_is_provisioned_with_provider_id_and_addresses_once_its_vm_runs() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, template()).await;
        let vm = virtual_machine(world).await;
        assert!(vm.owner_references().is_empty(), "clusterctl move would follow it");
        let data = world.secret(&format!("{NAME}-userdata")).await.data.unwrap();
        assert_eq!(data["userdata"], ByteString(b"#cloud-config\n".to_vec()));
        let early = wait_ready(world, "VMNotReady").await;
        assert_eq!((provisioned(&early), early.spec.provider_id), (None, None));
        run_instance(world).await;
        let ready = wait_ready(world, "Ready").await;
        assert_eq!(provisioned(&ready), Some(true));
        assert_eq!(ready.spec.provider_id.as_deref(), Some("kubevirt://tenant-md-0-abcde"));
        let addresses: Vec<_> = ready
            .status
            .unwrap()
            .addresses
            .into_iter()
            .map(|address| address.address)
            .collect();
        assert_eq!(addresses, [NAME, "10.1.2.3", "10.1.2.3", NAME]);
    });
}

#[test]
fn a_vm_that_was_removed_by_hand_is_reported_and_not_made_again() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, template()).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        kubevirt(world, "VirtualMachine")
            .delete(NAME, &Default::default())
            .await
            .unwrap();
        let lost = wait_ready(world, "VMDeleted").await;
        assert!(condition(&lost).unwrap().message.contains("delete the Machine"));
        assert_eq!(provisioned(&lost), Some(true), "what was reached once stays");
        assert!(kubevirt(world, "VirtualMachine").get_opt(NAME).await.unwrap().is_none());
    });
}

#[test]
fn a_virtual_machine_that_is_refused_is_a_condition_and_heals() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, json!({"runStrategy": 5})).await;
        let refused = wait_ready(world, "VMCreateFailed").await;
        assert!(
            condition(&refused).unwrap().message.contains("spec.runStrategy"),
            "{refused:?}"
        );
        let mended = json!({"spec": {"virtualMachineTemplate": {"spec": template()}}});
        world.merge::<KubevirtMachine>(NAME, &mended).await;
        virtual_machine(world).await;
    });
}

#[test]
fn a_machine_goes_when_its_cluster_and_machine_are_gone_already() {
    run(async |world| {
        let _manager = manager(world).await;
        machine(world, template()).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        world.delete::<Cluster>("tenant").await;
        world.delete::<Machine>(NAME).await;
        world.delete::<KubevirtMachine>(NAME).await;
        world
            .wait("the VirtualMachine to go", async || {
                let vm = kubevirt(world, "VirtualMachine").get_opt(NAME).await.unwrap();
                vm.is_none().then_some(())
            })
            .await;
        assert!(
            world.get::<KubevirtMachine>(NAME).await.is_some(),
            "the instance still runs"
        );
        kubevirt(world, "VirtualMachineInstance")
            .delete(NAME, &Default::default())
            .await
            .unwrap();
        world.wait_gone::<KubevirtMachine>(NAME).await;
        assert!(world.get::<Secret>(&format!("{NAME}-userdata")).await.is_none());
    });
}

#[test]
fn a_second_pass_over_a_machine_that_runs_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, template()).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        let reference = json!({"nodeRef": {"name": NAME}});
        status::<Machine>(world, NAME, reference).await;
        let registered = |object: &KubevirtMachine| object.status.as_ref().is_some_and(|status| status.nodeupdated);
        world.wait_for(NAME, "the Node to be known", registered).await;
        let before = world.get::<KubevirtMachine>(NAME).await.unwrap().resource_version();
        let passes = manager.passes("KubevirtMachine").await;
        let mark = world.mark();
        world
            .merge::<Machine>(NAME, &json!({"metadata": {"labels": {"touched": "yes"}}}))
            .await;
        world
            .wait("another pass", async || {
                (manager.passes("KubevirtMachine").await > passes).then_some(())
            })
            .await;
        assert_eq!(world.writes(&manager.user, mark), []);
        assert_eq!(
            world.get::<KubevirtMachine>(NAME).await.unwrap().resource_version(),
            before
        );
    });
}
