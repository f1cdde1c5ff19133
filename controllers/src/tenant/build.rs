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
pub(crate) struct Facts<'a> {
    pub(crate) cluster: &'a str,
    /// With its v.
    pub(crate) version: String,
    /// `host:port` that people and workers use.
    pub(crate) endpoint: String,
    /// Address and port that lead to the API server from every worker.
    pub(crate) reached: (IpAddr, i32),
    /// Certificate of the authority, PEM.
    pub(crate) authority: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) dns: IpAddr,
    pub(crate) pods: String,
    pub(crate) services: String,
    pub(crate) image_repository: &'a str,
    pub(crate) core_dns: Option<&'a str>,
    pub(crate) kube_proxy: Option<&'a str>,
}

/// Every object inside a tenant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Objects {
    pub(crate) roles: Vec<Role>,
    pub(crate) role_bindings: Vec<RoleBinding>,
    pub(crate) cluster_roles: Vec<ClusterRole>,
    pub(crate) cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub(crate) config_maps: Vec<ConfigMap>,
    pub(crate) endpoints: Endpoints,
    pub(crate) endpoint_slice: discovery::EndpointSlice,
    pub(crate) service_accounts: Vec<ServiceAccount>,
    pub(crate) services: Vec<Service>,
    /// Made once and then the tenant's to edit.
    pub(crate) theirs: Vec<ConfigMap>,
    /// Made once with what the tenant may edit of them.
    pub(crate) their_deployments: Vec<Deployment>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) daemon_sets: Vec<DaemonSet>,
}

impl Objects {
    /// Stands for the content.
    pub(crate) fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(self).unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    }
}

/// Builds them.
pub(crate) fn objects(facts: &Facts<'_>) -> Objects {
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
fn endpoints(facts: &Facts<'_>) -> Endpoints {
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

fn endpoint_slice(facts: &Facts<'_>) -> discovery::EndpointSlice {
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
