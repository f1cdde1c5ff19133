//! Step 4: makes the management cluster hold what was built; writes only what differs and deletes
//! what is no longer wanted.

use crate::runtime::api_client::{ApiClient, ApiError, Dependents, Object};
use capn_api::NestedControlPlane;
use capn_core::control_plane::{
    desired::Tenant,
    error::Error,
    inputs::Inputs,
    metadata::{ManagedFields, ensure_metadata},
    names::Names,
    objects::{Applied, Network, Prepared, Workloads},
    order::{waits_for_api_server, waits_for_datastore},
    view::View,
};
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Service};
use kube::ResourceExt;
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
    live: &View,
    refused: &Refused,
) -> Result<Network<Applied>, ApiError> {
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
    live: &View,
    refused: &Refused,
) -> Result<Workloads<Applied>, ApiError> {
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
) -> Result<Service, ApiError> {
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
) -> Result<Service, ApiError> {
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
) -> Result<K, ApiError> {
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
) -> Result<Option<K>, ApiError> {
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
) -> Result<Option<K>, ApiError> {
    match (&wanted, live) {
        (None, Some(live)) => dependents.delete(live).await.map(|()| None),
        _ => apply_some(dependents, wanted, live, refused).await,
    }
}

/// Writes what the controller says on the object itself.
pub(crate) async fn own(
    api: &ApiClient,
    ncp: &NestedControlPlane,
    names: &Names,
    fields: &ManagedFields,
) -> Result<NestedControlPlane, ApiError> {
    match ensure_metadata(ncp, names, fields) {
        Some(patch) => api.merge(&patch, ncp).await,
        None => Ok(ncp.clone()),
    }
}

/// Stores what was applied, and removes what was stored before.
pub(crate) async fn store(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    inputs: &Inputs,
    stored: &[ControllerRevision],
) -> Result<(), ApiError> {
    let Some(revision) = inputs.revision(tenant, stored) else {
        return Ok(());
    };
    dependents.create(&revision).await?;
    for old in stored {
        dependents.delete(old).await?;
    }
    Ok(())
}
