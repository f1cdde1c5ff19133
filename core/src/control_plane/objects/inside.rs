//! What is written inside the workload cluster.

use crate::control_plane::{addresses::Addresses, desired::DesiredControlPlane};
use crate::kubernetes::releases;
use crate::workload_cluster::{Objects, WorkloadClusterConfig, objects};
use capn_api::common::ApiEndpoint;
use ipnet::IpNet;

/// Builds it. `endpoint` is the published one; `authority` is the certificate that signs it, PEM.
pub fn inside(
    desired: &DesiredControlPlane,
    addresses: &Addresses,
    endpoint: &ApiEndpoint,
    authority: &str,
) -> Objects {
    let joined = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    objects(&WorkloadClusterConfig {
        cluster: desired.names.cluster(),
        version: releases::display(&desired.version),
        endpoint: endpoint.authority(),
        reached: addresses.reached,
        authority,
        domain: &desired.network.domain,
        dns: desired.network.dns,
        pods: joined(&desired.network.pods),
        services: joined(&desired.network.services),
        image_repository: &desired.image_repository,
        core_dns: desired.addons.core_dns.as_deref(),
        kube_proxy: desired.addons.kube_proxy.as_deref(),
    })
}
