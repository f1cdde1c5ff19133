//! Carries out what was planned, and decides nothing.

use crate::runtime::api_client::{ApiClient, ApiError};
use crate::workload_cluster::{Nodes, Visited};
use capn_api::{KubevirtMachine, cluster_api::Cluster};
use capn_core::{
    machine::{
        names,
        plan::{Action, Answer, Failure},
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
        match action {
            Action::ReadNode(_) | Action::PatchNode(..) | Action::ListPods(_) | Action::Evict(_) => {
                self.in_workload_cluster(action).await
            }
            _ => self
                .in_management_cluster(object, action)
                .await
                .map_err(Failure::Management),
        }
    }

    async fn in_management_cluster(&self, object: &KubevirtMachine, action: &Action) -> Result<Answer, ApiError> {
        let api = self.api;
        let (owner, of_user_data) = (names::owner(object), self.user_data_owner(object));
        Ok(match action {
            Action::Patch(patch) => Answer::Machine(Box::new(api.merge_patch(patch, object).await?)),
            Action::ApplyUserData { wanted, stored } => {
                let secrets = api.dependents(&of_user_data);
                secrets.apply(wanted.as_ref(), stored.as_deref()).await?;
                Answer::Done
            }
            Action::CreateVm(vm) => Answer::Vm(Box::new(api.dependents(&owner).create(vm.as_ref()).await?)),
            Action::DeleteUserData(secret) => {
                api.dependents(&of_user_data).delete(secret.as_ref()).await?;
                Answer::Done
            }
            Action::DeleteVm(vm) => {
                api.dependents(&owner).delete(vm.as_ref()).await?;
                Answer::Done
            }
            Action::DeleteVmi(vmi) => {
                api.dependents(&owner.indirectly()).delete(vmi.as_ref()).await?;
                Answer::Done
            }
            Action::ReadNode(_) | Action::PatchNode(..) | Action::ListPods(_) | Action::Evict(_) => Answer::Done,
        })
    }

    fn user_data_owner(&self, object: &KubevirtMachine) -> Owner {
        names::user_data_owner(object, self.cluster_name.as_deref())
    }

    async fn in_workload_cluster(&mut self, action: &Action) -> Result<Answer, Failure> {
        if self.visited.is_none() {
            let visited = match &self.cluster {
                Some(cluster) => self.nodes.visit(self.api, cluster).await.map_err(Failure::Management)?,
                None => Err("the Cluster is gone".to_owned()),
            };
            self.visited = Some(visited);
        }
        let visited = match &self.visited {
            Some(Ok(visited)) => visited,
            Some(Err(why)) => return Err(Failure::WorkloadCluster(why.clone())),
            None => return Ok(Answer::Done),
        };
        // All of them together take no longer than any other pass; the next goes on with what is left.
        match tokio::time::timeout_at(visited.visit.deadline(), call(&visited.api, action)).await {
            Ok(answer) => answer.map_err(|error| Failure::WorkloadCluster(format!("in the tenant: {error}"))),
            Err(_) => Err(Failure::WorkloadCluster(
                "the tenant's API server answers slowly".to_owned(),
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

async fn call(workload: &ApiClient, action: &Action) -> Result<Answer, ApiError> {
    Ok(match action {
        Action::ReadNode(name) => Answer::Node(workload.get::<Node>(None, name).await?.map(Box::new)),
        Action::PatchNode(node, patch) => {
            Answer::Node(Some(Box::new(workload.merge_patch(patch, node.as_ref()).await?)))
        }
        Action::ListPods(node) => Answer::Pods(workload.pods_of_node(node).await?),
        Action::Evict(pods) => {
            let mut evicted = Vec::new();
            for pod in pods {
                evicted.push(workload.evict(pod).await?);
            }
            Answer::Evicted(evicted)
        }
        _ => Answer::Done,
    })
}
