//! A manager of machines. It may die between any two actions, and what it reads of the KubevirtMachine may be old.

use super::world::{World, key, made};
use crate::failures::{refused, silent, taken};
use capn_api::{KubevirtMachine, kubevirt_machine::FINALIZER};
use capn_core::{
    api_error::ApiError,
    machine::{
        diagnosis::{State, running},
        kubevirt::VirtualMachineInstance,
        names,
        plan::{self, Action, Answer, Deletion, Failure, Next, Provision, WorkloadAction},
        status::{Outcome, status},
        view::View,
    },
};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::Value;
use std::{collections::VecDeque, mem};

/// As long as a PodDisruptionBudget may hold up the management cluster.
const MAX_DRAIN: SignedDuration = SignedDuration::from_mins(10);

#[derive(Default)]
pub(super) struct Manager {
    /// What it last read of the object: its next pass may start from that.
    seen: Option<KubevirtMachine>,
    running: Running,
}

#[derive(Default)]
enum Running {
    #[default]
    Nothing,
    Pass(Box<View>, Box<Provision>),
    Delete(Box<KubevirtMachine>, Box<View>, VecDeque<Action>, Option<String>),
    Report(Box<KubevirtMachine>, Box<View>, Box<Outcome>),
}

impl Manager {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.running, Running::Nothing)
    }

    /// One step: it observes, carries out an action, or reports.
    pub(super) fn step(&mut self, world: &mut World) {
        if world.unlucky && world.rng.u8(0..100) < 2 {
            world.say("the manager dies");
            *self = Self::default();
            return;
        }
        self.running = match mem::take(&mut self.running) {
            Running::Nothing => self.observe(world),
            Running::Pass(view, mut pass) => match pass.next_action() {
                Next::Do(action) => {
                    let reply = carry_out(world, pass.object(), &view, &action);
                    pass.absorb(&action, reply);
                    Running::Pass(view, pass)
                }
                Next::Done(outcome) => Running::Report(Box::new(pass.object().clone()), view, Box::new(outcome)),
            },
            Running::Delete(object, view, mut actions, waiting) => match (actions.pop_front(), waiting) {
                (Some(action), waiting) => match carry_out(world, &object, &view, &action) {
                    Err(Failure::Management(error)) => Running::Report(object, view, Box::new(Outcome::Failed(error))),
                    _ => Running::Delete(object, view, actions, waiting),
                },
                (None, Some(waiting)) => Running::Report(object, view, Box::new(Outcome::Deleting(waiting))),
                (None, None) => {
                    release(world, &object);
                    Running::Nothing
                }
            },
            Running::Report(object, view, outcome) => {
                self.report(world, &object, &view, &outcome);
                Running::Nothing
            }
        };
    }

    fn observe(&mut self, world: &mut World) -> Running {
        let Some(newest) = world.object.clone() else {
            return Running::Nothing;
        };
        let stale = world.unlucky && world.rng.u8(0..5) == 0;
        let object = self.seen.clone().filter(|_| stale).unwrap_or(newest);
        self.seen.clone_from(&world.object);
        let view = world.view(&object);
        if object.metadata.deletion_timestamp.is_some() {
            let Deletion { actions, waiting } = plan::delete(&object, &view);
            return Running::Delete(object.into(), view.into(), actions.into(), waiting);
        }
        let pass = Provision::new(object, view.clone(), world.now);
        Running::Pass(view.into(), pass.into())
    }

    /// A status is written under the resourceVersion that it was computed from, and computed again where somebody
    /// wrote meanwhile.
    fn report(&mut self, world: &mut World, object: &KubevirtMachine, view: &View, outcome: &Outcome) {
        let Some(live) = world.object.clone().filter(|live| live.uid() == object.uid()) else {
            return;
        };
        let basis = if live.resource_version() == object.resource_version() {
            object
        } else {
            &live
        };
        let new = status(basis, view.vmi.as_ref(), outcome, world.now);
        let was = live.status.as_ref().is_some_and(|status| status.ready);
        let lost = matches!(
            outcome,
            Outcome::Deleting(_)
                | Outcome::Made {
                    state: State::Lost { .. },
                    ..
                }
        );
        if was && !new.ready && view.vmi.as_ref().is_some_and(running) && !lost {
            world.violate(format!("a machine that runs is not ready any more: {outcome:?}"));
        }
        if live.status.as_ref() != Some(&new) {
            let version = world.next_version();
            world.writes += 1;
            if let Some(live) = &mut world.object {
                live.status = Some(new);
                live.metadata.resource_version = Some(version);
            }
        }
        self.seen.clone_from(&world.object);
    }
}

fn release(world: &mut World, object: &KubevirtMachine) {
    let same = |live: &KubevirtMachine| live.resource_version() == object.resource_version();
    if world.object.as_ref().is_some_and(same) {
        world.say("the machine is let go");
        world.object = None;
        if !world.left().is_empty() {
            world.violate(format!("the machine is gone, and {:?} are left", world.left()));
        }
    }
}

fn carry_out(world: &mut World, object: &KubevirtMachine, view: &View, action: &Action) -> Result<Answer, Failure> {
    let luck = if world.unlucky { world.rng.u8(0..100) } else { 100 };
    let unanswered = || match action {
        Action::Workload(_) => Failure::WorkloadCluster("timed out".into()),
        _ => Failure::Management(silent("call", &key())),
    };
    if luck < 3 {
        world.say(format!("{action:?}: not sent"));
        return Err(unanswered());
    }
    let reply = call(world, object, view, action);
    world.say(format!(
        "{action:?} {}",
        reply
            .as_ref()
            .err()
            .map(|error| format!("{error:?}"))
            .unwrap_or_default()
    ));
    if luck < 5 {
        world.say("... and the answer is lost");
        return Err(unanswered());
    }
    reply
}

fn call(world: &mut World, object: &KubevirtMachine, view: &View, action: &Action) -> Result<Answer, Failure> {
    let owner = names::owner(object);
    let answer = match action {
        Action::Workload(call) => return in_workload_cluster(world, call),
        Action::Patch(patch) => world.patch(patch).map(|object| Answer::Machine(Box::new(object))),
        Action::ApplyUserData { wanted, .. } => apply_user_data(world, object, wanted),
        Action::CreateVm(vm) => match world.vm.clone() {
            Some(live) if owner.owns(&live) => Ok(Answer::Vm(Box::new(live))),
            Some(_) => Err(taken("create", &key(), &owner)),
            None => {
                if object.spec.provider_id.is_some() {
                    world.violate("a VM is made again although its guest has run");
                }
                if !object.finalizers().iter().any(|held| held == FINALIZER) {
                    world.violate("a VM is made without the finalizer");
                }
                let vm = world.created(vm.as_ref().clone());
                world.vm = Some(vm.clone());
                Ok(Answer::Vm(Box::new(vm)))
            }
        },
        Action::DeleteUserData(secret) => {
            let owner = names::user_data_owner(object, Some("acme"));
            let live = world
                .user_data
                .take_if(|live| live.uid() == secret.uid() && owner.owns(live));
            if live.is_some() {
                world.writes += 1;
            }
            Ok(Answer::Done)
        }
        Action::DeleteVm(vm) => {
            if world
                .vm
                .as_ref()
                .is_some_and(|live| live.uid() == vm.uid() && owner.owns(live))
            {
                if world
                    .object
                    .as_ref()
                    .is_some_and(|live| live.metadata.deletion_timestamp.is_none())
                {
                    world.violate("a VM is deleted although its machine is not");
                }
                let vm = world.vm.take();
                world.writes += u32::from(vm.as_ref().is_some_and(|vm| vm.metadata.deletion_timestamp.is_none()));
                world.vm = world.deleting(vm);
            }
            Ok(Answer::Done)
        }
        Action::DeleteVmi(vmi) => {
            if world.vmi.as_ref().is_some_and(|live| live.uid() == vmi.uid()) {
                check_eviction(world, object, view);
                let vmi = world.vmi.take();
                world.vmi = world.deleting(vmi);
                world.writes += 1;
            }
            Ok(Answer::Done)
        }
    };
    answer.map_err(Failure::Management)
}

/// An instance that runs is deleted only when it was asked to leave and, until the drain has taken too long, when
/// nothing is left on its Node.
fn check_eviction(world: &mut World, object: &KubevirtMachine, view: &View) {
    let asked = |vmi: &VirtualMachineInstance| {
        vmi.status
            .as_ref()
            .is_some_and(|status| !status.evacuation_node_name.is_empty())
    };
    if object.metadata.deletion_timestamp.is_none() && view.vmi.as_ref().is_some_and(|vmi| running(vmi) && !asked(vmi))
    {
        world.violate("an instance is deleted that nobody has asked to leave");
    }
    if object.metadata.deletion_timestamp.is_some() || !world.vmi.as_ref().is_some_and(running) {
        return;
    }
    if world.asked.is_some_and(|asked| world.now < asked + MAX_DRAIN) && !world.pods.is_empty() {
        world.violate("an instance is deleted before its Node is drained");
    }
}

fn apply_user_data(
    world: &mut World,
    object: &KubevirtMachine,
    wanted: &k8s_openapi::api::core::v1::Secret,
) -> Result<Answer, ApiError> {
    let owner = names::user_data_owner(object, Some("acme"));
    if object.spec.provider_id.is_some() {
        world.violate("user data is written although its guest has run");
    }
    if world.unlucky && world.rng.u8(0..20) == 0 {
        return Err(refused("apply", &key(), 403, "Forbidden"));
    }
    match world.user_data.clone() {
        Some(live) if !owner.owns(&live) => return Err(taken("create", &key(), &owner)),
        Some(live) if live.data == wanted.data => {}
        _ => {
            let secret = world.created(wanted.clone());
            world.user_data = Some(secret);
        }
    }
    Ok(Answer::Done)
}

fn in_workload_cluster(world: &mut World, call: &WorkloadAction) -> Result<Answer, Failure> {
    if world.silent {
        return Err(Failure::WorkloadCluster("timed out".into()));
    }
    Ok(match call {
        WorkloadAction::ReadNode(_) => Answer::Node(world.node.clone().map(Box::new)),
        WorkloadAction::PatchNode(_, patch) => {
            let Some(node) = world.node.clone() else {
                return Err(Failure::WorkloadCluster("not found".into()));
            };
            world.node = world.patched(node, patch);
            if patch.pointer("/spec/unschedulable").is_some_and(Value::is_null) && world.user_cordoned {
                world.violate("a Node that its user has cordoned is uncordoned");
            }
            Answer::Node(world.node.clone().map(Box::new))
        }
        WorkloadAction::ListPods(_) => Answer::Pods(world.pods.clone()),
        WorkloadAction::Evict(pods) => {
            let held = world.held;
            for pod in &mut world.pods {
                if !held && pods.iter().any(|evicted| evicted.name_any() == pod.name_any()) {
                    pod.metadata.deletion_timestamp = made(&serde_json::json!("2026-01-01T00:00:00Z"));
                }
            }
            Answer::Evicted(vec![!held; pods.len()])
        }
    })
}
