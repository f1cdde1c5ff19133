//! Step 5: status and conditions, on every exit.

use super::validate::ValidateError;
use crate::calls::{CallError, Calls};
use capn_api::{
    KubevirtCluster, Reason,
    condition::{ConditionUpdate, conditions},
    kubevirt_cluster::{Initialization, KubevirtClusterStatus, condition},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How a pass ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    NoCluster,
    Paused(&'static str),
    WaitingForEndpoint,
    Provisioned,
    /// Being deleted; waits for this.
    Deleting(String),
    Failed(ValidateError),
}

/// The status that follows.
pub(crate) fn status(object: &KubevirtCluster, outcome: &Outcome, now: Timestamp) -> KubevirtClusterStatus {
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

/// Mirrors what somebody else provisions into the contract's newer field, and writes nothing else.
pub(crate) async fn mirror(calls: &Calls, object: &KubevirtCluster) -> Result<(), CallError> {
    let old = object.status.clone().unwrap_or_default();
    if !old.ready
        || old
            .initialization
            .is_some_and(|initialization| initialization.provisioned == Some(true))
    {
        return Ok(());
    }
    let mirrored = serde_json::json!({"initialization": {"provisioned": true}});
    calls.put_fields_of_status(object, &mirrored).await
}
