//! Workload clusters, as the manager reaches them: one registry of clients, and the bounds that keep
//! a slow, large or hostile workload cluster a matter of its own.

mod client;
mod nodes;
mod write;

pub(crate) use client::Access;
pub(crate) use nodes::{Nodes, Visited};
pub(crate) use write::Writer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Longest time that one pass may spend on a workload cluster, all of its calls together.
pub(crate) use capn_core::workload_cluster::BUDGET;
/// Workload clusters that a controller works on at the same time: half of its passes, so that the
/// other half is free for the management cluster's objects.
const MAX_CONCURRENT: usize = 8;
/// How many of them may be such that were slow the last time.
const MAX_SLOW: usize = 2;
/// A workload cluster is slow when a pass spends longer on it than this.
const SLOW: Duration = Duration::from_secs(5);
/// How long those stay away for whom there is room soon, and at most.
const SHORTLY: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A client that was not used for so long is forgotten.
const MAX_IDLE: Duration = Duration::from_secs(2 * 3600);

/// Clients of workload clusters by a key of the caller, and who may use one now.
pub(crate) struct WorkloadClusters<T> {
    known: Mutex<HashMap<String, Known<T>>>,
    all: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

struct Known<T> {
    fingerprint: u64,
    used: Instant,
    slow: bool,
    waits: Option<Waits>,
    value: T,
}

/// A visit that was asked for in vain.
#[derive(Clone, Copy)]
struct Waits {
    since: Instant,
    /// Who has not asked again by then has given up.
    until: Instant,
}

/// Permission to call a workload cluster until [`Visit::deadline`].
pub(crate) struct Visit {
    began: Instant,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Visit {
    /// When the visit has to end.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + BUDGET
    }
}

impl<T: Clone> Default for WorkloadClusters<T> {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            all: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            slow: Arc::new(Semaphore::new(MAX_SLOW)),
        }
    }
}

impl<T: Clone> WorkloadClusters<T> {
    /// What is kept for this workload cluster, unless the fingerprint of its credentials has changed.
    pub(crate) fn get(&self, key: &str, fingerprint: u64) -> Option<T> {
        let mut all = self.lock();
        let known = all.get_mut(key).filter(|known| known.fingerprint == fingerprint)?;
        known.used = Instant::now();
        Some(known.value.clone())
    }

    /// Keeps something for this workload cluster, and forgets those that nobody uses.
    pub(crate) fn insert(&self, key: &str, fingerprint: u64, value: T) {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, known| now.duration_since(known.used) < MAX_IDLE);
        let known = Known {
            fingerprint,
            used: now,
            slow: all.get(key).is_some_and(|before| before.slow),
            waits: None,
            value,
        };
        all.insert(key.to_owned(), known);
    }

    /// Changes what is kept for this workload cluster.
    pub(crate) fn update(&self, key: &str, change: impl FnOnce(&mut T)) {
        if let Some(known) = self.lock().get_mut(key) {
            change(&mut known.value);
        }
    }

    /// Forgets a workload cluster that is gone.
    pub(crate) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Asks to call this workload cluster.
    ///
    /// # Errors
    /// While too many others are being called: how long to stay away. Never waits itself, because the
    /// pass has other things to do. Those that were slow are let in by how long they have waited, so that
    /// one that answers again is found out however many others do not.
    pub(crate) fn visit(&self, key: &str) -> Result<Visit, Duration> {
        let now = Instant::now();
        let mut known = self.lock();
        let ahead = known.get(key).filter(|known| known.slow).map(|mine| {
            let since = mine.waits.map_or(now, |waits| waits.since);
            let earlier = |waits: Waits| waits.since < since && now < waits.until;
            known
                .values()
                .filter(|other| other.slow && other.waits.is_some_and(earlier))
                .count()
        });
        let permits = match ahead {
            None => permit(&self.all).map(|any| (any, None)),
            Some(ahead) if ahead < self.slow.available_permits() => {
                permit(&self.slow).and_then(|slow| Some((permit(&self.all)?, Some(slow))))
            }
            Some(_) => None,
        };
        let mine = known.get_mut(key);
        let Some(permits) = permits else {
            let rounds = u32::try_from(ahead.unwrap_or_default() / MAX_SLOW).unwrap_or(u32::MAX);
            let wait = SHORTLY.saturating_add(BUDGET.saturating_mul(rounds)).min(MAX_WAIT);
            if let Some(mine) = mine {
                let since = mine.waits.map_or(now, |waits| waits.since);
                let until = now + wait + BUDGET;
                mine.waits = Some(Waits { since, until });
            }
            return Err(wait);
        };
        if let Some(mine) = mine {
            mine.waits = None;
        }
        Ok(Visit {
            began: now,
            _permits: permits,
        })
    }

    /// Ends a visit, and remembers whether it was a slow one.
    pub(crate) fn leave(&self, key: &str, visit: Visit) {
        if let Some(known) = self.lock().get_mut(key) {
            known.slow = visit.began.elapsed() > SLOW;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known<T>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permit(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    of.clone().try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_reused_until_its_credentials_change_or_nobody_uses_it() {
        let clusters = WorkloadClusters::default();
        clusters.insert("a", 1, 10);
        assert_eq!(clusters.get("a", 1), Some(10));
        assert_eq!(clusters.get("a", 2), None);
        tokio::time::advance(MAX_IDLE).await;
        clusters.insert("b", 1, 20);
        assert_eq!(clusters.lock().len(), 1, "the idle one is forgotten");
        clusters.forget("b");
        assert!(clusters.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_slow_leave_room_for_the_others() {
        let clusters = WorkloadClusters::default();
        let keys: Vec<_> = (0..16).map(|n| format!("slow-{n}")).collect();
        for key in &keys {
            clusters.insert(key, 1, 0);
        }
        let first: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((key, clusters.visit(key).ok()?)))
            .collect();
        assert_eq!(first.len(), MAX_CONCURRENT);
        tokio::time::advance(BUDGET).await;
        let slow: Vec<_> = first.iter().map(|(key, _)| (*key).clone()).collect();
        for (key, visit) in first {
            clusters.leave(key, visit);
        }
        let again: Vec<_> = slow.iter().filter_map(|key| clusters.visit(key).ok()).collect();
        assert_eq!(again.len(), MAX_SLOW);
        clusters.insert("fast", 1, 0);
        assert!(clusters.visit("fast").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_were_slow_the_one_that_waited_longest_is_next() {
        let clusters = WorkloadClusters::default();
        let keys: Vec<_> = (0..6).map(|n| format!("slow-{n}")).collect();
        for key in &keys {
            clusters.insert(key, 1, 0);
            clusters.lock().get_mut(key).expect("it was inserted").slow = true;
        }
        let mut visited = Vec::new();
        // Asked in the same order each time, the last would never come to it by luck.
        for _ in 0..3 {
            let mut visits = Vec::new();
            for key in &keys {
                tokio::time::advance(Duration::from_millis(100)).await;
                visits.extend(clusters.visit(key).map(|visit| (key, visit)));
            }
            for (key, visit) in visits {
                visited.push(key.clone());
                clusters.leave(key, visit);
                clusters.lock().get_mut(key).expect("it was inserted").slow = true;
            }
        }
        assert_eq!(visited, keys);
        // slow-0 to slow-3 wait, in this order.
        assert_eq!(clusters.visit("slow-4").err(), Some(SHORTLY + 2 * BUDGET));
        assert_eq!(clusters.visit("slow-3").err(), Some(SHORTLY + BUDGET));
        assert!(clusters.visit("slow-1").is_ok());
        // Who does not come any more is waited for by nobody.
        tokio::time::advance(4 * BUDGET).await;
        assert!(clusters.visit("slow-4").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_in_time_again_is_no_longer_slow() {
        let clusters = WorkloadClusters::default();
        clusters.insert("a", 1, 0);
        let visit = clusters.visit("a").expect("there is room");
        tokio::time::advance(BUDGET).await;
        clusters.leave("a", visit);
        assert!(clusters.lock()["a"].slow);
        let visit = clusters.visit("a").expect("there is room");
        clusters.leave("a", visit);
        assert!(!clusters.lock()["a"].slow);
    }
}
