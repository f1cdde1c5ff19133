//! The condition `Paused`.

use super::{Basis, Outcome};
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition::PAUSED};

pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    match basis.outcome {
        Outcome::Paused(why) => ConditionUpdate::new(PAUSED, true, Reason::Paused, *why),
        _ => ConditionUpdate::new(PAUSED, false, Reason::NotPaused, ""),
    }
}
