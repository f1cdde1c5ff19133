//! Where a control plane's Services are reached, told from the Services as they were applied.

use super::desired::{DesiredControlPlane, Endpoint, Given, cluster_ip, node_port};
use crate::host::Host;
use capn_api::{common::ApiEndpoint, nested_control_plane::EndpointType};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use std::{collections::BTreeSet, net::IpAddr};

/// Addresses that certificates and pods need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// Where API servers reach the datastore.
    pub datastore: IpAddr,
    /// The API server's Service.
    pub api_server: IpAddr,
    /// What workers and people use; None while a load balancer has no address.
    pub published: Option<ApiEndpoint>,
    /// Every host under which the API server is reached.
    pub hosts: BTreeSet<Host>,
    /// Address and port that `default/kubernetes` of the workload cluster leads to.
    pub reached: (IpAddr, i32),
}

impl Addresses {
    /// Where the API server's Service is reached inside the management cluster.
    pub fn service(&self, desired: &DesiredControlPlane) -> ApiEndpoint {
        ApiEndpoint {
            host: self.api_server.to_string(),
            port: desired.endpoint.service_port,
        }
    }
}

/// Reads the addresses; None while a Service has none, which no API server leaves so for long.
pub fn addresses(desired: &DesiredControlPlane, api_server: &Service, datastore: Option<IpAddr>) -> Option<Addresses> {
    let cluster_ip = cluster_ip(api_server)?;
    let balancers = ingress(api_server);
    let published = published(&desired.endpoint, api_server, cluster_ip, balancers.first());
    let mut hosts = balancers.clone();
    hosts.extend(
        published
            .iter()
            .filter_map(|endpoint| endpoint.host.parse::<Host>().ok()),
    );
    hosts.insert(cluster_ip.into());
    hosts.extend(desired.endpoint.host.clone());
    hosts.extend(desired.endpoint.advertise_address.map(Host::Address));
    let reached = reached(&desired.endpoint, published.as_ref(), &balancers, cluster_ip);
    Some(Addresses {
        datastore: datastore?,
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

/// What is said when workers hold an address that the API server's Service had, and has no longer.
pub fn lost(desired: &DesiredControlPlane, stored: Given, api_server: &Service) -> Option<String> {
    let fixed = desired.endpoint.fixed.as_ref()?;
    let has = Given::to(&desired.endpoint, Some(api_server), None);
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
    let place = format!("{}/{}", desired.namespace, api_server.name_any());
    Some(format!(
        "workers and kubeconfigs hold {}:{}, and Service {place} has {is} instead of {was}: delete the Service, and it is made again with {was} if that is free",
        fixed.host, fixed.port
    ))
}

#[cfg(test)]
mod tests;
