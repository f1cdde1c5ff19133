//! Times as Kubernetes stores them: whole seconds.

use jiff::Timestamp;

/// Cuts a time to the second.
#[must_use]
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Now, to the second: what conditions carry.
#[must_use]
pub fn now() -> Timestamp {
    seconds(Timestamp::now())
}
