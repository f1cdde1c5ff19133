//! What can keep a pass from finishing, and what a person is told of it.

use super::{keys::KeysError, validate::ValidateError};
use crate::{calls::CallError, tenant::SeedError};
use capn_api::{Reason, nested_control_plane::condition};
use kube::runtime::events::EventType;

/// Why a pass did not finish, by step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Observe(CallError),
    #[error(transparent)]
    Validate(#[from] ValidateError),
    #[error("{0}")]
    DatastoreLost(String),
    #[error("{0}")]
    EndpointLost(String),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Apply(CallError),
    #[error(transparent)]
    Seed(#[from] SeedError),
}

/// Whether a pass is tried again without anything having happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Again {
    /// Soon, and later and later.
    Backoff,
    /// Every 15 s: what keeps it from going on is not watched.
    Steadily,
    /// When the object or what it refers to changes; at the slow pace otherwise.
    OnChange,
}

/// What a person is told of an error.
pub(crate) struct ErrorPolicy {
    pub(crate) reason: Reason,
    pub(crate) event: Option<EventType>,
    pub(crate) again: Again,
    /// The condition that is False for it; Available is so in any case.
    pub(crate) condition: &'static str,
}

impl Error {
    /// Which of several is told in the condition: the one with the lowest.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::DatastoreLost(_) => 0,
            Self::EndpointLost(_) => 1,
            Self::Validate(_) => 2,
            Self::Observe(_) | Self::Apply(_) => 3,
            Self::Keys(_) => 4,
            Self::Seed(_) => 5,
        }
    }

    /// Whether nobody can work with the control plane, whatever its pods say.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::DatastoreLost(_) | Self::EndpointLost(_))
    }

    pub(crate) fn policy(&self) -> ErrorPolicy {
        let available = condition::AVAILABLE;
        let policy = |reason, event, again, condition| ErrorPolicy {
            reason,
            event,
            again,
            condition,
        };
        match self {
            Self::Observe(_) => policy(Reason::ReadFailed, None, Again::Backoff, available),
            Self::Validate(ValidateError::ClaimTaken { .. }) => {
                policy(Reason::NameTaken, Some(EventType::Warning), Again::Steadily, available)
            }
            Self::DatastoreLost(_) => policy(
                Reason::DatastoreLost,
                Some(EventType::Warning),
                Again::Steadily,
                available,
            ),
            Self::EndpointLost(_) => policy(
                Reason::EndpointLost,
                Some(EventType::Warning),
                Again::Steadily,
                available,
            ),
            Self::Validate(_) => policy(Reason::Invalid, Some(EventType::Warning), Again::OnChange, available),
            Self::Apply(error) | Self::Keys(KeysError::Call(error)) if error.is_name_taken() => {
                policy(Reason::NameTaken, Some(EventType::Warning), Again::Steadily, available)
            }
            Self::Keys(KeysError::Foreign { .. }) => policy(
                Reason::NameTaken,
                Some(EventType::Warning),
                Again::Steadily,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(KeysError::Call(_)) => policy(Reason::WriteFailed, None, Again::Backoff, available),
            Self::Keys(KeysError::Wrong { .. }) => policy(
                Reason::SecretInvalid,
                Some(EventType::Warning),
                Again::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(KeysError::Changed { .. } | KeysError::Replaced { .. }) => policy(
                Reason::AuthorityChanged,
                Some(EventType::Warning),
                Again::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(KeysError::Lost { .. }) => policy(
                Reason::SecretMissing,
                Some(EventType::Warning),
                Again::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Keys(KeysError::Issue(_)) => policy(
                Reason::IssueFailed,
                Some(EventType::Warning),
                Again::Backoff,
                condition::CERTIFICATES_VALID,
            ),
            Self::Apply(error) if error.is_forbidden() => {
                policy(Reason::WriteDenied, Some(EventType::Warning), Again::Backoff, available)
            }
            Self::Apply(error) if error.is_invalid() => policy(
                Reason::WriteRefused,
                Some(EventType::Warning),
                Again::Backoff,
                available,
            ),
            Self::Apply(_) => policy(Reason::WriteFailed, None, Again::Backoff, available),
            Self::Seed(_) => policy(Reason::WorkloadClusterNotPrepared, None, Again::Backoff, available),
        }
    }
}
