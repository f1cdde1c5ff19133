//! What is written inside a workload cluster: what kubeadm would have written for workers to join, the
//! address of the API server, and the add-ons.

mod core_dns;
mod error;
mod kube_proxy;
mod kubeadm;
mod objects;
mod rbac;

pub use error::{BUDGET, PrepareError};
pub use objects::{Objects, WorkloadClusterConfig, objects};
