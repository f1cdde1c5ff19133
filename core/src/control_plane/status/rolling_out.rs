//! The condition `RollingOut`.

use super::{Basis, because};
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition::ROLLING_OUT};

pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    if basis.knows_no_pods() {
        return basis.kept(ROLLING_OUT);
    }
    let counts = basis.counts;
    if counts.replicas > 0 && (!counts.current || counts.up_to_date < counts.replicas) {
        let message = because("Replacing pods that run an outdated spec".into(), basis.cause());
        ConditionUpdate::new(ROLLING_OUT, true, Reason::RollingOut, message)
    } else {
        ConditionUpdate::new(ROLLING_OUT, false, Reason::NotRollingOut, "")
    }
}
