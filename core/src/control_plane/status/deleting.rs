//! The condition `Deleting`.

use super::{Basis, Outcome};
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition::DELETING};

pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    match basis.outcome {
        Outcome::Deleting(what) => ConditionUpdate::new(DELETING, true, Reason::Deleting, what.clone()),
        _ => ConditionUpdate::new(DELETING, false, Reason::NotDeleting, ""),
    }
}
