//! The parts of Cluster API's Cluster and Machine (v1beta2) that the controllers read. Never
//! written from these types.

use crate::common::ApiEndpoint;
use crate::condition::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Label with the name of the Cluster on everything that belongs to it.
pub const CLUSTER_NAME_LABEL: &str = "cluster.x-k8s.io/cluster-name";
/// Annotation that pauses the object that carries it.
pub const PAUSED_ANNOTATION: &str = "cluster.x-k8s.io/paused";
/// Annotation of infrastructure that somebody else manages.
pub const MANAGED_BY_ANNOTATION: &str = "cluster.x-k8s.io/managed-by";
/// Label that a manager with `--watch-filter` selects by.
pub const WATCH_LABEL: &str = "cluster.x-k8s.io/watch-filter";
/// Label of Machines of a control plane.
pub const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";
/// Annotation that keeps `clusterctl move` from moving the object, while it is there.
pub const BLOCK_MOVE_ANNOTATION: &str = "clusterctl.cluster.x-k8s.io/block-move";
/// Type of the Secrets that Cluster API's providers make.
pub const SECRET_TYPE: &str = "cluster.x-k8s.io/secret";

/// A Cluster, as far as it is read here.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Cluster",
    namespaced,
    schema = "disabled",
    status = "ClusterStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// Whether everything of the Cluster is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Networks inside the Cluster.
    pub cluster_network: ClusterNetwork,
    /// Endpoint of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<PartialEndpoint>,
    /// The control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_ref: Option<ContractReference>,
    /// The infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure_ref: Option<ContractReference>,
}

/// Networks inside a Cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterNetwork {
    /// Port of the API server.
    #[serde(rename = "apiServerPort", skip_serializing_if = "Option::is_none")]
    pub api_server_port: Option<i32>,
    /// Addresses of Services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<NetworkRanges>,
    /// Addresses of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NetworkRanges>,
    /// DNS domain of Services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_domain: Option<String>,
}

/// CIDRs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkRanges {
    /// One CIDR, or one of each family.
    pub cidr_blocks: Vec<String>,
}

/// An endpoint of which parts may not be set yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PartialEndpoint {
    /// Host, empty while it is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Port, 0 while it is not known.
    pub port: i32,
}

impl PartialEndpoint {
    /// The endpoint, once both parts are known.
    pub fn complete(&self) -> Option<ApiEndpoint> {
        Some(ApiEndpoint {
            host: self.host.clone(),
            port: self.port,
        })
        .filter(ApiEndpoint::is_valid)
    }
}

/// A reference to an object of a provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContractReference {
    /// API group of the object.
    pub api_group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// What a Cluster tells, as far as it is read here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Initialization of the object. Its fields never become false again.
    pub initialization: ClusterInitialization,
    /// Conditions of the Cluster.
    pub conditions: Vec<Condition>,
}

/// What a Cluster has reached once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInitialization {
    /// The infrastructure has been provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure_provisioned: Option<bool>,
    /// The control plane has been initialized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_initialized: Option<bool>,
}

/// A Machine, as far as it is read here.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Machine",
    namespaced,
    schema = "disabled",
    status = "MachineStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineSpec {
    /// Name of the Cluster.
    pub cluster_name: String,
    /// Bootstrap data of the machine.
    pub bootstrap: Bootstrap,
    /// The infrastructure of the machine.
    pub infrastructure_ref: ContractReference,
    /// Kubernetes version of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Provider ID of the machine.
    #[serde(rename = "providerID", skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
}

/// Bootstrap data of a machine.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bootstrap {
    /// What the data is made from; none when a user brought the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_ref: Option<ContractReference>,
    /// Secret with the data in key `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_secret_name: Option<String>,
}

/// What a Machine tells, as far as it is read here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// The Node of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_ref: Option<NodeReference>,
}

/// A reference to a Node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReference {
    /// Name of the Node.
    pub name: String,
}
