//! Status and conditions, on every exit.

use super::desired::NotYet;
use super::diagnosis::{State, machine_addresses};
use super::kubevirt::{VirtualMachineInstance, condition as vm_condition};
use crate::api_error::ApiError;
use crate::text::excerpt;
use capn_api::{
    ConditionStatus, KubevirtMachine, Reason,
    condition::{ConditionUpdate, conditions, find},
    kubevirt_cluster::Initialization,
    kubevirt_machine::{CheckStrategy, KubevirtMachineStatus, condition},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

/// What is known of a Node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Registration {
    /// It carries the provider ID.
    Done,
    /// It has not registered.
    Waiting,
    /// The workload cluster could not be asked, and why.
    Unknown(String),
    /// It carries another provider ID, which only the kubelet's settings can have given it.
    Conflict {
        /// The one that it carries.
        found: String,
    },
}

/// How far a pass came.
#[derive(Debug)]
pub enum Outcome {
    /// Left alone, because of this.
    Paused(&'static str),
    /// Being deleted; waits for this.
    Deleting(String),
    /// A VM cannot be made yet.
    NotYet(NotYet),
    /// KubeVirt or the API server refused the VM or its user data.
    NotMade(ApiError),
    /// The VM is there.
    Made {
        /// What KubeVirt says of it.
        state: State,
        /// What is known of its Node.
        registration: Registration,
        /// How it is checked that the guest has bootstrapped.
        check: CheckStrategy,
    },
    /// A read failed; nothing new is known.
    Failed(ApiError),
}

/// The status that follows.
pub fn status(
    object: &KubevirtMachine,
    vmi: Option<&VirtualMachineInstance>,
    outcome: &Outcome,
    now: Timestamp,
) -> KubevirtMachineStatus {
    let old = object.status.clone().unwrap_or_default();
    if let Outcome::NotYet(waiting) = outcome
        && waiting.is_not_supported()
        && (old.ready || old.initialization.is_some())
    {
        // Somebody else made it and it works: a MachineHealthCheck must not replace it.
        return old;
    }
    let running = match outcome {
        Outcome::Made {
            state: State::Running { addresses, .. },
            ..
        } => Some(addresses),
        _ => None,
    };
    let was = old.ready || old.initialization.as_ref().and_then(|i| i.provisioned) == Some(true);
    let provisioned = was || running.is_some();
    let registered = old.nodeupdated
        || matches!(
            outcome,
            Outcome::Made {
                registration: Registration::Done,
                ..
            }
        );
    let mut updates = vec![
        vm_provisioned(outcome, &old),
        bootstrapped(outcome, &old),
        paused(outcome),
        deleting(outcome),
    ];
    updates.extend(migratable(vmi));
    let ready = ready(&updates);
    updates.push(ready);
    KubevirtMachineStatus {
        ready: running.is_some()
            || (provisioned && matches!(outcome, Outcome::Paused(_) | Outcome::Failed(_)) && old.ready),
        initialization: provisioned.then_some(Initialization {
            provisioned: Some(true),
        }),
        // An address that is away for a moment is still the machine's.
        addresses: running.map_or(old.addresses, |running| machine_addresses(&object.name_any(), running)),
        nodeupdated: registered,
        load_balancer_configured: old.load_balancer_configured,
        failure_domain: old.failure_domain,
        failure_reason: None,
        failure_message: None,
        conditions: conditions(&old.conditions, updates, object.metadata.generation, Time(now)),
    }
}

fn vm_provisioned(outcome: &Outcome, old: &KubevirtMachineStatus) -> ConditionUpdate {
    let type_ = condition::VM_PROVISIONED;
    match outcome {
        Outcome::Made { state, .. } => match state {
            State::Running { .. } => ConditionUpdate::new(type_, true, Reason::VMRunning, ""),
            State::NotReady { reason, message } | State::Lost { reason, message } => {
                ConditionUpdate::new(type_, false, *reason, message.clone())
            }
        },
        Outcome::NotYet(waiting) => ConditionUpdate::new(type_, false, waiting.reason(), waiting.to_string()),
        Outcome::NotMade(error) => ConditionUpdate::new(type_, false, not_made(error), error.to_string()),
        Outcome::Deleting(what) => ConditionUpdate::new(type_, false, Reason::Deleting, what.clone()),
        Outcome::Failed(error) if find(&old.conditions, type_).is_none() => {
            ConditionUpdate::new(type_, ConditionStatus::Unknown, Reason::ReadFailed, error.to_string())
        }
        Outcome::Paused(_) | Outcome::Failed(_) => ConditionUpdate::kept(&old.conditions, type_),
    }
}

/// The reason for a VM that was not made.
pub fn not_made(error: &ApiError) -> Reason {
    if error.is_name_taken() {
        Reason::NameTaken
    } else {
        Reason::VMCreateFailed
    }
}

fn bootstrapped(outcome: &Outcome, old: &KubevirtMachineStatus) -> ConditionUpdate {
    let type_ = condition::BOOTSTRAP_EXEC_SUCCEEDED;
    match outcome {
        Outcome::Made {
            check: CheckStrategy::None,
            ..
        } => ConditionUpdate::new(type_, true, Reason::NotChecked, ""),
        Outcome::Made { registration, .. } => match registration {
            Registration::Done => ConditionUpdate::new(type_, true, Reason::NodeRegistered, ""),
            Registration::Waiting => ConditionUpdate::new(
                type_,
                false,
                Reason::WaitingForNode,
                "waiting for the Node to register in the workload cluster",
            ),
            Registration::Unknown(why) => ConditionUpdate::new(type_, false, Reason::WaitingForNode, why.clone()),
            Registration::Conflict { found } => ConditionUpdate::new(
                type_,
                false,
                Reason::ProviderIDConflict,
                format!(
                    "the Node carries the provider ID {:?}, which cannot be changed: remove provider-id from the kubelet's settings and replace the Machine",
                    excerpt(found)
                ),
            ),
        },
        Outcome::Deleting(what) => ConditionUpdate::new(type_, false, Reason::Deleting, what.clone()),
        _ => match find(&old.conditions, type_) {
            Some(_) => ConditionUpdate::kept(&old.conditions, type_),
            None => ConditionUpdate::new(type_, false, Reason::WaitingForVM, "waiting for the VM to run"),
        },
    }
}

fn paused(outcome: &Outcome) -> ConditionUpdate {
    match outcome {
        Outcome::Paused(why) => ConditionUpdate::new(condition::PAUSED, true, Reason::Paused, *why),
        _ => ConditionUpdate::new(condition::PAUSED, false, Reason::NotPaused, ""),
    }
}

fn deleting(outcome: &Outcome) -> ConditionUpdate {
    match outcome {
        Outcome::Deleting(what) => ConditionUpdate::new(condition::DELETING, true, Reason::Deleting, what.clone()),
        _ => ConditionUpdate::new(condition::DELETING, false, Reason::NotDeleting, ""),
    }
}

/// KubeVirt's own condition, while there is an instance that has it.
fn migratable(vmi: Option<&VirtualMachineInstance>) -> Option<ConditionUpdate> {
    let found = vm_condition(&vmi?.status.as_ref()?.conditions, "LiveMigratable")?;
    let is_word =
        |reason: &String| !reason.is_empty() && reason.len() <= 64 && reason.bytes().all(|b| b.is_ascii_alphanumeric());
    let reason = found.reason.clone().filter(is_word);
    let holds = found.status == "True";
    let ours = if holds {
        Reason::LiveMigratable
    } else {
        Reason::NotLiveMigratable
    };
    let message = excerpt(found.message.as_deref().unwrap_or_default());
    let update = ConditionUpdate::new(condition::VM_LIVE_MIGRATABLE, holds, ours, message);
    Some(update.with_reason_of_others(reason))
}

/// Ready is the first of what it is made of that does not hold.
fn ready(updates: &[ConditionUpdate]) -> ConditionUpdate {
    let parts = [condition::VM_PROVISIONED, condition::BOOTSTRAP_EXEC_SUCCEEDED];
    let failing = parts
        .into_iter()
        .filter_map(|type_| updates.iter().find(|update| update.type_ == type_))
        .find(|update| update.status != ConditionStatus::True);
    match failing {
        Some(part) => ConditionUpdate {
            type_: condition::READY,
            ..part.clone()
        },
        None => ConditionUpdate::new(condition::READY, true, Reason::Ready, ""),
    }
}
