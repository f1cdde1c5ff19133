//! What has to be there before something else is applied.

use super::addresses::Addresses;
use super::desired::Tenant;
use super::names::VERSION_ANNOTATION;
use super::status::ready;
use super::versions;
use super::view::{View, prepared};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Whether the workloads of a tenant are there already, so that it needs no turn to start.
pub fn started(tenant: &Tenant, live: &View) -> bool {
    tenant.initialized || live.etcd.is_some() || live.api_server.is_some()
}

/// Whether the datastore of a new tenant cannot start yet, be it for want of a volume or of room. API
/// servers without a store end again and again, and are backed off for minutes when it comes.
pub fn waits_for_datastore(tenant: &Tenant, live: &View) -> bool {
    let quorum = usize::try_from(tenant.etcd.replicas / 2 + 1).unwrap_or_default();
    let prepared = live.etcd_pods.iter().filter(|pod| prepared(pod)).count();
    !tenant.has_run && live.api_server.is_none() && prepared < quorum
}

/// Whether the API servers of a new tenant would start before it is known where they are reached. A kubelet
/// takes a minute or two to hand a certificate with that address to pods that run.
pub fn waits_for_endpoint(tenant: &Tenant, addresses: &Addresses, live: &View) -> bool {
    !tenant.has_run && live.api_server.is_none() && addresses.published.is_none()
}

/// Whether the controllers would find no API server, or one that is older than they are, which
/// Kubernetes' version skew policy does not allow. Those that run stay as they are meanwhile.
pub fn waits_for_api_server(tenant: &Tenant, live: &View) -> bool {
    let version = versions::display(&tenant.version);
    let mut serving = live.api_server_pods.iter().filter(|pod| ready(pod)).peekable();
    let is_older = |pod: &Pod| pod.annotations().get(VERSION_ANNOTATION) != Some(&version);
    serving.peek().is_none() || serving.any(is_older)
}

#[cfg(test)]
mod tests;
