//! What is known of a control plane at one moment: plain data, as it was read.

use super::names;
use super::stuck::{self, Complaint};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Secrets, by name.
    pub secrets: Secrets,
    /// Services.
    pub services: Services,
    /// Of etcd.
    pub etcd: Option<StatefulSet>,
    /// etcd's ConfigMap.
    pub etcd_config: Option<ConfigMap>,
    /// Of the API server.
    pub api_server: Option<Deployment>,
    /// Of kube-controller-manager and kube-scheduler.
    pub controllers: Option<Deployment>,
    /// What the control plane was made from.
    pub revisions: Vec<ControllerRevision>,
    /// Budget of etcd's pods.
    pub etcd_budget: Option<PodDisruptionBudget>,
    /// Budget of the API server's pods.
    pub api_server_budget: Option<PodDisruptionBudget>,
    /// Budget of the controllers' pods.
    pub controllers_budget: Option<PodDisruptionBudget>,
    /// Pods of the API server.
    pub api_server_pods: Vec<Pod>,
    /// Pods of the controllers.
    pub controllers_pods: Vec<Pod>,
    /// Pods of etcd.
    pub etcd_pods: Vec<Pod>,
    /// Volume claims of etcd's members.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Claims that an etcd of ours would use and that belong to somebody else.
    pub foreign_claims: Vec<String>,
    /// What keeps a claim without a volume, when that can be told.
    pub storage: StorageProblem,
    /// What others say of objects that do not come further.
    pub complaints: Vec<Complaint>,
    /// When this was read.
    pub now: Timestamp,
}

/// Time in which a claim finds a volume that was made by hand and whose class is no object, and in
/// which a scheduler that fails to place a pod, because it does not know its claim yet, tries again.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(15);

/// Events are not watched.
const POLL_INTERVAL: SignedDuration = SignedDuration::from_secs(15);

impl View {
    /// What others say of this object, which does not come further.
    pub fn complaint(&self, object: &impl ResourceExt) -> Option<&str> {
        let uid = object.uid()?;
        let found = self.complaints.iter().find(|complaint| complaint.uid == uid)?;
        Some(&found.message)
    }

    /// Whether a claim or a pod is so new that what it lacks may still come by itself.
    pub fn is_new(&self, object: &impl ResourceExt) -> bool {
        settles(object).is_some_and(|at| at > self.now)
    }

    /// All pods of the control plane, those that others wait for first.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.etcd_pods
            .iter()
            .chain(&self.api_server_pods)
            .chain(&self.controllers_pods)
    }

    /// When the first object that does not come further is no longer new; or when to ask again what
    /// others say of it.
    pub fn due(&self) -> Option<Timestamp> {
        let claim = unbound(&self.claims).and_then(settles);
        let waiting = self.pods().filter(|pod| !placed(pod) || stuck::unprepared(pod));
        let set = self.etcd.as_ref().filter(|_| stuck::lacks_pods(self));
        let settles = claim
            .into_iter()
            .chain(waiting.filter_map(settles))
            .chain(set.and_then(settles));
        let again = (!stuck::stuck(self).is_empty()).then(|| self.now + POLL_INTERVAL);
        settles.filter(|at| *at > self.now).chain(again).min()
    }
}

fn settles(object: &impl ResourceExt) -> Option<Timestamp> {
    Some(object.creation_timestamp()?.0 + GRACE_PERIOD)
}

/// Secrets of a tenant by name: ours, and what has the names of ours.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

/// Names alone: what a Secret holds is told nowhere.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// The Secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
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
pub struct Services {
    /// Of the API server.
    pub api_server: Option<Service>,
    /// Of etcd.
    pub etcd: Option<Service>,
    /// Of etcd's members among themselves.
    pub etcd_peers: Option<Service>,
}

impl Services {
    /// All of them.
    pub fn all(&self) -> [&Option<Service>; 3] {
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
pub enum StorageProblem {
    /// Nothing that is known.
    #[default]
    None,
    /// The claim names no class and the cluster has no default.
    NoDefaultClass,
    /// The class that it names is not there.
    NoSuchClass(String),
}

/// Pods by the component that they say they are of.
pub fn by_component(pods: Vec<Pod>) -> BTreeMap<String, Vec<Pod>> {
    let mut found = BTreeMap::<String, Vec<Pod>>::new();
    for pod in pods {
        let component = pod.labels().get(names::COMPONENT_LABEL).cloned().unwrap_or_default();
        found.entry(component).or_default().push(pod);
    }
    found
}

/// The first claim without a volume.
pub fn unbound(claims: &[PersistentVolumeClaim]) -> Option<&PersistentVolumeClaim> {
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
pub fn prepared(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") || holds(pod, "PodReadyToStartContainers")
}

/// Whether a pod has this condition.
pub fn holds(pod: &Pod, type_: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}
