//! Conditions as KubeVirt keeps them: written again only when status or reason changes, so that messages can be old. Pure.

use jiff::Timestamp;

use crate::api::Condition;

/// A condition with an empty reason and message.
#[must_use]
pub fn condition(type_: &str, status: bool) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        ..Condition::default()
    }
}

/// A condition with a reason and a message.
#[must_use]
pub fn explained(type_: &str, status: bool, reason: &str, message: &str) -> Condition {
    Condition {
        reason: some(reason),
        message: some(message),
        ..condition(type_, status)
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Sets one condition. The transition time is `now` when the status changed, else what it was.
pub fn set(all: &mut Vec<Condition>, new: Condition, now: Timestamp) {
    match all.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) if old.status == new.status && old.reason == new.reason => {}
        Some(old) => {
            let since = if old.status == new.status {
                old.last_transition_time
            } else {
                Some(now)
            };
            *old = Condition {
                last_transition_time: since,
                ..new
            };
        }
        None => all.push(Condition {
            last_transition_time: Some(now),
            ..new
        }),
    }
}

/// Takes one condition away.
pub fn remove(all: &mut Vec<Condition>, type_: &str) {
    all.retain(|condition| condition.type_ != type_);
}

/// The condition of that name.
#[must_use]
pub fn find<'a>(all: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    all.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition says so.
#[must_use]
pub fn says(all: &[Condition], type_: &str, status: &str, reason: &str) -> bool {
    find(all, type_).is_some_and(|condition| condition.status == status && condition.reason.as_deref() == Some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_message_alone_is_not_written() {
        let mut all = Vec::new();
        set(
            &mut all,
            explained("Ready", false, "GuestNotRunning", "one"),
            Timestamp::UNIX_EPOCH,
        );
        let before = all.clone();
        set(
            &mut all,
            explained("Ready", false, "GuestNotRunning", "two"),
            Timestamp::MAX,
        );
        assert_eq!(all, before);
    }

    #[test]
    fn the_transition_time_follows_the_status() {
        let mut all = Vec::new();
        set(
            &mut all,
            explained("Ready", false, "PodNotExists", ""),
            Timestamp::UNIX_EPOCH,
        );
        set(
            &mut all,
            explained("Ready", false, "GuestNotRunning", ""),
            Timestamp::MAX,
        );
        assert_eq!(all[0].last_transition_time, Some(Timestamp::UNIX_EPOCH));
        set(&mut all, condition("Ready", true), Timestamp::MAX);
        assert_eq!(all[0].last_transition_time, Some(Timestamp::MAX));
    }
}
