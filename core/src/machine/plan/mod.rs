//! What is done about a machine. A pass asks for one [`Action`] after the other; what came of each becomes known
//! to it, and what comes next is decided from all that is known.

mod delete;
mod eviction;
mod known;
mod provision;
mod report;

pub use delete::{Deletion, delete};
pub use eviction::Eviction;
pub use provision::Provision;
pub use report::{next_check, warning};

use super::kubevirt::{VirtualMachine, VirtualMachineInstance};
use super::status::Outcome;
use crate::api_error::ApiError;
use capn_api::KubevirtMachine;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use serde_json::Value;

/// Something that is done for a machine.
#[derive(Clone)]
pub enum Action {
    /// Merges fields into the KubevirtMachine.
    Patch(Value),
    /// Applies the user data.
    ApplyUserData {
        /// How it is desired.
        wanted: Box<Secret>,
        /// What is stored.
        stored: Option<Box<Secret>>,
    },
    /// Creates the VirtualMachine. It is never written again: KubeVirt stores its own defaults there, and CSI
    /// drivers hot-plug into it.
    CreateVm(Box<VirtualMachine>),
    /// Deletes the user data.
    DeleteUserData(Box<Secret>),
    /// Deletes the VirtualMachine.
    DeleteVm(Box<VirtualMachine>),
    /// Deletes an instance.
    DeleteVmi(Box<VirtualMachineInstance>),
    /// A call to the workload cluster.
    Workload(WorkloadAction),
}

/// Something that is done in the workload cluster.
#[derive(Clone)]
pub enum WorkloadAction {
    /// Reads the Node of this name.
    ReadNode(String),
    /// Merges fields into a Node.
    PatchNode(Box<Node>, Value),
    /// Lists the pods of the Node of this name.
    ListPods(String),
    /// Evicts these pods.
    Evict(Vec<Pod>),
}

/// What a Secret holds is told nowhere.
impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Patch(_) => "Patch",
            Self::ApplyUserData { .. } => "ApplyUserData",
            Self::CreateVm(_) => "CreateVm",
            Self::DeleteUserData(_) => "DeleteUserData",
            Self::DeleteVm(_) => "DeleteVm",
            Self::DeleteVmi(_) => "DeleteVmi",
            Self::Workload(WorkloadAction::ReadNode(_)) => "ReadNode",
            Self::Workload(WorkloadAction::PatchNode(..)) => "PatchNode",
            Self::Workload(WorkloadAction::ListPods(_)) => "ListPods",
            Self::Workload(WorkloadAction::Evict(_)) => "Evict",
        })
    }
}

/// What came of an action.
#[derive(Clone)]
pub enum Answer {
    /// It was done.
    Done,
    /// The KubevirtMachine, after a patch.
    Machine(Box<KubevirtMachine>),
    /// The VirtualMachine as it is stored.
    Vm(Box<VirtualMachine>),
    /// A Node, if it is there.
    Node(Option<Box<Node>>),
    /// Pods of a Node.
    Pods(Vec<Pod>),
    /// Of each pod whether it was evicted; a PodDisruptionBudget holds the others.
    Evicted(Vec<bool>),
}

/// Why an action failed.
#[derive(Debug)]
pub enum Failure {
    /// The management cluster.
    Management(ApiError),
    /// The workload cluster cannot be asked, and why. It does not hold up what is done without it.
    WorkloadCluster(String),
}

/// What comes next in a pass.
#[derive(Debug)]
pub enum Next {
    /// This, and then to be told what came of it.
    Do(Action),
    /// Nothing: so far the pass came.
    Done(Outcome),
}

#[cfg(test)]
mod tests;
