//! Where a tenant's Services are reached, told from the Services as they were applied.

use super::desired::{Endpoint, Tenant};
use crate::host::Host;
use capn_api::{common::ApiEndpoint, nested_control_plane::EndpointType};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, net::IpAddr};

/// Addresses that certificates and pods need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// etcd's Service.
    pub etcd: IpAddr,
    /// The API server's Service.
    pub api_server: IpAddr,
    /// What workers and people use; None while a load balancer has no address.
    pub published: Option<ApiEndpoint>,
    /// Every host under which the API server is reached.
    pub hosts: BTreeSet<Host>,
    /// Address and port that `default/kubernetes` of the tenant leads to.
    pub reached: (IpAddr, i32),
}

impl Addresses {
    /// Where the API server's Service is reached inside the management cluster.
    pub fn service(&self, tenant: &Tenant) -> ApiEndpoint {
        ApiEndpoint {
            host: self.api_server.to_string(),
            port: tenant.endpoint.service_port,
        }
    }
}

/// Reads the addresses; None while a Service has none, which no API server leaves so for long.
pub fn addresses(tenant: &Tenant, api_server: &Service, etcd: &Service) -> Option<Addresses> {
    let cluster_ip = cluster_ip(api_server)?;
    let balancers = ingress(api_server);
    let published = published(&tenant.endpoint, api_server, cluster_ip, balancers.first());
    let mut hosts = balancers.clone();
    hosts.extend(
        published
            .iter()
            .filter_map(|endpoint| endpoint.host.parse::<Host>().ok()),
    );
    hosts.insert(cluster_ip.into());
    hosts.extend(tenant.endpoint.host.clone());
    hosts.extend(tenant.endpoint.advertise_address.map(Host::Address));
    let reached = reached(&tenant.endpoint, published.as_ref(), &balancers, cluster_ip);
    Some(Addresses {
        etcd: self::cluster_ip(etcd)?,
        api_server: cluster_ip,
        published,
        hosts,
        reached,
    })
}

/// A name cannot stand in an EndpointSlice: an address is needed beside it.
fn reached(
    endpoint: &Endpoint,
    published: Option<&ApiEndpoint>,
    balancers: &BTreeSet<Host>,
    cluster_ip: IpAddr,
) -> (IpAddr, i32) {
    let port = published.map_or(endpoint.service_port, |published| published.port);
    let published = published.and_then(|published| published.host.parse::<Host>().ok()?.address());
    let balancer = || balancers.iter().find_map(Host::address);
    match endpoint.advertise_address.or(published).or_else(balancer) {
        Some(address) => (address, port),
        None => (cluster_ip, endpoint.service_port),
    }
}

fn published(
    endpoint: &Endpoint,
    service: &Service,
    cluster_ip: IpAddr,
    balancer: Option<&Host>,
) -> Option<ApiEndpoint> {
    if let Some(fixed) = &endpoint.fixed {
        return Some(fixed.clone());
    }
    let (host, port) = match endpoint.type_ {
        EndpointType::ClusterIP => (Some(Host::Address(cluster_ip)), endpoint.service_port),
        EndpointType::NodePort => (None, node_port(service)?),
        EndpointType::LoadBalancer => (balancer.cloned(), endpoint.service_port),
    };
    let host = endpoint.host.clone().or(host)?.to_string();
    Some(ApiEndpoint { host, port })
}

fn cluster_ip(service: &Service) -> Option<IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

/// Addresses and names of the load balancer, in an order that does not depend on its own.
fn ingress(service: &Service) -> BTreeSet<Host> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref());
    ingress
        .into_iter()
        .flatten()
        .flat_map(|ingress| [&ingress.ip, &ingress.hostname])
        .filter_map(|host| host.as_deref()?.parse().ok())
        .collect()
}

/// What the management cluster gave to the Services. It is stored, and asked for again when a Service
/// has to be made anew: workers, kubeconfigs and pods hold it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Cluster IP of the API server's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<IpAddr>,
    /// Node port of the API server's Service, with type NodePort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
    /// Cluster IP of etcd's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<IpAddr>,
}

impl Given {
    /// What these Services have.
    pub fn to(endpoint: &Endpoint, api_server: Option<&Service>, etcd: Option<&Service>) -> Self {
        let by_port = endpoint.type_ == EndpointType::NodePort;
        Self {
            api_server: api_server.and_then(cluster_ip),
            node_port: api_server.and_then(node_port).filter(|_| by_port),
            etcd: etcd.and_then(cluster_ip),
        }
    }

    /// What to ask for, when these Services are there.
    pub fn missing(self, api_server: Option<&Service>, etcd: Option<&Service>) -> Self {
        Self {
            api_server: self.api_server.filter(|_| api_server.is_none()),
            node_port: self.node_port.filter(|_| api_server.is_none()),
            etcd: self.etcd.filter(|_| etcd.is_none()),
        }
    }

    /// Whether workers hold the address or the port of the API server's Service.
    pub fn is_published(self, endpoint: &Endpoint) -> bool {
        let Some(fixed) = &endpoint.fixed else { return false };
        let host = fixed.host.parse::<Host>().ok().and_then(|host| host.address());
        (host.is_some() && self.api_server == host)
            || (endpoint.type_ == EndpointType::NodePort && self.node_port == Some(fixed.port))
    }
}

/// What is said when workers hold an address that the API server's Service had, and has no longer.
pub fn lost(tenant: &Tenant, stored: Given, api_server: &Service) -> Option<String> {
    let fixed = tenant.endpoint.fixed.as_ref()?;
    let has = Given::to(&tenant.endpoint, Some(api_server), None);
    let by_port = has.node_port.is_some() && has.node_port != stored.node_port;
    let (was, is) = if by_port && stored.node_port == Some(fixed.port) {
        (stored.node_port?.to_string(), has.node_port?.to_string())
    } else if has.api_server != stored.api_server
        && stored.api_server == Some(fixed.host.parse::<Host>().ok()?.address()?)
    {
        (stored.api_server?.to_string(), has.api_server?.to_string())
    } else {
        return None;
    };
    let place = format!("{}/{}", tenant.namespace, api_server.name_any());
    Some(format!(
        "workers and kubeconfigs hold {}:{}, and Service {place} has {is} instead of {was}: delete the Service, and it is made again with {was} if that is free",
        fixed.host, fixed.port
    ))
}

#[cfg(test)]
mod tests;
