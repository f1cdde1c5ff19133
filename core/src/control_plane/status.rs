//! Step 5: status and conditions, from what was applied and observed, on every exit.
//! Pure: the client writes what changed.

use super::certificates::{self, IssueReason};
use super::datastore;
use super::diagnosis::{self, Cause};
use super::error::Error;
use super::names::{API_SERVER, Names, VERSION_ANNOTATION};
use super::versions;
use super::view::{View, holds};
use capn_api::{
    NestedControlPlane, Reason,
    condition::{ConditionUpdate, conditions},
    nested_control_plane::{Initialization, NestedControlPlaneStatus, VersionStatus, condition as types},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use std::collections::BTreeMap;

impl Outcome {
    /// What could not be done, the most important first.
    fn errors(&self) -> &[Error] {
        match self {
            Self::Failed(error) => std::slice::from_ref(error),
            Self::Applied { errors, .. } => errors,
            _ => &[],
        }
    }
}

/// How far a pass came.
#[derive(Debug)]
pub enum Outcome {
    /// The owner Cluster is not there (yet).
    NoCluster,
    /// Left alone, because of this.
    Paused(&'static str),
    /// Being deleted; waits for this.
    Deleting(String),
    /// A Service has no address yet.
    WaitingForAddress,
    /// Others are starting.
    WaitingForStartSlot,
    /// Applied; `seeded` once the tenant holds what workers join by. A new tenant has no Deployment while its
    /// datastore cannot start or its endpoint is not known.
    Applied {
        /// The API server's Deployment, once it is applied.
        api_server: Option<Box<Deployment>>,
        /// Whether the endpoint is known.
        published: bool,
        /// When the next certificate or a wanted rollout is due.
        next_check: Timestamp,
        /// Whether the workload cluster holds what workers join by.
        seeded: bool,
        /// Certificates that were issued anew.
        issued: Vec<Issued>,
        /// What could not be done, the most important first.
        errors: Vec<Error>,
    },
    /// A step failed.
    Failed(Error),
}

/// A certificate that was issued in place of another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Secret and certificate in it, as `<Secret>/<prefix>`.
    pub certificate: String,
    /// Why.
    pub reason: IssueReason,
}

/// The status that follows from a pass.
pub fn status(
    ncp: &NestedControlPlane,
    names: Option<&Names>,
    observed: Option<&View>,
    outcome: &Outcome,
    now: Timestamp,
) -> NestedControlPlaneStatus {
    let old = ncp.status.clone().unwrap_or_default();
    let counts = counts(ncp, observed, outcome, &old);
    let seeded = matches!(outcome, Outcome::Applied { seeded: true, .. });
    let initialized = seeded || super::desired::initialized(ncp);
    let versions = match observed {
        Some(observed) => serving(&observed.api_server_pods, &old, seeded),
        None => old.versions.clone(),
    };
    let conditions = conditions(
        &old.conditions,
        updates(ncp, names, observed, outcome, &counts, &old, initialized, now),
        ncp.metadata.generation,
        Time(now),
    );
    NestedControlPlaneStatus {
        external_managed_control_plane: true,
        initialization: Some(Initialization {
            control_plane_initialized: initialized,
        }),
        version: versions.first().map(|oldest| oldest.version.clone()),
        versions,
        replicas: counts.replicas,
        ready_replicas: counts.ready,
        available_replicas: counts.available,
        up_to_date_replicas: counts.up_to_date,
        datastore: match (names, observed) {
            (Some(names), Some(observed)) => datastore::remember(ncp, names, observed),
            _ => old.datastore.clone(),
        },
        selector: names.map(|names| names.selector(API_SERVER)).or(old.selector),
        observed_generation: ncp.metadata.generation,
        conditions,
    }
}

fn counts(
    ncp: &NestedControlPlane,
    observed: Option<&View>,
    outcome: &Outcome,
    old: &NestedControlPlaneStatus,
) -> Counts {
    let deployment = match (outcome, observed) {
        (Outcome::Applied { api_server, .. }, _) => api_server.as_deref(),
        (_, Some(observed)) => observed.api_server.as_ref(),
        (_, None) => return Counts::as_before(ncp, old),
    };
    match (deployment, outcome) {
        (Some(deployment), _) => Counts::of(deployment),
        // Its pods wait for the datastore or the endpoint.
        (None, Outcome::Applied { .. }) => Counts {
            wanted: ncp.spec.replicas,
            ..Counts::default()
        },
        (None, _) => Counts::default(),
    }
}

/// Pods by state.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    wanted: i32,
    replicas: i32,
    ready: i32,
    available: i32,
    up_to_date: i32,
    /// The Deployment's controller has seen the newest template.
    current: bool,
}

impl Counts {
    /// What was not looked at is as it was.
    fn as_before(ncp: &NestedControlPlane, old: &NestedControlPlaneStatus) -> Self {
        Self {
            wanted: ncp.spec.replicas,
            replicas: old.replicas,
            ready: old.ready_replicas,
            available: old.available_replicas,
            up_to_date: old.up_to_date_replicas,
            current: true,
        }
    }

    fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        Self {
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            up_to_date: status.updated_replicas.unwrap_or_default(),
            current: status.observed_generation >= deployment.metadata.generation,
        }
    }
}

/// Versions that ready pods serve, oldest first. As they were while none serves, and while none of
/// the oldest does and the tenant's own objects are not known to be of a newer one.
fn serving(pods: &[Pod], old: &NestedControlPlaneStatus, seeded: bool) -> Vec<VersionStatus> {
    let mut found: BTreeMap<semver::Version, i32> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| ready(pod)) {
        if let Some(version) = pod
            .annotations()
            .get(VERSION_ANNOTATION)
            .and_then(|text| versions::parse(text))
        {
            *found.entry(version).or_default() += 1;
        }
    }
    let oldest = old.version.as_deref().and_then(versions::parse);
    let lost = oldest.is_some_and(|oldest| !found.contains_key(&oldest));
    if found.is_empty() || (lost && !seeded) {
        return old.versions.clone();
    }
    found
        .into_iter()
        .map(|(version, replicas)| VersionStatus {
            version: versions::display(&version),
            replicas,
        })
        .collect()
}

/// Whether a pod of this Deployment is ready.
pub fn serves(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    status.and_then(|status| status.ready_replicas).unwrap_or_default() > 0
}

/// Whether a pod serves.
pub fn ready(pod: &Pod) -> bool {
    holds(pod, "Ready") && pod.metadata.deletion_timestamp.is_none()
}

#[allow(clippy::too_many_arguments)]
fn updates(
    ncp: &NestedControlPlane,
    names: Option<&Names>,
    observed: Option<&View>,
    outcome: &Outcome,
    counts: &Counts,
    old: &NestedControlPlaneStatus,
    initialized: bool,
    now: Timestamp,
) -> Vec<ConditionUpdate> {
    let mut updates = vec![
        available(ncp, observed, outcome, counts, old, initialized),
        certificates(outcome, observed, old, now),
        match (names, observed, outcome) {
            (_, _, Outcome::Deleting(_)) | (None, _, _) | (_, None, _) => {
                ConditionUpdate::kept(&old.conditions, types::DATASTORE_HEALTHY)
            }
            (Some(names), Some(observed), _) => datastore::health(ncp, names, observed),
        },
        match (observed, outcome) {
            (_, Outcome::Deleting(_)) | (None, _) => {
                ConditionUpdate::kept(&old.conditions, types::CONTROL_PLANE_COMPONENTS_HEALTHY)
            }
            (Some(observed), _) => components(observed, counts),
        },
        match outcome {
            Outcome::Paused(why) => ConditionUpdate::new(types::PAUSED, true, Reason::Paused, *why),
            _ => ConditionUpdate::new(types::PAUSED, false, Reason::NotPaused, ""),
        },
        match outcome {
            Outcome::Deleting(what) => ConditionUpdate::new(types::DELETING, true, Reason::Deleting, what.clone()),
            _ => ConditionUpdate::new(types::DELETING, false, Reason::NotDeleting, ""),
        },
    ];
    let cause = observed
        .and_then(diagnosis::diagnose)
        .filter(|cause| cause.needs_user_action);
    let moves = if observed.is_none() && !old.conditions.is_empty() {
        [types::ROLLING_OUT, types::SCALING_UP, types::SCALING_DOWN]
            .map(|type_| ConditionUpdate::kept(&old.conditions, type_))
    } else {
        [
            rolling_out(counts, cause.as_ref()),
            scaling(
                types::SCALING_UP,
                counts.replicas < counts.wanted,
                counts,
                cause.as_ref(),
            ),
            scaling(
                types::SCALING_DOWN,
                counts.replicas > counts.wanted && counts.up_to_date == counts.replicas,
                counts,
                None,
            ),
        ]
    };
    updates.extend(moves);
    updates
}

fn available(
    ncp: &NestedControlPlane,
    observed: Option<&View>,
    outcome: &Outcome,
    counts: &Counts,
    old: &NestedControlPlaneStatus,
    initialized: bool,
) -> ConditionUpdate {
    let new =
        |status: bool, reason: Reason, message: String| ConditionUpdate::new(types::AVAILABLE, status, reason, message);
    let serves = counts.ready > 0;
    if let Some(error) = outcome.errors().first() {
        // What works goes on working: only that something could not be done is said.
        let holds = serves && initialized && !error.is_outage();
        return new(holds, error.policy().reason, error.to_string());
    }
    match outcome {
        Outcome::NoCluster => new(
            false,
            Reason::WaitingForCluster,
            "waiting for the Cluster to own this object: spec.controlPlaneRef of the Cluster must name it".into(),
        ),
        Outcome::Paused(_) => ConditionUpdate::kept(&old.conditions, types::AVAILABLE),
        Outcome::Deleting(what) => new(false, Reason::Deleting, what.clone()),
        Outcome::WaitingForAddress => new(
            false,
            Reason::WaitingForAddress,
            "waiting for the addresses of the control plane's Services".into(),
        ),
        Outcome::WaitingForStartSlot => new(
            false,
            Reason::WaitingForStartSlot,
            "Waiting for a start slot: other control planes are still starting".into(),
        ),
        Outcome::Applied { published: false, .. } => new(
            false,
            Reason::WaitingForEndpoint,
            format!(
                "waiting for an address of Service {}: the management cluster's load balancer has given none",
                Names::new(&super::cluster::cluster_of(ncp).unwrap_or_default(), "").api_server_service()
            ),
        ),
        Outcome::Applied { .. } if serves && initialized => new(true, Reason::Available, String::new()),
        // An error was told above.
        Outcome::Applied { .. } | Outcome::Failed(_) => {
            match observed
                .and_then(diagnosis::diagnose)
                .filter(|cause| cause.needs_user_action)
            {
                Some(cause) => new(false, cause.reason, cause.message),
                None if initialized => new(
                    false,
                    Reason::NoPodReady,
                    "no API server of this control plane is ready".into(),
                ),
                None => new(false, Reason::Starting, waiting_for(observed)),
            }
        }
    }
}

/// Whether kube-apiserver, kube-controller-manager and kube-scheduler run.
fn components(observed: &View, counts: &Counts) -> ConditionUpdate {
    let new = |holds: bool, reason: Reason, message: String| {
        ConditionUpdate::new(types::CONTROL_PLANE_COMPONENTS_HEALTHY, holds, reason, message)
    };
    if let Some(cause) = diagnosis::diagnose_components(observed) {
        return new(false, cause.reason, cause.message);
    }
    if counts.ready == 0 {
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

fn waiting_for(observed: Option<&View>) -> String {
    match observed.and_then(diagnosis::diagnose) {
        Some(cause) => cause.message,
        None if !observed.is_some_and(|observed| observed.etcd_pods.iter().any(ready)) => {
            "waiting for etcd and the API server to start".into()
        }
        None => "waiting for the API server to start".into(),
    }
}

/// What is wrong with the certificates; else whether those that are stored are still valid, whatever
/// else a pass could not do.
fn certificates(
    outcome: &Outcome,
    observed: Option<&View>,
    old: &NestedControlPlaneStatus,
    now: Timestamp,
) -> ConditionUpdate {
    let new = |holds: bool, reason: Reason, message: String| {
        ConditionUpdate::new(types::CERTIFICATES_VALID, holds, reason, message)
    };
    let mut errors = outcome.errors().iter();
    if let Some(error) = errors.find(|error| error.policy().condition == types::CERTIFICATES_VALID) {
        return new(false, error.policy().reason, error.to_string());
    }
    let written = !outcome.errors().iter().any(|error| matches!(error, Error::Keys(_)));
    if written && matches!(outcome, Outcome::Applied { .. }) {
        return new(true, Reason::Valid, String::new());
    }
    match observed.and_then(|observed| certificates::expired(&observed.secrets, now)) {
        Some(expired) => new(false, Reason::Expired, expired),
        None => ConditionUpdate::kept(&old.conditions, types::CERTIFICATES_VALID),
    }
}

fn rolling_out(counts: &Counts, cause: Option<&Cause>) -> ConditionUpdate {
    let rolling = counts.replicas > 0 && (!counts.current || counts.up_to_date < counts.replicas);
    if rolling {
        let message = because("Replacing pods that run an outdated spec".into(), cause);
        ConditionUpdate::new(types::ROLLING_OUT, true, Reason::RollingOut, message)
    } else {
        ConditionUpdate::new(types::ROLLING_OUT, false, Reason::NotRollingOut, "")
    }
}

fn scaling(type_: &'static str, scaling: bool, counts: &Counts, cause: Option<&Cause>) -> ConditionUpdate {
    let (yes, no) = match type_ {
        types::SCALING_UP => (Reason::ScalingUp, Reason::NotScalingUp),
        _ => (Reason::ScalingDown, Reason::NotScalingDown),
    };
    if scaling {
        let message = because(
            match type_ {
                types::SCALING_UP => format!("Scaling up from {} to {} replicas", counts.replicas, counts.wanted),
                _ => format!("Scaling down from {} to {} replicas", counts.replicas, counts.wanted),
            },
            cause,
        );
        ConditionUpdate::new(type_, true, yes, message)
    } else {
        ConditionUpdate::new(type_, false, no, "")
    }
}

/// What happens, and what keeps it from coming to its end.
fn because(what: String, cause: Option<&Cause>) -> String {
    match cause {
        Some(cause) => format!("{what}; {}", cause.message),
        None => what,
    }
}

#[cfg(test)]
mod tests;
