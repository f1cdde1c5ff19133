//! Conditions that Cluster API's core reads: Available says whether the control plane can be used
//! even while it changes, and RollingOut, ScalingUp and ScalingDown last as long as the change.

use super::running;
use capn_api::NestedControlPlane;
use capn_integration::{Kubelet, World, run};
use serde_json::{Value, json};

/// Changes a control plane while nothing happens to its pods, and lets the change happen then.
async fn lasts(world: &World, before: Value, change: Value, type_: &str) {
    let running = running(world, json!({}), before).await;
    world.wait_condition(type_, "False").await;
    drop(running._kubelet);
    world
        .merge::<NestedControlPlane>("tenant", &json!({"spec": change}))
        .await;
    let condition = world.wait_condition(type_, "True").await;
    assert!(!condition.message.is_empty(), "{condition:?}");
    world.wait_condition("Available", "True").await;
    let _kubelet = Kubelet::start(world);
    world.wait_condition(type_, "False").await;
    world.wait_condition("Available", "True").await;
}

#[test]
fn scaling_up_lasts_until_the_new_replicas_are_there() {
    run(async |world| lasts(world, json!({}), json!({"replicas": 2}), "ScalingUp").await);
}

#[test]
fn scaling_down_lasts_until_the_old_replicas_are_gone() {
    run(async |world| lasts(world, json!({"replicas": 2}), json!({"replicas": 1}), "ScalingDown").await);
}

#[test]
fn rolling_out_lasts_until_every_pod_is_of_the_new_spec() {
    let change = json!({"apiServer": {"extraArgs": [{"name": "v", "value": "3"}]}});
    run(async |world| lasts(world, json!({}), change, "RollingOut").await);
}
