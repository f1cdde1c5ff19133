//! Where a control plane keeps its data.

use super::{Argument, EtcdPodTemplate};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a control plane keeps its data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Datastore {
    /// An etcd of the control plane's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdDatastore>,
}

/// An etcd of the control plane's own.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdDatastore {
    /// Number of members, 1 or 3; 1 by default.
    #[serde(default = "super::one")]
    #[x_kube(validation = Rule::new("self == 1 || self == 3").message("datastore.etcd.replicas must be odd, so that a majority exists: set 1 or 3"))]
    pub replicas: i32,
    /// Volume of each member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<VolumeStorage>,
    /// What becomes of the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<VolumeClaimRetention>,
    /// Image instead of the one that belongs to the Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Requests and limits of each member. Without a CPU limit it uses as many processors at once as
    /// its CPU request, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Placement and metadata of etcd's pods. A field that is left out is that of spec.podTemplate. Unless
    /// topologySpreadConstraints are set here, members never share a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<EtcdPodTemplate>,
    /// Flags of etcd, over those that the controller sets. What says where its data and which its
    /// members are cannot be set.
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
    /// Size of the volume; 5Gi by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub size: Option<Quantity>,
    /// StorageClass of the volume; the management cluster's default class by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// What becomes of the volumes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimRetention {
    /// Whether the volumes go with the control plane; Delete by default.
    #[serde(default)]
    pub when_deleted: RetentionPolicy,
}

/// Whether something goes with its owner.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RetentionPolicy {
    /// It goes.
    #[default]
    Delete,
    /// It stays.
    Retain,
}
