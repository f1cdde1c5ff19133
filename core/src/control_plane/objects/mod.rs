//! Every object that a control plane is to have, in the management cluster and inside the workload cluster, but for
//! those of its datastore.

mod api_server;
pub(crate) mod budget;
mod controllers;
mod inside;
pub(crate) mod pod;
pub(crate) mod services;
mod workload;

pub use inside::inside;
pub use services::api_server as api_server_service;
pub(crate) use workload::AUTHORITIES_ANNOTATION;

use super::{
    addresses::Addresses,
    desired::DesiredControlPlane,
    names::{API_SERVER, CONTROLLERS},
};
use crate::certificates::Marks;
use k8s_openapi::{
    api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::collections::BTreeMap;

/// What runs a control plane, beside its datastore.
#[derive(Clone, Debug)]
pub struct Workloads {
    /// Not applied while the datastore of a new control plane cannot start yet.
    pub api_server: Deployment,
    /// Not applied while the API servers that it needs are not there.
    pub controllers: Deployment,
    /// Wanted with more than one replica.
    pub api_server_budget: Option<PodDisruptionBudget>,
    /// Wanted with more than one replica.
    pub controllers_budget: Option<PodDisruptionBudget>,
}

/// Builds what runs the control plane.
pub fn workloads(desired: &DesiredControlPlane, addresses: &Addresses, authorities: &Marks) -> Workloads {
    let names = &desired.names;
    let budget =
        |name, component| (desired.replicas > 1).then(|| budget::budget(desired, name, names.component(component)));
    Workloads {
        api_server: api_server::api_server(desired, addresses, authorities.of(API_SERVER)),
        controllers: controllers::controllers(desired, addresses, authorities.of(CONTROLLERS)),
        api_server_budget: budget(names.api_server(), API_SERVER),
        controllers_budget: budget(names.controllers(), CONTROLLERS),
    }
}

/// Metadata of an object of the control plane.
pub fn metadata(desired: &DesiredControlPlane, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(desired.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![desired.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
