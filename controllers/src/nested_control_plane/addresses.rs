//! Where a tenant's Services are reached, told from the Services as they were applied.

use super::validate::{Endpoint, Tenant};
use capn_api::{common::ApiEndpoint, nested_control_plane::EndpointType};
use k8s_openapi::api::core::v1::Service;
use std::{collections::BTreeSet, net::IpAddr};

/// Addresses that certificates and pods need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Addresses {
    /// etcd's Service.
    pub(crate) etcd: IpAddr,
    /// The API server's Service.
    pub(crate) api_server: IpAddr,
    /// What workers and people use; None while a load balancer has no address.
    pub(crate) published: Option<ApiEndpoint>,
    /// Every host under which the API server is reached.
    pub(crate) hosts: BTreeSet<String>,
    /// Address and port that `default/kubernetes` of the tenant leads to.
    pub(crate) reached: (IpAddr, i32),
}

/// Reads the addresses; None while a Service has none, which no API server leaves so for long.
pub(crate) fn addresses(tenant: &Tenant, api_server: &Service, etcd: &Service) -> Option<Addresses> {
    let cluster_ip = cluster_ip(api_server)?;
    let balancer = ingress(api_server);
    let published = published(&tenant.endpoint, api_server, cluster_ip, balancer.as_deref());
    let mut hosts: BTreeSet<String> = published.iter().map(|endpoint| endpoint.host.clone()).collect();
    hosts.insert(cluster_ip.to_string());
    hosts.extend(balancer);
    hosts.extend(tenant.endpoint.host.clone());
    let reached = published
        .as_ref()
        .and_then(|endpoint| Some((endpoint.host.parse().ok()?, endpoint.port)))
        .unwrap_or((cluster_ip, tenant.endpoint.service_port));
    Some(Addresses {
        etcd: self::cluster_ip(etcd)?,
        api_server: cluster_ip,
        published,
        hosts,
        reached,
    })
}

fn published(
    endpoint: &Endpoint,
    service: &Service,
    cluster_ip: IpAddr,
    balancer: Option<&str>,
) -> Option<ApiEndpoint> {
    if let Some(fixed) = &endpoint.fixed {
        return Some(fixed.clone());
    }
    let at = |host: &str, port| ApiEndpoint {
        host: host.to_owned(),
        port,
    };
    let host = endpoint.host.as_deref();
    match endpoint.type_ {
        EndpointType::ClusterIP => {
            let cluster_ip = cluster_ip.to_string();
            Some(at(host.unwrap_or(&cluster_ip), endpoint.service_port))
        }
        EndpointType::NodePort => Some(at(host?, node_port(service)?)),
        EndpointType::LoadBalancer => Some(at(host.or(balancer)?, endpoint.service_port)),
    }
}

fn cluster_ip(service: &Service) -> Option<IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

fn ingress(service: &Service) -> Option<String> {
    let ingress = service
        .status
        .as_ref()?
        .load_balancer
        .as_ref()?
        .ingress
        .as_ref()?
        .first()?;
    ingress.ip.clone().or_else(|| ingress.hostname.clone())
}
