//! Objects that are not ours are never written, adopted or deleted; what is ours stays ours.

use super::{running, running_of};
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, Mark, Object, TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::{Value, json};

const OWN_SECRETS: [&str; 7] = [
    "tenant-pki",
    "tenant-apiserver",
    "tenant-controller-manager",
    "tenant-scheduler",
    "tenant-kubeconfig",
    "tenant-apiserver-etcd-client",
    "tenant-etcd-member",
];
const AUTHORITIES: [&str; 5] = [
    "tenant-ca",
    "tenant-proxy",
    "tenant-etcd",
    "tenant-etcd-peer",
    "tenant-sa",
];

/// Waits until Available or CertificatesValid has this reason and a message with all of these words.
async fn assert_reported(env: &TestEnv, name: &str, reason: &str, words: &[&str]) {
    let says = |ncp: &NestedControlPlane| {
        let conditions = ncp.status.clone().unwrap_or_default().conditions;
        conditions
            .iter()
            .any(|c| c.reason == reason && words.iter().all(|word| c.message.contains(word)))
    };
    let what = format!("to say {reason} and {words:?}");
    env.wait_for::<NestedControlPlane>(name, &what, says).await;
}

/// Somebody's object in the way: it is named, left exactly as it is, outlives the control plane, and
/// the control plane starts once it is away.
async fn left_alone<K: Object + PartialEq>(env: &TestEnv, objects: Vec<Value>) {
    let manager = Manager::start(env).await;
    let mut before = Vec::new();
    for object in &objects {
        env.apply(object).await;
        let name = object["metadata"]["name"].as_str().unwrap();
        before.push(env.get::<K>(name).await.unwrap());
    }
    let mark = env.mark();
    env.tenant().await;
    for object in &before {
        let name = object.name_any();
        assert_reported(env, "tenant", "NameTaken", &[&format!("{}/{name}", env.namespace)]).await;
        manager.look_again(env).await;
        assert_eq!(env.get::<K>(&name).await.as_ref(), Some(object), "was touched");
        // One after the other is named: make way for the next.
        env.delete::<K>(&name).await;
        manager.look_again(env).await;
    }
    assert_no_write_failed_halfway(env, &manager, mark);
    running_of(env, manager).await;
}

fn assert_no_write_failed_halfway(env: &TestEnv, manager: &Manager, since: Mark) {
    let refused: Vec<_> = env
        .writes(&manager.user, since)
        .into_iter()
        .filter(|write| write.code == 403)
        .collect();
    assert_eq!(refused, [], "rights are missing");
}

fn secret(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels},
        "type": "Opaque", "stringData": {"value": "somebody's"},
    })
}

#[test]
fn secrets_of_somebody_else_are_left_alone() {
    run(async |env| {
        let objects = OWN_SECRETS.map(|name| secret(name, json!({})));
        left_alone::<Secret>(env, objects.into()).await;
    });
}

#[test]
fn secrets_that_are_not_marked_as_authorities_of_the_cluster_are_left_alone() {
    run(async |env| {
        let other = json!({"cluster.x-k8s.io/cluster-name": "other"});
        let own = json!({"cluster.x-k8s.io/cluster-name": "tenant"});
        let objects = [
            secret("tenant-ca", own),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tenant-proxy", "labels": other},
                "type": "cluster.x-k8s.io/secret", "stringData": {"tls.crt": "x", "tls.key": "x"},
            }),
            secret("tenant-etcd", json!({})),
            secret("tenant-etcd-peer", json!({})),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tenant-sa"},
                "type": "cluster.x-k8s.io/secret", "stringData": {"tls.crt": "x", "tls.key": "x"},
            }),
        ];
        left_alone::<Secret>(env, objects.into()).await;
    });
}

#[test]
fn services_of_somebody_else_are_left_alone() {
    run(async |env| {
        let objects = ["tenant-apiserver", "tenant-etcd", "tenant-etcd-peer"].map(|name| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"ports": [{"port": 80}], "selector": {"app": "x"}},
            })
        });
        left_alone::<Service>(env, objects.into()).await;
    });
}

/// A pod template of somebody.
fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "x", "image": "example.com/x:1"}]},
    })
}

#[test]
fn a_stateful_set_of_somebody_else_is_left_alone() {
    run(async |env| {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "tenant-etcd"},
            "spec": {"replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"app": "x"}}, "template": template()},
        });
        left_alone::<StatefulSet>(env, vec![object]).await;
    });
}

#[test]
fn a_claim_of_somebody_else_is_not_used_until_it_is_handed_over() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-tenant-etcd-0"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .await;
        let uid = env.tenant().await.uid().unwrap();
        assert_reported(env, "tenant", "NameTaken", &["data-tenant-etcd-0", &uid]).await;
        assert!(
            env.get::<StatefulSet>("tenant-etcd").await.is_none(),
            "it would use the claim"
        );
        let handed = json!({"metadata": {"labels": {"controlplane.cluster.x-k8s.io/control-plane-uid": uid}}});
        env.merge::<PersistentVolumeClaim>("data-tenant-etcd-0", &handed).await;
        running_of(env, manager).await;
    });
}

/// A second control plane that claims the Cluster of the first.
async fn thief(env: &TestEnv, uid: Option<String>) {
    env.apply(&json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
        "metadata": {
            "name": "thief", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"},
            "ownerReferences": [{
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "tenant", "uid": uid,
                "controller": true,
            }],
        },
        "spec": {"version": "v1.36.3", "apiServer": {"image": "example.com/evil:1"}},
    }))
    .await;
}

async fn workloads(env: &TestEnv) -> (Option<String>, Option<String>, Vec<Option<String>>) {
    let deployment = env.get::<Deployment>("tenant-apiserver").await;
    let set = env.get::<StatefulSet>("tenant-etcd").await;
    let claims = env.list::<PersistentVolumeClaim>().await;
    let template = deployment.map(|deployment| json!(deployment.spec.unwrap().template).to_string());
    (
        template,
        set.and_then(|set| set.uid()),
        claims.iter().map(ResourceExt::uid).collect(),
    )
}

/// Lets a thief try and be deleted; the victim does not change.
async fn not_robbed(env: &TestEnv, uid: Option<String>) {
    let running = running(env, json!({}), json!({})).await;
    let before = workloads(env).await;
    thief(env, uid).await;
    assert_reported(env, "thief", "Invalid", &["tenant"]).await;
    running.manager.look_again_at::<NestedControlPlane>(env, "thief").await;
    assert_eq!(workloads(env).await, before);
    env.delete::<NestedControlPlane>("thief").await;
    env.wait_gone::<NestedControlPlane>("thief").await;
    running.manager.look_again(env).await;
    assert_eq!(workloads(env).await, before);
    env.wait_condition("Available", "True").await;
}

#[test]
fn an_owner_reference_to_a_cluster_that_names_another_control_plane_takes_nothing_over() {
    run(async |env| {
        let cluster = env.cluster(json!({})).await;
        not_robbed(env, cluster.uid()).await;
    });
}

#[test]
fn an_owner_reference_with_a_made_up_uid_takes_nothing_over() {
    run(async |env| not_robbed(env, Some("0b5c3a3e".into())).await);
}

#[test]
fn a_label_with_somebodys_uid_makes_no_object_ours_that_has_another_controller() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let uid = env.ncp().await.uid().unwrap();
        let foreign = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": {"a": "b"},
            "metadata": {
                "name": "tenant-scheduler-2", "labels": {"controlplane.cluster.x-k8s.io/control-plane-uid": uid},
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "controller": true}],
            },
        });
        env.apply(&foreign).await;
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        running.manager.assert_runs();
        assert!(env.get::<Secret>("tenant-scheduler-2").await.is_some());
    });
}

/// Metadata of everything that is ours, by kind and name.
async fn metadata(env: &TestEnv) -> Vec<(String, Value, Value)> {
    fn add<K: Resource<DynamicType = ()>>(all: &mut Vec<(String, Value, Value)>, objects: Vec<K>) {
        all.extend(objects.iter().map(|object| {
            let meta = object.meta();
            let name = format!("{}/{}", K::kind(&()), object.name_any());
            (name, json!(meta.labels), json!(meta.owner_references))
        }));
    }
    let mut all = Vec::new();
    add(&mut all, env.list::<Secret>().await);
    add(&mut all, env.list::<Service>().await);
    add(&mut all, env.list::<Deployment>().await);
    add(&mut all, env.list::<StatefulSet>().await);
    all
}

/// Takes something from the metadata of all Secrets, Services and workloads, which comes back.
async fn comes_back(env: &TestEnv, taken: Value) {
    let running = running(env, json!({}), json!({})).await;
    let before = metadata(env).await;
    let patch = json!({"metadata": taken});
    for name in AUTHORITIES.iter().chain(&OWN_SECRETS) {
        env.merge::<Secret>(name, &patch).await;
    }
    for name in ["tenant-apiserver", "tenant-etcd", "tenant-etcd-peer"] {
        env.merge::<Service>(name, &patch).await;
    }
    for name in ["tenant-apiserver", "tenant-controllers"] {
        env.merge::<Deployment>(name, &patch).await;
    }
    env.merge::<StatefulSet>("tenant-etcd", &patch).await;
    running.manager.look_again(env).await;
    env.wait("everything to be ours again", async || {
        (metadata(env).await == before).then_some(())
    })
    .await;
}

/// As Cluster API's own quick start specification checks ("owner references are resilient").
#[test]
fn owner_references_that_were_removed_come_back() {
    run(async |env| comes_back(env, json!({"ownerReferences": []})).await);
}

#[test]
fn labels_that_were_removed_come_back() {
    let gone = json!({"labels": {
        "cluster.x-k8s.io/cluster-name": null, "controlplane.cluster.x-k8s.io/component": null,
        "controlplane.cluster.x-k8s.io/control-plane-uid": null,
    }});
    run(async |env| comes_back(env, gone).await);
}

/// A Cluster that names a NestedControlPlane as its own.
fn cluster(name: &str, control_plane: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name},
        "spec": {"controlPlaneRef": {
            "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": control_plane,
        }},
    })
}

#[test]
fn a_control_plane_that_two_clusters_name_waits_until_one_does() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.apply(&cluster("tenant", "tenant")).await;
        env.apply(&cluster("second", "tenant")).await;
        let object = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3"},
        });
        env.apply(&object).await;
        assert_reported(env, "tenant", "Invalid", &["tenant", "second"]).await;
        env.delete::<Cluster>("second").await;
        running_of(env, manager).await;
    });
}

#[test]
fn a_control_plane_that_its_cluster_no_longer_names_makes_way_when_it_is_deleted() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        env.apply(&cluster("tenant", "next")).await;
        assert_reported(env, "tenant", "Invalid", &["does not name it"]).await;
        env.apply(&json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "next"}, "spec": {"version": "v1.36.3"},
        }))
        .await;
        assert_reported(env, "next", "NameTaken", &["tenant-"]).await;
        let theirs = workloads(env).await;
        running.manager.look_again_at::<NestedControlPlane>(env, "next").await;
        assert_eq!(workloads(env).await, theirs);
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
        env.wait_for::<StatefulSet>("tenant-etcd", "of the next control plane", |set| set.uid() != theirs.1)
            .await;
    });
}

/// What the garbage collector does of `kubectl delete --cascade=orphan`.
async fn take_owner_references_away(env: &TestEnv) {
    let orphaned = json!({"metadata": {"ownerReferences": []}});
    for name in AUTHORITIES.iter().chain(&OWN_SECRETS) {
        env.merge::<Secret>(name, &orphaned).await;
    }
    for name in ["tenant-apiserver", "tenant-etcd", "tenant-etcd-peer"] {
        env.merge::<Service>(name, &orphaned).await;
    }
    env.merge::<Deployment>("tenant-apiserver", &orphaned).await;
    env.merge::<Deployment>("tenant-controllers", &orphaned).await;
    env.merge::<StatefulSet>("tenant-etcd", &orphaned).await;
    env.merge::<ConfigMap>("tenant-etcd", &orphaned).await;
}

async fn delete_orphaning(env: &TestEnv) {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    env.api::<NestedControlPlane>().delete("tenant", &params).await.unwrap();
}

async fn let_the_garbage_collector_end(env: &TestEnv) {
    let finalizers = env.ncp().await.finalizers().to_vec();
    let left: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != "orphan").collect();
    env.merge::<NestedControlPlane>("tenant", &json!({"metadata": {"finalizers": left}}))
        .await;
}

async fn everything_stays(env: &TestEnv, before: (Option<String>, Option<String>, Vec<Option<String>>)) {
    env.wait_gone::<NestedControlPlane>("tenant").await;
    assert_eq!(workloads(env).await, before);
    for name in AUTHORITIES.iter().chain(&OWN_SECRETS) {
        env.secret(name).await;
    }
}

#[test]
fn a_control_plane_that_is_deleted_without_its_dependents_lets_them_go() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let before = workloads(env).await;
        delete_orphaning(env).await;
        env.wait_ncp("without our finalizer", |ncp| ncp.finalizers() == ["orphan"])
            .await;
        let_the_garbage_collector_end(env).await;
        everything_stays(env, before).await;
        running.manager.assert_runs();
    });
}

#[test]
fn dependents_stay_when_the_garbage_collector_was_faster_than_the_manager() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let before = workloads(env).await;
        running.manager.kill();
        delete_orphaning(env).await;
        take_owner_references_away(env).await;
        let_the_garbage_collector_end(env).await;
        let _manager = Manager::start(env).await;
        everything_stays(env, before).await;
    });
}
