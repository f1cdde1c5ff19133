//! What is known of a machine at one moment: plain data, as it was read.

use super::kubevirt::{VirtualMachine, VirtualMachineInstance};
use capn_api::cluster_api::{Cluster, Machine};
use k8s_openapi::api::core::v1::Secret;

/// What was found.
#[derive(Clone, Default)]
pub struct View {
    /// The Machine, if it and the object name each other.
    pub machine: Option<Machine>,
    /// The Cluster of the Machine.
    pub cluster: Option<Cluster>,
    /// Name of the Cluster, as far as it is known when the Cluster is not there.
    pub cluster_name: Option<String>,
    /// Bootstrap data, once the Machine names it.
    pub bootstrap: Option<Secret>,
    /// What was made of it for the VM.
    pub user_data: Option<Secret>,
    /// The VirtualMachine, if it belongs to the machine.
    pub vm: Option<VirtualMachine>,
    /// Its instance.
    pub vmi: Option<VirtualMachineInstance>,
    /// Whether the owner of the VirtualMachine's namespace lets us make one there.
    pub namespace_allowed: bool,
}

/// What its Secrets hold is told nowhere.
impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// Namespaces outside of their own in which machines may have VMs.
#[derive(Clone, Debug, Default)]
pub struct VmNamespaces(pub Vec<(String, String)>);

impl VmNamespaces {
    /// Whether machines of namespace `from` may have VMs in namespace `to`.
    pub fn allow(&self, from: &str, to: &str) -> bool {
        self.0.iter().any(|(a, b)| a == from && b == to)
    }
}
