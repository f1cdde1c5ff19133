//! Status and conditions, on every exit.

use super::desired::ValidateError;
use capn_api::{
    KubevirtCluster, Reason,
    condition::{ConditionUpdate, conditions},
    kubevirt_cluster::{Initialization, KubevirtClusterStatus, condition},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How a pass ended.
#[derive(Debug)]
pub enum Outcome {
    /// No Cluster names the object.
    NoCluster,
    /// Left alone, because of this.
    Paused(&'static str),
    /// The control plane has not published its endpoint.
    WaitingForEndpoint,
    /// There is nothing left to do.
    Provisioned,
    /// Being deleted; waits for this.
    Deleting(String),
    /// It cannot be served.
    Failed(ValidateError),
}

/// The status that follows.
pub fn status(object: &KubevirtCluster, outcome: &Outcome, now: Timestamp) -> KubevirtClusterStatus {
    let old = object.status.clone().unwrap_or_default();
    let provisioned = old.ready
        || old.initialization.as_ref().and_then(|i| i.provisioned) == Some(true)
        || matches!(outcome, Outcome::Provisioned);
    let initialization = provisioned.then_some(Initialization {
        provisioned: Some(true),
    });
    let updates = vec![
        ready(outcome, &old),
        match outcome {
            Outcome::Paused(why) => ConditionUpdate::new(condition::PAUSED, true, Reason::Paused, *why),
            _ => ConditionUpdate::new(condition::PAUSED, false, Reason::NotPaused, ""),
        },
    ];
    KubevirtClusterStatus {
        ready: provisioned,
        initialization,
        conditions: conditions(&old.conditions, updates, object.metadata.generation, Time(now)),
        ..old
    }
}

fn ready(outcome: &Outcome, old: &KubevirtClusterStatus) -> ConditionUpdate {
    let no = |reason, message: String| ConditionUpdate::new(condition::READY, false, reason, message);
    match outcome {
        Outcome::Provisioned => ConditionUpdate::new(condition::READY, true, Reason::Provisioned, ""),
        Outcome::WaitingForEndpoint => no(
            Reason::WaitingForControlPlaneEndpoint,
            "waiting for the control plane to publish spec.controlPlaneEndpoint of the Cluster".into(),
        ),
        Outcome::NoCluster => no(
            Reason::WaitingForCluster,
            "waiting for the Cluster to own this object: spec.infrastructureRef of the Cluster must name it".into(),
        ),
        Outcome::Deleting(waiting) => no(Reason::Deleting, waiting.clone()),
        // Somebody else made it and it works.
        Outcome::Failed(_) if old.ready => ConditionUpdate::kept(&old.conditions, condition::READY),
        Outcome::Failed(error) => no(error.reason(), error.to_string()),
        Outcome::Paused(_) => ConditionUpdate::kept(&old.conditions, condition::READY),
    }
}
