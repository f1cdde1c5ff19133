//! Deletion: everything of a control plane is deleted, in an order that lets what is left be seen;
//! volumes by the field for it. Secrets that a user brought stay.

use super::{Action, Object};
use crate::control_plane::{
    deletion::{Step, ended, gone, orphaned},
    view::View,
};
use crate::datastore::teardown;
use capn_api::NestedControlPlane;

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
    let steps: [fn(&NestedControlPlane, &View) -> Step; 4] = [serving, teardown::workloads, teardown::data, rest];
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

/// Workers need the API server to leave: their pods are drained through it.
fn wait_for_workers(workers: &[String]) -> Option<String> {
    let first = workers.first()?;
    Some(format!(
        "waiting for {} worker machine(s) to be deleted, Machine {first} first",
        workers.len()
    ))
}

/// Before the datastore: API servers must not see their datastore go, nor controllers their API servers.
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

fn rest(_: &NestedControlPlane, view: &View) -> Step {
    let services = || view.services();
    let mut objects: Vec<Object> = services().cloned().map(Object::from).collect();
    objects.extend(view.secrets.all().cloned().map(Object::from));
    objects.extend(teardown::rest(view));
    objects.extend(view.revisions.iter().cloned().map(Object::from));
    (objects, services().map(|left| gone("Service", left)).next())
}
