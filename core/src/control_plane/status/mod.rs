//! Status and conditions, from what was applied and observed, on every exit: one file per condition. The client
//! writes what changed.

mod available;
mod certificates_valid;
mod components_healthy;
mod counts;
mod datastore_healthy;
mod deleting;
mod paused;
mod rolling_out;
mod scaling;

use super::{
    desired,
    diagnosis::{self, Cause},
    error::Error,
    names::{API_SERVER, Names},
    view::View,
};
use crate::datastore;
use capn_api::{
    NestedControlPlane,
    condition::{ConditionUpdate, conditions},
    nested_control_plane::{Initialization, NestedControlPlaneStatus},
};
use counts::{Counts, counts, serving};
use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};

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
    /// Applied. A new control plane has no Deployment while its datastore cannot start or its endpoint is not known.
    Applied {
        /// The API server's Deployment, once it is applied.
        api_server: Option<Box<Deployment>>,
        /// Whether the endpoint is known.
        published: bool,
        /// When to look again at the latest: when the next certificate or a wanted rollout is due, or what waits may
        /// have come further.
        next_check: Timestamp,
        /// Whether the workload cluster holds what workers join by.
        prepared: bool,
        /// What could not be done, the most important first.
        errors: Vec<Error>,
    },
    /// A step failed.
    Failed(Error),
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
    let prepared = matches!(outcome, Outcome::Applied { prepared: true, .. });
    let initialized = prepared || desired::initialized(ncp);
    let versions = match observed {
        Some(observed) => serving(&observed.api_server_pods, &old, prepared),
        None => old.versions.clone(),
    };
    let basis = Basis {
        ncp,
        names,
        observed,
        outcome,
        counts,
        old: &old,
        initialized,
        now,
    };
    let updates = CONDITIONS.iter().map(|condition| condition(&basis)).collect();
    let conditions = conditions(&old.conditions, updates, ncp.metadata.generation, Time(now));
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

/// Whether a pod of this Deployment is ready.
pub fn serves(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    status.and_then(|status| status.ready_replicas).unwrap_or_default() > 0
}

/// Every condition, in the order in which new ones are listed.
const CONDITIONS: [fn(&Basis<'_>) -> ConditionUpdate; 9] = [
    available::condition,
    certificates_valid::condition,
    datastore_healthy::condition,
    components_healthy::condition,
    paused::condition,
    deleting::condition,
    rolling_out::condition,
    scaling::up,
    scaling::down,
];

/// What conditions are told from.
struct Basis<'a> {
    ncp: &'a NestedControlPlane,
    names: Option<&'a Names>,
    /// `None` while nothing was read.
    observed: Option<&'a View>,
    outcome: &'a Outcome,
    counts: Counts,
    /// The status as it was.
    old: &'a NestedControlPlaneStatus,
    initialized: bool,
    now: Timestamp,
}

impl Basis<'_> {
    /// The condition as it was.
    fn kept(&self, type_: &'static str) -> ConditionUpdate {
        ConditionUpdate::kept(&self.old.conditions, type_)
    }

    /// What keeps the control plane from coming further until a user acts.
    fn cause(&self) -> Option<Cause> {
        let cause = self.observed.and_then(diagnosis::diagnose);
        cause.filter(|cause| cause.needs_user_action)
    }

    /// Whether a condition that pods tell has to stay as it was.
    fn knows_no_pods(&self) -> bool {
        self.observed.is_none() && !self.old.conditions.is_empty()
    }
}

/// What happens, and what keeps it from coming to its end.
fn because(what: String, cause: Option<Cause>) -> String {
    match cause {
        Some(cause) => format!("{what}; {}", cause.message),
        None => what,
    }
}

#[cfg(test)]
mod tests;
