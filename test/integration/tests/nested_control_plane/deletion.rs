//! Deletion leaves nothing but what a person brought or asked to keep, in whatever order.

use super::{Running, running};
use capn_api::{
    NestedControlPlane,
    cluster_api::{Cluster, Machine},
    nested_control_plane::FINALIZER,
};
use capn_integration::{Manager, World, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// What is left in the namespace, by kind and name. Nothing collects garbage here, so what a
/// manager leaves to the garbage collector shows too.
async fn left(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    fn add<K: kube::Resource<DynamicType = ()>>(all: &mut Vec<String>, objects: Vec<K>) {
        all.extend(
            objects
                .iter()
                .map(|object| format!("{}/{}", K::kind(&()), object.name_any())),
        );
    }
    add(&mut all, world.list::<NestedControlPlane>().await);
    add(&mut all, world.list::<Deployment>().await);
    add(&mut all, world.list::<StatefulSet>().await);
    add(&mut all, world.list::<Pod>().await);
    add(&mut all, world.list::<PodDisruptionBudget>().await);
    add(&mut all, world.list::<Service>().await);
    add(&mut all, world.list::<PersistentVolumeClaim>().await);
    add(&mut all, world.list::<Secret>().await);
    all
}

async fn deleted(world: &World, running: &Running) {
    world.delete::<NestedControlPlane>("tenant").await;
    world.wait_gone::<NestedControlPlane>("tenant").await;
    running.manager.assert_runs();
}

#[test]
fn the_finalizer_is_the_first_thing_that_is_written() {
    run(async |world| {
        let manager = Manager::start(world).await;
        let mark = world.mark();
        world.tenant().await;
        world
            .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        let writes = world.writes(&manager.user, mark);
        let first = writes
            .iter()
            .find(|write| write.resource != "nestedcontrolplanes/status")
            .unwrap();
        assert_eq!(
            (first.resource.as_str(), first.verb.as_str()),
            ("nestedcontrolplanes", "patch"),
            "{writes:?}"
        );
        assert!(
            world
                .ncp()
                .await
                .finalizers()
                .iter()
                .any(|finalizer| finalizer == FINALIZER)
        );
    });
}

#[test]
fn a_control_plane_that_is_deleted_leaves_nothing() {
    run(async |world| {
        let etcd = json!({"etcd": {"replicas": 3}});
        let running = running(world, json!({}), json!({"replicas": 2, "datastore": etcd})).await;
        world
            .wait_for::<PodDisruptionBudget>("tenant-etcd", "to be there", |_| true)
            .await;
        deleted(world, &running).await;
        assert_eq!(left(world).await, Vec::<String>::new());
    });
}

#[test]
fn the_secrets_of_a_person_stay() {
    run(async |world| {
        let pair = json!({"tls.crt": include_str!("../data/ec.crt"), "tls.key": include_str!("../data/ec-sec1.key")});
        let secret = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "stringData": data,
                "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
            })
        };
        world.apply(&secret("tenant-ca", pair)).await;
        world.apply(&secret("unrelated", json!({"a": "b"}))).await;
        let before = [world.secret("tenant-ca").await, world.secret("unrelated").await];
        let running = running(world, json!({}), json!({})).await;
        deleted(world, &running).await;
        assert_eq!(left(world).await, ["Secret/tenant-ca", "Secret/unrelated"]);
        assert_eq!(
            [world.secret("tenant-ca").await, world.secret("unrelated").await],
            before
        );
    });
}

#[test]
fn volumes_stay_when_the_spec_says_retain() {
    run(async |world| {
        let retain = json!({"etcd": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}});
        let running = running(world, json!({}), json!({"datastore": retain})).await;
        deleted(world, &running).await;
        assert_eq!(left(world).await, ["PersistentVolumeClaim/data-tenant-etcd-0"]);
    });
}

#[test]
fn a_cluster_that_is_gone_already_holds_nothing_up() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        world.delete::<Cluster>("tenant").await;
        world.wait_gone::<Cluster>("tenant").await;
        deleted(world, &running).await;
        assert_eq!(left(world).await, Vec::<String>::new());
    });
}

#[test]
fn a_control_plane_that_never_had_a_cluster_can_be_deleted() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world
            .apply(&json!({
                "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
                "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3"},
            }))
            .await;
        world.wait_condition("Available", "False").await;
        world.delete::<NestedControlPlane>("tenant").await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_paused_control_plane_is_not_deleted_before_it_is_resumed() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        let paused = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        world.merge::<NestedControlPlane>("tenant", &paused(json!(""))).await;
        world.wait_condition("Paused", "True").await;
        world.delete::<NestedControlPlane>("tenant").await;
        running.manager.look_again(world).await;
        assert!(
            world.get::<Deployment>("tenant-apiserver").await.is_some(),
            "deleted although paused"
        );
        world.merge::<NestedControlPlane>("tenant", &paused(Value::Null)).await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(world).await, Vec::<String>::new());
    });
}

/// A worker Machine, which a deletion waits for.
async fn worker(world: &World) {
    world.apply(&json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
        "metadata": {"name": "worker", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        "spec": {
            "clusterName": "tenant", "bootstrap": {"dataSecretName": "bootstrap"},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "KubevirtMachine", "name": "worker"},
        },
    }))
    .await;
}

#[test]
fn workers_leave_before_their_api_server_goes() {
    run(async |world| {
        let _running = running(world, json!({}), json!({})).await;
        worker(world).await;
        world.delete::<NestedControlPlane>("tenant").await;
        let deleting = world.wait_condition("Deleting", "True").await;
        assert!(deleting.message.contains("Machine worker"), "{deleting:?}");
        let kept = world.get::<Deployment>("tenant-apiserver").await;
        assert!(kept.is_some_and(|deployment| deployment.metadata.deletion_timestamp.is_none()));
        world.delete::<Machine>("worker").await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(world).await, Vec::<String>::new());
    });
}

#[test]
fn workloads_that_have_lost_their_labels_go_with_their_control_plane() {
    run(async |world| {
        let _running = running(world, json!({}), json!({})).await;
        worker(world).await;
        world.delete::<NestedControlPlane>("tenant").await;
        world.wait_condition("Deleting", "True").await;
        let unlabelled = json!({"metadata": {"labels": Value::Null}});
        for name in ["tenant-apiserver", "tenant-controllers"] {
            world.merge::<Deployment>(name, &unlabelled).await;
        }
        world.merge::<StatefulSet>("tenant-etcd", &unlabelled).await;
        world.delete::<Machine>("worker").await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(world).await, Vec::<String>::new());
    });
}

#[test]
fn a_control_plane_with_a_wrong_authority_can_be_deleted() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "stringData": {"tls.crt": "nonsense"},
            "metadata": {"name": "tenant-ca", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        }))
        .await;
        world.tenant().await;
        world.wait_condition("CertificatesValid", "False").await;
        world.delete::<NestedControlPlane>("tenant").await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(world).await, ["Secret/tenant-ca"]);
    });
}
