//! What is known in a pass over a machine.

use super::{Action, WorkloadAction};
use crate::machine::view::View;
use capn_api::KubevirtMachine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

/// What is known in a pass.
pub(super) struct Known {
    pub(super) object: KubevirtMachine,
    pub(super) view: View,
    pub(super) now: Timestamp,
    /// The Node, once it was asked for.
    pub(super) node: Option<Result<Option<Box<Node>>, String>>,
    /// Its pods, once they were asked for.
    pub(super) pods: Option<Result<Vec<Pod>, String>>,
    /// What came of their eviction.
    pub(super) evicted: Option<Result<Vec<bool>, String>>,
    pub(super) instance_deleted: bool,
    pub(super) user_data_applied: bool,
    /// Whether there was a VirtualMachine when the pass began.
    pub(super) had_vm: bool,
}

/// What its Secrets hold is told nowhere.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// The Node that Cluster API's core has matched with the machine.
    pub(super) fn matched(&self) -> Option<&str> {
        let status = self.view.machine.as_ref()?.status.as_ref()?;
        Some(&status.node_ref.as_ref()?.name)
    }

    /// Keeps why the workload cluster has not answered a call.
    pub(super) fn unanswered(&mut self, call: &WorkloadAction, why: String) {
        match call {
            WorkloadAction::ReadNode(_) | WorkloadAction::PatchNode(..) => self.node = Some(Err(why)),
            WorkloadAction::ListPods(_) => self.pods = Some(Err(why)),
            WorkloadAction::Evict(_) => self.evicted = Some(Err(why)),
        }
    }

    /// Name of the machine's Node.
    pub(super) fn node_name(&self) -> String {
        self.matched().map_or_else(|| self.object.name_any(), str::to_owned)
    }
}

/// An action that is needed first, or what was decided.
#[derive(Debug)]
pub(super) enum Step<T> {
    Do(Action),
    Done(T),
}

impl<T> Step<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Do(action) => Step::Do(action),
            Self::Done(value) => Step::Done(change(value)),
        }
    }
}
