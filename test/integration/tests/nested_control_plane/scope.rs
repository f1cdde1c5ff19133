//! Several instances of the provider: `--namespace`, `--watch-filter`, and a Lease. And the provider
//! alone, beside another one's infrastructure or none.

use super::running;
use capn_api::NestedControlPlane;
use capn_integration::{Manager, Options, TestEnv, run, run_without};
use k8s_openapi::api::{apps::v1::StatefulSet, coordination::v1::Lease, policy::v1::PodDisruptionBudget};
use serde_json::json;

#[test]
fn a_manager_of_one_namespace_leaves_the_others_alone() {
    run(async |env| {
        let other = env.sibling().await;
        let manager = Manager::start(env).await;
        let mark = env.mark();
        other.tenant().await;
        env.tenant().await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        assert_eq!(other.writes(&manager.user, mark), []);
        assert_eq!(other.ncp().await.status, None);
    });
}

#[test]
fn a_manager_with_a_watch_filter_leaves_objects_without_its_label_alone() {
    run(async |env| {
        let mut options = Options::default();
        options.args.push("--watch-filter=mine".into());
        let manager = Manager::start_with(env, options).await;
        let mark = env.mark();
        env.tenant().await;
        let label = |value: &str| json!({"metadata": {"labels": {"cluster.x-k8s.io/watch-filter": value}}});
        env.merge::<NestedControlPlane>("tenant", &label("theirs")).await;
        // What it does look at comes later, so all before has passed it by.
        let made = mine(env).await;
        env.wait_for::<NestedControlPlane>(&made, "with a status", |ncp| ncp.status.is_some())
            .await;
        let touched: Vec<_> = env
            .writes(&manager.user, mark)
            .into_iter()
            .filter(|write| write.name != made)
            .collect();
        assert_eq!(touched, []);
        env.merge::<NestedControlPlane>("tenant", &label("mine")).await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
    });
}

/// A NestedControlPlane with the label that the manager looks for, which no Cluster owns.
async fn mine(env: &TestEnv) -> String {
    let labels = json!({"cluster.x-k8s.io/watch-filter": "mine"});
    env.apply(&json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
        "metadata": {"name": "mine", "labels": labels}, "spec": {"version": "v1.36.3"},
    }))
    .await;
    "mine".into()
}

#[test]
fn of_two_managers_with_a_lease_one_works_and_the_other_takes_over_when_it_ends() {
    run(async |env| {
        let mark = env.mark();
        let first = Manager::start_with(env, Options::default().candidate(env)).await;
        let held = |lease: &Lease| lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.is_some());
        let lease = env
            .wait_for::<Lease>("controller-leader-election-capn", "held", held)
            .await;
        let holder = lease.spec.unwrap().holder_identity;
        let second = Manager::start_with(env, Options::default().candidate(env)).await;
        env.tenant().await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        assert_eq!(env.writes(&second.user, mark), []);
        assert!(
            first.terminate().success(),
            "a manager that is asked to end does so without an error"
        );
        env.wait_for::<Lease>("controller-leader-election-capn", "held by the other", |lease| {
            let now = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
            now.is_some_and(|now| !now.is_empty() && Some(now) != holder)
        })
        .await;
        env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": 2}}))
            .await;
        env.wait_for::<PodDisruptionBudget>("tenant-apiserver", "to be there", |_| true)
            .await;
    });
}

#[test]
fn a_control_plane_needs_no_kind_of_the_infrastructure_provider() {
    run_without(&["infrastructure.cluster.x-k8s.io", "kubevirt.io"], async |env| {
        let running = running(env, json!({}), json!({})).await;
        running.manager.assert_runs();
    });
}
