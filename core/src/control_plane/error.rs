//! What can keep a pass from finishing, and what a user is told of it.

use super::desired::ValidateError;
use crate::certificates::CertificateError;
use crate::{api_error::ApiError, workload_cluster::PrepareError};
use capn_api::{Reason, nested_control_plane::condition};

/// Why a pass did not finish, by step.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum Error {
    #[error(transparent)]
    Observe(ApiError),
    #[error(transparent)]
    Validate(#[from] ValidateError),
    #[error("{0}")]
    DatastoreLost(String),
    #[error("{0}")]
    EndpointLost(String),
    #[error(transparent)]
    Keys(#[from] CertificateError),
    #[error(transparent)]
    Apply(#[from] ApiError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

/// Whether a pass is tried again without anything having happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// Soon, and later and later.
    Backoff,
    /// Every 15 s: what keeps it from going on is not watched.
    Steadily,
    /// When the object or what it refers to changes; at the slow pace otherwise.
    OnChange,
}

/// What a user is told of an error.
pub struct ErrorPolicy {
    /// One word for programs.
    pub reason: Reason,
    /// Whether it is told by an Event, too.
    pub warns: bool,
    /// When it is tried again.
    pub retry: Retry,
    /// The condition that is False for it; Available is so in any case.
    pub condition: &'static str,
}

impl Error {
    /// Which of several is told in the condition: the one with the lowest.
    pub fn rank(&self) -> u8 {
        match self {
            Self::DatastoreLost(_) => 0,
            Self::EndpointLost(_) => 1,
            Self::Validate(_) => 2,
            Self::Observe(_) | Self::Apply(_) => 3,
            Self::Keys(_) => 4,
            Self::Prepare(_) => 5,
        }
    }

    /// Whether nobody can work with the control plane, whatever its pods say.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::DatastoreLost(_) | Self::EndpointLost(_))
    }

    /// What follows from it.
    pub fn policy(&self) -> ErrorPolicy {
        let available = condition::AVAILABLE;
        let policy = |reason, warns, retry, condition| ErrorPolicy {
            reason,
            warns,
            retry,
            condition,
        };
        match self {
            Self::Observe(_) => policy(Reason::ReadFailed, false, Retry::Backoff, available),
            Self::Validate(ValidateError::ClaimTaken { .. }) => {
                policy(Reason::NameTaken, true, Retry::Steadily, available)
            }
            Self::DatastoreLost(_) => policy(Reason::DatastoreLost, true, Retry::Steadily, available),
            Self::EndpointLost(_) => policy(Reason::EndpointLost, true, Retry::Steadily, available),
            Self::Validate(_) => policy(Reason::Invalid, true, Retry::OnChange, available),
            Self::Apply(error) | Self::Keys(CertificateError::Call(error)) if error.is_name_taken() => {
                policy(Reason::NameTaken, true, Retry::Steadily, available)
            }
            Self::Keys(CertificateError::Foreign { .. }) => {
                policy(Reason::NameTaken, true, Retry::Steadily, condition::CERTIFICATES_VALID)
            }
            Self::Keys(CertificateError::Call(_)) => policy(Reason::WriteFailed, false, Retry::Backoff, available),
            Self::Keys(CertificateError::Wrong { .. }) => policy(
                Reason::SecretInvalid,
                true,
                Retry::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(CertificateError::Changed { .. } | CertificateError::Replaced { .. }) => policy(
                Reason::AuthorityChanged,
                true,
                Retry::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(CertificateError::Lost { .. }) => policy(
                Reason::SecretMissing,
                true,
                Retry::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(CertificateError::Issue(_)) => {
                policy(Reason::IssueFailed, true, Retry::Backoff, condition::CERTIFICATES_VALID)
            }
            Self::Apply(error) if error.is_forbidden() => policy(Reason::WriteDenied, true, Retry::Backoff, available),
            Self::Apply(error) if error.is_invalid() => policy(Reason::WriteRefused, true, Retry::Backoff, available),
            Self::Apply(_) => policy(Reason::WriteFailed, false, Retry::Backoff, available),
            Self::Prepare(_) => policy(Reason::WorkloadClusterNotPrepared, false, Retry::Backoff, available),
        }
    }
}
