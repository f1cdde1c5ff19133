//! What a NestedControlPlane tells of itself, per Cluster API's control plane contract v1beta2.

use crate::condition::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of the conditions.
pub mod condition {
    /// The API server answers and the tenant can be used.
    pub const AVAILABLE: &str = "Available";
    /// Every member of the datastore has its data and is ready.
    pub const DATASTORE_HEALTHY: &str = "DatastoreHealthy";
    /// kube-apiserver, kube-controller-manager and kube-scheduler run (KubeadmControlPlane's word).
    pub const CONTROL_PLANE_COMPONENTS_HEALTHY: &str = "ControlPlaneComponentsHealthy";
    /// Certificates are there, match and are not about to end.
    pub const CERTIFICATES_VALID: &str = "CertificatesValid";
    /// The object or its Cluster is paused.
    pub const PAUSED: &str = "Paused";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
    /// Pods of an older spec are being replaced.
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
    /// What has been reached once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// Lowest Kubernetes version that a pod serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kubernetes versions that pods serve, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["version".into()]))]
    pub versions: Vec<VersionStatus>,
    /// Control plane pods.
    #[serde(default)]
    pub replicas: i32,
    /// Control plane pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Control plane pods that are available.
    #[serde(default)]
    pub available_replicas: i32,
    /// Control plane pods of the current spec.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// What is remembered of the datastore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<DatastoreStatus>,
    /// Label selector of the control plane pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions of the control plane.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What has been reached once.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialization {
    /// The API server has answered, and endpoint, kubeconfig and the objects that workers join by
    /// are there.
    #[serde(default)]
    pub control_plane_initialized: bool,
}

/// What is remembered of the datastore, so that it is never replaced by an empty one.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreStatus {
    /// Whether an API server has served from it.
    #[serde(default)]
    pub initialized: bool,
    /// An etcd of the control plane's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdStatus>,
}

/// What is remembered of an etcd of the control plane's own.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStatus {
    /// Newest version of etcd that has served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Members that have served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<DatastoreMember>,
}

/// An etcd member and where its data is.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreMember {
    /// Name of the member and of its pod.
    pub name: String,
    /// UID of the PersistentVolumeClaim that it served from.
    #[serde(rename = "claimUID", default)]
    pub claim_uid: String,
}

/// A Kubernetes version and how many pods serve it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Kubernetes version, with its v.
    pub version: String,
    /// Pods that serve it.
    #[serde(default)]
    pub replicas: i32,
}
