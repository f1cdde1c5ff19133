//! Whether members serve, and what keeps them from it.

use super::data;
use super::desired::Desired;
use super::observed::StorageProblem;
use crate::control_plane::{
    diagnosis::{Cause, diagnose_pod, failed_create},
    names::Names,
    view::{View, prepared, ready},
};
use capn_api::{NestedControlPlane, Reason, condition::ConditionUpdate, nested_control_plane::condition};
use kube::ResourceExt;

/// Whether so many members have got their volumes and sandboxes that they will serve.
pub fn is_starting(desired: &Desired, observed: &View) -> bool {
    let quorum = usize::try_from(desired.replicas / 2 + 1).unwrap_or_default();
    observed.datastore.pods.iter().filter(|pod| prepared(pod)).count() >= quorum
}

/// What the condition `DatastoreHealthy` says of what was observed.
pub fn health(ncp: &NestedControlPlane, names: &Names, observed: &View) -> ConditionUpdate {
    let replicas = data::replicas(&ncp.spec);
    let new = |holds: bool, reason: Reason, message: String| {
        ConditionUpdate::new(condition::DATASTORE_HEALTHY, holds, reason, message)
    };
    let (datastore, _) = data::assess(ncp, names, observed);
    if let Some((reason, message)) = datastore.fault(&ncp.namespace().unwrap_or_default()) {
        return new(false, reason, message);
    }
    let serves = |member: &String| {
        observed
            .datastore
            .pods
            .iter()
            .any(|pod| pod.name_any() == *member && ready(pod))
    };
    let missing: Vec<_> = (0..replicas)
        .map(|ordinal| names.member(ordinal))
        .filter(|member| !serves(member))
        .collect();
    if missing.is_empty() {
        return new(true, Reason::Healthy, String::new());
    }
    let mut message = format!("waiting for {} to be ready", missing.join(", "));
    if let Some(cause) = diagnose(observed) {
        message = format!("{message}: {}", cause.message);
    }
    new(false, Reason::MemberNotReady, message)
}

/// The first cause that keeps members from serving, the nearest to the root first.
pub fn diagnose(observed: &View) -> Option<Cause> {
    let pods = observed
        .datastore
        .pods
        .iter()
        .filter_map(|one| diagnose_pod(one, observed));
    let causes = storage(observed)
        .into_iter()
        .chain(refused_members(observed))
        .chain(pods);
    // A claim may wait for its pod: then what keeps the pod away is the cause.
    let (user, other): (Vec<_>, Vec<_>) = causes.partition(|cause| cause.needs_user_action);
    user.into_iter().chain(other).next()
}

/// Pods that the management cluster does not take: over a quota, a limit range, a webhook.
fn refused_members(observed: &View) -> Option<Cause> {
    let set = observed.datastore.stateful_set.as_ref()?;
    let why = observed.complaint(set)?;
    Some(failed_create(&format!("StatefulSet {}", set.name_any()), why))
}

fn storage(observed: &View) -> Option<Cause> {
    let claim = observed.datastore.unbound()?;
    let name = format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any());
    let cause = |reason, message, needs_user_action| {
        Some(Cause {
            reason,
            message,
            needs_user_action,
        })
    };
    match &observed.datastore.storage {
        StorageProblem::NoDefaultClass => cause(
            Reason::NoStorageClass,
            format!(
                "claim {name} waits for a volume: the management cluster has no default StorageClass; mark one as default, or set spec.datastore.etcd.storage.storageClassName in a new control plane"
            ),
            true,
        ),
        StorageProblem::NoSuchClass(class) => cause(
            Reason::NoStorageClass,
            format!(
                "claim {name} waits for a volume: there is no StorageClass {class:?}; create it, or a PersistentVolume of that class"
            ),
            true,
        ),
        StorageProblem::None => cause(
            Reason::WaitingForVolume,
            format!("claim {name} waits for its volume"),
            false,
        ),
    }
}
