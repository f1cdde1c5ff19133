//! What Cluster API's conventions say of an object.

use capn_api::cluster_api::{Cluster, PAUSED_ANNOTATION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// Whether the object or its Cluster asks to be left alone, and which of them.
pub fn paused(object: &impl Resource, cluster: Option<&Cluster>) -> Option<&'static str> {
    if object
        .meta()
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(PAUSED_ANNOTATION))
    {
        Some("the annotation cluster.x-k8s.io/paused is set on this object")
    } else if cluster.is_some_and(|cluster| cluster.spec.paused == Some(true)) {
        Some("spec.paused is set on the Cluster")
    } else {
        None
    }
}

/// The owner reference to a Cluster, which any user may have written.
pub fn cluster_owner(object: &impl Resource) -> Option<&OwnerReference> {
    cluster_api_owner(object, "Cluster")
}

/// The owner reference to an object of this kind of Cluster API's core, which any user may have
/// written.
pub fn cluster_api_owner<'a>(object: &'a impl Resource, kind: &str) -> Option<&'a OwnerReference> {
    let owners = object.meta().owner_references.iter().flatten();
    owners
        .into_iter()
        .find(|owner| owner.kind == kind && owner.api_version.starts_with("cluster.x-k8s.io/"))
}
