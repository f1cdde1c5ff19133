//! Every object inside a tenant, from plain facts. Pure.

use super::{core_dns, kube_proxy, kubeadm, rbac};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceAccount},
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
    /// Made once and then the tenant's to edit.
    pub theirs: Vec<ConfigMap>,
    /// Made once with what the tenant may edit of them.
    pub their_deployments: Vec<Deployment>,
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

/// Builds them.
pub fn objects(facts: &WorkloadClusterConfig<'_>) -> Objects {
    let mut objects = Objects {
        roles: rbac::roles(),
        role_bindings: rbac::role_bindings(),
        cluster_roles: rbac::cluster_roles(),
        cluster_role_bindings: rbac::cluster_role_bindings(),
        config_maps: vec![
            kubeadm::cluster_info(facts),
            kubeadm::kubeadm_config(facts),
            kubeadm::kubelet_config(facts),
        ],
        endpoints: endpoints(facts),
        endpoint_slice: endpoint_slice(facts),
        service_accounts: Vec::new(),
        services: Vec::new(),
        theirs: Vec::new(),
        their_deployments: Vec::new(),
        deployments: Vec::new(),
        daemon_sets: Vec::new(),
    };
    if let Some(image) = facts.core_dns {
        core_dns::add(&mut objects, facts, image);
    }
    if let Some(image) = facts.kube_proxy {
        kube_proxy::add(&mut objects, facts, image);
    }
    objects
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

/// Endpoints `default/kubernetes`, which conformance wants beside the slice.
fn endpoints(facts: &WorkloadClusterConfig<'_>) -> Endpoints {
    Endpoints {
        metadata: ObjectMeta {
            labels: labels(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
            ..in_namespace("default", "kubernetes")
        },
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: facts.reached.0.to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("https".into()),
                port: facts.reached.1,
                protocol: Some("TCP".into()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn endpoint_slice(facts: &WorkloadClusterConfig<'_>) -> discovery::EndpointSlice {
    let (address, port) = facts.reached;
    discovery::EndpointSlice {
        metadata: ObjectMeta {
            labels: labels(&[("kubernetes.io/service-name", "kubernetes")]),
            ..in_namespace("default", "kubernetes")
        },
        address_type: if address.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
        endpoints: Some(vec![discovery::Endpoint {
            addresses: vec![address.to_string()],
            conditions: Some(discovery::EndpointConditions {
                ready: Some(true),
                ..Default::default()
            }),
            ..discovery::Endpoint::default()
        }]),
        ports: Some(vec![discovery::EndpointPort {
            name: Some("https".into()),
            port: Some(port),
            protocol: Some("TCP".into()),
            ..discovery::EndpointPort::default()
        }]),
    }
}
