//! The condition `CertificatesValid`.

use super::{Basis, Outcome};
use crate::certificates;
use crate::control_plane::{error::Error, view::View};
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition as types};

/// What is wrong with the certificates; else whether those that are stored are still valid, whatever
/// else a pass could not do.
pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    let new = |holds: bool, reason: Reason, message: String| {
        ConditionUpdate::new(types::CERTIFICATES_VALID, holds, reason, message)
    };
    let mut errors = basis.outcome.errors().iter();
    if let Some(error) = errors.find(|error| error.policy().condition == types::CERTIFICATES_VALID) {
        return new(false, error.policy().reason, error.to_string());
    }
    let written = !basis
        .outcome
        .errors()
        .iter()
        .any(|error| matches!(error, Error::Keys(_)));
    if written && matches!(basis.outcome, Outcome::Applied { .. }) {
        return new(true, Reason::Valid, String::new());
    }
    let expired = |observed: &View| certificates::expired(&observed.secrets, basis.now);
    match basis.observed.and_then(expired) {
        Some(expired) => new(false, Reason::Expired, expired),
        None => basis.kept(types::CERTIFICATES_VALID),
    }
}
