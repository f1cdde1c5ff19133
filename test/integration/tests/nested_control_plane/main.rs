//! The control plane provider against an API server without nodes: what it makes of a
//! NestedControlPlane, rule by rule of Cluster API's control plane contract.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorities;
mod conditions;
mod contract;
mod datastore;
mod deletion;
mod endpoint;
mod hostile;
mod kept_alive;
mod later;
mod objects;
mod ownership;
mod paused;
mod scope;
mod secrets;
mod silence;
mod undecodable;
mod versions;

use capn_integration::{Kubelet, Manager, TenantApiServer, TestEnv};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, PodTemplateSpec, Secret, Volume},
};
use kube::{ResourceExt, api::PostParams};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A control plane that is up, and everything that plays a part in it.
struct Running {
    manager: Manager,
    tenant: TenantApiServer,
    _kubelet: Kubelet,
}

/// Starts everything for a Cluster and a NestedControlPlane with these fields, and waits until it
/// is available.
async fn running(env: &TestEnv, cluster: Value, control_plane: Value) -> Running {
    let manager = Manager::start(env).await;
    env.cluster(cluster).await;
    env.control_plane(control_plane).await;
    running_of(env, manager).await
}

/// Plays nodes and tenant for what a manager makes, and waits until it is available.
async fn running_of(env: &TestEnv, manager: Manager) -> Running {
    let tenant = TenantApiServer::start(env).await;
    let kubelet = Kubelet::start(env);
    env.wait_up().await;
    Running {
        manager,
        tenant,
        _kubelet: kubelet,
    }
}

/// A pod as the controller of a Deployment or a StatefulSet makes it.
fn pod_of(name: &str, template: PodTemplateSpec) -> Pod {
    let mut metadata = template.metadata.unwrap_or_default();
    metadata.name = Some(name.to_owned());
    let mut spec = template.spec.unwrap();
    // The StatefulSet's controller would add the volumes of its claims.
    let data = Volume {
        name: "data".into(),
        empty_dir: Some(Default::default()),
        ..Volume::default()
    };
    spec.volumes.get_or_insert_default().push(data);
    Pod {
        metadata,
        spec: Some(spec),
        ..Pod::default()
    }
}

/// Makes a pod of a workload, as its controller does, with this status.
async fn pod(env: &TestEnv, owner: (&str, &str), template: PodTemplateSpec, status: Value) {
    let mut pod = pod_of(&format!("{}-0", owner.1), template);
    let owner = json!([{"apiVersion": "apps/v1", "kind": owner.0, "name": owner.1, "uid": "1", "controller": true}]);
    pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
    let made = env.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    env.merge_status::<Pod>(&made.name_any(), &status).await;
}

/// Makes a pod of etcd that a scheduler has given a Node.
async fn place_etcd(env: &TestEnv, ordinal: u32) {
    let set = env
        .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
    let mut pod = pod_of(&format!("tenant-etcd-{ordinal}"), set.spec.unwrap().template);
    pod.spec.as_mut().unwrap().node_name = Some("played".into());
    let pods = env.api::<Pod>();
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

/// Makes a pod of etcd that has its volumes and its sandbox.
async fn prepare_etcd(env: &TestEnv, ordinal: u32) {
    place_etcd(env, ordinal).await;
    let condition = json!({"type": "PodReadyToStartContainers", "status": "True"});
    let status = json!({"phase": "Pending", "conditions": [condition]});
    env.merge_status::<Pod>(&format!("tenant-etcd-{ordinal}"), &status)
        .await;
}

/// Whether the first certificate of a PEM text was signed by the other.
fn signed(leaf: &str, authority: &str) -> bool {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
    let (leaf, authority) = (der(leaf), der(authority));
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    leaf.issuer().as_raw() == authority.subject().as_raw()
        && leaf.verify_signature(Some(authority.public_key())).is_ok()
}

/// A text in a Secret.
fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.unwrap_or_else(|| panic!("Secret {:?} has no {key}", secret.metadata.name));
    String::from_utf8(value.0.clone()).unwrap()
}
