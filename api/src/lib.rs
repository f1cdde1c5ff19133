//! The kinds of cluster-api-provider-nested, their status and their conditions, and the parts of
//! Cluster API's own kinds that the controllers read. No client, no clock.

// Each printer column repeats the attributes of the one before.
#![allow(clippy::duplicated_attributes)]

pub mod cluster_api;
pub mod common;
pub mod condition;
pub mod kubevirt_cluster;
pub mod kubevirt_machine;
pub mod nested_control_plane;
pub mod reason;
mod schema;

pub use condition::{Condition, ConditionStatus};
pub use kubevirt_cluster::{KubevirtCluster, KubevirtClusterTemplate};
pub use kubevirt_machine::{KubevirtMachine, KubevirtMachineTemplate};
pub use nested_control_plane::{NestedControlPlane, NestedControlPlaneTemplate};
pub use reason::Reason;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Contract label that every CRD of a provider carries: served contract version to API versions.
const CONTRACT: (&str, &str) = ("cluster.x-k8s.io/v1beta2", "v1alpha1");

/// The CRDs of the control plane provider `nested`.
pub fn control_plane_crds() -> Vec<CustomResourceDefinition> {
    [NestedControlPlane::crd(), NestedControlPlaneTemplate::crd()]
        .map(|crd| schema::finish(crd, CONTRACT))
        .into()
}

/// The CRDs of the infrastructure provider `kubevirt`.
pub fn infrastructure_crds() -> Vec<CustomResourceDefinition> {
    [
        KubevirtCluster::crd(),
        KubevirtClusterTemplate::crd(),
        KubevirtMachine::crd(),
        KubevirtMachineTemplate::crd(),
    ]
    .map(|crd| schema::finish(crd, CONTRACT))
    .into()
}
