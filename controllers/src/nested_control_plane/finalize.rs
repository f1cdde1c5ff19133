//! Deletion: everything of a tenant goes, in an order that lets what is left be seen; volumes by
//! the field for it; Secrets that a person brought stay.

use crate::runtime::api_client::{ApiClient, ApiError, Dependents, Object};
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, CONTROL_PLANE_LABEL, Cluster, Machine},
};
use capn_core::control_plane::{
    deletion::{deletes_claims, orphaned},
    names::Names,
    view::View,
};
use kube::ResourceExt;

/// Deletes; returns what is waited for, or None when nothing is left.
pub(crate) async fn finalize(
    dependents: Dependents<'_>,
    ncp: &NestedControlPlane,
    cluster: Option<&Cluster>,
    names: &Names,
    observed: &View,
) -> Result<Option<String>, ApiError> {
    if orphaned(ncp, observed) {
        return Ok(None);
    }
    if cluster.is_some()
        && let Some(waiting) = workers(dependents.api(), ncp, names).await?
    {
        return Ok(Some(waiting));
    }
    // Before etcd: API servers must not see their datastore go, nor controllers their API servers.
    delete(dependents, &observed.controllers).await?;
    delete(dependents, &observed.controllers_budget).await?;
    delete(dependents, &observed.api_server).await?;
    delete(dependents, &observed.api_server_budget).await?;
    let pods = [
        ("controllers", &observed.controllers_pods),
        ("API server", &observed.api_server_pods),
    ];
    if let Some(waiting) = pods.into_iter().find_map(|(what, pods)| left(what, pods)) {
        return Ok(Some(waiting));
    }
    if let Some(deployment) = observed.controllers.iter().chain(&observed.api_server).next() {
        return Ok(Some(format!("waiting for Deployment {} to go", deployment.name_any())));
    }
    delete(dependents, &observed.etcd).await?;
    delete(dependents, &observed.etcd_budget).await?;
    if let Some(waiting) = left("etcd", &observed.etcd_pods) {
        return Ok(Some(waiting));
    }
    if observed.etcd.is_some() {
        return Ok(Some("waiting for etcd's StatefulSet to go".into()));
    }
    if deletes_claims(&ncp.spec) {
        for claim in &observed.claims {
            dependents.delete(claim).await?;
        }
        if let Some(claim) = observed.claims.first() {
            return Ok(Some(format!("waiting for claim {} to go", claim.name_any())));
        }
    }
    let services = observed.services.all();
    for service in services {
        delete(dependents, service).await?;
    }
    for secret in observed.secrets.all() {
        dependents.delete(secret).await?;
    }
    delete(dependents, &observed.etcd_config).await?;
    for revision in &observed.revisions {
        dependents.delete(revision).await?;
    }
    let left = services.into_iter().flatten().next();
    Ok(left.map(|service| format!("waiting for Service {} to go", service.name_any())))
}

/// Workers need the API server to leave: their pods are drained through it.
async fn workers(api: &ApiClient, ncp: &NestedControlPlane, names: &Names) -> Result<Option<String>, ApiError> {
    let selector = format!("{CLUSTER_NAME_LABEL}={},!{CONTROL_PLANE_LABEL}", names.cluster());
    let machines: Vec<Machine> = api.list(ncp.namespace().as_deref(), &selector).await?;
    Ok(machines.first().map(|machine| {
        format!(
            "waiting for {} worker machine(s) to go, Machine {} first",
            machines.len(),
            machine.name_any()
        )
    }))
}

fn left(what: &str, pods: &[k8s_openapi::api::core::v1::Pod]) -> Option<String> {
    (!pods.is_empty()).then(|| format!("waiting for pods of {what} to end"))
}

async fn delete<K: Object>(dependents: Dependents<'_>, live: &Option<K>) -> Result<(), ApiError> {
    match live {
        Some(live) => dependents.delete(live).await,
        None => Ok(()),
    }
}
