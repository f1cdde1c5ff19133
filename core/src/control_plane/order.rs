//! What has to be there before something else is applied.

use super::addresses::Addresses;
use super::desired::DesiredControlPlane;
use super::names::VERSION_ANNOTATION;
use super::view::{View, ready};
use crate::datastore;
use crate::kubernetes::releases;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Whether the workloads of a control plane are there already, so that it needs no start slot.
pub fn started(desired: &DesiredControlPlane, live: &View) -> bool {
    desired.initialized || live.datastore.is_there() || live.api_server.is_some()
}

/// Whether the datastore of a new control plane cannot start yet, be it for want of a volume or of room. API
/// servers without a store end again and again, and are backed off for minutes when it comes.
pub fn waits_for_datastore(desired: &DesiredControlPlane, live: &View) -> bool {
    let starts = datastore::is_starting(&desired.datastore, live);
    !desired.has_run && live.api_server.is_none() && !starts
}

/// Whether the API servers of a new control plane would start before it is known where they are reached. A kubelet
/// takes a minute or two to hand a certificate with that address to pods that run.
pub fn waits_for_endpoint(desired: &DesiredControlPlane, addresses: &Addresses, live: &View) -> bool {
    !desired.has_run && live.api_server.is_none() && addresses.published.is_none()
}

/// Whether the controllers would find no API server, or one that is older than they are, which
/// Kubernetes' version skew policy does not allow. Those that run stay as they are meanwhile.
pub fn waits_for_api_server(desired: &DesiredControlPlane, live: &View) -> bool {
    let version = releases::display(&desired.version);
    let mut serving = live.api_server_pods.iter().filter(|pod| ready(pod)).peekable();
    let is_older = |pod: &Pod| pod.annotations().get(VERSION_ANNOTATION) != Some(&version);
    serving.peek().is_none() || serving.any(is_older)
}

#[cfg(test)]
mod tests;
