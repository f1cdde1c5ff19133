//! Events: the same is told once, however often a pass comes to it.

use capn_api::condition::sentence;
use capn_core::text::excerpt_of;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longest note of an Event, in bytes: the API refuses 1 KiB.
const MAX_NOTE_LENGTH: usize = 1000;

/// How long API servers keep an Event unless they are told otherwise: after that, what still holds is
/// told again.
const KEPT: Duration = Duration::from_secs(3600);

/// Where a controller publishes Events.
pub(crate) struct Events {
    client: Client,
    reporter: Reporter,
    told: Mutex<Told>,
}

impl Events {
    /// Events of the controller of this name.
    pub(crate) fn new(client: Client, controller: &'static str) -> Self {
        Self {
            client,
            reporter: Reporter {
                controller: controller.into(),
                instance: std::env::var("POD_NAME").ok(),
            },
            told: Mutex::default(),
        }
    }

    /// Publishes an Event, unless the same was published about this object a short while ago.
    pub(crate) async fn publish(&self, about: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let uid = about.uid.as_deref().unwrap_or_default();
        if !self.told().is_news(uid, reason, note, Instant::now()) {
            return;
        }
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(sentence(excerpt_of(note, MAX_NOTE_LENGTH))),
            action: "Reconcile".into(),
            secondary: None,
        };
        // A recorder counts Events of one reason together and keeps the note of the first: each note is
        // to be told.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, about).await {
            tracing::debug!(reason, %error, "event not published");
            self.told().take_back(uid, reason, note);
        }
    }

    /// Forgets what was told about the object of this UID.
    pub(crate) fn forget(&self, uid: &str) {
        self.told().0.retain(|(about, _), _| about != uid);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was told: UID of the object, reason and note as a hash, and when.
#[derive(Debug, Default)]
struct Told(HashMap<(String, u64), Instant>);

impl Told {
    /// Remembers it, and says whether it was not remembered yet.
    fn is_news(&mut self, uid: &str, reason: &str, note: &str, now: Instant) -> bool {
        self.0.retain(|_, told| now.saturating_duration_since(*told) < KEPT);
        let key = key(uid, reason, note);
        if self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, now);
        true
    }

    fn take_back(&mut self, uid: &str, reason: &str, note: &str) {
        self.0.remove(&key(uid, reason, note));
    }
}

fn key(uid: &str, reason: &str, note: &str) -> (String, u64) {
    let mut hasher = DefaultHasher::new();
    (reason, note).hash(&mut hasher);
    (uid.to_owned(), hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_while_its_event_is_kept_and_anything_else_at_once() {
        let (mut told, start) = (Told::default(), Instant::now());
        let steps = [
            (0, ("a", "Invalid", "one"), true),
            (1, ("a", "Invalid", "two"), true),
            (2, ("a", "Invalid", "one"), false),
            (3, ("b", "Invalid", "one"), true),
            (4, ("a", "NameTaken", "one"), true),
            (3600, ("a", "Invalid", "one"), true),
            (3600, ("a", "Invalid", "two"), false),
        ];
        for (second, (uid, reason, note), news) in steps {
            let at = start + Duration::from_secs(second);
            assert_eq!(
                told.is_news(uid, reason, note, at),
                news,
                "{second} {uid} {reason} {note}"
            );
        }
        let at = start + Duration::from_secs(3600);
        told.take_back("a", "Invalid", "one");
        assert!(told.is_news("a", "Invalid", "one", at), "it was not published");
    }
}
