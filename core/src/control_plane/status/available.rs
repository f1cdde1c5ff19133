//! The condition `Available`.

use super::{Basis, Outcome};
use crate::control_plane::{
    cluster::cluster_of,
    diagnosis,
    names::Names,
    view::{View, ready},
};
use capn_api::{Reason, condition::ConditionUpdate, nested_control_plane::condition as types};

pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    let new =
        |status: bool, reason: Reason, message: String| ConditionUpdate::new(types::AVAILABLE, status, reason, message);
    let serves = basis.counts.ready > 0;
    if let Some(error) = basis.outcome.errors().first() {
        // What works goes on working: only that something could not be done is said.
        let holds = serves && basis.initialized && !error.is_outage();
        return new(holds, error.policy().reason, error.to_string());
    }
    match basis.outcome {
        Outcome::NoCluster => new(
            false,
            Reason::WaitingForCluster,
            "waiting for the Cluster to own this object: spec.controlPlaneRef of the Cluster must name it".into(),
        ),
        Outcome::Paused(_) => basis.kept(types::AVAILABLE),
        Outcome::Deleting(what) => new(false, Reason::Deleting, what.clone()),
        Outcome::WaitingForAddress => new(
            false,
            Reason::WaitingForAddress,
            "waiting for the addresses of the control plane's Services".into(),
        ),
        Outcome::WaitingForStartSlot => new(
            false,
            Reason::WaitingForStartSlot,
            "waiting for a start slot: other control planes are still starting".into(),
        ),
        Outcome::Applied { published: false, .. } => new(
            false,
            Reason::WaitingForEndpoint,
            format!(
                "waiting for an address of Service {}: the management cluster's load balancer has given none",
                Names::new(&cluster_of(basis.ncp).unwrap_or_default(), "").api_server_service()
            ),
        ),
        Outcome::Applied { .. } if serves && basis.initialized => new(true, Reason::Available, String::new()),
        // An error was told above.
        Outcome::Applied { .. } | Outcome::Failed(_) => match basis.cause() {
            Some(cause) => new(false, cause.reason, cause.message),
            None if basis.initialized => new(
                false,
                Reason::NoPodReady,
                "no API server of this control plane is ready".into(),
            ),
            None => new(false, Reason::Starting, waiting_for(basis.observed)),
        },
    }
}

fn waiting_for(observed: Option<&View>) -> String {
    match observed.and_then(diagnosis::diagnose) {
        Some(cause) => cause.message,
        None if !observed.is_some_and(|observed| observed.datastore.pods.iter().any(ready)) => {
            "waiting for the datastore and the API server to start".into()
        }
        None => "waiting for the API server to start".into(),
    }
}
