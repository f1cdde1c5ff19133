//! KubevirtCluster: the infrastructure of a Cluster, per Cluster API's infra cluster contract
//! v1beta2. Field names are those of the Go provider's v1alpha1.

use crate::common::{ApiEndpoint, ObjectReference, PlacedMetadata, TemplateMetadata};
use crate::condition::Condition;
use k8s_openapi::api::core::v1::ServiceSpec;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Finalizer of a KubevirtCluster, the same as the Go provider's.
pub const FINALIZER: &str = "kubevirtcluster.infrastructure.cluster.x-k8s.io";

/// Types of the conditions.
pub mod condition {
    /// The infrastructure is provisioned.
    pub const READY: &str = "Ready";
    /// The Service in front of control planes in VMs has its address.
    pub const LOAD_BALANCER_AVAILABLE: &str = "LoadBalancerAvailable";
    /// The object or its Cluster is paused.
    pub const PAUSED: &str = "Paused";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
}

/// The infrastructure of a Cluster whose machines are KubeVirt VMs.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "KubevirtCluster",
    plural = "kubevirtclusters",
    singular = "kubevirtcluster",
    shortname = "kvc",
    category = "cluster-api",
    namespaced,
    doc = "KubevirtCluster is the infrastructure of a Cluster whose machines are KubeVirt VMs.",
    status = "KubevirtClusterStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",
        description = "Cluster that this infrastructure belongs to"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the infrastructure is provisioned"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.controlPlaneEndpoint.host",
        description = "Host of the API server, where this object owns it",
        priority = 10
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtClusterSpec {
    /// Endpoint of the API server of a control plane that runs in VMs. Leave it empty with a NestedControlPlane,
    /// which publishes its own endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<ApiEndpoint>,
    /// Template of the Service for control planes that run in VMs. This release does not create it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_service_template: Option<ServiceTemplate>,
    /// Secret with the kubeconfig of the cluster in which the VMs run. Defaults to this cluster. Not supported in
    /// this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infra_cluster_secret_ref: Option<ObjectReference>,
    /// SSH keys for the VMs. This release keeps the field unchanged and does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<SshKeys>,
}

/// Template of a Service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTemplate {
    /// Namespace, labels and annotations of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PlacedMetadata>,
    /// Spec of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<ServiceSpec>,
}

/// SSH keys for the VMs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SshKeys {
    /// Object for which the keys were created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_ref: Option<ObjectReference>,
    /// Secret with the keys `pub` and `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_secret_name: Option<String>,
}

/// Observed state of a KubevirtCluster.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtClusterStatus {
    /// Whether the infrastructure is provisioned. The same field as in the Go provider.
    #[serde(default)]
    pub ready: bool,
    /// Initialization of the object. Its fields never become false again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// Kept unchanged from the Go provider. Nothing is spread over failure domains yet.
    #[serde(default, deserialize_with = "failure_domains", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub failure_domains: Vec<FailureDomain>,
    /// Conditions of the infrastructure.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Initialization of the object. Its fields never become false again.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialization {
    /// The infrastructure has been provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<bool>,
}

/// A failure domain that Machines are spread over.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureDomain {
    /// Name of the domain.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = 256))]
    pub name: String,
    /// Whether control planes may be placed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<bool>,
    /// Attributes of the domain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The Go provider stored failure domains as a map from their names until its last release.
fn failure_domains<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<FailureDomain>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        List(Vec<FailureDomain>),
        Map(BTreeMap<String, FailureDomain>),
    }
    Ok(match Option::<Stored>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Stored::List(list)) => list,
        Some(Stored::Map(map)) => map
            .into_iter()
            .map(|(name, domain)| FailureDomain { name, ..domain })
            .collect(),
    })
}

/// A template for KubevirtClusters, used by a ClusterClass.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "KubevirtClusterTemplate",
    plural = "kubevirtclustertemplates",
    singular = "kubevirtclustertemplate",
    shortname = "kct",
    category = "cluster-api",
    namespaced,
    doc = "KubevirtClusterTemplate is what a ClusterClass makes KubevirtClusters from.",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtClusterTemplateSpec {
    /// Template of the KubevirtCluster.
    pub template: KubevirtClusterTemplateResource,
}

/// Template of the KubevirtCluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtClusterTemplateResource {
    /// Labels and annotations of the KubevirtCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Spec of the KubevirtCluster.
    pub spec: KubevirtClusterSpec,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_domains_stored_as_a_map_decode() {
        let stored = serde_json::json!({"ready": true, "failureDomains": {"zone-a": {"controlPlane": true}}});
        let status: KubevirtClusterStatus = serde_json::from_value(stored).unwrap();
        assert_eq!(status.failure_domains[0].name, "zone-a");
        assert_eq!(status.failure_domains[0].control_plane, Some(true));
    }
}
