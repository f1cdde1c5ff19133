//! The condition `ControlPlaneComponentsHealthy`.

use super::{Basis, Outcome, serves};
use crate::control_plane::diagnosis;
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition as types};

/// Whether kube-apiserver, kube-controller-manager and kube-scheduler run.
pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    let observed = match (basis.observed, basis.outcome) {
        (_, Outcome::Deleting(_)) | (None, _) => return basis.kept(types::CONTROL_PLANE_COMPONENTS_HEALTHY),
        (Some(observed), _) => observed,
    };
    let new = |holds: bool, reason: Reason, message: String| {
        ConditionUpdate::new(types::CONTROL_PLANE_COMPONENTS_HEALTHY, holds, reason, message)
    };
    if let Some(cause) = diagnosis::diagnose_components(observed) {
        return new(false, cause.reason, cause.message);
    }
    if basis.counts.ready == 0 {
        return new(
            false,
            Reason::APIServerNotReady,
            "waiting for kube-apiserver to be ready".into(),
        );
    }
    if observed.controllers.as_ref().is_some_and(serves) {
        return new(true, Reason::Healthy, String::new());
    }
    new(
        false,
        Reason::ControllersNotReady,
        "waiting for kube-controller-manager and kube-scheduler to be ready".into(),
    )
}
