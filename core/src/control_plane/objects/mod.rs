//! Step 3: every object that a tenant is to have, in the management cluster and inside the tenant.
//! Pure: no client, no clock, no keys.

mod api_server;
mod budget;
mod controllers;
mod etcd;
mod inside;
mod pod;
mod services;
mod workload;

pub use inside::inside;

use super::{
    addresses::Addresses,
    certificates::Marks,
    desired::Tenant,
    names::{API_SERVER, CONTROLLERS, ETCD},
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::collections::BTreeMap;

/// The newest revision of the pod templates. One that has been released never changes: pods that run are
/// made of it. A change is another revision, beside the older ones, with golden files of its own in
/// `revisions/`; those of a released one are never written again.
pub const LATEST_TEMPLATE_REVISION: u32 = 1;

/// Names of the volumes of a control plane's pods that are not a user's.
pub const OWN_VOLUMES: [&str; 6] = [
    "api-server",
    "tmp",
    "controller-manager",
    "controller-manager-credentials",
    "scheduler",
    "scheduler-credentials",
];

/// The first wave: what gives addresses, and what pods need to start.
#[derive(Clone, Debug)]
pub struct Network {
    /// The API server's Service.
    pub api_server: Service,
    /// etcd's Service for API servers.
    pub etcd: Service,
    /// The Service of etcd's members among themselves.
    pub etcd_peers: Service,
    /// What members with an empty volume start with.
    pub etcd_config: ConfigMap,
}

/// The second wave: what holds those addresses.
#[derive(Clone, Debug)]
pub struct Workloads {
    /// Not applied while its data is gone.
    pub etcd: Option<StatefulSet>,
    /// Not applied while the datastore of a new tenant cannot start yet.
    pub api_server: Option<Deployment>,
    /// Not applied while the API servers that it needs are not there.
    pub controllers: Option<Deployment>,
    /// Wanted with more than one member.
    pub etcd_budget: Option<PodDisruptionBudget>,
    /// Wanted with more than one replica.
    pub api_server_budget: Option<PodDisruptionBudget>,
    /// Wanted with more than one replica.
    pub controllers_budget: Option<PodDisruptionBudget>,
}

/// Builds the first wave.
pub fn network(tenant: &Tenant) -> Network {
    Network {
        api_server: services::api_server(tenant),
        etcd: services::etcd(tenant),
        etcd_peers: services::etcd_peers(tenant),
        etcd_config: etcd::config_map(tenant),
    }
}

/// Builds the second wave.
pub fn workloads(tenant: &Tenant, addresses: &Addresses, authorities: &Marks) -> Workloads {
    let names = &tenant.names;
    let budget = |replicas, name, component| (replicas > 1).then(|| budget::budget(tenant, name, component));
    Workloads {
        etcd: Some(etcd::stateful_set(tenant, &authorities.etcd)),
        api_server: Some(api_server::api_server(tenant, addresses, &authorities.api_server)),
        controllers: Some(controllers::controllers(tenant, addresses, &authorities.controllers)),
        etcd_budget: budget(tenant.etcd.replicas, names.etcd(), ETCD),
        api_server_budget: budget(tenant.replicas, names.api_server(), API_SERVER),
        controllers_budget: budget(tenant.replicas, names.controllers(), CONTROLLERS),
    }
}

/// Metadata of an object of the control plane.
pub fn metadata(tenant: &Tenant, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(tenant.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![tenant.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
