//! NestedControlPlaneTemplate: what a ClusterClass makes NestedControlPlanes from.

use crate::{common::TemplateMetadata, schema};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A template for NestedControlPlanes. It is immutable, except in dry runs of a topology.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "NestedControlPlaneTemplate",
    plural = "nestedcontrolplanetemplates",
    singular = "nestedcontrolplanetemplate",
    shortname = "ncpt",
    category = "cluster-api",
    namespaced,
    doc = "NestedControlPlaneTemplate is what a ClusterClass makes NestedControlPlanes from.",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NestedControlPlaneTemplateSpec {
    /// Template of the NestedControlPlane.
    pub template: NestedControlPlaneTemplateResource,
}

/// Template of the NestedControlPlane.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NestedControlPlaneTemplateResource {
    /// Labels and annotations of the NestedControlPlane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Spec of the NestedControlPlane, without version, replicas and controlPlaneEndpoint, which the topology sets.
    #[schemars(schema_with = "schema::templated_control_plane")]
    pub spec: serde_json::Map<String, serde_json::Value>,
}
