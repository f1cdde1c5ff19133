//! Step 1: reads what a NestedControlPlane refers to and what was made for it. Never writes.

use super::names::{self, Names};
use super::stuck::{self, Complaint};
use crate::calls::{CallError, Calls, Dependents, Object};
use crate::controller::cluster_owner;
use crate::ownership::Owner;
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster},
    nested_control_plane::DatastoreMember,
};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use std::collections::BTreeMap;
use tokio::try_join;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) secrets: Secrets,
    pub(crate) services: Services,
    pub(crate) etcd: Option<StatefulSet>,
    pub(crate) etcd_config: Option<ConfigMap>,
    pub(crate) api_server: Option<Deployment>,
    pub(crate) controllers: Option<Deployment>,
    pub(crate) revisions: Vec<ControllerRevision>,
    pub(crate) etcd_budget: Option<PodDisruptionBudget>,
    pub(crate) api_server_budget: Option<PodDisruptionBudget>,
    pub(crate) controllers_budget: Option<PodDisruptionBudget>,
    pub(crate) api_server_pods: Vec<Pod>,
    pub(crate) controllers_pods: Vec<Pod>,
    pub(crate) etcd_pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    /// Claims that an etcd of ours would use and that belong to somebody else.
    pub(crate) foreign_claims: Vec<String>,
    /// What keeps a claim without a volume, when that can be told.
    pub(crate) storage: StorageProblem,
    /// What others say of objects that do not come further.
    pub(crate) complaints: Vec<Complaint>,
    /// When this was read.
    pub(crate) now: Timestamp,
}

/// Time in which a claim finds a volume that was made by hand and whose class is no object, and in
/// which a scheduler that fails to place a pod, because it does not know its claim yet, tries again.
const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// Events are not watched.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// Objects of one control plane whose Events are read.
const MOST_COMPLAINTS: usize = 2;

impl Observed {
    /// What others say of this object, which does not come further.
    pub(crate) fn complaint(&self, object: &impl ResourceExt) -> Option<&str> {
        let uid = object.uid()?;
        let found = self.complaints.iter().find(|complaint| complaint.uid == uid)?;
        Some(&found.message)
    }

    /// Whether a claim or a pod is so new that what it lacks may still come by itself.
    pub(crate) fn is_new(&self, object: &impl ResourceExt) -> bool {
        settles(object).is_some_and(|at| at > self.now)
    }

    /// All pods of the control plane, those that others wait for first.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.etcd_pods
            .iter()
            .chain(&self.api_server_pods)
            .chain(&self.controllers_pods)
    }

    /// When the first object that does not come further is no longer new; or when to ask again what
    /// others say of it.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let claim = unbound(&self.claims).and_then(settles);
        let waiting = self.pods().filter(|pod| !placed(pod) || stuck::unprepared(pod));
        let set = self.etcd.as_ref().filter(|_| stuck::lacks_pods(self));
        let settles = claim
            .into_iter()
            .chain(waiting.filter_map(settles))
            .chain(set.and_then(settles));
        let again = (!stuck::stuck(self).is_empty()).then(|| self.now + ASK_AGAIN);
        settles.filter(|at| *at > self.now).chain(again).min()
    }
}

fn settles(object: &impl ResourceExt) -> Option<Timestamp> {
    Some(object.creation_timestamp()?.0 + SETTLING)
}

/// Secrets of a tenant by name: ours, and what has the names of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The Secret of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<T: IntoIterator<Item = Secret>>(secrets: T) -> Self {
        let named = secrets.into_iter().map(|secret| (secret.name_any(), secret));
        Self(named.collect())
    }
}

/// Services of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    pub(crate) api_server: Option<Service>,
    pub(crate) etcd: Option<Service>,
    pub(crate) etcd_peers: Option<Service>,
}

impl Services {
    /// All of them.
    pub(crate) fn all(&self) -> [&Option<Service>; 3] {
        let Self {
            api_server,
            etcd,
            etcd_peers,
        } = self;
        [api_server, etcd, etcd_peers]
    }
}

/// What keeps a claim without a volume.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum StorageProblem {
    /// Nothing that is known.
    #[default]
    None,
    /// The claim names no class and the cluster has no default.
    NoDefaultClass,
    /// The class that it names is not there.
    NoSuchClass(String),
}

/// The Cluster of a NestedControlPlane.
#[derive(Clone, Debug)]
pub(crate) enum OfCluster {
    /// It belongs to this one: they name each other.
    Found(Box<Cluster>),
    /// There is none, or none any more.
    Missing,
    /// What the object says of its Cluster is not what the Cluster says.
    Disputed(String),
}

/// Reads the Cluster of this object: its owner or, while Cluster API's core has not said so yet,
/// the one that names it as its control plane. Core takes seconds over the owner, and a tenant
/// need not wait for them. An owner reference alone proves nothing: any user may write one.
pub(crate) async fn cluster(calls: &Calls, ncp: &NestedControlPlane) -> Result<OfCluster, CallError> {
    let (namespace, name) = (ncp.namespace(), ncp.name_any());
    let names_this = |cluster: &Cluster| control_plane_of(cluster) == Some(&name);
    if let Some(owner) = cluster_owner(ncp) {
        let found: Option<Cluster> = calls.get(namespace.as_deref(), &owner.name).await?;
        return Ok(match found {
            None => OfCluster::Missing,
            Some(cluster) if cluster.uid().as_ref() != Some(&owner.uid) => OfCluster::Disputed(format!(
                "the owner reference to Cluster {} has the UID of another object: remove it",
                owner.name
            )),
            Some(cluster) if !names_this(&cluster) => OfCluster::Disputed(format!(
                "Cluster {} owns this object but does not name it: set its spec.controlPlaneRef to NestedControlPlane {name}, or delete this object",
                owner.name
            )),
            Some(cluster) => OfCluster::Found(Box::new(cluster)),
        });
    }
    let mut clusters: Vec<Cluster> = calls.list(namespace.as_deref(), "").await?;
    clusters.retain(names_this);
    Ok(match (clusters.pop(), clusters.first()) {
        (None, _) => OfCluster::Missing,
        (Some(cluster), None) => OfCluster::Found(Box::new(cluster)),
        (Some(one), Some(other)) => OfCluster::Disputed(format!(
            "Clusters {} and {} both name this object as their control plane: give each a NestedControlPlane of its own",
            other.name_any(),
            one.name_any()
        )),
    })
}

/// The name of the NestedControlPlane that a Cluster names.
pub(crate) fn control_plane_of(cluster: &Cluster) -> Option<&String> {
    let reference = cluster.spec.control_plane_ref.as_ref()?;
    let ours = reference.kind == "NestedControlPlane" && reference.api_group == "controlplane.cluster.x-k8s.io";
    ours.then_some(&reference.name)
}

/// The name of the Cluster, as far as the object itself tells.
pub(crate) fn cluster_of(ncp: &NestedControlPlane) -> Option<String> {
    cluster_owner(ncp)
        .map(|owner| owner.name.clone())
        .or_else(|| ncp.labels().get(CLUSTER_NAME_LABEL).cloned())
}

/// Reads everything that belongs to a control plane, and what has the names of its own.
pub(crate) async fn observe(
    dependents: Dependents<'_>,
    namespace: &str,
    names: &Names,
    members: &[DatastoreMember],
    now: Timestamp,
) -> Result<Observed, CallError> {
    let calls = dependents.calls();
    let owned = names.owned_selector();
    let place = Some(namespace);
    let (secrets, services, configs, deployments, sets, revisions, budgets, pods, claims) = try_join!(
        secrets(dependents, namespace, names),
        calls.list(place, &owned),
        calls.list(place, &owned),
        calls.list(place, &owned),
        calls.list(place, &owned),
        calls.list(place, &owned),
        calls.list(place, &owned),
        calls.list(place, &owned),
        claims(calls, namespace, names, members),
    )?;
    // A label is soon written: what somebody else controls is not ours.
    let owner = dependents.owner();
    let (mut services, mut budgets) = (Found::owned(services, owner), Found::owned(budgets, owner));
    let mut deployments = Found::owned(deployments, owner);
    let mut pods_of = by_component(pods);
    let mut observed = Observed {
        secrets,
        services: Services {
            api_server: services.take(&names.api_server_service()),
            etcd: services.take(&names.etcd()),
            etcd_peers: services.take(&names.etcd_peers()),
        },
        etcd: Found::owned(sets, owner).take(&names.etcd()),
        etcd_config: Found::owned(configs, owner).take(&names.etcd()),
        api_server: deployments.take(&names.api_server()),
        controllers: deployments.take(&names.controllers()),
        revisions: Found::owned(revisions, owner).0,
        etcd_budget: budgets.take(&names.etcd()),
        api_server_budget: budgets.take(&names.api_server()),
        controllers_budget: budgets.take(&names.controllers()),
        api_server_pods: pods_of.remove(names::API_SERVER).unwrap_or_default(),
        controllers_pods: pods_of.remove(names::CONTROLLERS).unwrap_or_default(),
        etcd_pods: pods_of.remove(names::ETCD).unwrap_or_default(),
        claims,
        foreign_claims: Vec::new(),
        storage: StorageProblem::None,
        complaints: Vec::new(),
        now,
    };
    if observed.etcd.is_none() && observed.claims.is_empty() {
        observed.foreign_claims = foreign_claims(calls, namespace, names).await?;
    }
    if let Some(claim) = unbound(&observed.claims).filter(|claim| !observed.is_new(*claim)) {
        observed.storage = storage_problem(calls, claim).await?;
    }
    for uid in stuck::stuck(&observed).into_iter().take(MOST_COMPLAINTS) {
        let events = calls.warnings_of(namespace, &uid).await?;
        observed.complaints.extend(stuck::newest(&uid, events));
    }
    Ok(observed)
}

/// Pods by the component that they say they are of.
fn by_component(pods: Vec<Pod>) -> BTreeMap<String, Vec<Pod>> {
    let mut found = BTreeMap::<String, Vec<Pod>>::new();
    for pod in pods {
        let component = pod.labels().get(names::COMPONENT_LABEL).cloned().unwrap_or_default();
        found.entry(component).or_default().push(pod);
    }
    found
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

/// Ours are found by label. What a person brought may lack it, so what is not found so is asked for.
async fn secrets(dependents: Dependents<'_>, namespace: &str, names: &Names) -> Result<Secrets, CallError> {
    let calls = dependents.calls();
    let found = calls.list(Some(namespace), &names.owned_selector()).await?;
    let mut found = Found::owned(found, dependents.owner());
    let all = names.secrets().map(|name| {
        let found = found.take(&name);
        async move {
            match found {
                Some(found) => Ok(Some(found)),
                None => calls.get::<Secret>(Some(namespace), &name).await,
            }
        }
    });
    Ok(try_join_all(all).await?.into_iter().flatten().collect())
}

/// Ours are found by label, and those that members have served from by name too: a label is soon
/// removed, and a claim that is not found counts as lost.
async fn claims(
    calls: &Calls,
    namespace: &str,
    names: &Names,
    members: &[DatastoreMember],
) -> Result<Vec<PersistentVolumeClaim>, CallError> {
    let mut claims: Vec<PersistentVolumeClaim> = calls.list(Some(namespace), &names.owned_selector()).await?;
    for member in members {
        let name = names.claim_of(&member.name);
        if claims.iter().all(|claim| claim.name_any() != name)
            && let Some(claim) = calls.get::<PersistentVolumeClaim>(Some(namespace), &name).await?
            && claim.uid().as_ref() == Some(&member.claim_uid)
        {
            claims.push(claim);
        }
    }
    Ok(claims)
}

/// A StatefulSet uses the claims that it finds, whosever they are: those that are not ours.
async fn foreign_claims(calls: &Calls, namespace: &str, names: &Names) -> Result<Vec<String>, CallError> {
    let claims = (0..names::ETCD_MEMBERS).map(|ordinal| {
        let name = names.claim(ordinal);
        async move { calls.get::<PersistentVolumeClaim>(Some(namespace), &name).await }
    });
    let found = try_join_all(claims).await?;
    Ok(found.into_iter().flatten().map(|claim| claim.name_any()).collect())
}

/// The first claim without a volume.
pub(crate) fn unbound(claims: &[PersistentVolumeClaim]) -> Option<&PersistentVolumeClaim> {
    claims
        .iter()
        .find(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound"))
}

/// Whether a pod has a Node.
fn placed(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// Whether the kubelet has a pod's volumes and sandbox: a pod that has a Node may still wait long for
/// them. Kubelets before 1.29 do not say so; their pods count once they run.
pub(crate) fn prepared(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") || holds(pod, "PodReadyToStartContainers")
}

/// Whether a pod has this condition.
pub(crate) fn holds(pod: &Pod, type_: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// A claim says nothing of why it waits but in events, so its class is looked at.
async fn storage_problem(calls: &Calls, claim: &PersistentVolumeClaim) -> Result<StorageProblem, CallError> {
    match claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) {
        None => Ok(StorageProblem::NoDefaultClass),
        Some("") => Ok(StorageProblem::None),
        Some(class) => Ok(match calls.get::<StorageClass>(None, class).await? {
            // Volumes that were made by hand may name a class that is no object.
            None => StorageProblem::NoSuchClass(class.to_owned()),
            Some(_) => StorageProblem::None,
        }),
    }
}
