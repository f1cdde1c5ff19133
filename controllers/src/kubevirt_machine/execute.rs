//! Carries out what was planned, and decides nothing.

use crate::runtime::api_client::{ApiClient, ApiError};
use crate::workload_cluster::{Nodes, Visited};
use capn_api::{KubevirtMachine, cluster_api::Cluster};
use capn_core::{
    machine::{
        names,
        plan::{Action, Answer, Failure, WorkloadAction},
    },
    ownership::Owner,
};
use k8s_openapi::api::core::v1::Node;

/// What actions are carried out with. The workload cluster is visited once, by the first action that needs it, and
/// left at the end.
pub(super) struct Executor<'a> {
    api: &'a ApiClient,
    nodes: &'a Nodes,
    cluster: Option<Cluster>,
    cluster_name: Option<String>,
    visited: Option<Result<Visited, String>>,
}

impl<'a> Executor<'a> {
    pub(super) fn new(
        api: &'a ApiClient,
        nodes: &'a Nodes,
        cluster: Option<Cluster>,
        cluster_name: Option<String>,
    ) -> Self {
        Self {
            api,
            nodes,
            cluster,
            cluster_name,
            visited: None,
        }
    }

    /// Carries out an action for this machine.
    pub(super) async fn execute(&mut self, object: &KubevirtMachine, action: &Action) -> Result<Answer, Failure> {
        let api = self.api;
        let (owner, of_user_data) = (names::owner(object), self.user_data_owner(object));
        let answer = match action {
            Action::Workload(call) => return self.in_workload_cluster(call).await,
            Action::Patch(patch) => {
                let patched = api.merge_patch(patch, object).await;
                patched.map(|object| Answer::Machine(Box::new(object)))
            }
            Action::ApplyUserData { wanted, stored } => {
                let secrets = api.dependents(&of_user_data);
                let applied = secrets.apply(wanted.as_ref(), stored.as_deref()).await;
                applied.map(|_| Answer::Done)
            }
            Action::CreateVm(vm) => {
                let created = api.dependents(&owner).create(vm.as_ref()).await;
                created.map(|vm| Answer::Vm(Box::new(vm)))
            }
            Action::DeleteUserData(secret) => deleted(api.dependents(&of_user_data).delete(secret.as_ref()).await),
            Action::DeleteVm(vm) => deleted(api.dependents(&owner).delete(vm.as_ref()).await),
            Action::DeleteVmi(vmi) => deleted(api.dependents(&owner.indirectly()).delete(vmi.as_ref()).await),
        };
        answer.map_err(Failure::Management)
    }

    fn user_data_owner(&self, object: &KubevirtMachine) -> Owner {
        names::user_data_owner(object, self.cluster_name.as_deref())
    }

    async fn in_workload_cluster(&mut self, call: &WorkloadAction) -> Result<Answer, Failure> {
        let visited = match (self.visited.take(), &self.cluster) {
            (Some(visited), _) => visited,
            (None, Some(cluster)) => self.nodes.visit(self.api, cluster).await.map_err(Failure::Management)?,
            (None, None) => Err("the Cluster is gone".to_owned()),
        };
        let visited = match self.visited.insert(visited) {
            Ok(visited) => visited,
            Err(why) => return Err(Failure::WorkloadCluster(why.clone())),
        };
        // All of them together take no longer than any other pass; the next goes on with what is left.
        match tokio::time::timeout_at(visited.visit.deadline(), self::call(&visited.api, call)).await {
            Ok(answer) => answer.map_err(|error| Failure::WorkloadCluster(format!("in the workload cluster: {error}"))),
            Err(_) => Err(Failure::WorkloadCluster(
                "the workload cluster's API server responds too slowly".to_owned(),
            )),
        }
    }

    /// Ends the visit of the workload cluster.
    pub(super) fn leave(self) {
        if let Some(Ok(visited)) = self.visited {
            self.nodes.leave(visited);
        }
    }
}

fn deleted(deleted: Result<(), ApiError>) -> Result<Answer, ApiError> {
    deleted.map(|()| Answer::Done)
}

async fn call(workload: &ApiClient, call: &WorkloadAction) -> Result<Answer, ApiError> {
    Ok(match call {
        WorkloadAction::ReadNode(name) => Answer::Node(workload.get::<Node>(None, name).await?.map(Box::new)),
        WorkloadAction::PatchNode(node, patch) => {
            Answer::Node(Some(Box::new(workload.merge_patch(patch, node.as_ref()).await?)))
        }
        WorkloadAction::ListPods(node) => Answer::Pods(workload.pods_of_node(node).await?),
        WorkloadAction::Evict(pods) => {
            let mut evicted = Vec::new();
            for pod in pods {
                evicted.push(workload.evict(pod).await?);
            }
            Answer::Evicted(evicted)
        }
    })
}
