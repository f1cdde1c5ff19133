//! Evictions that KubeVirt leaves to the provider (evictionStrategy External). The management
//! cluster is its own tenant here: evictions need a real API server.

use super::{NAME, machine, manager, template, unchecked, wait_ready};
use capn_api::{KubevirtMachine, cluster_api::Machine};
use capn_integration::{KubeVirt, Manager, TestEnv, run};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

const CORDONED: &str = "capk.cluster.x-k8s.io/node-cordoned";
const UNTIL: &str = "capk.cluster.x-k8s.io/vmi-deletion-grace-time";

/// A root disk that outlives its instance.
fn persistent() -> Value {
    let mut template = template();
    template["template"]["spec"]["volumes"] = json!([{"name": "root", "persistentVolumeClaim": {"claimName": "root"}}]);
    template
}

fn nodes(env: &TestEnv) -> Api<Node> {
    Api::all(env.client.clone())
}

async fn unschedulable(env: &TestEnv, node: &str) -> bool {
    let node = nodes(env).get(node).await.unwrap();
    node.spec.and_then(|spec| spec.unschedulable) == Some(true)
}

/// A pod that runs on the Node and that a budget protects.
async fn protected_pod(env: &TestEnv, node: &str) {
    env.apply(&json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "app"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}},
    }))
    .await;
    env.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "labels": {"app": "app"}},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "example.com/app:1"}]},
    }))
    .await;
    env.merge_status::<Pod>("app", &json!({"phase": "Running"})).await;
}

/// What KubeVirt does with an eviction of the VM's pod.
async fn evict(env: &TestEnv) -> Option<String> {
    let instances = env.kubevirt("VirtualMachineInstance");
    let asked = json!({
        "spec": {"evictionStrategy": "External"},
        "status": {"evacuationNodeName": "node-1"},
    });
    let patched = instances
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&asked))
        .await
        .unwrap();
    patched.uid()
}

/// A machine that runs, and its Node in the tenant.
async fn machine_with_node(env: &TestEnv, node: &str, unschedulable: bool) -> (Manager, KubeVirt) {
    env.own_tenant().await;
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
        "spec": {"providerID": format!("kubevirt://{NAME}"), "unschedulable": unschedulable},
    });
    let node: Node = serde_json::from_value(node).unwrap();
    nodes(env).create(&PostParams::default(), &node).await.unwrap();
    let manager = manager(env).await;
    let kubevirt = KubeVirt::start(env);
    machine(env, unchecked(persistent())).await;
    wait_ready(env, "Ready").await;
    (manager, kubevirt)
}

async fn wait_replaced(env: &TestEnv, old: Option<String>) {
    let instances = env.kubevirt("VirtualMachineInstance");
    env.wait("another instance", async || {
        let instance = instances.get_opt(NAME).await.unwrap();
        instance.is_some_and(|instance| instance.uid() != old).then_some(())
    })
    .await;
}

async fn wait_settled(env: &TestEnv) {
    let unmarked = |object: &KubevirtMachine| {
        let marks = object.annotations();
        !marks.contains_key(UNTIL) && !marks.contains_key(CORDONED)
    };
    env.wait_for::<KubevirtMachine>(NAME, "without marks of the eviction", unmarked)
        .await;
    wait_ready(env, "Ready").await;
}

/// Nodes are the whole cluster's: one that has the name of its test's namespace is nobody else's.
async fn machine_with_own_node(env: &TestEnv, unschedulable: bool) -> (Manager, KubeVirt) {
    let parts = machine_with_node(env, &env.namespace, unschedulable).await;
    let reference = json!({"nodeRef": {"name": env.namespace}});
    env.merge_status::<Machine>(NAME, &reference).await;
    parts
}

#[test]
fn an_eviction_that_is_called_off_leaves_the_instance_and_uncordons_the_node() {
    run(async |env| {
        let node = &env.namespace;
        let _parts = machine_with_own_node(env, false).await;
        protected_pod(env, node).await;
        let old = evict(env).await;
        let cordoned = async || unschedulable(env, node).await.then_some(());
        env.wait("the Node to be cordoned", cordoned).await;

        let instances = env.kubevirt("VirtualMachineInstance");
        let called_off = json!({"status": {"evacuationNodeName": ""}});
        let instance = instances
            .patch(NAME, &PatchParams::default(), &Patch::Merge(&called_off))
            .await
            .unwrap();
        wait_settled(env).await;
        assert!(!unschedulable(env, node).await);
        assert_eq!(instance.uid(), old);
        assert_eq!(instances.get(NAME).await.unwrap().uid(), old);
    });
}

#[test]
fn a_node_that_a_user_had_cordoned_stays_so_after_an_eviction() {
    run(async |env| {
        let node = &env.namespace;
        let _parts = machine_with_own_node(env, true).await;
        let old = evict(env).await;
        wait_replaced(env, old).await;
        wait_settled(env).await;
        assert!(unschedulable(env, node).await);
    });
}

#[test]
fn an_eviction_drains_the_node_then_deletes_the_instance_and_the_node_that_is_back_is_uncordoned() {
    run(async |env| {
        let _parts = machine_with_node(env, NAME, false).await;
        protected_pod(env, NAME).await;

        let old = evict(env).await;
        env.wait("the Node to be cordoned", async || {
            unschedulable(env, NAME).await.then_some(())
        })
        .await;
        let words = [
            "node-1 of the management cluster",
            "a PodDisruptionBudget holds Pod",
            "/app",
        ];
        env.wait_event::<KubevirtMachine>(NAME, "Normal", "Draining", &words)
            .await;
        let object = env.get::<KubevirtMachine>(NAME).await.unwrap();
        assert!(object.annotations().contains_key(UNTIL) && object.annotations().contains_key(CORDONED));
        let instances = env.kubevirt("VirtualMachineInstance");
        assert_eq!(
            instances.get(NAME).await.unwrap().uid(),
            old,
            "the instance goes only when its Node is drained"
        );

        env.delete::<PodDisruptionBudget>("app").await;
        let evicted = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
        env.wait_for::<Pod>("app", "to be evicted", evicted).await;
        // As the kubelet does once the pod has ended.
        let now = DeleteParams::default().grace_period(0);
        env.api::<Pod>().delete("app", &now).await.unwrap();

        wait_replaced(env, old).await;
        env.wait("the Node to be uncordoned", async || {
            (!unschedulable(env, NAME).await).then_some(())
        })
        .await;
        wait_settled(env).await;
    });
}
