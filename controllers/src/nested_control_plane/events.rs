//! Events: what people wait for, and what they have to mend.

use crate::runtime::controller::{Context, ReconcileError, reference, requeue_at};
use capn_api::{
    Condition, ConditionStatus, NestedControlPlane, Reason,
    condition::find,
    nested_control_plane::{NestedControlPlaneStatus, condition as types},
};
use capn_core::{
    certificates::{IssueReason, Issued},
    control_plane::{
        diagnosis::Cause,
        error::{Error, Retry},
    },
};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::{controller::Action, events::EventType, reflector::ObjectRef};
use std::collections::BTreeMap;

/// Tells what could not be done, and says when to look again: at this time if there is nothing.
pub(super) async fn complain(
    ctx: &Context,
    ncp: &NestedControlPlane,
    errors: &[Error],
    mut at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Action, ReconcileError> {
    let mut failed = None;
    for error in errors {
        let policy = error.policy();
        if policy.warns {
            ctx.event(&reference(ncp), EventType::Warning, policy.reason, &error.to_string())
                .await;
        }
        let steadily = now + SignedDuration::from_secs(15);
        match policy.retry {
            Retry::Backoff => failed = failed.or(Some(ReconcileError::from(error))),
            Retry::Steadily => at = Some(at.map_or(steadily, |at| at.min(steadily))),
            Retry::OnChange => {}
        }
    }
    match failed {
        Some(failed) => Err(failed),
        None => Ok(requeue_at(at, now, &ObjectRef::from_obj(ncp).to_string())),
    }
}

/// Tells which certificates were issued anew, once for each reason.
pub(super) async fn reissued(ctx: &Context, ncp: &NestedControlPlane, issued: &[Issued]) {
    let mut by_reason = BTreeMap::<IssueReason, Vec<&str>>::new();
    for Issued { certificate, reason } in issued {
        by_reason.entry(*reason).or_default().push(certificate);
    }
    for (reason, certificates) in by_reason {
        let note = format!("Reissued certificates ({reason}): {}", certificates.join(", "));
        tracing::info!("{note}");
        ctx.event(&reference(ncp), EventType::Normal, Reason::CertificateReissued, &note)
            .await;
    }
}

/// Tells what has changed.
pub(super) async fn announce(
    ctx: &Context,
    ncp: &NestedControlPlane,
    status: &NestedControlPlaneStatus,
    cause: Option<Cause>,
) {
    let now = |type_: &str| find(&status.conditions, type_);
    let old = ncp
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let changed = |new: &Condition| {
        find(old, &new.type_).is_none_or(|old| old.reason != new.reason || old.message != new.message)
    };
    let about = reference(ncp);
    if let Some(datastore) = now(types::DATASTORE_HEALTHY)
        && matches!(
            Reason::of(&datastore.reason),
            Some(Reason::MemberLost | Reason::QuorumLost)
        )
    {
        ctx.event(&about, EventType::Warning, &datastore.reason, &datastore.message)
            .await;
    }
    if let Some(components) = now(types::CONTROL_PLANE_COMPONENTS_HEALTHY)
        && changed(components)
        && needs_user_action(components)
    {
        ctx.event(&about, EventType::Warning, &components.reason, &components.message)
            .await;
    }
    // What keeps a change from coming to its end while the API server serves.
    let mut moves = [types::ROLLING_OUT, types::SCALING_UP].into_iter().filter_map(now);
    if let Some(cause) = cause
        && moves.any(|new| new.status == ConditionStatus::True && changed(new))
    {
        ctx.event(&about, EventType::Warning, cause.reason, &cause.message)
            .await;
    }
    let Some(available) = now(types::AVAILABLE).filter(|available| changed(available)) else {
        return;
    };
    let (type_, note) = match available.status {
        ConditionStatus::True if available.reason == Reason::Available => {
            (EventType::Normal, "the API server answers and workers can join")
        }
        // What could not be done is told where it happened.
        ConditionStatus::True => return,
        _ if needs_user_action(available) => (EventType::Warning, available.message.as_str()),
        _ => return,
    };
    ctx.event(&about, type_, &available.reason, note).await;
}

fn needs_user_action(condition: &Condition) -> bool {
    Reason::of(&condition.reason).is_some_and(Reason::needs_user_action)
}
