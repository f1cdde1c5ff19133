//! Where a control plane keeps its data.

use super::{Argument, EtcdPodTemplate};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Datastore of a control plane.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Datastore {
    /// An etcd cluster that only this control plane uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdDatastore>,
}

/// An etcd cluster that only this control plane uses.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdDatastore {
    /// Number of etcd members, either 1 or 3. Defaults to 1.
    #[serde(default = "super::one")]
    #[x_kube(validation = Rule::new("self == 1 || self == 3").message("datastore.etcd.replicas must be odd, so that a majority exists: set 1 or 3"))]
    pub replicas: i32,
    /// Volume of each etcd member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<VolumeStorage>,
    /// What happens to the etcd volumes when the control plane is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<VolumeClaimRetention>,
    /// Image to use instead of the default for the Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Resource requests and limits of each member. Without a CPU limit, GOMAXPROCS is the CPU request, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Scheduling and metadata of the etcd pods. Fields that are not set here are taken from spec.podTemplate. Two
    /// members never run on the same node unless topologySpreadConstraints are set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<EtcdPodTemplate>,
    /// Additional command-line flags of etcd. A flag listed here replaces the controller's own value. Flags that
    /// set the data directory or the members are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.all(arg, !(arg.name in ['name', 'data-dir', 'wal-dir', 'config-file', 'force-new-cluster']) && !arg.name.startsWith('initial-') && !arg.name.startsWith('discovery'))").message("datastore.etcd.extraArgs cannot set name, data-dir, wal-dir, config-file, force-new-cluster, initial-* or discovery*: the controller keeps the data and the members by them"))]
    pub extra_args: Vec<Argument>,
}

impl Default for EtcdDatastore {
    fn default() -> Self {
        Self {
            replicas: 1,
            storage: None,
            persistent_volume_claim_retention_policy: None,
            image: None,
            resources: None,
            pod_template: None,
            extra_args: Vec::new(),
        }
    }
}

/// Volume of an etcd member.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStorage {
    /// Size of the volume. Defaults to 5Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub size: Option<Quantity>,
    /// StorageClass of the volume. Defaults to the default StorageClass of the management cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// What happens to the etcd volumes when the control plane is deleted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimRetention {
    /// What happens to the volumes when the control plane is deleted. Defaults to Delete.
    #[serde(default)]
    pub when_deleted: RetentionPolicy,
}

/// What happens to an object when its owner is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RetentionPolicy {
    /// Delete the volumes.
    #[default]
    Delete,
    /// Keep the volumes.
    Retain,
}
