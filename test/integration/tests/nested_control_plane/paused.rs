//! Paused by annotation or by the Cluster: nothing changes, and the object says so.

use super::running;
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, Object, World, run};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

/// Writes of the manager since `mark` beside the status.
fn beside_status(world: &World, manager: &Manager, mark: capn_integration::Mark) -> Vec<capn_integration::Write> {
    let mut writes = world.writes(&manager.user, mark);
    writes.retain(|write| write.resource != "nestedcontrolplanes/status");
    writes
}

/// Pauses a running control plane in one way, checks, and lets it go on in another.
async fn pauses<K: Object>(world: &World, pause: Value, resume: Value) {
    let running = running(world, json!({}), json!({})).await;
    world.merge::<K>("tenant", &pause).await;
    let paused = world.wait_condition("Paused", "True").await;
    assert!(!paused.message.is_empty(), "{paused:?}");
    let mark = world.mark();
    world
        .merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": 2}}))
        .await;
    running.manager.look_again(world).await;
    assert_eq!(beside_status(world, &running.manager, mark), []);
    assert_eq!(
        world.wait_condition("Available", "True").await.reason,
        "Available",
        "what runs is still told"
    );
    world.merge::<K>("tenant", &resume).await;
    world.wait_condition("Paused", "False").await;
    world
        .wait_for::<Deployment>("tenant-apiserver", "two replicas", |deployment| {
            deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2))
        })
        .await;
}

#[test]
fn the_annotation_pauses_and_its_removal_resumes() {
    run(async |world| {
        let annotation = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        pauses::<NestedControlPlane>(world, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn spec_paused_of_the_cluster_pauses_and_its_removal_resumes() {
    run(async |world| {
        let paused = |value: Value| json!({"spec": {"paused": value}});
        pauses::<Cluster>(world, paused(json!(true)), paused(Value::Null)).await;
    });
}

#[test]
fn what_is_paused_from_the_start_makes_nothing() {
    run(async |world| {
        let manager = Manager::start(world).await;
        let mark = world.mark();
        world.cluster(json!({"paused": true})).await;
        world.control_plane(json!({})).await;
        world.wait_condition("Paused", "True").await;
        manager.look_again(world).await;
        assert_eq!(beside_status(world, &manager, mark), []);
    });
}
