//! A control plane that runs is kept alive while what is asked of it cannot be had.

use super::{Running, running, running_of};
use capn_api::{Condition, NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service},
};
use serde_json::{Value, json};

async fn why(env: &TestEnv, reason: &str, words: &[&str]) {
    let told = async || {
        let conditions = env.ncp().await.status.unwrap_or_default().conditions;
        let available = |c: &Condition| c.type_ == "Available" && c.reason == reason;
        conditions.into_iter().find(available)
    };
    let available = env.wait(&format!("the reason {reason}"), told).await;
    assert_eq!(json!(available.status), json!("True"), "what works goes on working");
    for word in words {
        assert!(
            available.message.contains(word),
            "{word:?} is not in {}",
            available.message
        );
    }
}

/// Spec and generation of the Deployment.
async fn deployment(env: &TestEnv) -> (Value, Option<i64>) {
    let live = env.get::<Deployment>("tenant-apiserver").await.unwrap();
    (json!(live.spec), live.metadata.generation)
}

/// What was lost meanwhile is made again as it was.
async fn mended(env: &TestEnv, running: &Running) {
    let (before, generation) = deployment(env).await;
    running.manager.look_again(env).await;
    assert_eq!(deployment(env).await, (before.clone(), generation), "nothing is rolled");
    env.delete::<Secret>("tenant-scheduler").await;
    env.wait_for::<Secret>("tenant-scheduler", "to be issued again", |_| true)
        .await;
    env.delete::<Deployment>("tenant-apiserver").await;
    env.wait_for::<Deployment>("tenant-apiserver", "to be made again", |d| json!(d.spec) == before)
        .await;
    env.wait_condition("CertificatesValid", "True").await;
}

#[test]
fn networks_of_a_running_control_plane_cannot_change_and_it_is_kept_alive_as_it_was() {
    run(async |env| {
        let ranges = |services: &str, pods: &str| json!({"services": {"cidrBlocks": [services]}, "pods": {"cidrBlocks": [pods]}, "serviceDomain": "cluster.local"});
        let network = ranges("10.128.0.0/12", "10.16.0.0/16");
        let running = running(env, json!({"clusterNetwork": network}), json!({})).await;
        env.wait("what it was made from to be stored", async || {
            (env.list::<ControllerRevision>().await.len() == 1).then_some(())
        })
        .await;
        let mut domain = network.clone();
        domain["serviceDomain"] = json!("other.local");
        let cases = [
            (
                ranges("10.144.0.0/12", "10.16.0.0/16"),
                "services cannot change from 10.128.0.0/12 to 10.144.0.0/12",
            ),
            (
                ranges("10.128.0.0/12", "10.17.0.0/16"),
                "pods cannot change from 10.16.0.0/16 to 10.17.0.0/16",
            ),
            (domain, "serviceDomain cannot change from cluster.local to other.local"),
        ];
        for (changed, words) in cases {
            let set = async |network: &Value| {
                let patch = json!({"spec": {"clusterNetwork": network}});
                env.merge::<Cluster>("tenant", &patch).await;
            };
            set(&changed).await;
            why(env, "Invalid", &[words, "set it back"]).await;
            mended(env, &running).await;
            set(&network).await;
            why(env, "Available", &[]).await;
        }
    });
}

#[test]
fn a_control_plane_with_a_version_that_is_refused_is_kept_alive() {
    run(async |env| {
        let running = running(env, json!({}), json!({"version": "v1.35.2"})).await;
        let set = async |version: &str| {
            let patch = json!({"spec": {"version": version}});
            env.merge::<NestedControlPlane>("tenant", &patch).await;
        };
        set("v1.34.9").await;
        why(env, "Invalid", &["v1.34.9"]).await;
        mended(env, &running).await;
        set("v1.35.2").await;
        why(env, "Available", &[]).await;
    });
}

#[test]
fn a_control_plane_of_which_one_write_is_refused_is_kept_alive() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        let class = |class: &str| json!({"endpoint": {"type": "LoadBalancer", "loadBalancerClass": class}});
        env.control_plane(class("example.com/one")).await;
        env.wait_for::<Service>("tenant-apiserver", "to be there", |_| true)
            .await;
        let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        env.merge_status::<Service>("tenant-apiserver", &balanced["status"])
            .await;
        let running = running_of(env, manager).await;
        let patch = json!({"spec": class("example.com/two")});
        env.merge::<NestedControlPlane>("tenant", &patch).await;
        why(env, "WriteRefused", &["tenant-apiserver", "loadBalancerClass"]).await;
        mended(env, &running).await;
        let patch = json!({"spec": class("example.com/one")});
        env.merge::<NestedControlPlane>("tenant", &patch).await;
        why(env, "Available", &[]).await;
    });
}
