//! Step 3: every object that a tenant shall have, in the management cluster and inside the tenant.
//! Pure: no client, no clock, no keys.

mod api_server;
mod budget;
mod controllers;
mod etcd;
mod inside;
mod pod;
mod services;
mod workload;

pub(crate) use inside::inside;

use super::{
    addresses::Addresses,
    keys::Marks,
    names::{API_SERVER, CONTROLLERS, ETCD},
    validate::Tenant,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::{collections::BTreeMap, marker::PhantomData};

/// Names of the volumes of a control plane's pods that are not a user's.
pub(crate) const OWN_VOLUMES: [&str; 6] = [
    "api-server",
    "tmp",
    "controller-manager",
    "controller-manager-credentials",
    "scheduler",
    "scheduler-credentials",
];

/// Objects as they shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared;
/// Objects as the API server answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied;

/// The first wave: what gives addresses, and what pods need to start.
#[derive(Clone, Debug)]
pub(crate) struct Network<Stage> {
    pub(crate) api_server: Service,
    pub(crate) etcd: Service,
    pub(crate) etcd_peers: Service,
    pub(crate) etcd_config: ConfigMap,
    pub(crate) stage: PhantomData<Stage>,
}

/// The second wave: what holds those addresses.
#[derive(Clone, Debug)]
pub(crate) struct Workloads<Stage> {
    /// Not applied while its data is gone.
    pub(crate) etcd: Option<StatefulSet>,
    /// Not applied while the datastore of a new tenant cannot start yet.
    pub(crate) api_server: Option<Deployment>,
    /// Not applied while the API servers that it needs are not there.
    pub(crate) controllers: Option<Deployment>,
    /// Wanted with more than one member.
    pub(crate) etcd_budget: Option<PodDisruptionBudget>,
    /// Wanted with more than one replica.
    pub(crate) api_server_budget: Option<PodDisruptionBudget>,
    /// Wanted with more than one replica.
    pub(crate) controllers_budget: Option<PodDisruptionBudget>,
    pub(crate) stage: PhantomData<Stage>,
}

/// Builds the first wave.
pub(crate) fn network(tenant: &Tenant) -> Network<Prepared> {
    Network {
        api_server: services::api_server(tenant),
        etcd: services::etcd(tenant),
        etcd_peers: services::etcd_peers(tenant),
        etcd_config: etcd::config_map(tenant),
        stage: PhantomData,
    }
}

/// Builds the second wave.
pub(crate) fn workloads(tenant: &Tenant, addresses: &Addresses, authorities: &Marks) -> Workloads<Prepared> {
    let names = &tenant.names;
    let budget = |replicas, name, component| (replicas > 1).then(|| budget::budget(tenant, name, component));
    Workloads {
        etcd: Some(etcd::stateful_set(tenant, &authorities.etcd)),
        api_server: Some(api_server::api_server(tenant, addresses, &authorities.api_server)),
        controllers: Some(controllers::controllers(tenant, addresses, &authorities.controllers)),
        etcd_budget: budget(tenant.etcd.replicas, names.etcd(), ETCD),
        api_server_budget: budget(tenant.replicas, names.api_server(), API_SERVER),
        controllers_budget: budget(tenant.replicas, names.controllers(), CONTROLLERS),
        stage: PhantomData,
    }
}

pub(crate) fn metadata(tenant: &Tenant, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
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
