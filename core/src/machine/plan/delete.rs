//! Deletion of a machine. Neither Cluster nor Machine is needed.

use super::Action;
use crate::machine::{names, view::View};
use crate::ownership::controller_of;
use capn_api::{KubevirtMachine, cluster_api::SECRET_TYPE, kubevirt_machine::FINALIZER};
use kube::ResourceExt;

/// What a deletion does next.
#[derive(Debug)]
pub struct Deletion {
    /// What is deleted now.
    pub actions: Vec<Action>,
    /// What is waited for; `None` once nothing is left, and the object itself can be let go.
    pub waiting: Option<String>,
}

/// Decides what is deleted, and what that waits for.
pub fn delete(object: &KubevirtMachine, view: &View) -> Deletion {
    let mut actions = Vec::new();
    if let Some(reference) = &object.spec.infra_cluster_secret_ref {
        let waiting = format!(
            "the VM runs in the cluster of Secret {}, which this release cannot reach: delete VirtualMachine {} there, then remove the finalizer {FINALIZER} from this object",
            reference.name.as_deref().unwrap_or_default(),
            object.name_any()
        );
        return Deletion {
            actions,
            waiting: Some(waiting),
        };
    }
    // Before the VM, which may be the only one left to know its name.
    let user_data = view.user_data.iter();
    let user_data = user_data.filter(|secret| secret.type_.as_deref() == Some(SECRET_TYPE));
    actions.extend(user_data.map(|secret| Action::DeleteUserData(Box::new(secret.clone()))));
    let place = names::vm_namespace(object);
    let waiting = match (&view.vm, &view.vmi) {
        (Some(vm), _) => {
            actions.push(Action::DeleteVm(Box::new(vm.clone())));
            Some(format!(
                "waiting for VirtualMachine {place}/{} to be deleted",
                vm.name_any()
            ))
        }
        (None, Some(vmi)) => {
            // One that its VM has left behind is nobody else's to delete.
            if controller_of(vmi).is_none() {
                actions.push(Action::DeleteVmi(Box::new(vmi.clone())));
            }
            let name = vmi.name_any();
            Some(format!(
                "waiting for VirtualMachineInstance {place}/{name} to shut down"
            ))
        }
        (None, None) => None,
    };
    Deletion { actions, waiting }
}
