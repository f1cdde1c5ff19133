//! Paused by annotation or by the Cluster: nothing changes, and the object says so.

use super::running;
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, Object, TestEnv, run};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

/// Writes of the manager since `mark` beside the status.
fn writes_but_status(env: &TestEnv, manager: &Manager, mark: capn_integration::Mark) -> Vec<capn_integration::Write> {
    let mut writes = env.writes(&manager.user, mark);
    writes.retain(|write| write.resource != "nestedcontrolplanes/status");
    writes
}

/// Pauses a running control plane in one way, checks, and lets it go on in another.
async fn pauses<K: Object>(env: &TestEnv, pause: Value, resume: Value) {
    let running = running(env, json!({}), json!({})).await;
    env.merge::<K>("tenant", &pause).await;
    let paused = env.wait_condition("Paused", "True").await;
    assert!(!paused.message.is_empty(), "{paused:?}");
    let mark = env.mark();
    env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": 2}}))
        .await;
    running.manager.look_again(env).await;
    assert_eq!(writes_but_status(env, &running.manager, mark), []);
    assert_eq!(
        env.wait_condition("Available", "True").await.reason,
        "Available",
        "what runs is still told"
    );
    env.merge::<K>("tenant", &resume).await;
    env.wait_condition("Paused", "False").await;
    env.wait_for::<Deployment>("tenant-apiserver", "two replicas", |deployment| {
        deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2))
    })
    .await;
}

#[test]
fn the_annotation_pauses_and_its_removal_resumes() {
    run(async |env| {
        let annotation = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        pauses::<NestedControlPlane>(env, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn spec_paused_of_the_cluster_pauses_and_its_removal_resumes() {
    run(async |env| {
        let paused = |value: Value| json!({"spec": {"paused": value}});
        pauses::<Cluster>(env, paused(json!(true)), paused(Value::Null)).await;
    });
}

#[test]
fn what_is_paused_from_the_start_makes_nothing() {
    run(async |env| {
        let manager = Manager::start(env).await;
        let mark = env.mark();
        env.cluster(json!({"paused": true})).await;
        env.control_plane(json!({})).await;
        env.wait_condition("Paused", "True").await;
        manager.look_again(env).await;
        assert_eq!(writes_but_status(env, &manager, mark), []);
    });
}
