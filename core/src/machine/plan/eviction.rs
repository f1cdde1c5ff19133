//! An eviction that KubeVirt leaves to others (`evictionStrategy: External`): the Node of the workload cluster is
//! cordoned and drained, then the instance is deleted. A Node that comes back is uncordoned.

use super::known::{Known, Step};
use super::{Action, WorkloadAction};
use crate::machine::{
    diagnosis::running,
    kubevirt::VirtualMachineInstance,
    names::{CORDONED_ANNOTATION, DRAIN_UNTIL_ANNOTATION},
};
use capn_api::{KubevirtMachine, Reason};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Longest time that a Node is drained before its instance is deleted all the same: a workload
/// cluster's PodDisruptionBudget must not hold up the management cluster for ever.
const MAX_DRAIN: SignedDuration = SignedDuration::from_mins(10);

/// How far an eviction is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Eviction {
    /// The Node is being drained.
    Draining(String),
    /// The instance was deleted.
    InstanceDeleted(String),
}

impl Eviction {
    /// What is told of it.
    pub fn event(&self) -> (Reason, &str) {
        match self {
            Self::Draining(message) => (Reason::Draining, message),
            Self::InstanceDeleted(message) => (Reason::Evicted, message),
        }
    }
}

/// The node of the management cluster that an instance is asked to leave, where that is left to us.
pub(super) fn asked(instance: &VirtualMachineInstance) -> Option<&str> {
    let strategy = instance.spec.0.get("evictionStrategy").and_then(Value::as_str);
    let host = instance.status.as_ref()?.evacuation_node_name.as_str();
    let ours = strategy == Some("External") && !host.is_empty() && instance.metadata.deletion_timestamp.is_none();
    ours.then_some(host)
}

/// Whether a machine bears marks of an eviction.
pub(super) fn begun(object: &KubevirtMachine) -> bool {
    cordoned(object) || object.annotations().contains_key(DRAIN_UNTIL_ANNOTATION)
}

/// What an eviction does next, or how far it is.
pub(super) fn next(known: &Known) -> Step<Option<Eviction>> {
    let vmi = known.view.vmi.as_ref();
    let runs = vmi.is_some_and(running);
    match vmi.and_then(|vmi| Some((vmi, asked(vmi)?))) {
        Some((vmi, host)) => evict(known, vmi, host, runs).map(Some),
        None if runs && begun(&known.object) => uncordon(known).map(|()| None),
        None => Step::Done(None),
    }
}

fn evict(known: &Known, vmi: &VirtualMachineInstance, host: &str, runs: bool) -> Step<Eviction> {
    let object = &known.object;
    // What does not run has nothing to be drained.
    if runs && !known.instance_deleted {
        let Some(until) = until(object) else {
            let until = known.now + MAX_DRAIN;
            return Step::Do(annotate(json!({DRAIN_UNTIL_ANNOTATION: until.to_string()})));
        };
        if known.now < until {
            match drain(known) {
                Step::Do(action) => return Step::Do(action),
                Step::Done(None) => {}
                Step::Done(Some(left)) => {
                    let node = known.node_name();
                    return Step::Done(Eviction::Draining(format!(
                        "node {host} of the management cluster is being emptied: draining Node {node} of the workload cluster until {until} at most; {left}"
                    )));
                }
            }
        }
    }
    if !known.instance_deleted {
        return Step::Do(Action::DeleteVmi(Box::new(vmi.clone())));
    }
    if until(object).is_some() {
        return Step::Do(annotate(json!({DRAIN_UNTIL_ANNOTATION: null})));
    }
    Step::Done(Eviction::InstanceDeleted(format!(
        "node {host} of the management cluster is being emptied: the VirtualMachineInstance was deleted"
    )))
}

/// Ends the eviction of a machine that is back, or whose eviction was called off: its Node is
/// uncordoned, unless it was not we who had cordoned it.
fn uncordon(known: &Known) -> Step<()> {
    // At once, whether or not the workload cluster can be reached: the next eviction has its own time.
    if known.object.annotations().contains_key(DRAIN_UNTIL_ANNOTATION) {
        return Step::Do(annotate(json!({DRAIN_UNTIL_ANNOTATION: null})));
    }
    if cordoned(&known.object) {
        match &known.node {
            None => return Step::Do(Action::Workload(WorkloadAction::ReadNode(known.node_name()))),
            // It stays cordoned until its workload cluster can be reached.
            Some(Err(_)) => return Step::Done(()),
            Some(Ok(Some(node))) if unschedulable(node) => return Step::Do(cordon(node, false)),
            Some(Ok(_)) => return Step::Do(annotate(json!({CORDONED_ANNOTATION: null}))),
        }
    }
    Step::Done(())
}

/// Empties a Node; says what is left on it.
fn drain(known: &Known) -> Step<Option<String>> {
    let node = match &known.node {
        None => return Step::Do(Action::Workload(WorkloadAction::ReadNode(known.node_name()))),
        Some(Err(why)) => return Step::Done(Some(why.clone())),
        Some(Ok(None)) => return Step::Done(None),
        Some(Ok(Some(node))) => node,
    };
    if !unschedulable(node) {
        if !cordoned(&known.object) {
            return Step::Do(annotate(json!({CORDONED_ANNOTATION: "true"})));
        }
        return Step::Do(cordon(node, true));
    }
    let pods = match &known.pods {
        None => return Step::Do(Action::Workload(WorkloadAction::ListPods(known.node_name()))),
        Some(Err(why)) => return Step::Done(Some(why.clone())),
        Some(Ok(pods)) => pods,
    };
    let leaving = || pods.iter().filter(|pod| leaves(pod));
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    let to_evict: Vec<_> = leaving().filter(stays).cloned().collect();
    let evicted = match &known.evicted {
        None if !to_evict.is_empty() => return Step::Do(Action::Workload(WorkloadAction::Evict(to_evict))),
        None => &Vec::new(),
        Some(Err(why)) => return Step::Done(Some(why.clone())),
        Some(Ok(evicted)) => evicted,
    };
    let mut evicted = evicted.iter();
    let mut left = leaving().map(|pod| {
        let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        if stays(&pod) && evicted.next() != Some(&true) {
            format!("a PodDisruptionBudget holds Pod {place}")
        } else {
            format!("Pod {place} is ending")
        }
    });
    let first = left.next();
    Step::Done(first.map(|first| match left.count() {
        0 => first,
        1 => format!("{first}, and 1 more is left"),
        more => format!("{first}, and {more} more are left"),
    }))
}

/// Whether we have cordoned its Node, or were about to.
fn cordoned(object: &KubevirtMachine) -> bool {
    object.annotations().contains_key(CORDONED_ANNOTATION)
}

fn until(object: &KubevirtMachine) -> Option<Timestamp> {
    object.annotations().get(DRAIN_UNTIL_ANNOTATION)?.parse().ok()
}

fn annotate(annotations: Value) -> Action {
    Action::Patch(json!({"metadata": {"annotations": annotations}}))
}

fn cordon(node: &Node, cordoned: bool) -> Action {
    let patch = json!({"spec": {"unschedulable": cordoned.then_some(true)}});
    Action::Workload(WorkloadAction::PatchNode(Box::new(node.clone()), patch))
}

fn unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// Whether a pod has to leave a Node that is drained: not those of DaemonSets, which come back at
/// once, not static ones, and not those that have ended by themselves. What was told to go is
/// waited for until its kubelet has removed it.
pub(super) fn leaves(pod: &Pod) -> bool {
    let daemon = pod
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    let fixed = pod.annotations().contains_key("kubernetes.io/config.mirror");
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none();
    !daemon && !fixed && !ended
}
