//! A machine that is wanted: its eviction, its user data, its VirtualMachine, its provider ID and its Node.

use super::eviction::{self, Eviction};
use super::known::{Known, Step};
use super::{Action, Answer, Failure, Next, WorkloadAction};
use crate::api_error::{ApiError, Cause};
use crate::machine::{
    desired,
    diagnosis::{self, State},
    names,
    status::{Outcome, Registration},
    view::View,
    virtual_machine,
};
use capn_api::{KubevirtMachine, kubevirt_machine::FINALIZER};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

/// Upper bound of the actions of one pass. None needs as many: more mean that a write does not take effect.
const MAX_ACTIONS: usize = 32;

/// A pass over a machine that is wanted.
#[derive(Debug)]
pub struct Provision {
    known: Known,
    /// What cannot go on.
    failed: Option<Outcome>,
    actions: usize,
}

impl Provision {
    /// A pass over this object, of which this was found.
    pub fn new(object: KubevirtMachine, view: View, now: Timestamp) -> Self {
        Self {
            known: Known {
                had_vm: view.vm.is_some(),
                object,
                view,
                now,
                node: None,
                pods: None,
                evicted: None,
                instance_deleted: false,
                user_data_applied: false,
            },
            failed: None,
            actions: 0,
        }
    }

    /// The object as it is known now.
    pub fn object(&self) -> &KubevirtMachine {
        &self.known.object
    }

    /// How far an eviction is.
    pub fn eviction(&self) -> Option<Eviction> {
        match eviction::next(&self.known) {
            Step::Done(eviction) => eviction,
            Step::Do(_) => None,
        }
    }

    /// What comes next.
    pub fn next_action(&mut self) -> Next {
        if let Some(outcome) = self.failed.take() {
            return Next::Done(outcome);
        }
        self.actions += 1;
        match self.decide() {
            Step::Do(_) if self.actions > MAX_ACTIONS => Next::Done(Outcome::Failed(ApiError {
                verb: "update",
                object: format!("KubevirtMachine {}", self.known.object.name_any()),
                cause: Cause::Decode("what is written does not come back as it was written".into()),
            })),
            Step::Do(action) => Next::Do(action),
            Step::Done(outcome) => Next::Done(outcome),
        }
    }

    fn decide(&self) -> Step<Outcome> {
        let known = &self.known;
        let (object, view) = (&known.object, &known.view);
        // First, and by what the instance says alone: a node of the management cluster waits for it.
        if let Step::Do(action) = eviction::next(known) {
            return Step::Do(action);
        }
        let wanted = match desired::validate(object, view) {
            Ok(wanted) => wanted,
            Err(waiting) => return Step::Done(Outcome::NotYet(waiting)),
        };
        if let Some(patch) = finalizer(object) {
            return Step::Do(Action::Patch(patch));
        }
        // The user data follows the bootstrap data until the guest has run, which the provider ID tells: then
        // neither is made again.
        if object.spec.provider_id.is_none() {
            let objects = virtual_machine::build(&wanted);
            if let Some(user_data) = objects.user_data.filter(|_| !known.user_data_applied) {
                return Step::Do(Action::ApplyUserData {
                    wanted: Box::new(user_data),
                    stored: view.user_data.clone().map(Box::new),
                });
            }
            if view.vm.is_none() {
                return Step::Do(Action::CreateVm(Box::new(objects.vm)));
            }
        }
        let state = diagnosis::state(object, &wanted, view.vm.as_ref(), view.vmi.as_ref());
        let registration = match &state {
            State::Running { instance, .. } => {
                if let Some(patch) = provider_id(object, instance) {
                    return Step::Do(Action::Patch(patch));
                }
                registration(known)
            }
            _ => Step::Done(Registration::Waiting),
        };
        registration.map(|registration| Outcome::Made {
            state,
            registration,
            check: wanted.check,
        })
    }

    /// Takes what came of an action.
    pub fn absorb(&mut self, action: &Action, reply: Result<Answer, Failure>) {
        let known = &mut self.known;
        match (action, reply) {
            (Action::Workload(call), Err(Failure::WorkloadCluster(why))) => known.unanswered(call, why),
            (Action::Workload(WorkloadAction::PatchNode(before, _)), Ok(Answer::Node(Some(after))))
                if before.spec == after.spec =>
            {
                let name = after.name_any();
                known.node = Some(Err(format!(
                    "in the workload cluster: Node {name} does not keep what is written to it"
                )));
            }
            (_, Ok(Answer::Node(node))) => known.node = Some(Ok(node)),
            (_, Ok(Answer::Pods(pods))) => known.pods = Some(Ok(pods)),
            (_, Ok(Answer::Evicted(evicted))) => known.evicted = Some(Ok(evicted)),
            (_, Ok(Answer::Machine(object))) => known.object = *object,
            (_, Ok(Answer::Vm(vm))) => known.view.vm = Some(*vm),
            (Action::ApplyUserData { .. }, Ok(_)) => known.user_data_applied = true,
            (Action::DeleteVmi(_), Ok(_)) => known.instance_deleted = true,
            (_, Ok(Answer::Done)) => {}
            (Action::ApplyUserData { .. } | Action::CreateVm(_), Err(Failure::Management(error)))
                if !known.had_vm && (error.status().is_some() || error.is_name_taken()) =>
            {
                self.failed = Some(Outcome::NotMade(error));
            }
            (_, Err(Failure::Management(error))) => self.failed = Some(Outcome::Failed(error)),
            (_, Err(Failure::WorkloadCluster(_))) => {}
        }
    }
}

/// Takes hold of the object before anything is made for it.
fn finalizer(object: &KubevirtMachine) -> Option<Value> {
    let held = object.finalizers();
    if held.iter().any(|finalizer| finalizer == FINALIZER) {
        return None;
    }
    let finalizers: Vec<_> = held.iter().map(String::as_str).chain([FINALIZER]).collect();
    Some(json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}}))
}

/// The provider ID, and the instance that the guest bootstraps in.
fn provider_id(object: &KubevirtMachine, instance: &str) -> Option<Value> {
    let (id, known) = (
        &object.spec.provider_id,
        object.annotations().get(names::INSTANCE_ANNOTATION),
    );
    if id.is_some() && known.is_some() {
        return None;
    }
    let id = id.clone().unwrap_or_else(|| names::provider_id(object));
    let instance = known.map_or(instance, String::as_str);
    Some(json!({
        "metadata": {"annotations": {names::INSTANCE_ANNOTATION: instance}},
        "spec": {"providerID": id},
    }))
}

/// Whether the Node is there. Cluster API's core says so once it has matched it; until then the workload cluster
/// is asked. Its provider ID is set only where it is empty.
fn registration(known: &Known) -> Step<Registration> {
    if known.matched().is_some() {
        return Step::Done(Registration::Done);
    }
    if known.view.cluster.is_none() {
        return Step::Done(Registration::Waiting);
    }
    let node = match &known.node {
        None => return Step::Do(Action::Workload(WorkloadAction::ReadNode(known.node_name()))),
        Some(Err(why)) => return Step::Done(Registration::Unknown(why.clone())),
        Some(Ok(None)) => return Step::Done(Registration::Waiting),
        Some(Ok(Some(node))) => node,
    };
    let wanted = known.object.spec.provider_id.clone().unwrap_or_default();
    let found = node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
    match found.filter(|id| !id.is_empty()) {
        Some(found) if found == wanted => Step::Done(Registration::Done),
        Some(found) => Step::Done(Registration::Conflict { found }),
        None => {
            let patch = json!({"spec": {"providerID": wanted}});
            Step::Do(Action::Workload(WorkloadAction::PatchNode(node.clone(), patch)))
        }
    }
}
