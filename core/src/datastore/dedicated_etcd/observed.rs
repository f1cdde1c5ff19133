//! What is known of a dedicated etcd at one moment: plain data, as it was read.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};

/// What was found of a control plane's datastore.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The StatefulSet.
    pub stateful_set: Option<StatefulSet>,
    /// What members with an empty volume start with.
    pub config: Option<ConfigMap>,
    /// The Service for API servers.
    pub service: Option<Service>,
    /// The Service of members among themselves.
    pub peers: Option<Service>,
    /// Budget of the pods.
    pub budget: Option<PodDisruptionBudget>,
    /// Pods of the members.
    pub pods: Vec<Pod>,
    /// Volume claims of the members.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Claims that an etcd of ours would use and that belong to somebody else.
    pub foreign_claims: Vec<String>,
    /// What keeps a claim without a volume, when that can be told.
    pub storage: StorageProblem,
}

impl Observed {
    /// Whether there is something of it that serves, or is about to.
    pub fn is_there(&self) -> bool {
        self.stateful_set.is_some()
    }

    /// Its Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.service.iter().chain(&self.peers)
    }

    /// The first claim without a volume.
    pub fn unbound(&self) -> Option<&PersistentVolumeClaim> {
        let phase = |claim: &PersistentVolumeClaim| claim.status.as_ref()?.phase.clone();
        self.claims
            .iter()
            .find(|claim| phase(claim).as_deref() != Some("Bound"))
    }

    /// Whether the StatefulSet has fewer pods than it wants.
    pub fn lacks_pods(&self) -> bool {
        let wanted = self.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.replicas);
        let found = i32::try_from(self.pods.len()).unwrap_or(i32::MAX);
        wanted.is_some_and(|wanted| found < wanted)
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
