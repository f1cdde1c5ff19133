//! What is deleted with a control plane.

use super::view::View;
use capn_api::{
    NestedControlPlane,
    nested_control_plane::{NestedControlPlaneSpec, RetentionPolicy},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

/// Whether what belongs to the control plane is to stay, which `kubectl delete --cascade=orphan` asks
/// for. The garbage collector then takes all owner references away, and last the finalizer that says so. Where
/// only some are gone, somebody else has taken them.
pub fn orphaned(ncp: &NestedControlPlane, view: &View) -> bool {
    if ncp.finalizers().iter().any(|finalizer| finalizer == "orphan") {
        return true;
    }
    let uid = ncp.uid();
    let owned = |meta: &ObjectMeta| {
        let mut owners = meta.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == uid.as_ref())
    };
    let deployments = view.api_server.iter().chain(&view.controllers);
    let sets = view.etcd.iter().map(|live| &live.metadata);
    let workloads = deployments.map(|live| &live.metadata).chain(sets);
    let services = view.services.all().into_iter().flatten().map(|live| &live.metadata);
    let secrets = view.secrets.all().map(|live| &live.metadata);
    let mut workloads = workloads.peekable();
    workloads.peek().is_some() && !workloads.chain(services).chain(secrets).any(owned)
}

/// Whether the volumes go with the control plane.
pub fn deletes_claims(spec: &NestedControlPlaneSpec) -> bool {
    let etcd = spec.datastore.as_ref().and_then(|datastore| datastore.etcd.as_ref());
    let retention = etcd.and_then(|etcd| etcd.persistent_volume_claim_retention_policy.as_ref());
    retention.is_none_or(|retention| retention.when_deleted == RetentionPolicy::Delete)
}
