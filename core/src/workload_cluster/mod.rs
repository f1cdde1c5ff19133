//! What is written inside a workload cluster: what kubeadm would have written for workers to join, the
//! address of the API server, and the add-ons.

mod addons;
mod bootstrap_rbac;
mod endpoints;
mod error;
mod kubeadm;
mod objects;

pub use error::{BUDGET, PrepareError};
pub use objects::{Objects, WorkloadClusterConfig};

/// Builds every object inside a workload cluster.
pub fn objects(facts: &WorkloadClusterConfig<'_>) -> Objects {
    let mut objects = Objects {
        roles: bootstrap_rbac::roles(),
        role_bindings: bootstrap_rbac::role_bindings(),
        cluster_roles: bootstrap_rbac::cluster_roles(),
        cluster_role_bindings: bootstrap_rbac::cluster_role_bindings(),
        config_maps: vec![
            kubeadm::cluster_info(facts),
            kubeadm::kubeadm_config(facts),
            kubeadm::kubelet_config(facts),
        ],
        endpoints: endpoints::endpoints(facts),
        endpoint_slice: endpoints::endpoint_slice(facts),
        service_accounts: Vec::new(),
        services: Vec::new(),
        create_only_config_maps: Vec::new(),
        create_only_deployments: Vec::new(),
        deployments: Vec::new(),
        daemon_sets: Vec::new(),
    };
    if let Some(image) = facts.core_dns {
        addons::core_dns::add(&mut objects, facts, image);
    }
    if let Some(image) = facts.kube_proxy {
        addons::kube_proxy::add(&mut objects, facts, image);
    }
    objects
}
