//! Step 5: status and conditions, on every exit.

use super::validate::ValidateError;
use crate::calls::{CallError, Calls};
use capn_api::{
    KubevirtCluster,
    condition::{Verdict, conditions},
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
    let verdicts = vec![
        ready(outcome, &old),
        match outcome {
            Outcome::Paused(why) => Verdict::new(condition::PAUSED, true, "Paused", *why),
            _ => Verdict::new(condition::PAUSED, false, "NotPaused", ""),
        },
    ];
    KubevirtClusterStatus {
        ready: provisioned,
        initialization,
        conditions: conditions(&old.conditions, verdicts, object.metadata.generation, Time(now)),
        ..old
    }
}

fn ready(outcome: &Outcome, old: &KubevirtClusterStatus) -> Verdict {
    let no = |reason, message: String| Verdict::new(condition::READY, false, reason, message);
    match outcome {
        Outcome::Provisioned => Verdict::new(condition::READY, true, "Provisioned", ""),
        Outcome::WaitingForEndpoint => no(
            "WaitingForControlPlaneEndpoint",
            "waiting for the control plane to publish spec.controlPlaneEndpoint of the Cluster".into(),
        ),
        Outcome::NoCluster => no(
            "WaitingForCluster",
            "waiting for the Cluster to own this object: spec.infrastructureRef of the Cluster must name it".into(),
        ),
        Outcome::Deleting(waiting) => no("Deleting", waiting.clone()),
        // Somebody else made it and it works.
        Outcome::Failed(_) if old.ready => Verdict::kept(&old.conditions, condition::READY),
        Outcome::Failed(error) => no(error.reason(), error.to_string()),
        Outcome::Paused(_) => Verdict::kept(&old.conditions, condition::READY),
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
