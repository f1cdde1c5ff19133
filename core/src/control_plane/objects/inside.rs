//! What is written inside the tenant.

use crate::control_plane::{addresses::Addresses, desired::Tenant, versions};
use crate::workload_cluster::{Objects, WorkloadClusterConfig, objects};
use capn_api::common::ApiEndpoint;
use ipnet::IpNet;

/// Builds it. `endpoint` is the published one; `authority` is the certificate that signs it, PEM.
pub fn inside(tenant: &Tenant, addresses: &Addresses, endpoint: &ApiEndpoint, authority: &str) -> Objects {
    let joined = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    objects(&WorkloadClusterConfig {
        cluster: tenant.names.cluster(),
        version: versions::display(&tenant.version),
        endpoint: endpoint.authority(),
        reached: addresses.reached,
        authority,
        domain: &tenant.network.domain,
        dns: tenant.network.dns,
        pods: joined(&tenant.network.pods),
        services: joined(&tenant.network.services),
        image_repository: &tenant.image_repository,
        core_dns: tenant.addons.core_dns.as_deref(),
        kube_proxy: tenant.addons.kube_proxy.as_deref(),
    })
}
