//! What a NestedControlPlane tells of itself, per Cluster API's control plane contract v1beta2.

use crate::condition::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of the conditions.
pub mod condition {
    /// The API server answers and the tenant can be used.
    pub const AVAILABLE: &str = "Available";
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

/// Reasons that tests and other programs may rely on.
pub mod reason {
    /// The API server answers.
    pub const AVAILABLE: &str = "Available";
    /// Pods are on their way.
    pub const STARTING: &str = "Starting";
    /// Other control planes are starting; this one is next in line.
    pub const WAITING_FOR_TURN: &str = "WaitingForTurn";
    /// The spec or what it refers to is wrong.
    pub const INVALID: &str = "Invalid";
    /// An object that would have to be made exists and belongs to somebody else.
    pub const NAME_TAKEN: &str = "NameTaken";
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
