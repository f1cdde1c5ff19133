//! What a NestedControlPlane tells of itself, per Cluster API's control plane contract v1beta2.

use crate::condition::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of the conditions.
pub mod condition {
    /// The API server answers and the workload cluster can be used.
    pub const AVAILABLE: &str = "Available";
    /// Every member of the datastore has its data and is ready.
    pub const DATASTORE_HEALTHY: &str = "DatastoreHealthy";
    /// kube-apiserver, kube-controller-manager and kube-scheduler run (KubeadmControlPlane's word).
    pub const CONTROL_PLANE_COMPONENTS_HEALTHY: &str = "ControlPlaneComponentsHealthy";
    /// The certificates exist, belong together and are valid.
    pub const CERTIFICATES_VALID: &str = "CertificatesValid";
    /// The object or its Cluster is paused.
    pub const PAUSED: &str = "Paused";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
    /// Pods that run an outdated spec are being replaced.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Replicas are being added.
    pub const SCALING_UP: &str = "ScalingUp";
    /// Replicas are being removed.
    pub const SCALING_DOWN: &str = "ScalingDown";
}

/// Observed state of a NestedControlPlane.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NestedControlPlaneStatus {
    /// Always true: the control plane is not made of Machines.
    #[serde(default)]
    pub external_managed_control_plane: bool,
    /// Initialization of the object. Its fields never become false again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// Lowest Kubernetes version that the API server pods serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kubernetes versions that the API server pods serve, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["version".into()]))]
    pub versions: Vec<VersionStatus>,
    /// Number of API server pods.
    #[serde(default)]
    pub replicas: i32,
    /// Number of ready API server pods.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Number of available API server pods.
    #[serde(default)]
    pub available_replicas: i32,
    /// Number of API server pods that run the current spec.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// What is known about the datastore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<DatastoreStatus>,
    /// Label selector of the API server pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions of the control plane.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Initialization of the object. Its fields never become false again.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialization {
    /// The API server has answered, and the endpoint, the kubeconfig and the objects that workers need to join
    /// exist.
    #[serde(default)]
    pub control_plane_initialized: bool,
}

/// What is known about the datastore. It keeps a datastore from being replaced by an empty one.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreStatus {
    /// Whether an API server has used the datastore.
    #[serde(default)]
    pub initialized: bool,
    /// An etcd cluster that only this control plane uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdStatus>,
}

/// What is known about an etcd cluster that only this control plane uses.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStatus {
    /// Highest etcd version that has served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Members that have served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<DatastoreMember>,
}

/// An etcd member and its volume claim.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreMember {
    /// Name of the member, which is also the name of its pod.
    pub name: String,
    /// UID of the PersistentVolumeClaim that holds the member's data.
    #[serde(rename = "claimUID", default)]
    pub claim_uid: String,
}

/// A Kubernetes version and the number of pods that serve it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Kubernetes version with a leading v.
    pub version: String,
    /// Number of pods that serve this version.
    #[serde(default)]
    pub replicas: i32,
}
