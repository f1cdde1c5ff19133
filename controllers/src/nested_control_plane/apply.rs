//! Step 4: makes the management cluster hold what was built; writes only what differs and deletes
//! what is no longer wanted.

use super::build::{Applied, Network, Prepared, Workloads};
use super::error::Error;
use super::inputs::Inputs;
use super::names::{DATASTORE_INITIALIZED_ANNOTATION, Names, VERSION_ANNOTATION};
use super::observe::{Observed, prepared};
use super::status::ready;
use super::validate::Tenant;
use super::versions;
use crate::calls::{CallError, Calls, Dependents, Object};
use capn_api::{
    NestedControlPlane,
    cluster_api::{BLOCK_MOVE_ANNOTATION, CLUSTER_NAME_LABEL},
    common::ApiEndpoint,
    nested_control_plane,
};
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{Pod, Service},
};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::{
    marker::PhantomData,
    sync::{Mutex, PoisonError},
};
use tokio::try_join;

/// Applies the first wave.
pub(crate) async fn network(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    wanted: Network<Prepared>,
    live: &Observed,
    refused: &Refused,
) -> Result<Network<Applied>, CallError> {
    let services = &live.services;
    let Network {
        api_server,
        etcd,
        etcd_peers,
        etcd_config,
        stage: _,
    } = wanted;
    let (api_server, etcd, etcd_peers, etcd_config) = try_join!(
        api_server_service(dependents, tenant, api_server, &services.api_server, refused),
        etcd_service(dependents, etcd, &services.etcd, refused),
        apply_or_keep(dependents, &etcd_peers, &services.etcd_peers, refused),
        dependents.apply(&etcd_config, live.etcd_config.as_ref()),
    )?;
    Ok(Network {
        api_server,
        etcd,
        etcd_peers,
        etcd_config,
        stage: PhantomData,
    })
}

/// Applies the second wave.
pub(crate) async fn workloads(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    wanted: Workloads<Prepared>,
    live: &Observed,
    refused: &Refused,
) -> Result<Workloads<Applied>, CallError> {
    let Workloads {
        etcd,
        api_server,
        controllers,
        etcd_budget,
        api_server_budget,
        controllers_budget,
        stage: _,
    } = wanted;
    let api_server = api_server.filter(|_| !waits_for_datastore(tenant, live));
    let controllers = controllers.filter(|_| !waits_for_api_server(tenant, live));
    let (etcd, api_server, controllers, etcd_budget, api_server_budget, controllers_budget) = try_join!(
        apply_some(dependents, etcd, &live.etcd, refused),
        apply_some(dependents, api_server, &live.api_server, refused),
        apply_some(dependents, controllers, &live.controllers, refused),
        apply_or_delete(dependents, etcd_budget, &live.etcd_budget, refused),
        apply_or_delete(dependents, api_server_budget, &live.api_server_budget, refused),
        apply_or_delete(dependents, controllers_budget, &live.controllers_budget, refused),
    )?;
    Ok(Workloads {
        etcd,
        api_server,
        controllers,
        etcd_budget,
        api_server_budget,
        controllers_budget,
        stage: PhantomData,
    })
}

/// Writes that the management cluster refused while what was there before serves on.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Vec<Error>>);

impl Refused {
    /// All of them.
    pub(crate) fn into_errors(self) -> Vec<Error> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }
}

/// Applies the API server's Service. Made anew, it asks for the address that it had. Where that cannot
/// be had although workers hold it, the Service waits for it: with another one it would be of no use.
async fn api_server_service(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    wanted: Service,
    live: &Option<Service>,
    refused: &Refused,
) -> Result<Service, CallError> {
    match apply_or_keep(dependents, &wanted, live, refused).await {
        Err(error) if error.is_invalid() && tenant.endpoint.given.is_published(&tenant.endpoint) => {
            let endpoint = tenant
                .endpoint
                .fixed
                .iter()
                .map(|at| format!("{}:{}", at.host, at.port));
            refused.push(Error::EndpointLost(format!(
                "workers and kubeconfigs hold {}, which Service {}/{} cannot have again: {error}",
                endpoint.collect::<String>(),
                tenant.namespace,
                wanted.name_any(),
            )));
            Ok(wanted)
        }
        Err(error) if error.is_invalid() => {
            let wanted = anywhere(wanted, tenant.endpoint.node_port);
            dependents.apply(&wanted, None).await
        }
        applied => applied,
    }
}

/// Applies etcd's Service, with the address that it had if that can be had.
async fn etcd_service(
    dependents: Dependents<'_>,
    wanted: Service,
    live: &Option<Service>,
    refused: &Refused,
) -> Result<Service, CallError> {
    match apply_or_keep(dependents, &wanted, live, refused).await {
        Err(error) if error.is_invalid() => dependents.apply(&anywhere(wanted, None), None).await,
        applied => applied,
    }
}

/// The same Service, whatever address it gets, and whatever node port if a person chose none.
fn anywhere(mut service: Service, node_port: Option<i32>) -> Service {
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = None;
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = node_port;
        }
    }
    service
}

/// Applies an object. Where that is refused, the one that is there stays: a field that cannot be
/// changed must not keep everything else from being kept alive.
async fn apply_or_keep<K: Object>(
    dependents: Dependents<'_>,
    wanted: &K,
    live: &Option<K>,
    refused: &Refused,
) -> Result<K, CallError> {
    match (dependents.apply(wanted, live.as_ref()).await, live) {
        (Err(error), Some(live)) if error.is_invalid() || error.is_forbidden() => {
            refused.push(Error::Apply(error));
            Ok(live.clone())
        }
        (applied, _) => applied,
    }
}

async fn apply_some<K: Object>(
    dependents: Dependents<'_>,
    wanted: Option<K>,
    live: &Option<K>,
    refused: &Refused,
) -> Result<Option<K>, CallError> {
    match wanted {
        Some(wanted) => apply_or_keep(dependents, &wanted, live, refused).await.map(Some),
        None => Ok(None),
    }
}

async fn apply_or_delete<K: Object>(
    dependents: Dependents<'_>,
    wanted: Option<K>,
    live: &Option<K>,
    refused: &Refused,
) -> Result<Option<K>, CallError> {
    match (&wanted, live) {
        (None, Some(live)) => dependents.delete(live).await.map(|()| None),
        _ => apply_some(dependents, wanted, live, refused).await,
    }
}

/// What the controller says on the NestedControlPlane itself, beside its status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) endpoint: Option<ApiEndpoint>,
    pub(crate) datastore_initialized: bool,
    /// Annotations that have had their time.
    pub(crate) obsolete: Vec<&'static str>,
}

/// Takes hold of the object: finalizer, the mark that keeps it from being moved away from its
/// data, and the endpoint once it is known.
pub(crate) async fn own(
    calls: &Calls,
    ncp: &NestedControlPlane,
    names: &Names,
    own: &Own,
) -> Result<NestedControlPlane, CallError> {
    let mut annotations = serde_json::Map::new();
    annotations.insert(BLOCK_MOVE_ANNOTATION.into(), json!(""));
    if own.datastore_initialized {
        annotations.insert(DATASTORE_INITIALIZED_ANNOTATION.into(), json!("true"));
    }
    for obsolete in &own.obsolete {
        if ncp.annotations().contains_key(*obsolete) {
            annotations.insert((*obsolete).into(), Value::Null);
        }
    }
    let endpoint = own.endpoint.as_ref();
    let held = ncp
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == nested_control_plane::FINALIZER)
        && annotations
            .iter()
            .all(|(key, value)| ncp.annotations().get(key).is_some_and(|held| value == held))
        // By the label the Cluster is known before core has set the owner, and after it is gone.
        && ncp.labels().contains_key(CLUSTER_NAME_LABEL)
        && (endpoint.is_none() || ncp.spec.control_plane_endpoint.as_ref() == endpoint);
    if held {
        return Ok(ncp.clone());
    }
    let mut finalizers = ncp.finalizers().to_vec();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == nested_control_plane::FINALIZER)
    {
        finalizers.push(nested_control_plane::FINALIZER.into());
    }
    let mut patch = json!({
        "metadata": {
            "finalizers": finalizers,
            "annotations": annotations,
            "labels": {CLUSTER_NAME_LABEL: names.cluster()},
            // Others add finalizers too: ours must not remove one that came since.
            "resourceVersion": ncp.resource_version(),
        },
    });
    if let Some(endpoint) = endpoint {
        patch["spec"] = json!({"controlPlaneEndpoint": endpoint});
    }
    calls.merge(&patch, ncp).await
}

/// Stores what was applied, and removes what was stored before.
pub(crate) async fn store(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    inputs: &Inputs,
    stored: &[ControllerRevision],
) -> Result<(), CallError> {
    let Some(revision) = inputs.revision(tenant, stored) else {
        return Ok(());
    };
    dependents.create(&revision).await?;
    for old in stored {
        dependents.delete(old).await?;
    }
    Ok(())
}

/// Whether the workloads of a tenant are there already, so that it needs no turn to start.
pub(crate) fn started(tenant: &Tenant, live: &Observed) -> bool {
    tenant.initialized || live.etcd.is_some() || live.api_server.is_some()
}

/// Whether the datastore of a new tenant cannot start yet, be it for want of a volume or of room. API
/// servers without a store end again and again, and are backed off for minutes when it comes.
fn waits_for_datastore(tenant: &Tenant, live: &Observed) -> bool {
    let quorum = usize::try_from(tenant.etcd.replicas / 2 + 1).unwrap_or_default();
    let prepared = live.etcd_pods.iter().filter(|pod| prepared(pod)).count();
    !tenant.has_run && live.api_server.is_none() && prepared < quorum
}

/// Whether the controllers would find no API server, or one that is older than they are, which
/// Kubernetes' version skew policy does not allow. Those that run stay as they are meanwhile.
fn waits_for_api_server(tenant: &Tenant, live: &Observed) -> bool {
    let version = versions::display(&tenant.version);
    let mut serving = live.api_server_pods.iter().filter(|pod| ready(pod)).peekable();
    let is_older = |pod: &Pod| pod.annotations().get(VERSION_ANNOTATION) != Some(&version);
    serving.peek().is_none() || serving.any(is_older)
}

#[cfg(test)]
mod tests;
