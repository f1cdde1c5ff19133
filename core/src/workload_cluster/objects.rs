//! Every object inside a workload cluster, and what they are made from.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Endpoints, Service, ServiceAccount},
        discovery::v1 as discovery,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

/// What the objects are made from.
#[derive(Clone, Debug)]
pub struct WorkloadClusterConfig<'a> {
    /// Name of the Cluster.
    pub cluster: &'a str,
    /// With its v.
    pub version: String,
    /// `host:port` that people and workers use.
    pub endpoint: String,
    /// Address and port that lead to the API server from every worker.
    pub reached: (IpAddr, i32),
    /// Certificate of the authority, PEM.
    pub authority: &'a str,
    /// Domain of Services.
    pub domain: &'a str,
    /// Address of the DNS server.
    pub dns: IpAddr,
    /// Ranges of pods.
    pub pods: String,
    /// Ranges of Services.
    pub services: String,
    /// Where images come from.
    pub image_repository: &'a str,
    /// Image of CoreDNS, if it is installed.
    pub core_dns: Option<&'a str>,
    /// Image of kube-proxy, if it is installed.
    pub kube_proxy: Option<&'a str>,
}

/// Every object inside a workload cluster.
#[allow(missing_docs, reason = "fields are kinds")]
#[derive(Clone, Debug, Serialize)]
pub struct Objects {
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_roles: Vec<ClusterRole>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub config_maps: Vec<ConfigMap>,
    pub endpoints: Endpoints,
    pub endpoint_slice: discovery::EndpointSlice,
    pub service_accounts: Vec<ServiceAccount>,
    pub services: Vec<Service>,
    /// Made once and then the workload cluster's administrators' to edit.
    pub create_only_config_maps: Vec<ConfigMap>,
    /// Made once with what they may edit of them.
    pub create_only_deployments: Vec<Deployment>,
    pub deployments: Vec<Deployment>,
    pub daemon_sets: Vec<DaemonSet>,
}

impl Objects {
    /// Stands for the content.
    pub fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(self).unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    }
}

/// Metadata of an object in a namespace.
pub(super) fn in_namespace(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        ..ObjectMeta::default()
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    )
}
