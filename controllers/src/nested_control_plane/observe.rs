//! Reads what a NestedControlPlane refers to and what was made for it. Never writes.

use crate::runtime::api_client::{ApiClient, ApiError, Dependents, Object};
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, CONTROL_PLANE_LABEL, Machine},
    nested_control_plane::DatastoreMember,
};
use capn_core::{
    certificates::{Secrets, secret_names},
    cluster_api::cluster_owner,
    control_plane::{
        cluster::OfCluster,
        names::{self, Names},
        stuck,
        view::{View, by_component},
    },
    datastore::{self, Observed, StorageProblem},
    ownership::Owner,
};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use tokio::try_join;

/// Objects of one control plane whose Events are read.
const MOST_COMPLAINTS: usize = 2;

/// Reads the Cluster of this object: its owner or, while Cluster API's core has not said so yet,
/// the one that names it as its control plane. Core takes seconds over the owner, and a control plane
/// need not wait for them. An owner reference alone proves nothing: any user may write one.
pub(crate) async fn cluster(api: &ApiClient, ncp: &NestedControlPlane) -> Result<OfCluster, ApiError> {
    let namespace = ncp.namespace();
    Ok(match cluster_owner(ncp) {
        Some(owner) => OfCluster::by_owner(ncp, owner, api.get(namespace.as_deref(), &owner.name).await?),
        None => OfCluster::by_reference(ncp, api.list(namespace.as_deref(), "").await?),
    })
}

/// Reads everything that belongs to a control plane, and what has the names of its own.
pub(crate) async fn observe(
    dependents: Dependents<'_>,
    namespace: &str,
    names: &Names,
    members: &[DatastoreMember],
    now: Timestamp,
) -> Result<View, ApiError> {
    let api = dependents.api();
    let owned = names.owned_selector();
    let place = Some(namespace);
    let (secrets, services, configs, deployments, sets, revisions, budgets, pods, claims) = try_join!(
        secrets(dependents, namespace, names),
        api.list(place, &owned),
        api.list(place, &owned),
        api.list(place, &owned),
        api.list(place, &owned),
        api.list(place, &owned),
        api.list(place, &owned),
        api.list(place, &owned),
        claims(api, namespace, names, members),
    )?;
    // A label is soon written: what somebody else controls is not ours.
    let owner = dependents.owner();
    let (mut services, mut budgets) = (Found::owned(services, owner), Found::owned(budgets, owner));
    let mut deployments = Found::owned(deployments, owner);
    let mut pods_of = by_component(pods);
    let mut pods_of = |component| pods_of.remove(component).unwrap_or_default();
    let (api_server_pods, controllers_pods, datastore_pods) = (
        pods_of(names::API_SERVER),
        pods_of(names::CONTROLLERS),
        pods_of(datastore::COMPONENT),
    );
    let (api_server, controllers, stateful_set) = (names.api_server(), names.controllers(), names.etcd());
    let (api_server, controllers, stateful_set) = try_join!(
        workload(
            dependents,
            namespace,
            &api_server,
            deployments.take(&api_server),
            &api_server_pods
        ),
        workload(
            dependents,
            namespace,
            &controllers,
            deployments.take(&controllers),
            &controllers_pods
        ),
        workload(
            dependents,
            namespace,
            &stateful_set,
            Found::owned(sets, owner).take(&stateful_set),
            &datastore_pods
        ),
    )?;
    let mut observed = View {
        secrets,
        api_server_service: services.take(&names.api_server_service()),
        datastore: Observed {
            stateful_set,
            config: Found::owned(configs, owner).take(&names.etcd()),
            service: services.take(&names.etcd()),
            peers: services.take(&names.etcd_peers()),
            budget: budgets.take(&names.etcd()),
            pods: datastore_pods,
            claims,
            foreign_claims: Vec::new(),
            storage: StorageProblem::None,
        },
        api_server,
        controllers,
        revisions: Found::owned(revisions, owner).0,
        api_server_budget: budgets.take(&names.api_server()),
        controllers_budget: budgets.take(&names.controllers()),
        api_server_pods,
        controllers_pods,
        complaints: Vec::new(),
        now,
    };
    if observed.datastore.stateful_set.is_none() && observed.datastore.claims.is_empty() {
        observed.datastore.foreign_claims = foreign_claims(api, namespace, names).await?;
    }
    if let Some(claim) = observed.datastore.unbound().filter(|claim| !observed.is_new(*claim)) {
        observed.datastore.storage = storage_problem(api, claim).await?;
    }
    for uid in stuck::stuck(&observed).into_iter().take(MOST_COMPLAINTS) {
        let events = api.warnings_of(namespace, &uid).await?;
        observed.complaints.extend(stuck::newest(&uid, events));
    }
    Ok(observed)
}

/// Names of the Cluster's worker Machines.
pub(crate) async fn workers(api: &ApiClient, ncp: &NestedControlPlane, names: &Names) -> Result<Vec<String>, ApiError> {
    let selector = format!("{CLUSTER_NAME_LABEL}={},!{CONTROL_PLANE_LABEL}", names.cluster());
    let machines: Vec<Machine> = api.list(ncp.namespace().as_deref(), &selector).await?;
    Ok(machines.iter().map(ResourceExt::name_any).collect())
}

/// Objects of one kind, to be taken by name.
struct Found<K>(Vec<K>);

impl<K: Object> Found<K> {
    fn owned(mut objects: Vec<K>, owner: &Owner) -> Self {
        objects.retain(|object| owner.owns(object));
        Self(objects)
    }

    fn take(&mut self, name: &str) -> Option<K> {
        let at = self
            .0
            .iter()
            .position(|object| object.meta().name.as_deref() == Some(name))?;
        Some(self.0.swap_remove(at))
    }
}

/// Ours are found by label. What a user brought may lack it, so what is not found so is asked for.
async fn secrets(dependents: Dependents<'_>, namespace: &str, names: &Names) -> Result<Secrets, ApiError> {
    let api = dependents.api();
    let found = api.list(Some(namespace), &names.owned_selector()).await?;
    let mut found = Found::owned(found, dependents.owner());
    let all = secret_names(names).map(|name| {
        let found = found.take(&name);
        async move {
            match found {
                Some(found) => Ok(Some(found)),
                None => api.get::<Secret>(Some(namespace), &name).await,
            }
        }
    });
    Ok(try_join_all(all).await?.into_iter().flatten().collect())
}

/// Ours are found by label. A label is soon removed, so one whose pods are there is asked for by name: they
/// run as long as it does.
async fn workload<K: Object>(
    dependents: Dependents<'_>,
    namespace: &str,
    name: &str,
    found: Option<K>,
    pods: &[Pod],
) -> Result<Option<K>, ApiError> {
    if found.is_some() || pods.is_empty() {
        return Ok(found);
    }
    let workload = dependents.api().get::<K>(Some(namespace), name).await?;
    Ok(workload.filter(|workload| dependents.owner().owns(workload)))
}

/// Ours are found by label, and those that members have served from by name too: a label is soon
/// removed, and a claim that is not found counts as lost.
async fn claims(
    api: &ApiClient,
    namespace: &str,
    names: &Names,
    members: &[DatastoreMember],
) -> Result<Vec<PersistentVolumeClaim>, ApiError> {
    let mut claims: Vec<PersistentVolumeClaim> = api.list(Some(namespace), &names.owned_selector()).await?;
    for member in members {
        let name = names.claim_of(&member.name);
        if claims.iter().all(|claim| claim.name_any() != name)
            && let Some(claim) = api.get::<PersistentVolumeClaim>(Some(namespace), &name).await?
            && claim.uid().as_ref() == Some(&member.claim_uid)
        {
            claims.push(claim);
        }
    }
    Ok(claims)
}

/// A StatefulSet uses the claims that it finds, whosever they are: those that are not ours.
async fn foreign_claims(api: &ApiClient, namespace: &str, names: &Names) -> Result<Vec<String>, ApiError> {
    let claims = (0..datastore::MAX_MEMBERS).map(|ordinal| {
        let name = names.claim(ordinal);
        async move { api.get::<PersistentVolumeClaim>(Some(namespace), &name).await }
    });
    let found = try_join_all(claims).await?;
    Ok(found.into_iter().flatten().map(|claim| claim.name_any()).collect())
}

/// A claim says nothing of why it waits but in events, so its class is looked at.
async fn storage_problem(api: &ApiClient, claim: &PersistentVolumeClaim) -> Result<StorageProblem, ApiError> {
    match claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) {
        None => Ok(StorageProblem::NoDefaultClass),
        Some("") => Ok(StorageProblem::None),
        Some(class) => Ok(match api.get::<StorageClass>(None, class).await? {
            // Volumes that were made by hand may name a class that is no object.
            None => StorageProblem::NoSuchClass(class.to_owned()),
            Some(_) => StorageProblem::None,
        }),
    }
}
