//! What is deleted with a control plane.

use super::action::Object;
use super::view::View;
use capn_api::NestedControlPlane;
use k8s_openapi::api::core::v1::Pod;
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
    let sets = view.datastore.stateful_set.iter().map(|live| &live.metadata);
    let workloads = deployments.map(|live| &live.metadata).chain(sets);
    let services = view.services().map(|live| &live.metadata);
    let secrets = view.secrets.all().map(|live| &live.metadata);
    let mut workloads = workloads.peekable();
    workloads.peek().is_some() && !workloads.chain(services).chain(secrets).any(owned)
}

/// What a step of a deletion deletes, and what the next one waits for.
pub type Step = (Vec<Object>, Option<String>);

/// What is waited for while pods of a component are there.
pub fn ended(component: &str, pods: &[Pod]) -> Option<String> {
    (!pods.is_empty()).then(|| format!("waiting for the pods of {component} to terminate"))
}

/// What is waited for while this object is there.
pub fn gone(kind: &str, left: &impl ResourceExt) -> String {
    format!("waiting for {kind} {} to be deleted", left.name_any())
}
