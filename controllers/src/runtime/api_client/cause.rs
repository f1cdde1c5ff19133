//! Why a call failed, told from the client's error.

use capn_core::{api_error::Cause, text::excerpt};
use std::{error::Error as StdError, io};

/// Why a call failed.
pub(super) fn cause(error: kube::Error) -> Cause {
    match error {
        kube::Error::Api(status) => Cause::Api(status),
        kube::Error::SerdeError(error) => Cause::Decode(error.to_string()),
        error => Cause::Unreachable(unreachable(&error)),
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
}
