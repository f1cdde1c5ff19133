//! Whether a stored leaf certificate is still used: ordered checks, of which the first that fails is the reason
//! why another one is issued.

use crate::pki::{Authority, Leaf, LeafSpec, PemPair};
use jiff::{SignedDuration, Timestamp};

/// Why a leaf certificate is issued.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum IssueReason {
    /// There is none that can be read.
    #[error("missing or unreadable")]
    Missing,
    /// The key beside it is another one's.
    #[error("the private key does not match")]
    KeyMismatch,
    /// It was not signed by the authority in use.
    #[error("signed by another authority")]
    WrongSigner,
    /// It is for another user or group.
    #[error("the subject has changed")]
    SubjectChanged,
    /// It is for other names and addresses.
    #[error("the names have changed")]
    NamesChanged,
    /// It ends soon.
    #[error("due for renewal")]
    Due,
}

/// A certificate that was issued in place of another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Secret and certificate in it, as `<Secret>/<prefix>`.
    pub certificate: String,
    /// Why.
    pub reason: IssueReason,
}

/// When the stored certificate is to be replaced.
///
/// # Errors
/// Why it is not used any longer.
pub fn check(
    stored: Option<&PemPair>,
    spec: &LeafSpec,
    authority: &Authority,
    renew_before: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Timestamp, IssueReason> {
    let leaf = stored.and_then(Leaf::read).ok_or(IssueReason::Missing)?;
    says(&leaf, spec, authority)?;
    let renewal = leaf.renewal(renew_before);
    if renewal > now {
        Ok(renewal)
    } else {
        Err(IssueReason::Due)
    }
}

/// Whether a certificate is what it should be, but for its time.
///
/// # Errors
/// Why it is not.
pub fn says(leaf: &Leaf, spec: &LeafSpec, authority: &Authority) -> Result<(), IssueReason> {
    let checks = [
        (leaf.has_its_key, IssueReason::KeyMismatch),
        (leaf.is_signed_by(authority), IssueReason::WrongSigner),
        (leaf.has_subject_of(spec), IssueReason::SubjectChanged),
        (leaf.names == spec.names, IssueReason::NamesChanged),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, reason)) => Err(reason),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn authority() -> Authority {
        Authority::read(&Authority::generate("kubernetes-ca", Timestamp::UNIX_EPOCH).unwrap()).unwrap()
    }

    #[test]
    fn the_first_check_that_fails_is_the_reason() {
        let now = Timestamp::UNIX_EPOCH;
        let (ours, other) = (authority(), authority());
        let spec = LeafSpec {
            names: ["10.95.0.1".parse().unwrap()].into(),
            ..LeafSpec::client("admin", None)
        };
        let stored = spec.issue(&ours, DAY * 9, now).unwrap();
        let check = |stored: &PemPair, spec: &LeafSpec, authority: &Authority, now| {
            super::check(Some(stored), spec, authority, Some(DAY), now)
        };
        assert_eq!(check(&stored, &spec, &ours, now), Ok(now + DAY * 8));
        assert_eq!(super::check(None, &spec, &ours, None, now), Err(IssueReason::Missing));
        let with = |certificate: &str, key: &str| PemPair {
            certificate: certificate.into(),
            key: key.into(),
        };
        let certificate = &stored.certificate;
        let another = spec.issue(&ours, DAY * 9, now).unwrap();
        let group = LeafSpec::client("admin", Some("system:masters"));
        let names = LeafSpec {
            names: ["10.95.0.2".parse().unwrap()].into(),
            ..spec.clone()
        };
        for (found, spec, authority, now, reason) in [
            (with("nonsense", &stored.key), &spec, &ours, now, IssueReason::Missing),
            (
                with(certificate, "nonsense"),
                &spec,
                &ours,
                now,
                IssueReason::KeyMismatch,
            ),
            (with(certificate, ""), &spec, &ours, now, IssueReason::KeyMismatch),
            (
                with(certificate, &another.key),
                &group,
                &other,
                now,
                IssueReason::KeyMismatch,
            ),
            (stored.clone(), &group, &other, now, IssueReason::WrongSigner),
            (stored.clone(), &group, &ours, now, IssueReason::SubjectChanged),
            (
                stored.clone(),
                &LeafSpec::client("system:node", None),
                &ours,
                now,
                IssueReason::SubjectChanged,
            ),
            (stored.clone(), &names, &ours, now + DAY * 8, IssueReason::NamesChanged),
            (stored.clone(), &spec, &ours, now + DAY * 8, IssueReason::Due),
        ] {
            assert_eq!(check(&found, spec, authority, now), Err(reason));
        }
    }
}
