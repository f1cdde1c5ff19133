//! SHOULD: `--namespace` and `--watch-filter`, for several instances of the provider. And the
//! provider alone, beside another one's control planes.

use super::{
    NAME, infrastructure, machine, manager, options, template, unchecked, virtual_machine, wait_cluster, worker,
    worker_ready,
};
use capn_api::{KubevirtCluster, KubevirtMachine};
use capn_integration::{Manager, run, run_without};
use serde_json::json;

#[test]
fn a_manager_of_one_namespace_leaves_the_others_alone() {
    run(async |env| {
        let other = env.sibling().await;
        let manager = manager(env).await;
        let mark = env.mark();
        for env in [&other, env] {
            machine(env, unchecked(template())).await;
            infrastructure(env, json!({}), json!({})).await;
        }
        wait_cluster(env, "Provisioned").await;
        virtual_machine(env).await;
        assert_eq!(other.writes(&manager.user, mark), []);
    });
}

#[test]
fn a_manager_with_a_watch_filter_leaves_objects_without_its_label_alone() {
    run(async |env| {
        let mut options = options();
        options.args.push("--watch-filter=mine".into());
        let manager = Manager::start_with(env, options).await;
        let mark = env.mark();
        let label = |value: &str| json!({"labels": {"cluster.x-k8s.io/watch-filter": value}});
        machine(env, unchecked(template())).await;
        infrastructure(env, label("theirs"), json!({})).await;
        // What it does look at comes later, so all before has passed it by.
        let other = json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
            "metadata": {"name": "mine", "labels": label("mine")["labels"]}, "spec": {},
        });
        env.apply(&other).await;
        env.wait_for::<KubevirtCluster>("mine", "with a status", |object| object.status.is_some())
            .await;
        let mut touched = env.writes(&manager.user, mark);
        touched.retain(|write| write.name != "mine");
        assert_eq!(touched, []);
        env.merge::<KubevirtMachine>(NAME, &json!({"metadata": label("mine")}))
            .await;
        virtual_machine(env).await;
        env.merge::<KubevirtCluster>("tenant", &json!({"metadata": label("mine")}))
            .await;
        wait_cluster(env, "Provisioned").await;
    });
}

#[test]
fn workers_need_no_kind_of_the_control_plane_provider() {
    run_without(&["controlplane.cluster.x-k8s.io"], async |env| {
        let _manager = manager(env).await;
        let _worker = worker(env).await;
        worker_ready(env).await;
    });
}
