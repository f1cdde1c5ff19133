//! Conditions that Cluster API's core reads: Available says whether the control plane can be used
//! even while it changes, and RollingOut, ScalingUp and ScalingDown last as long as the change.

use super::running;
use capn_api::NestedControlPlane;
use capn_integration::{Kubelet, TestEnv, run};
use serde_json::{Value, json};

/// Changes a control plane while nothing happens to its pods, and lets the change happen then.
async fn lasts(env: &TestEnv, before: Value, change: Value, type_: &str) {
    let running = running(env, json!({}), before).await;
    env.wait_condition(type_, "False").await;
    drop(running._kubelet);
    env.merge::<NestedControlPlane>("tenant", &json!({"spec": change}))
        .await;
    let condition = env.wait_condition(type_, "True").await;
    assert!(!condition.message.is_empty(), "{condition:?}");
    env.wait_condition("Available", "True").await;
    let _kubelet = Kubelet::start(env);
    env.wait_condition(type_, "False").await;
    env.wait_condition("Available", "True").await;
}

#[test]
fn scaling_up_lasts_until_the_new_replicas_are_there() {
    run(async |env| lasts(env, json!({}), json!({"replicas": 2}), "ScalingUp").await);
}

#[test]
fn scaling_down_lasts_until_the_old_replicas_are_gone() {
    run(async |env| lasts(env, json!({"replicas": 2}), json!({"replicas": 1}), "ScalingDown").await);
}

#[test]
fn rolling_out_lasts_until_every_pod_is_of_the_new_spec() {
    let change = json!({"apiServer": {"extraArgs": [{"name": "v", "value": "3"}]}});
    run(async |env| lasts(env, json!({}), change, "RollingOut").await);
}
