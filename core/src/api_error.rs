//! Why a call failed, in words that are safe to show.

use crate::text::excerpt;
use kube::core::Status;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {object}: {cause}")]
pub struct ApiError {
    /// What was tried.
    pub verb: &'static str,
    /// Kind, namespace and name.
    pub object: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The API server's own words.
    #[error("{}", excerpt(&.0.message))]
    Api(Box<Status>),
    /// No answer, or none in time, and what kept it from coming.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
    /// An answer, or an object, that cannot be read or written.
    #[error("the object cannot be read: {}", excerpt(.0))]
    Decode(String),
    /// The name belongs to somebody else's object, which is left alone.
    #[error("the name is taken by an object that does not belong to {owner}; rename or delete that object")]
    NameTaken {
        /// For whom it was to be written.
        owner: String,
    },
}

impl ApiError {
    /// The API server's status, when it answered.
    pub fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Api(status) => Some(status),
            Cause::Unreachable(_) | Cause::Decode(_) | Cause::NameTaken { .. } => None,
        }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Whether the object is there already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// Whether the caller lacks the right.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }

    /// Whether the object itself was refused and will be again.
    pub fn is_invalid(&self) -> bool {
        self.status()
            .is_some_and(|status| status.is_invalid() || status.code == 400)
    }

    /// Whether the name belongs to somebody else's object.
    pub fn is_name_taken(&self) -> bool {
        matches!(self.cause, Cause::NameTaken { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_api_server_are_cut() {
        let status = Status {
            message: format!("{}\u{1b}[31m", "x".repeat(40_000)),
            ..Status::default()
        };
        let shown = Cause::Api(Box::new(status)).to_string();
        assert!(
            shown.len() <= 1100 && !shown.contains('\u{1b}'),
            "{} bytes",
            shown.len()
        );
    }
}
