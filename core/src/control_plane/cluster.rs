//! Which Cluster a control plane belongs to. An owner reference alone proves nothing: any user may
//! write one.

use crate::cluster_api::cluster_owner;
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

/// The Cluster of a NestedControlPlane.
#[derive(Clone, Debug)]
pub enum OfCluster {
    /// It belongs to this one: they name each other.
    Found(Box<Cluster>),
    /// There is none, or none any more.
    Missing,
    /// What the object says of its Cluster is not what the Cluster says.
    Disputed(String),
}

impl OfCluster {
    /// Told from the Cluster that the object's owner reference names.
    pub fn by_owner(ncp: &NestedControlPlane, owner: &OwnerReference, found: Option<Cluster>) -> Self {
        let name = ncp.name_any();
        match found {
            None => Self::Missing,
            Some(cluster) if cluster.uid().as_ref() != Some(&owner.uid) => Self::Disputed(format!(
                "the owner reference to Cluster {} has the UID of another object: remove it",
                owner.name
            )),
            Some(cluster) if control_plane_of(&cluster) != Some(&name) => Self::Disputed(format!(
                "Cluster {} owns this object but does not name it: set its spec.controlPlaneRef to NestedControlPlane {name}, or delete this object",
                owner.name
            )),
            Some(cluster) => Self::Found(Box::new(cluster)),
        }
    }

    /// Told from all Clusters of the namespace, while there is no owner reference: Cluster API's core
    /// takes seconds over it, and a control plane need not wait for it.
    pub fn by_reference(ncp: &NestedControlPlane, mut clusters: Vec<Cluster>) -> Self {
        let name = ncp.name_any();
        clusters.retain(|cluster| control_plane_of(cluster) == Some(&name));
        match (clusters.pop(), clusters.first()) {
            (None, _) => Self::Missing,
            (Some(cluster), None) => Self::Found(Box::new(cluster)),
            (Some(one), Some(other)) => Self::Disputed(format!(
                "Clusters {} and {} both name this object as their control plane: give each a NestedControlPlane of its own",
                other.name_any(),
                one.name_any()
            )),
        }
    }
}

/// The name of the NestedControlPlane that a Cluster names.
pub fn control_plane_of(cluster: &Cluster) -> Option<&String> {
    let reference = cluster.spec.control_plane_ref.as_ref()?;
    let ours = reference.kind == "NestedControlPlane" && reference.api_group == "controlplane.cluster.x-k8s.io";
    ours.then_some(&reference.name)
}

/// The name of the Cluster, as far as the object itself tells.
pub fn cluster_of(ncp: &NestedControlPlane) -> Option<String> {
    cluster_owner(ncp)
        .map(|owner| owner.name.clone())
        .or_else(|| ncp.labels().get(CLUSTER_NAME_LABEL).cloned())
}
