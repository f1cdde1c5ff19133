//! The networks of a workload cluster, and the endpoint beside them.

use super::ValidateError;
use crate::host::Host;
use capn_api::cluster_api::{Cluster, NetworkRanges};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr};

/// Networks inside the workload cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network {
    /// Ranges of Services.
    pub services: Vec<IpNet>,
    /// Ranges of pods.
    pub pods: Vec<IpNet>,
    /// Domain of Services.
    pub domain: String,
    /// Address of `default/kubernetes`: the first of the Services.
    pub kubernetes: IpAddr,
    /// Address of the DNS server: the tenth of the Services.
    pub dns: IpAddr,
}

const SERVICES: &str = "10.95.0.0/16";
const PODS: &str = "10.243.0.0/16";

/// Checks that workers can tell the endpoint from their own networks.
pub fn validate_endpoint(network: &Network, address: Option<IpAddr>) -> Result<(), ValidateError> {
    let Some(address) = address else { return Ok(()) };
    let parts = [("services", &network.services, SERVICES), ("pods", &network.pods, PODS)];
    for (what, networks, example) in parts {
        if let Some(network) = networks.iter().find(|network| network.contains(&address)) {
            return Err(ValidateError::EndpointOverlap {
                address,
                what,
                network: *network,
                example,
            });
        }
    }
    match network.services.first() {
        Some(services) if services.addr().is_ipv4() != address.is_ipv4() => Err(ValidateError::EndpointFamily {
            address,
            services: *services,
        }),
        _ => Ok(()),
    }
}

/// Checks the networks of a Cluster.
pub(super) fn network(cluster: &Cluster) -> Result<Network, ValidateError> {
    let network = &cluster.spec.cluster_network;
    let services = cidrs("services", network.services.as_ref(), SERVICES)?;
    let pods = cidrs("pods", network.pods.as_ref(), PODS)?;
    same_families(&services, &pods)?;
    for pods in &pods {
        if let Some(services) = services.iter().find(|services| overlap(services, pods)) {
            return Err(ValidateError::NetworksOverlap {
                pods: *pods,
                services: *services,
            });
        }
    }
    let first = services.first().copied().ok_or(ValidateError::Cidr {
        field: "services",
        value: String::new(),
        example: SERVICES,
    })?;
    let nth = |n: u32| match first.network() {
        IpAddr::V4(base) => u32::from(base).checked_add(n).map(|ip| IpAddr::V4(ip.into())),
        IpAddr::V6(base) => u128::from(base).checked_add(n.into()).map(|ip| IpAddr::V6(ip.into())),
    };
    let nth = |n| {
        nth(n)
            .filter(|ip| first.contains(ip))
            .ok_or(ValidateError::SmallServices(first))
    };
    let domain = network.service_domain.as_deref().unwrap_or("cluster.local");
    let domain = domain.parse::<Host>().map_err(|source| ValidateError::Host {
        field: "Cluster spec.clusterNetwork.serviceDomain",
        source,
    })?;
    Ok(Network {
        domain: domain.to_string(),
        kubernetes: nth(1)?,
        dns: nth(10)?,
        services,
        pods,
    })
}

fn cidrs(
    field: &'static str,
    ranges: Option<&NetworkRanges>,
    example: &'static str,
) -> Result<Vec<IpNet>, ValidateError> {
    let given = ranges.map(|ranges| ranges.cidr_blocks.clone()).unwrap_or_default();
    let given = if given.is_empty() {
        vec![example.to_owned()]
    } else {
        given
    };
    given
        .into_iter()
        .map(|value| value.parse().map_err(|_| ValidateError::Cidr { field, value, example }))
        .collect()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Kubernetes takes one range of each IP family, and the same families for pods and Services.
fn same_families(services: &[IpNet], pods: &[IpNet]) -> Result<(), ValidateError> {
    let text = |ranges: &[IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let families = |ranges: &[IpNet]| {
        ranges
            .iter()
            .map(|range| range.addr().is_ipv4())
            .collect::<BTreeSet<_>>()
    };
    for (field, ranges) in [("services", services), ("pods", pods)] {
        if families(ranges).len() < ranges.len() {
            return Err(ValidateError::Families {
                field,
                ranges: text(ranges),
            });
        }
    }
    if families(services) == families(pods) {
        return Ok(());
    }
    Err(ValidateError::FamiliesDiffer {
        pods: text(pods),
        services: text(services),
    })
}
