//! SHOULD: what is paused by annotation or by its Cluster is left alone, and the condition Paused
//! says so.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, infra_machine, infrastructure, machine,
    machine_of, manager, template, unchecked, virtual_machine, wait_cluster, wait_ready, worker, worker_ready,
};
use capn_api::{
    Condition, KubevirtCluster, KubevirtMachine, cluster_api::Cluster, condition::find, kubevirt_cluster::FINALIZER,
};
use capn_integration::{Manager, Mark, Object, TestEnv, Write, run};
use serde_json::{Value, json};

fn annotation(value: Value) -> Value {
    json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}})
}

fn spec(value: Value) -> Value {
    json!({"spec": {"paused": value}})
}

trait Conditions: Object {
    fn conditions(&self) -> Vec<Condition>;
}
impl Conditions for KubevirtCluster {
    fn conditions(&self) -> Vec<Condition> {
        self.status.clone().unwrap_or_default().conditions
    }
}
impl Conditions for KubevirtMachine {
    fn conditions(&self) -> Vec<Condition> {
        self.status.clone().unwrap_or_default().conditions
    }
}

async fn wait_paused<K: Conditions>(env: &TestEnv, name: &str, status: &str) {
    let says = |object: &K| {
        find(&object.conditions(), "Paused")
            .is_some_and(|c| format!("{:?}", c.status) == status && (status == "False" || !c.message.is_empty()))
    };
    env.wait_for::<K>(name, &format!("Paused={status}"), says).await;
}

fn writes_but_status(env: &TestEnv, manager: &Manager, mark: Mark) -> Vec<Write> {
    let mut writes = env.writes(&manager.user, mark);
    writes.retain(|write| !write.resource.ends_with("/status"));
    writes
}

/// Pauses infrastructure before its Cluster has an endpoint, and resumes it.
async fn cluster_pauses<K: Object>(env: &TestEnv, pause: Value, resume: Value) {
    let manager = manager(env).await;
    env.cluster(json!({})).await;
    infrastructure(env, json!({}), json!({})).await;
    wait_cluster(env, "WaitingForControlPlaneEndpoint").await;
    env.merge::<K>("tenant", &pause).await;
    wait_paused::<KubevirtCluster>(env, "tenant", "True").await;
    let endpoint = json!({"spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}});
    env.merge::<Cluster>("tenant", &endpoint).await;
    manager.look_again(env).await;
    wait_cluster(env, "WaitingForControlPlaneEndpoint").await;
    env.merge::<K>("tenant", &resume).await;
    wait_paused::<KubevirtCluster>(env, "tenant", "False").await;
    wait_cluster(env, "Provisioned").await;
}

#[test]
fn infrastructure_is_paused_by_its_annotation_and_resumed() {
    run(async |env| {
        cluster_pauses::<KubevirtCluster>(env, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn infrastructure_is_paused_by_its_cluster_and_resumed() {
    run(async |env| cluster_pauses::<Cluster>(env, spec(json!(true)), spec(Value::Null)).await);
}

/// Pauses a machine before anything is made for it, and resumes it.
async fn machine_pauses<K: Object>(env: &TestEnv, name: &str, pause: Value, resume: Value) {
    let manager = manager(env).await;
    let mark = env.mark();
    cluster_with_endpoint(env).await;
    let owner = machine_of(env, true).await;
    infra_machine(env, Some(&owner), unchecked(template())).await;
    wait_ready(env, "WaitingForClusterInfrastructure").await;
    env.merge::<K>(name, &pause).await;
    wait_paused::<KubevirtMachine>(env, NAME, "True").await;
    cluster_initialized(env).await;
    bootstrap_data(env).await;
    manager.look_again(env).await;
    assert_eq!(writes_but_status(env, &manager, mark), []);
    env.merge::<K>(name, &resume).await;
    wait_paused::<KubevirtMachine>(env, NAME, "False").await;
    virtual_machine(env).await;
}

#[test]
fn a_machine_is_paused_by_its_annotation_and_resumed() {
    run(async |env| {
        machine_pauses::<KubevirtMachine>(env, NAME, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn a_machine_is_paused_by_its_cluster_and_resumed() {
    run(async |env| machine_pauses::<Cluster>(env, "tenant", spec(json!(true)), spec(Value::Null)).await);
}

#[test]
fn a_paused_machine_that_runs_is_still_ready() {
    run(async |env| {
        let manager = manager(env).await;
        let _worker = worker(env).await;
        worker_ready(env).await;
        env.merge::<Cluster>("tenant", &spec(json!(true))).await;
        wait_paused::<KubevirtMachine>(env, NAME, "True").await;
        manager.look_again(env).await;
        let ready = wait_ready(env, "Ready").await;
        assert!(ready.status.unwrap().ready);
    });
}

#[test]
fn a_paused_machine_is_not_deleted_before_it_is_resumed() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        virtual_machine(env).await;
        env.merge::<KubevirtMachine>(NAME, &annotation(json!(""))).await;
        wait_paused::<KubevirtMachine>(env, NAME, "True").await;
        let mark = env.mark();
        env.delete::<KubevirtMachine>(NAME).await;
        manager.look_again(env).await;
        assert_eq!(writes_but_status(env, &manager, mark), []);
        assert!(env.get::<KubevirtMachine>(NAME).await.is_some());
        env.merge::<KubevirtMachine>(NAME, &annotation(Value::Null)).await;
        env.wait_gone::<KubevirtMachine>(NAME).await;
    });
}

#[test]
fn paused_infrastructure_is_not_deleted_before_it_is_resumed() {
    run(async |env| {
        let manager = manager(env).await;
        cluster_with_endpoint(env).await;
        // The Go provider's, by which it is held.
        infrastructure(env, json!({"finalizers": [FINALIZER]}), json!({})).await;
        env.merge::<KubevirtCluster>("tenant", &annotation(json!(""))).await;
        wait_paused::<KubevirtCluster>(env, "tenant", "True").await;
        let mark = env.mark();
        env.delete::<KubevirtCluster>("tenant").await;
        manager.look_again(env).await;
        assert_eq!(writes_but_status(env, &manager, mark), []);
        assert!(env.get::<KubevirtCluster>("tenant").await.is_some());
        env.merge::<KubevirtCluster>("tenant", &annotation(Value::Null)).await;
        env.wait_gone::<KubevirtCluster>("tenant").await;
    });
}
