//! Who may start: a bound on control planes that start at the same time, because many at once
//! start each of them late. It is told from the objects, so that another manager keeps it.

use super::validate::initialized;
use capn_api::{
    NestedControlPlane,
    condition::find,
    nested_control_plane::{condition, reason},
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// One that has not become available by then no longer counts: it waits for a person, not for a
/// processor.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    /// Turns that this process gave and whose status may not have come back yet.
    given: Mutex<HashMap<String, Timestamp>>,
}

impl Turns {
    /// At most so many at the same time; 0 is no bound.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or_default(),
            given: Mutex::default(),
        }
    }

    /// Whether this one may start now. The oldest that wait come first.
    pub(crate) fn take(&self, ncp: &NestedControlPlane, all: &[Arc<NestedControlPlane>], now: Timestamp) -> bool {
        if self.most == 0 {
            return true;
        }
        let uid = ncp.uid().unwrap_or_default();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|uid, at| {
            let object = all.iter().find(|other| other.uid().as_deref() == Some(uid));
            object.is_none_or(|object| !initialized(object)) && now.duration_since(*at) < PATIENCE
        });
        let starting = |other: &NestedControlPlane| {
            let uid = other.uid().unwrap_or_default();
            given.contains_key(&uid) || started_lately(other, now)
        };
        let busy = all
            .iter()
            .filter(|other| other.uid().as_ref() != Some(&uid) && starting(other))
            .count();
        let before_us = all
            .iter()
            .filter(|other| waits(other) && !starting(other) && age(other) < age(ncp))
            .count();
        let free = busy + before_us < self.most;
        if free {
            given.insert(uid, now);
        }
        free
    }
}

/// Whether this one was told to wait for its turn.
pub(crate) fn waits(ncp: &NestedControlPlane) -> bool {
    available(ncp).is_some_and(|c| c.reason == reason::WAITING_FOR_TURN) && ncp.metadata.deletion_timestamp.is_none()
}

fn started_lately(ncp: &NestedControlPlane, now: Timestamp) -> bool {
    !initialized(ncp)
        && available(ncp).is_some_and(|c| {
            c.reason == reason::STARTING
                && now.duration_since(started_at(ncp).unwrap_or(c.last_transition_time.0)) < PATIENCE
        })
}

/// ScalingUp begins when the pods are applied.
fn started_at(ncp: &NestedControlPlane) -> Option<Timestamp> {
    let scaling = find(&ncp.status.as_ref()?.conditions, condition::SCALING_UP)?;
    (scaling.status == capn_api::ConditionStatus::True).then_some(scaling.last_transition_time.0)
}

fn available(ncp: &NestedControlPlane) -> Option<&capn_api::Condition> {
    find(&ncp.status.as_ref()?.conditions, condition::AVAILABLE)
}

fn age(ncp: &NestedControlPlane) -> (Option<Timestamp>, String) {
    (ncp.creation_timestamp().map(|at| at.0), ncp.uid().unwrap_or_default())
}
