//! What is known of a control plane at one moment: plain data, as it was read.

use super::names;
use crate::certificates::Secrets;
use crate::datastore::Observed;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Secrets, by name.
    pub secrets: Secrets,
    /// The API server's Service.
    pub api_server_service: Option<Service>,
    /// The datastore.
    pub datastore: Observed,
    /// Of the API server.
    pub api_server: Option<Deployment>,
    /// Of kube-controller-manager and kube-scheduler.
    pub controllers: Option<Deployment>,
    /// What the control plane was made from.
    pub revisions: Vec<ControllerRevision>,
    /// Budget of the API server's pods.
    pub api_server_budget: Option<PodDisruptionBudget>,
    /// Budget of the controllers' pods.
    pub controllers_budget: Option<PodDisruptionBudget>,
    /// Pods of the API server.
    pub api_server_pods: Vec<Pod>,
    /// Pods of the controllers.
    pub controllers_pods: Vec<Pod>,
    /// What others say of objects that do not come further.
    pub complaints: Vec<Complaint>,
    /// When this was read.
    pub now: Timestamp,
}

/// Time in which a claim finds a volume that was made by hand and whose class is no object, and in
/// which a scheduler that fails to place a pod, because it does not know its claim yet, tries again.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(15);

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
        let datastore = self.datastore.pods.iter();
        datastore.chain(&self.api_server_pods).chain(&self.controllers_pods)
    }

    /// All Services of the control plane.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.api_server_service.iter().chain(self.datastore.services())
    }
}

/// When an object is no longer new.
pub fn settles(object: &impl ResourceExt) -> Option<Timestamp> {
    Some(object.creation_timestamp()?.0 + GRACE_PERIOD)
}

/// What others say of an object that does not come further.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Complaint {
    /// UID of the object.
    pub uid: String,
    /// The newest warning about it.
    pub message: String,
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

/// Whether a pod serves.
pub fn ready(pod: &Pod) -> bool {
    holds(pod, "Ready") && pod.metadata.deletion_timestamp.is_none()
}
