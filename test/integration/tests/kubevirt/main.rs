//! The infrastructure provider against an API server without KubeVirt's controllers: the test
//! says what KubeVirt would say, rule by rule of Cluster API's infra contracts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod crash;
mod eviction;
mod faults;
mod machine;
mod machine_deletion;
mod machine_later;
mod ownership;
mod paused;
mod scope;
mod silence;

use capn_api::{
    Condition, KubevirtCluster, KubevirtMachine,
    cluster_api::{Cluster, Machine},
    condition::find,
};
use capn_integration::{KubeVirt, Manager, Options, TenantApiServer, TestEnv};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

/// Name of the Machine, its bootstrap data, its KubevirtMachine, VM and Node.
const NAME: &str = "tenant-md-0-abcde";

fn options() -> Options {
    Options {
        controllers: "kubevirt",
        ..Options::default()
    }
}

async fn manager(env: &TestEnv) -> Manager {
    Manager::start_with(env, options()).await
}

fn owner(kind: &str, name: &str, uid: Option<String>) -> Value {
    json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

/// A Cluster that has its endpoint: that of the kubeconfig Secret, if there is one.
async fn cluster_with_endpoint(env: &TestEnv) {
    let secret: Option<Secret> = env.get("tenant-kubeconfig").await;
    let port = secret.and_then(|secret| {
        let kubeconfig: Value = serde_json::from_slice(&secret.data?["value"].0).ok()?;
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str()?;
        server.rsplit_once(':')?.1.parse::<u16>().ok()
    });
    let endpoint = match port {
        Some(port) => json!({"host": "127.0.0.1", "port": port}),
        None => json!({"host": "192.0.2.1", "port": 6443}),
    };
    env.cluster(json!({"controlPlaneEndpoint": endpoint})).await;
}

/// A KubevirtCluster with these fields, owned by its Cluster as Cluster API's core would have it.
async fn infrastructure(env: &TestEnv, metadata: Value, spec: Value) -> KubevirtCluster {
    let cluster = env.get::<Cluster>("tenant").await.unwrap();
    let mut object = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
        "metadata": metadata, "spec": spec,
    });
    object["metadata"]["name"] = json!("tenant");
    object["metadata"]["ownerReferences"] = owner("Cluster", "tenant", cluster.uid());
    serde_json::from_value(env.apply(&object).await).unwrap()
}

/// The Cluster, as its infrastructure and its control plane let it get on.
async fn cluster_initialized(env: &TestEnv) {
    let initialized = json!({"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true}});
    env.merge_status::<Cluster>("tenant", &initialized).await;
}

/// What a bootstrap provider writes.
async fn bootstrap_data(env: &TestEnv) {
    env.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": NAME, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"},
            "ownerReferences": [{
                "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "name": NAME,
                "uid": "0f1e", "controller": true,
            }],
        },
        "data": {"value": ByteString(b"#cloud-config\n".to_vec())},
    }))
    .await;
}

/// A Machine that names its bootstrap data, or has none yet.
async fn machine_of(env: &TestEnv, data: bool) -> Machine {
    let mut bootstrap = json!({"configRef": {
        "apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": NAME,
    }});
    if data {
        bootstrap["dataSecretName"] = json!(NAME);
    }
    let machine = env
        .apply(&json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": NAME, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
            "spec": {
                "clusterName": "tenant", "version": "v1.36.3", "bootstrap": bootstrap,
                "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "KubevirtMachine", "name": NAME},
            },
        }))
        .await;
    serde_json::from_value(machine).unwrap()
}

/// A KubevirtMachine of that Machine, if there is one.
async fn infra_machine(env: &TestEnv, machine: Option<&Machine>, spec: Value) {
    let mut object = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtMachine",
        "metadata": {"name": NAME, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        "spec": spec,
    });
    if let Some(machine) = machine {
        object["metadata"]["ownerReferences"] = owner("Machine", NAME, machine.uid());
    }
    env.apply(&object).await;
}

/// The spec of a KubevirtMachine with this VM, whose guest is asked for nothing.
fn unchecked(template: Value) -> Value {
    json!({
        "virtualMachineBootstrapCheck": {"checkStrategy": "none"},
        "virtualMachineTemplate": {"spec": template},
    })
}

/// Cluster, Machine, bootstrap data and KubevirtMachine, as Cluster API would have them.
async fn machine(env: &TestEnv, spec: Value) {
    cluster_with_endpoint(env).await;
    cluster_initialized(env).await;
    bootstrap_data(env).await;
    let machine = machine_of(env, true).await;
    infra_machine(env, Some(&machine), spec).await;
}

/// The same before there is bootstrap data, which the Machine names already or not yet.
async fn waiting_machine(env: &TestEnv, named: bool) {
    cluster_with_endpoint(env).await;
    cluster_initialized(env).await;
    let machine = machine_of(env, named).await;
    infra_machine(env, Some(&machine), unchecked(template())).await;
}

fn template() -> Value {
    json!({"runStrategy": "Always", "template": {"spec": {
        "domain": {"memory": {"guest": "1Gi"}, "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}},
        "volumes": [{"name": "root", "containerDisk": {"image": "example.com/worker:1"}}],
    }}})
}

/// A whole worker whose Node has registered: infrastructure, machine, and those who play a part.
struct Worker {
    tenant: TenantApiServer,
    _kubevirt: KubeVirt,
}

async fn worker(env: &TestEnv) -> Worker {
    let tenant = TenantApiServer::alone(env).await;
    // The manager asks for it only once the VM runs.
    tenant.register(NAME, json!({}));
    let kubevirt = KubeVirt::start(env);
    machine(env, json!({"virtualMachineTemplate": {"spec": template()}})).await;
    infrastructure(env, json!({}), json!({})).await;
    Worker {
        tenant,
        _kubevirt: kubevirt,
    }
}

/// Waits until infrastructure and machine are ready.
async fn worker_ready(env: &TestEnv) {
    wait_ready(env, "Ready").await;
    wait_cluster(env, "Provisioned").await;
}

async fn virtual_machine(env: &TestEnv) -> DynamicObject {
    let vms = env.kubevirt("VirtualMachine");
    env.wait("the VirtualMachine", async || vms.get_opt(NAME).await.unwrap())
        .await
}

/// What KubeVirt does once the guest runs.
async fn run_instance(env: &TestEnv) {
    KubeVirt::run(env, &virtual_machine(env).await).await;
}

async fn wait_ready(env: &TestEnv, reason: &str) -> KubevirtMachine {
    let is = |object: &KubevirtMachine| condition(object).is_some_and(|ready| ready.reason == reason);
    env.wait_for(NAME, &format!("Ready with reason {reason}"), is).await
}

async fn wait_cluster(env: &TestEnv, reason: &str) -> KubevirtCluster {
    let is = |object: &KubevirtCluster| cluster_condition(object).is_some_and(|ready| ready.reason == reason);
    env.wait_for("tenant", &format!("Ready with reason {reason}"), is).await
}

fn condition(object: &KubevirtMachine) -> Option<Condition> {
    find(&object.status.as_ref()?.conditions, "Ready").cloned()
}

fn cluster_condition(object: &KubevirtCluster) -> Option<Condition> {
    find(&object.status.as_ref()?.conditions, "Ready").cloned()
}

fn provisioned(object: &KubevirtMachine) -> Option<bool> {
    object.status.as_ref()?.initialization.as_ref()?.provisioned
}

fn cluster_provisioned(object: &KubevirtCluster) -> Option<bool> {
    object.status.as_ref()?.initialization.as_ref()?.provisioned
}

/// The user data that the VM mounts.
async fn user_data(env: &TestEnv) -> Option<Secret> {
    env.get(&format!("{NAME}-userdata")).await
}
