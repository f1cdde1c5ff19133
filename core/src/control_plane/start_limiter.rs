//! Who may start: a limit on the control planes that start at the same time, because many at once
//! start each of them late. It is told from the objects, so that another manager keeps it.

use super::desired::initialized;
use capn_api::{
    ConditionStatus, NestedControlPlane, Reason,
    condition::{find, is_true},
    nested_control_plane::{NestedControlPlaneStatus, condition},
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One that has not become available by then no longer counts: it waits for a user, not for a
/// processor.
const START_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// Hands out start slots.
#[derive(Debug)]
pub struct StartLimiter {
    most: usize,
    /// What this process has done and what may not have come back to it as status yet.
    done: Mutex<Done>,
}

/// Start slots by the UID of those who had them.
#[derive(Debug, Default)]
struct Done {
    /// When they were given.
    given: HashMap<String, Timestamp>,
    /// Those that are over.
    over: HashSet<String>,
}

impl StartLimiter {
    /// At most so many at the same time; 0 is no bound.
    pub fn new(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or_default(),
            done: Mutex::default(),
        }
    }

    /// Whether this one was told to wait and would be told so again.
    pub fn still_waits(&self, ncp: &NestedControlPlane, all: &[Arc<NestedControlPlane>], now: Timestamp) -> bool {
        let mut done = self.done();
        // One that was given a start slot may not have its own status back yet.
        let given = ncp.uid().is_some_and(|uid| done.given.contains_key(&uid));
        waits(ncp) && !given && !self.free(&mut done, ncp, all, now)
    }

    /// Those that come next when one has `changed`, as many as may start now. What is known of all
    /// others may not have that change yet.
    pub fn next(
        &self,
        known: &[Arc<NestedControlPlane>],
        changed: &NestedControlPlane,
        now: Timestamp,
    ) -> Vec<Arc<NestedControlPlane>> {
        let mut all: Vec<_> = known.iter().filter(|ncp| ncp.uid() != changed.uid()).cloned().collect();
        all.push(Arc::new(changed.clone()));
        let mut waiting: Vec<_> = all.iter().filter(|ncp| waits(ncp)).cloned().collect();
        waiting.sort_by_key(|ncp| age(ncp));
        if self.most > 0 {
            let mut done = self.done();
            // Not of what has changed: those that are woken look at what is known.
            done.forget_old(known, now);
            waiting.retain(|ncp| !done.starts(ncp, now));
            let busy = all.iter().filter(|ncp| done.starts(ncp, now)).count();
            waiting.truncate(self.most.saturating_sub(busy));
        }
        waiting
    }

    /// Gives a start slot to this one, if there is one. The oldest that wait come first.
    pub fn try_acquire(&self, ncp: &NestedControlPlane, all: &[Arc<NestedControlPlane>], now: Timestamp) -> bool {
        // Held until the slot is given: passes over many objects run side by side.
        let mut done = self.done();
        let free = self.free(&mut done, ncp, all, now);
        if free && let Some(uid) = ncp.uid() {
            done.over.remove(&uid);
            done.given.insert(uid, now);
        }
        free
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self, done: &mut Done, ncp: &NestedControlPlane, all: &[Arc<NestedControlPlane>], now: Timestamp) -> bool {
        if self.most == 0 {
            return true;
        }
        done.forget_old(all, now);
        let others = || all.iter().filter(|other| other.uid() != ncp.uid());
        let busy = others().filter(|other| done.starts(other, now)).count();
        let before_us = others()
            .filter(|other| waits(other) && !done.starts(other, now) && age(other) < age(ncp))
            .count();
        busy + before_us < self.most
    }

    /// Takes a start slot back from one that does not start: it failed, or waits for a user.
    pub fn release_if_settled(&self, ncp: &NestedControlPlane, status: &NestedControlPlaneStatus) {
        if self.most == 0 {
            return;
        }
        let starts = find(&status.conditions, condition::AVAILABLE)
            .is_some_and(|available| available.reason == Reason::Starting);
        let (mut done, uid) = (self.done(), ncp.uid().unwrap_or_default());
        if starts {
            done.over.remove(&uid);
        } else {
            done.given.remove(&uid);
            done.over.insert(uid);
        }
    }
}

impl Done {
    /// Forgets what the objects say by themselves now.
    fn forget_old(&mut self, all: &[Arc<NestedControlPlane>], now: Timestamp) {
        let object = |uid: &String| all.iter().find(|other| other.uid().as_ref() == Some(uid));
        self.given.retain(|uid, at| {
            object(uid).is_some_and(|object| !initialized(object)) && now.duration_since(*at) < START_TIMEOUT
        });
        self.over
            .retain(|uid| object(uid).is_some_and(|object| started_lately(object, now)));
    }

    /// Whether this one has a start slot.
    fn starts(&self, ncp: &NestedControlPlane, now: Timestamp) -> bool {
        let uid = ncp.uid().unwrap_or_default();
        self.given.contains_key(&uid) || (started_lately(ncp, now) && !self.over.contains(&uid))
    }
}

/// Whether this one was told to wait for its start slot, and would take it.
fn waits(ncp: &NestedControlPlane) -> bool {
    let paused = ncp
        .status
        .as_ref()
        .is_some_and(|status| is_true(&status.conditions, condition::PAUSED));
    available(ncp).is_some_and(|c| c.reason == Reason::WaitingForStartSlot)
        && ncp.metadata.deletion_timestamp.is_none()
        && !paused
}

fn started_lately(ncp: &NestedControlPlane, now: Timestamp) -> bool {
    !initialized(ncp)
        && available(ncp).is_some_and(|c| {
            c.reason == Reason::Starting
                && now.duration_since(started_at(ncp).unwrap_or(c.last_transition_time.0)) < START_TIMEOUT
        })
}

/// ScalingUp begins when the pods are applied.
fn started_at(ncp: &NestedControlPlane) -> Option<Timestamp> {
    let scaling = find(&ncp.status.as_ref()?.conditions, condition::SCALING_UP)?;
    (scaling.status == ConditionStatus::True).then_some(scaling.last_transition_time.0)
}

fn available(ncp: &NestedControlPlane) -> Option<&capn_api::Condition> {
    find(&ncp.status.as_ref()?.conditions, condition::AVAILABLE)
}

fn age(ncp: &NestedControlPlane) -> (Option<Timestamp>, String) {
    (ncp.creation_timestamp().map(|at| at.0), ncp.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Barrier;

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    /// A control plane that was made in this minute, with Available for this reason.
    fn made(minute: u32, reason: &str) -> Arc<NestedControlPlane> {
        let mut object = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": format!("t{minute}"), "uid": format!("u{minute}"), "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z")},
            "spec": {"version": "v1.36.3"},
        });
        if !reason.is_empty() {
            object["status"] = status(reason);
        }
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn status(reason: &str) -> Value {
        json!({"externalManagedControlPlane": true, "conditions": [
            {"type": "Available", "status": "False", "reason": reason, "message": "m", "lastTransitionTime": NOW},
        ]})
    }

    #[test]
    fn no_more_start_than_may_and_the_oldest_come_first() {
        let limiter = StartLimiter::new(2);
        let all = [
            made(1, Reason::Starting.as_str()),
            made(4, Reason::WaitingForStartSlot.as_str()),
            made(3, Reason::WaitingForStartSlot.as_str()),
            made(2, Reason::WaitingForStartSlot.as_str()),
        ];
        assert!(limiter.still_waits(&all[1], &all, now()));
        assert!(!limiter.try_acquire(&all[2], &all, now()));
        assert!(limiter.try_acquire(&all[3], &all, now()));
        assert!(
            !limiter.try_acquire(&all[2], &all, now()),
            "one starts and one has its start slot"
        );
        let next = |limiter: &StartLimiter| {
            limiter
                .next(&all, &all[0], now())
                .iter()
                .map(|ncp| ncp.name_any())
                .collect::<Vec<_>>()
        };
        assert!(next(&limiter).is_empty(), "nobody is asked in vain");
        assert_eq!(next(&StartLimiter::new(3)), ["t2", "t3"]);
    }

    #[test]
    fn no_more_start_than_may_when_they_ask_at_once() {
        let all: Vec<_> = (1..9).map(|minute| made(minute, "")).collect();
        for _ in 0..200 {
            let (limiter, start) = (StartLimiter::new(1), Barrier::new(all.len()));
            let ask = |ncp| {
                start.wait();
                limiter.try_acquire(ncp, &all, now())
            };
            let taken = std::thread::scope(|scope| {
                let asked: Vec<_> = all.iter().map(|ncp| scope.spawn(|| ask(ncp))).collect();
                asked
                    .into_iter()
                    .map(|asked| asked.join().unwrap())
                    .filter(|taken| *taken)
                    .count()
            });
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn one_that_waits_for_a_user_gives_its_start_slot_back() {
        let limiter = StartLimiter::new(1);
        let all = [made(1, ""), made(2, "")];
        assert!(limiter.try_acquire(&all[0], &all, now()));
        assert!(!limiter.try_acquire(&all[1], &all, now()));
        let starts = serde_json::from_value(status(Reason::Starting.as_str())).unwrap();
        limiter.release_if_settled(&all[0], &starts);
        assert!(!limiter.try_acquire(&all[1], &all, now()));
        let fails = serde_json::from_value(status("ImagePullFailed")).unwrap();
        limiter.release_if_settled(&all[0], &fails);
        assert!(limiter.try_acquire(&all[1], &all, now()));
    }

    #[test]
    fn a_turn_that_is_over_is_free_before_the_status_has_come_back() {
        let limiter = StartLimiter::new(1);
        let all = [
            made(1, Reason::Starting.as_str()),
            made(2, Reason::WaitingForStartSlot.as_str()),
        ];
        assert!(limiter.next(&all, &all[0], now()).is_empty());
        let available: NestedControlPlaneStatus = serde_json::from_value(status(Reason::Available.as_str())).unwrap();
        limiter.release_if_settled(&all[0], &available);
        let mut changed = all[0].as_ref().clone();
        changed.status = Some(available);
        for changed in [all[0].as_ref(), &changed] {
            assert_eq!(limiter.next(&all, changed, now()).len(), 1);
            assert!(!limiter.still_waits(&all[1], &all, now()));
        }
        assert!(limiter.try_acquire(&all[1], &all, now()));
        assert!(
            limiter.next(&all, &all[0], now()).is_empty(),
            "it has its start slot already"
        );
    }

    #[test]
    fn one_that_is_paused_holds_up_nobody() {
        let limiter = StartLimiter::new(1);
        let mut paused = made(1, Reason::WaitingForStartSlot.as_str()).as_ref().clone();
        paused.status.as_mut().unwrap().conditions.push(
            serde_json::from_value(json!({"type": "Paused", "status": "True", "reason": "Paused", "message": ""}))
                .unwrap(),
        );
        let all = [Arc::new(paused), made(2, Reason::WaitingForStartSlot.as_str())];
        assert_eq!(limiter.next(&all, &all[0], now())[0].name_any(), "t2");
        assert!(limiter.try_acquire(&all[1], &all, now()));
    }

    #[test]
    fn one_that_starts_for_too_long_no_longer_counts() {
        let limiter = StartLimiter::new(1);
        let all = [
            made(1, Reason::Starting.as_str()),
            made(2, Reason::WaitingForStartSlot.as_str()),
        ];
        assert!(!limiter.try_acquire(&all[1], &all, now()));
        assert!(limiter.try_acquire(&all[1], &all, now() + START_TIMEOUT));
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        let limiter = StartLimiter::new(0);
        let all = [made(1, Reason::Starting.as_str()), made(2, "")];
        assert!(limiter.try_acquire(&all[1], &all, now()));
    }
}
