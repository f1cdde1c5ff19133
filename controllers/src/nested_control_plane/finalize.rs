//! Deletion: everything of a tenant goes, in an order that lets what is left be seen; volumes by
//! the field for it; Secrets that a person brought stay.

use super::names::Names;
use super::observe::Observed;
use crate::calls::{CallError, Calls, Object};
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, CONTROL_PLANE_LABEL, Cluster, Machine},
    nested_control_plane::{NestedControlPlaneSpec, RetentionPolicy},
};
use kube::ResourceExt;

/// Deletes; returns what is waited for, or None when nothing is left.
pub(crate) async fn finalize(
    calls: &Calls,
    ncp: &NestedControlPlane,
    cluster: Option<&Cluster>,
    names: &Names,
    observed: &Observed,
) -> Result<Option<String>, CallError> {
    if cluster.is_some()
        && let Some(waiting) = workers(calls, ncp, names).await?
    {
        return Ok(Some(waiting));
    }
    // The API servers first: they must not see their store go.
    delete(calls, ncp, &observed.control_plane).await?;
    delete(calls, ncp, &observed.control_plane_budget).await?;
    if let Some(waiting) = left("control plane", &observed.pods) {
        return Ok(Some(waiting));
    }
    if observed.control_plane.is_some() {
        return Ok(Some("waiting for the control plane's Deployment to go".into()));
    }
    delete(calls, ncp, &observed.etcd).await?;
    delete(calls, ncp, &observed.etcd_budget).await?;
    if let Some(waiting) = left("etcd", &observed.etcd_pods) {
        return Ok(Some(waiting));
    }
    if observed.etcd.is_some() {
        return Ok(Some("waiting for etcd's StatefulSet to go".into()));
    }
    if deletes_claims(&ncp.spec) {
        for claim in &observed.claims {
            calls.delete(claim).await?;
        }
        if let Some(claim) = observed.claims.first() {
            return Ok(Some(format!("waiting for claim {} to go", claim.name_any())));
        }
    }
    let services = &observed.services;
    for service in [&services.api_server, &services.etcd, &services.etcd_peers] {
        delete(calls, ncp, service).await?;
    }
    let secrets = &observed.secrets;
    for secret in [
        &secrets.api_server,
        &secrets.etcd_member,
        &secrets.controller_manager,
        &secrets.scheduler,
        &secrets.kubeconfig,
        &secrets.ca,
        &secrets.etcd_ca,
        &secrets.proxy_ca,
        &secrets.service_account,
    ] {
        delete(calls, ncp, secret).await?;
    }
    let service_left = [&services.api_server, &services.etcd, &services.etcd_peers]
        .into_iter()
        .flatten()
        .find(|service| owned(ncp, *service));
    if let Some(service) = service_left {
        return Ok(Some(format!("waiting for Service {} to go", service.name_any())));
    }
    Ok(None)
}

/// Workers need the API server to leave: their pods are drained through it.
async fn workers(calls: &Calls, ncp: &NestedControlPlane, names: &Names) -> Result<Option<String>, CallError> {
    let selector = format!("{CLUSTER_NAME_LABEL}={},!{CONTROL_PLANE_LABEL}", names.cluster());
    let machines: Vec<Machine> = calls.list(ncp.namespace().as_deref(), &selector).await?;
    Ok(machines.first().map(|machine| {
        format!(
            "waiting for {} worker machine(s) to go, Machine {} first",
            machines.len(),
            machine.name_any()
        )
    }))
}

/// Whether the volumes go with the control plane.
pub(crate) fn deletes_claims(spec: &NestedControlPlaneSpec) -> bool {
    let etcd = spec.datastore.as_ref().and_then(|datastore| datastore.etcd.as_ref());
    let retention = etcd.and_then(|etcd| etcd.persistent_volume_claim_retention_policy.as_ref());
    retention.is_none_or(|retention| retention.when_deleted == RetentionPolicy::Delete)
}

fn left(what: &str, pods: &[k8s_openapi::api::core::v1::Pod]) -> Option<String> {
    (!pods.is_empty()).then(|| format!("waiting for pods of {what} to end"))
}

async fn delete<K: Object>(calls: &Calls, ncp: &NestedControlPlane, live: &Option<K>) -> Result<(), CallError> {
    match live {
        Some(live) if owned(ncp, live) => calls.delete(live).await,
        _ => Ok(()),
    }
}

fn owned<K: Object>(ncp: &NestedControlPlane, live: &K) -> bool {
    live.owner_references()
        .iter()
        .any(|owner| Some(&owner.uid) == ncp.metadata.uid.as_ref())
}
