//! What a user is told of a pass over a machine, and when to look again.

use super::eviction;
use crate::machine::{
    diagnosis::State,
    kubevirt::VirtualMachineInstance,
    status::{self, Outcome, Registration},
};
use capn_api::{KubevirtMachine, Reason};
use jiff::{SignedDuration, Timestamp};

/// What a user has to do something about.
pub fn warning(outcome: &Outcome) -> Option<(Reason, String)> {
    match outcome {
        Outcome::NotMade(error) => Some((status::not_made(error), error.to_string())),
        Outcome::NotYet(waiting) if waiting.needs_user_action() => Some((waiting.reason(), waiting.to_string())),
        Outcome::Made {
            state: State::NotReady { reason, message } | State::Lost { reason, message },
            ..
        } if reason.needs_user_action() => Some((*reason, message.clone())),
        _ => None,
    }
}

/// In what time to look again although nothing that is watched has changed.
pub fn next_check(
    object: &KubevirtMachine,
    vmi: Option<&VirtualMachineInstance>,
    outcome: &Outcome,
    evicting: bool,
    now: Timestamp,
) -> Option<SignedDuration> {
    let seconds = |count| Some(SignedDuration::from_secs(count));
    match outcome {
        // The pods of the workload cluster are not watched.
        _ if evicting => seconds(3),
        Outcome::NotYet(waiting) if waiting.needs_user_action() => seconds(15),
        // Only a name that is taken gets here.
        Outcome::NotMade(_) => seconds(15),
        Outcome::Deleting(_) => seconds(10),
        Outcome::Made {
            state: State::Running { .. },
            registration: Registration::Waiting | Registration::Unknown(_),
            ..
        } => Some(poll_interval(vmi, now)),
        // A Node that could not be uncordoned, because its workload cluster was not reached.
        _ if eviction::begun(object) => seconds(15),
        _ => None,
    }
}

/// How long to wait before the workload cluster is asked for the Node again: 1 to 15 s, longer the longer the VM
/// runs.
fn poll_interval(vmi: Option<&VirtualMachineInstance>, now: Timestamp) -> SignedDuration {
    let since = vmi.and_then(|vmi| {
        let transitions = &vmi.status.as_ref()?.phase_transition_timestamps;
        let running = transitions.iter().find(|transition| transition.phase == "Running")?;
        running.phase_transition_timestamp.as_ref().map(|at| at.0)
    });
    let running = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    (running / 8).clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(15))
}
