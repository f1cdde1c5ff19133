//! The conditions `ScalingUp` and `ScalingDown`.

use super::{Basis, because};
use capn_api::{
    Reason,
    condition::ConditionUpdate,
    nested_control_plane::condition::{SCALING_DOWN, SCALING_UP},
};

pub(super) fn up(basis: &Basis<'_>) -> ConditionUpdate {
    let counts = basis.counts;
    if basis.knows_no_pods() {
        basis.kept(SCALING_UP)
    } else if counts.replicas < counts.wanted {
        let what = format!("Scaling up from {} to {} replicas", counts.replicas, counts.wanted);
        ConditionUpdate::new(SCALING_UP, true, Reason::ScalingUp, because(what, basis.cause()))
    } else {
        ConditionUpdate::new(SCALING_UP, false, Reason::NotScalingUp, "")
    }
}

pub(super) fn down(basis: &Basis<'_>) -> ConditionUpdate {
    let counts = basis.counts;
    if basis.knows_no_pods() {
        basis.kept(SCALING_DOWN)
    } else if counts.replicas > counts.wanted && counts.up_to_date == counts.replicas {
        let what = format!("Scaling down from {} to {} replicas", counts.replicas, counts.wanted);
        ConditionUpdate::new(SCALING_DOWN, true, Reason::ScalingDown, what)
    } else {
        ConditionUpdate::new(SCALING_DOWN, false, Reason::NotScalingDown, "")
    }
}
