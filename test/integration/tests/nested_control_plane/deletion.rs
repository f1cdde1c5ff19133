//! Deletion leaves nothing but what a user brought or asked to keep, in whatever order.

use super::{Running, running};
use capn_api::{
    NestedControlPlane,
    cluster_api::{Cluster, Machine},
    nested_control_plane::FINALIZER,
};
use capn_integration::{Manager, TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// What is left in the namespace, by kind and name. Nothing collects garbage here, so what a
/// manager leaves to the garbage collector shows too.
async fn left(env: &TestEnv) -> Vec<String> {
    let mut all = Vec::new();
    fn add<K: kube::Resource<DynamicType = ()>>(all: &mut Vec<String>, objects: Vec<K>) {
        all.extend(
            objects
                .iter()
                .map(|object| format!("{}/{}", K::kind(&()), object.name_any())),
        );
    }
    add(&mut all, env.list::<NestedControlPlane>().await);
    add(&mut all, env.list::<Deployment>().await);
    add(&mut all, env.list::<StatefulSet>().await);
    add(&mut all, env.list::<Pod>().await);
    add(&mut all, env.list::<PodDisruptionBudget>().await);
    add(&mut all, env.list::<Service>().await);
    add(&mut all, env.list::<PersistentVolumeClaim>().await);
    add(&mut all, env.list::<Secret>().await);
    all
}

async fn deleted(env: &TestEnv, running: &Running) {
    env.delete::<NestedControlPlane>("tenant").await;
    env.wait_gone::<NestedControlPlane>("tenant").await;
    running.manager.assert_runs();
}

#[test]
fn the_finalizer_is_the_first_thing_that_is_written() {
    run(async |env| {
        let manager = Manager::start(env).await;
        let mark = env.mark();
        env.tenant().await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        let writes = env.writes(&manager.user, mark);
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
            env.ncp()
                .await
                .finalizers()
                .iter()
                .any(|finalizer| finalizer == FINALIZER)
        );
    });
}

#[test]
fn a_control_plane_that_is_deleted_leaves_nothing() {
    run(async |env| {
        let etcd = json!({"etcd": {"replicas": 3}});
        let running = running(env, json!({}), json!({"replicas": 2, "datastore": etcd})).await;
        env.wait_for::<PodDisruptionBudget>("tenant-etcd", "to be there", |_| true)
            .await;
        deleted(env, &running).await;
        assert_eq!(left(env).await, Vec::<String>::new());
    });
}

#[test]
fn the_secrets_of_a_user_stay() {
    run(async |env| {
        let pair = json!({"tls.crt": include_str!("../data/ec.crt"), "tls.key": include_str!("../data/ec-sec1.key")});
        let secret = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "stringData": data,
                "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
            })
        };
        env.apply(&secret("tenant-ca", pair)).await;
        env.apply(&secret("unrelated", json!({"a": "b"}))).await;
        let before = [env.secret("tenant-ca").await, env.secret("unrelated").await];
        let running = running(env, json!({}), json!({})).await;
        deleted(env, &running).await;
        assert_eq!(left(env).await, ["Secret/tenant-ca", "Secret/unrelated"]);
        assert_eq!([env.secret("tenant-ca").await, env.secret("unrelated").await], before);
    });
}

#[test]
fn volumes_stay_when_the_spec_says_retain() {
    run(async |env| {
        let retain = json!({"etcd": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}});
        let running = running(env, json!({}), json!({"datastore": retain})).await;
        deleted(env, &running).await;
        assert_eq!(left(env).await, ["PersistentVolumeClaim/data-tenant-etcd-0"]);
    });
}

#[test]
fn a_cluster_that_is_gone_already_holds_nothing_up() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        env.delete::<Cluster>("tenant").await;
        env.wait_gone::<Cluster>("tenant").await;
        deleted(env, &running).await;
        assert_eq!(left(env).await, Vec::<String>::new());
    });
}

#[test]
fn a_control_plane_that_never_had_a_cluster_can_be_deleted() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.apply(&json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3"},
        }))
        .await;
        env.wait_condition("Available", "False").await;
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_paused_control_plane_is_not_deleted_before_it_is_resumed() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let paused = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        env.merge::<NestedControlPlane>("tenant", &paused(json!(""))).await;
        env.wait_condition("Paused", "True").await;
        env.delete::<NestedControlPlane>("tenant").await;
        running.manager.look_again(env).await;
        assert!(
            env.get::<Deployment>("tenant-apiserver").await.is_some(),
            "deleted although paused"
        );
        env.merge::<NestedControlPlane>("tenant", &paused(Value::Null)).await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(env).await, Vec::<String>::new());
    });
}

/// A worker Machine, which a deletion waits for.
async fn worker(env: &TestEnv) {
    env.apply(&json!({
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
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        worker(env).await;
        env.delete::<NestedControlPlane>("tenant").await;
        let deleting = env.wait_condition("Deleting", "True").await;
        assert!(deleting.message.contains("Machine worker"), "{deleting:?}");
        let kept = env.get::<Deployment>("tenant-apiserver").await;
        assert!(kept.is_some_and(|deployment| deployment.metadata.deletion_timestamp.is_none()));
        env.delete::<Machine>("worker").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(env).await, Vec::<String>::new());
    });
}

#[test]
fn workloads_that_have_lost_their_labels_go_with_their_control_plane() {
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        worker(env).await;
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_condition("Deleting", "True").await;
        let unlabelled = json!({"metadata": {"labels": Value::Null}});
        for name in ["tenant-apiserver", "tenant-controllers"] {
            env.merge::<Deployment>(name, &unlabelled).await;
        }
        env.merge::<StatefulSet>("tenant-etcd", &unlabelled).await;
        env.delete::<Machine>("worker").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(env).await, Vec::<String>::new());
    });
}

#[test]
fn a_control_plane_with_a_wrong_authority_can_be_deleted() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "stringData": {"tls.crt": "nonsense"},
            "metadata": {"name": "tenant-ca", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        }))
        .await;
        env.tenant().await;
        env.wait_condition("CertificatesValid", "False").await;
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        assert_eq!(left(env).await, ["Secret/tenant-ca"]);
    });
}
