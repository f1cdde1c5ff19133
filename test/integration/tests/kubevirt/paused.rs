//! SHOULD: what is paused by annotation or by its Cluster is left alone, and the condition Paused
//! says so.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, infra_machine, infrastructure, machine,
    machine_of, manager, template, unchecked, virtual_machine, wait_cluster, wait_ready, worker, worker_ready,
};
use capn_api::{
    Condition, KubevirtCluster, KubevirtMachine, cluster_api::Cluster, condition::find, kubevirt_cluster::FINALIZER,
};
use capn_integration::{Manager, Mark, Object, World, Write, run};
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

async fn wait_paused<K: Conditions>(world: &World, name: &str, status: &str) {
    let says = |object: &K| {
        find(&object.conditions(), "Paused")
            .is_some_and(|c| format!("{:?}", c.status) == status && (status == "False" || !c.message.is_empty()))
    };
    world.wait_for::<K>(name, &format!("Paused={status}"), says).await;
}

fn beside_status(world: &World, manager: &Manager, mark: Mark) -> Vec<Write> {
    let mut writes = world.writes(&manager.user, mark);
    writes.retain(|write| !write.resource.ends_with("/status"));
    writes
}

/// Pauses infrastructure before its Cluster has an endpoint, and resumes it.
async fn cluster_pauses<K: Object>(world: &World, pause: Value, resume: Value) {
    let manager = manager(world).await;
    world.cluster(json!({})).await;
    infrastructure(world, json!({}), json!({})).await;
    wait_cluster(world, "WaitingForControlPlaneEndpoint").await;
    world.merge::<K>("tenant", &pause).await;
    wait_paused::<KubevirtCluster>(world, "tenant", "True").await;
    let endpoint = json!({"spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}});
    world.merge::<Cluster>("tenant", &endpoint).await;
    manager.look_again(world).await;
    wait_cluster(world, "WaitingForControlPlaneEndpoint").await;
    world.merge::<K>("tenant", &resume).await;
    wait_paused::<KubevirtCluster>(world, "tenant", "False").await;
    wait_cluster(world, "Provisioned").await;
}

#[test]
fn infrastructure_is_paused_by_its_annotation_and_resumed() {
    run(async |world| {
        cluster_pauses::<KubevirtCluster>(world, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn infrastructure_is_paused_by_its_cluster_and_resumed() {
    run(async |world| cluster_pauses::<Cluster>(world, spec(json!(true)), spec(Value::Null)).await);
}

/// Pauses a machine before anything is made for it, and resumes it.
async fn machine_pauses<K: Object>(world: &World, name: &str, pause: Value, resume: Value) {
    let manager = manager(world).await;
    let mark = world.mark();
    cluster_with_endpoint(world).await;
    let owner = machine_of(world, true).await;
    infra_machine(world, Some(&owner), unchecked(template())).await;
    wait_ready(world, "WaitingForClusterInfrastructure").await;
    world.merge::<K>(name, &pause).await;
    wait_paused::<KubevirtMachine>(world, NAME, "True").await;
    cluster_initialized(world).await;
    bootstrap_data(world).await;
    manager.look_again(world).await;
    assert_eq!(beside_status(world, &manager, mark), []);
    world.merge::<K>(name, &resume).await;
    wait_paused::<KubevirtMachine>(world, NAME, "False").await;
    virtual_machine(world).await;
}

#[test]
fn a_machine_is_paused_by_its_annotation_and_resumed() {
    run(async |world| {
        machine_pauses::<KubevirtMachine>(world, NAME, annotation(json!("")), annotation(Value::Null)).await;
    });
}

#[test]
fn a_machine_is_paused_by_its_cluster_and_resumed() {
    run(async |world| machine_pauses::<Cluster>(world, "tenant", spec(json!(true)), spec(Value::Null)).await);
}

#[test]
fn a_paused_machine_that_runs_is_still_ready() {
    run(async |world| {
        let manager = manager(world).await;
        let _worker = worker(world).await;
        worker_ready(world).await;
        world.merge::<Cluster>("tenant", &spec(json!(true))).await;
        wait_paused::<KubevirtMachine>(world, NAME, "True").await;
        manager.look_again(world).await;
        let ready = wait_ready(world, "Ready").await;
        assert!(ready.status.unwrap().ready);
    });
}

#[test]
fn a_paused_machine_is_not_deleted_before_it_is_resumed() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        virtual_machine(world).await;
        world.merge::<KubevirtMachine>(NAME, &annotation(json!(""))).await;
        wait_paused::<KubevirtMachine>(world, NAME, "True").await;
        let mark = world.mark();
        world.delete::<KubevirtMachine>(NAME).await;
        manager.look_again(world).await;
        assert_eq!(beside_status(world, &manager, mark), []);
        assert!(world.get::<KubevirtMachine>(NAME).await.is_some());
        world.merge::<KubevirtMachine>(NAME, &annotation(Value::Null)).await;
        world.wait_gone::<KubevirtMachine>(NAME).await;
    });
}

#[test]
fn paused_infrastructure_is_not_deleted_before_it_is_resumed() {
    run(async |world| {
        let manager = manager(world).await;
        cluster_with_endpoint(world).await;
        // The Go provider's, by which it is held.
        infrastructure(world, json!({"finalizers": [FINALIZER]}), json!({})).await;
        world.merge::<KubevirtCluster>("tenant", &annotation(json!(""))).await;
        wait_paused::<KubevirtCluster>(world, "tenant", "True").await;
        let mark = world.mark();
        world.delete::<KubevirtCluster>("tenant").await;
        manager.look_again(world).await;
        assert_eq!(beside_status(world, &manager, mark), []);
        assert!(world.get::<KubevirtCluster>("tenant").await.is_some());
        world.merge::<KubevirtCluster>("tenant", &annotation(Value::Null)).await;
        world.wait_gone::<KubevirtCluster>("tenant").await;
    });
}
