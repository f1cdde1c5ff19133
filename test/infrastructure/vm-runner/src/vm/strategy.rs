//! Run strategies: whether an instance is to be started or deleted now. Pure.
//!
//! In: the machine's strategy and status, its instance if there is one, the clock. Out: one step and the status fields that
//! remember it (queued requests, back-off).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{Phase, StartFailure, StateChangeRequest, VirtualMachineInstance, VirtualMachineStatus};

/// KubeVirt's run strategies, without WaitAsReceiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Runs, whatever ends it.
    Always,
    /// Runs again after a crash, not after a shutdown.
    RerunOnFailure,
    /// Runs once.
    Once,
    /// Runs when asked to.
    Manual,
    /// Is off.
    Halted,
}

impl Strategy {
    /// The strategy of a spec; both forms are checked by the webhook.
    #[must_use]
    pub fn of(running: Option<bool>, run_strategy: Option<&str>) -> Option<Strategy> {
        match (running, run_strategy) {
            (Some(true), _) | (None, Some("Always")) => Some(Strategy::Always),
            (Some(false), _) | (None, Some("Halted")) => Some(Strategy::Halted),
            (None, Some("RerunOnFailure")) => Some(Strategy::RerunOnFailure),
            (None, Some("Once")) => Some(Strategy::Once),
            (None, Some("Manual")) => Some(Strategy::Manual),
            (None, _) => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Always => "Always",
            Strategy::RerunOnFailure => "RerunOnFailure",
            Strategy::Once => "Once",
            Strategy::Manual => "Manual",
            Strategy::Halted => "Halted",
        }
    }
}

/// What to do with the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create it.
    Start,
    /// Delete it.
    Stop,
    /// Create it after this long.
    Wait(Duration),
    /// Nothing.
    Rest,
}

/// Decides, and notes in `status` what the next pass must know.
pub fn step(
    strategy: Strategy,
    status: &mut VirtualMachineStatus,
    vmi: Option<&VirtualMachineInstance>,
    now: Timestamp,
) -> Step {
    note_failure(status, vmi, now);
    let Some(vmi) = vmi else {
        status.state_change_requests.retain(|request| request.action != "Stop");
        return match wanted(strategy, status) {
            false => Step::Rest,
            true => match wait(status, now) {
                Some(wait) => Step::Wait(wait),
                None => Step::Start,
            },
        };
    };
    if vmi.metadata.deletion_timestamp.is_some() {
        return Step::Rest;
    }
    let phase = phase(vmi);
    let uid = vmi.metadata.uid.as_deref();
    let stop_asked = status
        .state_change_requests
        .iter()
        .any(|r| r.action == "Stop" && r.uid.as_deref() == uid);
    if !phase.is_final() && !stop_asked {
        status.state_change_requests.clear();
    }
    match (strategy, phase) {
        (Strategy::Halted, _) => Step::Stop,
        (_, _) if stop_asked => Step::Stop,
        (Strategy::Always, Phase::Succeeded | Phase::Failed) | (Strategy::RerunOnFailure, Phase::Succeeded) => {
            Step::Stop
        }
        (Strategy::RerunOnFailure, Phase::Failed) => {
            queue_start(status);
            Step::Stop
        }
        (Strategy::Once | Strategy::Manual, Phase::Succeeded | Phase::Failed) => {
            if strategy == Strategy::Manual && start_asked(status) {
                Step::Stop
            } else {
                Step::Rest
            }
        }
        (_, _) => Step::Rest,
    }
}

/// The phase of an instance, Pending before it has one.
#[must_use]
pub fn phase(vmi: &VirtualMachineInstance) -> Phase {
    vmi.status
        .as_ref()
        .and_then(|status| status.phase)
        .unwrap_or(Phase::Pending)
}

fn wanted(strategy: Strategy, status: &VirtualMachineStatus) -> bool {
    match strategy {
        Strategy::Always | Strategy::Once => true,
        // Its instance was there once and nobody asked for another: stays off.
        Strategy::RerunOnFailure => status.run_strategy.as_deref() != Some(strategy.name()) || start_asked(status),
        Strategy::Manual => start_asked(status),
        Strategy::Halted => false,
    }
}

fn start_asked(status: &VirtualMachineStatus) -> bool {
    status
        .state_change_requests
        .iter()
        .any(|request| request.action == "Start")
}

fn queue_start(status: &mut VirtualMachineStatus) {
    if !start_asked(status) {
        status.state_change_requests.push(StateChangeRequest {
            action: "Start".into(),
            uid: None,
        });
    }
}

fn wait(status: &VirtualMachineStatus, now: Timestamp) -> Option<Duration> {
    let until = status.start_failure.as_ref()?.retry_after_timestamp?;
    Duration::try_from(until.duration_since(now))
        .ok()
        .filter(|wait| !wait.is_zero())
}

/// Counts an instance that ended without ever being Running: 10·n² seconds plus up to half, at most 300.
fn note_failure(status: &mut VirtualMachineStatus, vmi: Option<&VirtualMachineInstance>, now: Timestamp) {
    let Some(vmi) = vmi else { return };
    let ran = |phase: Phase| {
        let transitions = vmi
            .status
            .as_ref()
            .map(|status| status.phase_transition_timestamps.as_slice())
            .unwrap_or_default();
        transitions.iter().any(|transition| transition.phase == phase)
    };
    if phase(vmi) == Phase::Running || ran(Phase::Running) {
        status.start_failure = None;
    } else if phase(vmi) == Phase::Failed {
        let uid = vmi.metadata.uid.clone().unwrap_or_default();
        let before = status.start_failure.take().unwrap_or_default();
        if before.last_failed_vmi_uid == uid {
            status.start_failure = Some(before);
            return;
        }
        let count = before.consecutive_fail_count + 1;
        let base = 10 * i64::from(count.min(100)).pow(2);
        let jitter = i64::from(now.subsec_nanosecond().unsigned_abs() % 1000) * base / 2000;
        let delay = SignedDuration::from_secs((base + jitter).min(300));
        status.start_failure = Some(StartFailure {
            consecutive_fail_count: count,
            last_failed_vmi_uid: uid,
            retry_after_timestamp: now.checked_add(delay).ok().map(crate::clock::seconds),
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::{PhaseTransition, VirtualMachineInstanceStatus};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn vmi(phase: Phase, ran: bool) -> VirtualMachineInstance {
        let mut vmi = VirtualMachineInstance::new("vm", crate::api::VirtualMachineInstanceSpec::default());
        vmi.metadata.uid = Some("u".into());
        let mut status = VirtualMachineInstanceStatus {
            phase: Some(phase),
            ..Default::default()
        };
        if ran {
            status.phase_transition_timestamps = vec![PhaseTransition {
                phase: Phase::Running,
                phase_transition_timestamp: NOW,
            }];
        }
        vmi.status = Some(status);
        vmi
    }

    /// Each row: no instance yet; guest powers off; crash; and what follows when the instance is gone then.
    #[test]
    fn the_table_of_run_strategies_holds() {
        use Step::{Rest, Start, Stop};
        for (strategy, first, off, after_off, crash, after_crash, deleted) in [
            (Strategy::Always, Start, Stop, Start, Stop, Start, Start),
            (Strategy::RerunOnFailure, Start, Stop, Rest, Stop, Start, Rest),
            (Strategy::Once, Start, Rest, Start, Rest, Start, Start),
            (Strategy::Manual, Rest, Rest, Rest, Rest, Rest, Rest),
            (Strategy::Halted, Rest, Stop, Rest, Stop, Rest, Rest),
        ] {
            let mut status = VirtualMachineStatus::default();
            assert_eq!(step(strategy, &mut status, None, NOW), first, "{strategy:?} first");
            let running = VirtualMachineStatus {
                run_strategy: Some(strategy.name().into()),
                ..Default::default()
            };
            for (end, at_end, after) in [(Phase::Succeeded, off, after_off), (Phase::Failed, crash, after_crash)] {
                let mut status = running.clone();
                assert_eq!(
                    step(strategy, &mut status, Some(&vmi(end, true)), NOW),
                    at_end,
                    "{strategy:?} {end:?}"
                );
                assert_eq!(
                    step(strategy, &mut status, None, NOW),
                    after,
                    "{strategy:?} after {end:?}"
                );
            }
            assert_eq!(
                step(strategy, &mut running.clone(), None, NOW),
                deleted,
                "{strategy:?} deleted"
            );
        }
    }

    #[test]
    fn an_instance_that_never_ran_is_followed_by_a_wait_and_one_that_ran_is_not() {
        let mut status = VirtualMachineStatus::default();
        assert_eq!(
            step(Strategy::Always, &mut status, Some(&vmi(Phase::Failed, false)), NOW),
            Step::Stop
        );
        assert_eq!(
            step(Strategy::Always, &mut status, Some(&vmi(Phase::Failed, false)), NOW),
            Step::Stop
        );
        assert_eq!(status.start_failure.as_ref().unwrap().consecutive_fail_count, 1);
        assert_eq!(
            step(Strategy::Always, &mut status, None, NOW),
            Step::Wait(Duration::from_secs(10))
        );
        step(Strategy::Always, &mut status, Some(&vmi(Phase::Running, true)), NOW);
        assert_eq!(status.start_failure, None);
    }

    #[test]
    fn a_restart_is_a_stop_of_that_instance_and_a_start() {
        let requests = vec![
            StateChangeRequest {
                action: "Stop".into(),
                uid: Some("u".into()),
            },
            StateChangeRequest {
                action: "Start".into(),
                uid: None,
            },
        ];
        for strategy in [Strategy::Always, Strategy::RerunOnFailure, Strategy::Manual] {
            let mut status = VirtualMachineStatus {
                state_change_requests: requests.clone(),
                run_strategy: Some(strategy.name().into()),
                ..Default::default()
            };
            assert_eq!(
                step(strategy, &mut status, Some(&vmi(Phase::Running, true)), NOW),
                Step::Stop
            );
            assert_eq!(step(strategy, &mut status, None, NOW), Step::Start);
            assert_eq!(
                step(strategy, &mut status, Some(&vmi(Phase::Pending, false)), NOW),
                Step::Rest
            );
            assert!(status.state_change_requests.is_empty());
        }
    }
}
