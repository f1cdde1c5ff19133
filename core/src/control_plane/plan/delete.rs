//! Deletion: everything of a control plane is deleted, in an order that lets what is left be seen;
//! volumes by the field for it. Secrets that a user brought stay.

use super::{Action, Object};
use crate::control_plane::{
    deletion::{deletes_claims, orphaned},
    names::UID_LABEL,
    view::View,
};
use crate::ownership::Owner;
use capn_api::NestedControlPlane;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// What a deletion does next.
#[derive(Debug)]
pub struct Deletion {
    /// What is deleted now.
    pub actions: Vec<Action>,
    /// What is waited for; `None` once nothing is left, and the object itself can be let go.
    pub waiting: Option<String>,
    /// Whether everything stays, as `kubectl delete --cascade=orphan` asks for.
    pub orphaned: bool,
}

/// Decides what is deleted, and what that waits for. `workers` are the names of the Cluster's worker
/// Machines, while the Cluster is there.
pub fn delete(ncp: &NestedControlPlane, view: &View, workers: &[String]) -> Deletion {
    let mut deletion = Deletion {
        actions: Vec::new(),
        waiting: None,
        orphaned: orphaned(ncp, view),
    };
    if deletion.orphaned {
        return deletion;
    }
    let steps: [fn(&NestedControlPlane, &View) -> Step; 4] = [serving, datastore, claims, rest];
    deletion.waiting = wait_for_workers(workers);
    for step in steps {
        if deletion.waiting.is_some() {
            break;
        }
        let (objects, blocked) = step(ncp, view);
        deletion.actions.extend(objects.into_iter().map(Action::Delete));
        deletion.waiting = blocked;
    }
    deletion
}

/// What a step deletes, and what the next one waits for.
type Step = (Vec<Object>, Option<String>);

/// Workers need the API server to leave: their pods are drained through it.
fn wait_for_workers(workers: &[String]) -> Option<String> {
    let first = workers.first()?;
    Some(format!(
        "waiting for {} worker machine(s) to go, Machine {first} first",
        workers.len()
    ))
}

/// Before etcd: API servers must not see their datastore go, nor controllers their API servers.
fn serving(_: &NestedControlPlane, view: &View) -> Step {
    let deployments = view.controllers.iter().chain(&view.api_server);
    let budgets = view.controllers_budget.iter().chain(&view.api_server_budget);
    let objects = deployments.clone().cloned().map(Object::from);
    let objects = objects.chain(budgets.cloned().map(Object::from)).collect();
    let waiting = ended("controllers", &view.controllers_pods)
        .or_else(|| ended("API server", &view.api_server_pods))
        .or_else(|| deployments.map(|left| gone("Deployment", left)).next());
    (objects, waiting)
}

fn datastore(_: &NestedControlPlane, view: &View) -> Step {
    let objects = view.etcd.iter().cloned().map(Object::from);
    let objects = objects
        .chain(view.etcd_budget.iter().cloned().map(Object::from))
        .collect();
    let waiting = ended("etcd", &view.etcd_pods).or_else(|| view.etcd.as_ref().map(|left| gone("StatefulSet", left)));
    (objects, waiting)
}

/// A claim without our label is not ours to delete, whoever took the label: nothing waits for it.
fn claims(ncp: &NestedControlPlane, view: &View) -> Step {
    if !deletes_claims(&ncp.spec) {
        return (Vec::new(), None);
    }
    let owner = Owner::new(ncp, UID_LABEL);
    let claims = || view.claims.iter().filter(|claim| owner.owns(*claim));
    (
        claims().cloned().map(Object::from).collect(),
        claims().map(|left| gone("claim", left)).next(),
    )
}

fn rest(_: &NestedControlPlane, view: &View) -> Step {
    let services = || view.services.all().into_iter().flatten();
    let mut objects: Vec<Object> = services().cloned().map(Object::from).collect();
    objects.extend(view.secrets.all().cloned().map(Object::from));
    objects.extend(view.etcd_config.iter().cloned().map(Object::from));
    objects.extend(view.revisions.iter().cloned().map(Object::from));
    (objects, services().map(|left| gone("Service", left)).next())
}

fn ended(what: &str, pods: &[Pod]) -> Option<String> {
    (!pods.is_empty()).then(|| format!("waiting for pods of {what} to end"))
}

fn gone(kind: &str, left: &impl ResourceExt) -> String {
    format!("waiting for {kind} {} to go", left.name_any())
}
