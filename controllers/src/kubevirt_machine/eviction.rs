//! An eviction that KubeVirt leaves to others (`evictionStrategy: External`): the tenant's Node is
//! cordoned and drained, then the instance is deleted. A Node that comes back is uncordoned.

use crate::runtime::api_client::{ApiClient, ApiError};
use crate::workload_cluster::Visit;
use capn_api::KubevirtMachine;
use capn_core::machine::{
    kubevirt::VirtualMachineInstance,
    names::{CORDONED_ANNOTATION, DRAIN_UNTIL_ANNOTATION},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use serde_json::json;

/// Longest time that a Node is drained before its instance is deleted all the same: a tenant's
/// PodDisruptionBudget must not hold up the management cluster for ever.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// How far an eviction is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Eviction {
    /// The Node is being drained.
    Draining(String),
    /// The instance was told to go.
    InstanceDeleted(String),
}

/// An eviction that is left to us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    instance: &'a VirtualMachineInstance,
    /// The node of the management cluster that the instance has to leave.
    host: &'a str,
}

/// Whether an instance is asked to leave its node, and that is left to us.
pub(crate) fn asked(instance: &VirtualMachineInstance) -> Option<Asked<'_>> {
    let strategy = instance
        .spec
        .0
        .get("evictionStrategy")
        .and_then(serde_json::Value::as_str);
    let host = instance.status.as_ref()?.evacuation_node_name.as_str();
    let ours = strategy == Some("External") && !host.is_empty() && instance.metadata.deletion_timestamp.is_none();
    ours.then_some(Asked { instance, host })
}

/// A Node to drain, in a workload cluster that can be called or cannot, and why.
pub(crate) struct Drain<'a> {
    pub(crate) tenant: Result<(ApiClient, &'a Visit), String>,
    pub(crate) node: &'a str,
}

/// Goes on with an eviction. `drain` is None when nothing runs on the instance.
///
/// # Errors
/// When a call to the management cluster fails. A tenant that fails is drained until the time is over.
pub(crate) async fn evict(
    api: &ApiClient,
    object: &mut KubevirtMachine,
    asked: Asked<'_>,
    drain: Option<Drain<'_>>,
    now: Timestamp,
) -> Result<Eviction, ApiError> {
    let host = asked.host;
    if let Some(Drain { tenant, node }) = drain {
        let until = match until(object) {
            Some(until) => until,
            None => {
                let until = now + GRACE;
                *object = annotate(api, object, json!({DRAIN_UNTIL_ANNOTATION: until.to_string()})).await?;
                until
            }
        };
        if now < until {
            let left = match tenant {
                Err(why) => Some(why),
                Ok((tenant, visit)) => {
                    // One try takes no longer than any other pass; the next goes on with what is left.
                    let deadline = visit.deadline();
                    match tokio::time::timeout_at(deadline, self::drain(api, object, &tenant, node)).await {
                        Ok(left) => left.unwrap_or_else(|error| Some(error.to_string())),
                        Err(_) => Some("the tenant's API server answers slowly".to_owned()),
                    }
                }
            };
            if let Some(left) = left {
                return Ok(Eviction::Draining(format!(
                    "node {host} of the management cluster is being emptied: draining Node {node} of the tenant until {until} at most; {left}"
                )));
            }
        }
    }
    let owner = super::names::owner(object).indirectly();
    api.dependents(&owner).delete(asked.instance).await?;
    if until(object).is_some() {
        *object = annotate(api, object, json!({DRAIN_UNTIL_ANNOTATION: null})).await?;
    }
    Ok(Eviction::InstanceDeleted(format!(
        "node {host} of the management cluster is being emptied: the VirtualMachineInstance was deleted"
    )))
}

/// Ends the eviction of a machine that is back, or whose eviction was called off: its Node is
/// uncordoned, unless it was not we who had cordoned it.
///
/// # Errors
/// When a call fails; it is tried again.
pub(crate) async fn uncordon(
    api: &ApiClient,
    object: &mut KubevirtMachine,
    tenant: &ApiClient,
    name: &str,
) -> Result<(), ApiError> {
    if cordoned(object)
        && let Some(node) = tenant.get::<Node>(None, name).await?
    {
        cordon(tenant, &node, false).await?;
    }
    let marks = json!({DRAIN_UNTIL_ANNOTATION: null, CORDONED_ANNOTATION: null});
    *object = annotate(api, object, marks).await?;
    Ok(())
}

/// Whether a machine bears marks of an eviction.
pub(crate) fn begun(object: &KubevirtMachine) -> bool {
    cordoned(object) || object.annotations().contains_key(DRAIN_UNTIL_ANNOTATION)
}

/// Whether we have cordoned its Node, or were about to.
fn cordoned(object: &KubevirtMachine) -> bool {
    object.annotations().contains_key(CORDONED_ANNOTATION)
}

fn until(object: &KubevirtMachine) -> Option<Timestamp> {
    object.annotations().get(DRAIN_UNTIL_ANNOTATION)?.parse().ok()
}

async fn annotate(
    api: &ApiClient,
    object: &KubevirtMachine,
    annotations: serde_json::Value,
) -> Result<KubevirtMachine, ApiError> {
    api.merge_patch(&json!({"metadata": {"annotations": annotations}}), object)
        .await
}

/// One try to empty a Node; says what is left on it.
async fn drain(
    api: &ApiClient,
    object: &mut KubevirtMachine,
    tenant: &ApiClient,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let Some(node) = tenant.get::<Node>(None, name).await? else {
        return Ok(None);
    };
    if !unschedulable(&node) {
        if !cordoned(object) {
            *object = annotate(api, object, json!({CORDONED_ANNOTATION: "true"})).await?;
        }
        cordon(tenant, &node, true).await?;
    }
    let pods = tenant.pods_of_node(name).await?;
    let mut left = Vec::new();
    for pod in pods.iter().filter(|pod| leaves(pod)) {
        let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        if pod.metadata.deletion_timestamp.is_some() || tenant.evict(pod).await? {
            left.push(format!("Pod {place} is ending"));
        } else {
            left.push(format!("a PodDisruptionBudget holds Pod {place}"));
        }
    }
    Ok(left.first().map(|first| match left.len() {
        1 => first.clone(),
        count => format!("{first}, and {} more are left", count - 1),
    }))
}

async fn cordon(tenant: &ApiClient, node: &Node, cordoned: bool) -> Result<(), ApiError> {
    if unschedulable(node) != cordoned {
        let patch = json!({"spec": {"unschedulable": cordoned.then_some(true)}});
        tenant.merge_patch(&patch, node).await?;
    }
    Ok(())
}

fn unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// Whether a pod has to leave a Node that is drained: not those of DaemonSets, which come back at
/// once, not static ones, and not those that have ended by themselves. What was told to go is
/// waited for until its kubelet has removed it.
fn leaves(pod: &Pod) -> bool {
    let daemon = pod
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    let fixed = pod.annotations().contains_key("kubernetes.io/config.mirror");
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none();
    !daemon && !fixed && !ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vmi(value: serde_json::Value) -> VirtualMachineInstance {
        let mut whole =
            json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "vm"}});
        for (key, value) in value.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn only_an_eviction_that_is_left_to_us_is_ours() {
        let host = |value| asked(&vmi(value)).map(|asked| asked.host.to_owned());
        let spec = |strategy: &str| json!({"evictionStrategy": strategy});
        let status = json!({"evacuationNodeName": "node-1"});
        let evicted = json!({"spec": spec("External"), "status": status});
        assert_eq!(host(evicted).as_deref(), Some("node-1"));
        assert_eq!(host(json!({"spec": spec("LiveMigrate"), "status": status})), None);
        assert_eq!(host(json!({"spec": spec("External"), "status": {}})), None);
        let going = json!({"name": "vm", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let gone = json!({"metadata": going, "spec": spec("External"), "status": status});
        assert_eq!(host(gone), None);
    }

    #[test]
    fn pods_that_would_come_back_or_have_ended_do_not_leave() {
        let pod = |value: serde_json::Value| leaves(&serde_json::from_value(value).unwrap());
        assert!(pod(json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}})));
        let owner =
            |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "1", "controller": true}]);
        assert!(pod(
            json!({"metadata": {"name": "a", "ownerReferences": owner("ReplicaSet")}})
        ));
        assert!(!pod(
            json!({"metadata": {"name": "a", "ownerReferences": owner("DaemonSet")}})
        ));
        assert!(!pod(
            json!({"metadata": {"name": "a", "annotations": {"kubernetes.io/config.mirror": "x"}}})
        ));
        assert!(!pod(
            json!({"metadata": {"name": "a"}, "status": {"phase": "Succeeded"}})
        ));
    }
}
