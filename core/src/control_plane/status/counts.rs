//! How many pods there are, and which versions they serve.

use super::Outcome;
use crate::control_plane::{
    names::VERSION_ANNOTATION,
    view::{View, ready},
};
use crate::kubernetes::releases;
use capn_api::{
    NestedControlPlane,
    nested_control_plane::{NestedControlPlaneStatus, VersionStatus},
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt;
use std::collections::BTreeMap;

pub(super) fn counts(
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
        (Some(deployment), _) => Counts::of(deployment, observed.and_then(|found| found.api_server.as_ref()), old),
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
pub(super) struct Counts {
    pub(super) wanted: i32,
    pub(super) replicas: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) up_to_date: i32,
    /// The Deployment's controller has seen the newest template.
    pub(super) current: bool,
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

    /// `found` is the Deployment before this pass.
    fn of(deployment: &Deployment, found: Option<&Deployment>, old: &NestedControlPlaneStatus) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation >= deployment.metadata.generation;
        let template = |of: &Deployment| of.spec.as_ref().map(|spec| spec.template.clone());
        let replaced = found.is_some_and(|found| template(found) != template(deployment));
        let up_to_date = match (current, replaced) {
            (true, _) => status.updated_replicas.unwrap_or_default(),
            // What its controller says is still about the template before.
            (false, true) => 0,
            // It may have been scaled. Where the status of the pass that changed the template was lost, pods of the
            // one before count until its controller has looked at it.
            (false, false) => old.up_to_date_replicas.min(status.replicas.unwrap_or_default()),
        };
        Self {
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            up_to_date,
            current,
        }
    }
}

/// Versions that ready pods serve, oldest first. As they were while none serves, and while none of
/// the oldest does and the workload cluster's own objects are not known to be of a newer one.
pub(super) fn serving(pods: &[Pod], old: &NestedControlPlaneStatus, prepared: bool) -> Vec<VersionStatus> {
    let mut found: BTreeMap<semver::Version, i32> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| ready(pod)) {
        if let Some(version) = pod
            .annotations()
            .get(VERSION_ANNOTATION)
            .and_then(|text| releases::parse(text))
        {
            *found.entry(version).or_default() += 1;
        }
    }
    let oldest = old.version.as_deref().and_then(releases::parse);
    let lost = oldest.is_some_and(|oldest| !found.contains_key(&oldest));
    if found.is_empty() || (lost && !prepared) {
        return old.versions.clone();
    }
    found
        .into_iter()
        .map(|(version, replicas)| VersionStatus {
            version: releases::display(&version),
            replicas,
        })
        .collect()
}
