//! Why a call failed, in words that are safe to show.

use crate::text::excerpt;
use kube::core::Status;
use std::{error::Error as StdError, io};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {object}: {cause}")]
pub struct CallError {
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
    Refused(Box<Status>),
    /// No answer, or none in time, and what kept it from coming.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    /// An answer, or an object, that cannot be read or written.
    #[error("the object cannot be read: {}", excerpt(.0))]
    Garbled(String),
    /// The name belongs to somebody else's object, which is left alone.
    #[error("the name is taken by an object that does not belong to {owner}; rename or delete that object")]
    NameTaken {
        /// For whom it was to be written.
        owner: String,
    },
}

impl CallError {
    /// The API server's status, when it answered.
    pub fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Refused(status) => Some(status),
            Cause::Silent(_) | Cause::Garbled(_) | Cause::NameTaken { .. } => None,
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

impl From<kube::Error> for Cause {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            kube::Error::SerdeError(error) => Self::Garbled(error.to_string()),
            error => Self::Silent(unreachable(&error)),
        }
    }
}

/// What kept an answer from coming: the same words for the same fault, without ports and numbers
/// that would differ from try to try.
fn unreachable(error: &(dyn StdError + 'static)) -> String {
    let (mut next, mut last) = (Some(error), String::new());
    while let Some(error) = next {
        if error.is::<http_body_util::LengthLimitError>() {
            return "its answer is longer than 4 MiB".into();
        }
        last = error.to_string();
        if last.contains("dns error") {
            return "its name cannot be resolved".into();
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return "the connection was refused".into(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                    return "the connection was closed".into();
                }
                io::ErrorKind::TimedOut => return "timed out".into(),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    return "there is no route to it".into();
                }
                _ => {}
            }
            // An io::Error that wraps another shows the inner one's text but not the inner one.
            next = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
            if next.is_some() {
                continue;
            }
        }
        next = error.source();
    }
    excerpt(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_cause_of_silence_is_told_from_the_innermost_error() {
        let cause = |io| unreachable(&Outer(io));
        assert_eq!(
            cause(io::ErrorKind::ConnectionRefused.into()),
            "the connection was refused"
        );
        assert_eq!(cause(io::ErrorKind::TimedOut.into()), "timed out");
        let tls = io::Error::other("invalid peer certificate: UnknownIssuer");
        assert_eq!(cause(tls), "invalid peer certificate: UnknownIssuer");
        let nested = io::Error::other(Outer(io::ErrorKind::ConnectionReset.into()));
        assert_eq!(cause(nested), "the connection was closed");
        let dns = io::Error::other("dns error: failed to lookup address information");
        assert_eq!(cause(dns), "its name cannot be resolved");
    }

    #[test]
    fn the_words_of_an_api_server_are_cut() {
        let status = Status {
            message: format!("{}\u{1b}[31m", "x".repeat(40_000)),
            ..Status::default()
        };
        let shown = Cause::Refused(Box::new(status)).to_string();
        assert!(
            shown.len() <= 1100 && !shown.contains('\u{1b}'),
            "{} bytes",
            shown.len()
        );
    }
}
