//! Deletion: everything of a tenant goes, in an order that lets what is left be seen; volumes by
//! the field for it; Secrets that a person brought stay.

use super::names::Names;
use super::observe::Observed;
use crate::calls::{CallError, Calls, Dependents, Object};
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, CONTROL_PLANE_LABEL, Cluster, Machine},
    nested_control_plane::{NestedControlPlaneSpec, RetentionPolicy},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

/// Deletes; returns what is waited for, or None when nothing is left.
pub(crate) async fn finalize(
    dependents: Dependents<'_>,
    ncp: &NestedControlPlane,
    cluster: Option<&Cluster>,
    names: &Names,
    observed: &Observed,
) -> Result<Option<String>, CallError> {
    if orphaned(ncp, observed) {
        return Ok(None);
    }
    if cluster.is_some()
        && let Some(waiting) = workers(dependents.calls(), ncp, names).await?
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

/// Whether what belongs to the control plane is to stay, which `kubectl delete --cascade=orphan` asks
/// for. The garbage collector then takes the owner references away, and last the finalizer that says
/// so.
pub(crate) fn orphaned(ncp: &NestedControlPlane, observed: &Observed) -> bool {
    if ncp.finalizers().iter().any(|finalizer| finalizer == "orphan") {
        return true;
    }
    let uid = ncp.uid();
    let owned = |meta: &ObjectMeta| {
        let mut owners = meta.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == uid.as_ref())
    };
    let workloads = [
        observed.api_server.as_ref().map(|live| &live.metadata),
        observed.controllers.as_ref().map(|live| &live.metadata),
        observed.etcd.as_ref().map(|live| &live.metadata),
    ];
    let mut workloads = workloads.into_iter().flatten().peekable();
    workloads.peek().is_some() && workloads.all(|workload| !owned(workload))
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

async fn delete<K: Object>(dependents: Dependents<'_>, live: &Option<K>) -> Result<(), CallError> {
    match live {
        Some(live) => dependents.delete(live).await,
        None => Ok(()),
    }
}
