//! What is installed in workload clusters, one file per add-on.

pub(super) mod core_dns;
pub(super) mod kube_proxy;
