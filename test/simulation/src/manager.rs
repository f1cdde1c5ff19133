//! A manager: it observes, carries out what is planned, one call at a time, and reports. It may die
//! between any two calls, and what it reads of the NestedControlPlane may be old.

use crate::datastore::{is_of, is_ready};
use crate::failures::{refused, silent};
use crate::objects::key;
use crate::user::UNUSABLE_VERSION;
use crate::world::World;
use capn_api::{NestedControlPlane, nested_control_plane::FINALIZER};
use capn_core::{
    api_error::ApiError,
    control_plane::{
        names,
        plan::{self, Action, Answer, Deletion, Done, Next, Prepared, Provision, Reply, Waiting},
        status::{Outcome, status},
        view::View,
    },
    ownership::Owner,
    workload_cluster::PrepareError,
};
use kube::ResourceExt;
use serde_json::Value;
use std::{collections::VecDeque, mem};

pub(crate) struct Manager {
    name: &'static str,
    /// What it last read of the object: its next pass may start from that.
    seen: Option<NestedControlPlane>,
    /// What its pass decides from: the spec, or what is stored where that cannot be used.
    spec: String,
    running: Running,
}

enum Running {
    Nothing,
    Wave {
        view: Box<View>,
        then: Then,
        actions: VecDeque<Action>,
        replies: Vec<Reply>,
    },
    Report {
        ncp: Box<NestedControlPlane>,
        view: Box<View>,
        outcome: Box<Outcome>,
    },
}

enum Then {
    Provision(Box<Waiting>),
    Delete(Box<NestedControlPlane>, Option<String>),
}

impl Manager {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            seen: None,
            spec: String::new(),
            running: Running::Nothing,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.running, Running::Nothing)
    }

    /// One step: it observes, makes one call, or reports.
    pub(crate) fn step(&mut self, world: &mut World) {
        if world.unlucky && world.rng.u8(0..100) == 0 {
            world.say(format!("{} dies", self.name));
            self.running = Running::Nothing;
            self.seen = None;
            return;
        }
        self.running = match mem::replace(&mut self.running, Running::Nothing) {
            Running::Nothing => self.observe(world),
            Running::Wave {
                view,
                then,
                mut actions,
                mut replies,
            } => {
                if let Some(action) = actions.pop_front() {
                    replies.push(self.carry_out(world, action));
                }
                if actions.is_empty() {
                    self.after(world, view, then, replies)
                } else {
                    Running::Wave {
                        view,
                        then,
                        actions,
                        replies,
                    }
                }
            }
            Running::Report { ncp, view, outcome } => {
                self.report(world, *ncp, &view, &outcome);
                Running::Nothing
            }
        };
    }

    fn observe(&mut self, world: &mut World) -> Running {
        let Some(newest) = world.ncp.clone() else {
            return Running::Nothing;
        };
        let stale = world.unlucky && world.rng.u8(0..5) == 0;
        let ncp = self.seen.clone().filter(|_| stale).unwrap_or(newest);
        self.seen = world.ncp.clone();
        self.spec = serde_json::to_string(&ncp.spec).unwrap_or_default();
        let owner = Owner::new(&ncp, names::UID_LABEL);
        let view = world.view(&ncp, &owner);
        if self.spec.contains(UNUSABLE_VERSION) {
            // What is stored counts then.
            self.spec
                .extend(view.revisions.iter().map(|revision| revision.name_any()));
        }
        if ncp.metadata.deletion_timestamp.is_some() {
            let Deletion {
                actions,
                waiting,
                orphaned,
            } = plan::delete(&ncp, &view, &[]);
            if orphaned {
                world.violate("what was made is left behind, and no user asked for it");
            }
            let then = Then::Delete(Box::new(ncp), waiting);
            return self.wave(world, view.into(), then, actions);
        }
        let pass = Provision::new(
            ncp,
            world.cluster.clone(),
            World::names(),
            owner,
            view.clone(),
            world.now,
        );
        self.go_on(world, view.into(), pass)
    }

    fn go_on(&mut self, world: &mut World, view: Box<View>, pass: Provision) -> Running {
        match pass.next() {
            Next::Do(actions, waiting) => self.wave(world, view, Then::Provision(waiting), actions),
            Next::Done(done) => {
                let Done { ncp, outcome, .. } = *done;
                Running::Report {
                    ncp: Box::new(ncp),
                    view,
                    outcome: Box::new(outcome),
                }
            }
        }
    }

    fn wave(&mut self, world: &mut World, view: Box<View>, then: Then, actions: Vec<Action>) -> Running {
        if actions.is_empty() {
            return self.after(world, view, then, Vec::new());
        }
        Running::Wave {
            view,
            then,
            actions: actions.into(),
            replies: Vec::new(),
        }
    }

    fn after(&mut self, world: &mut World, view: Box<View>, then: Then, replies: Vec<Reply>) -> Running {
        match then {
            Then::Provision(waiting) => self.go_on(world, view, waiting.absorb(replies)),
            Then::Delete(ncp, waiting) => {
                let failed = replies.into_iter().find_map(Result::err);
                let outcome = match (failed, waiting) {
                    (Some(failure), _) => Outcome::Failed(failure.into()),
                    (None, Some(waiting)) => Outcome::Deleting(waiting),
                    (None, None) => {
                        self.let_go(world, &ncp);
                        return Running::Nothing;
                    }
                };
                let outcome = Box::new(outcome);
                Running::Report { ncp, view, outcome }
            }
        }
    }

    fn let_go(&mut self, world: &mut World, ncp: &NestedControlPlane) {
        let same = world
            .ncp
            .as_ref()
            .is_some_and(|live| live.resource_version() == ncp.resource_version());
        if same {
            world.say(format!("{} lets go", self.name));
            world.ncp = None;
        }
    }

    fn carry_out(&self, world: &mut World, action: Action) -> Reply {
        let text = format!("{action:?}");
        let of = match &action {
            Action::Apply { wanted: object, .. } | Action::Create(object) | Action::Delete(object) => key(object),
            Action::Replace { live, .. } => key(live),
            _ => ("NestedControlPlane".into(), "acme".into()),
        };
        let luck = if world.unlucky { world.rng.u8(0..100) } else { 100 };
        if luck < 2 {
            world.say(format!("{} {text}: not sent", self.name));
            return Err(silent("call", &of));
        }
        let before = world.writes;
        world.basis.clone_from(&self.spec);
        let reply = self.call(world, action);
        if world.writes != before || reply.is_err() {
            let told = reply
                .as_ref()
                .err()
                .map(|error| format!("{error:?}"))
                .unwrap_or_default();
            world.say(format!("{} {text} {told}", self.name));
        }
        if luck == 2 {
            world.say("... and the answer is lost");
            return Err(silent("call", &of));
        }
        reply
    }

    fn call(&self, world: &mut World, action: Action) -> Reply {
        let ncp = self.seen.clone().unwrap_or_default();
        let owner = Owner::new(&ncp, names::UID_LABEL);
        let object = |reply: Result<_, ApiError>| reply.map(Answer::Object);
        match action {
            Action::Apply { wanted, live } => object(world.apply(&owner, &wanted, live.as_ref())),
            Action::Create(wanted) => object(world.create(&owner, &wanted)),
            Action::Replace { live, wanted } => object(world.replace(&owner, &live, &wanted)),
            Action::Delete(live) => {
                world.delete(&owner, &live);
                Ok(Answer::Done)
            }
            Action::Patch(patch) => patch_control_plane(world, &patch),
            Action::AcquireStartSlot => Ok(Answer::StartSlot(true)),
            Action::ForgetWorkloadCluster => Ok(Answer::Done),
            Action::PrepareWorkloadCluster(_) => {
                if world
                    .pods
                    .values()
                    .any(|pod| is_of(pod, names::API_SERVER) && is_ready(pod))
                {
                    return Ok(Answer::Prepared(Ok(Prepared::Whole)));
                }
                let error = silent("apply", &("ConfigMap".into(), "cluster-info".into()));
                Ok(Answer::Prepared(Err(PrepareError::Unreachable(error))))
            }
        }
    }

    /// A status is written under the resourceVersion that it was computed from, and computed again where
    /// somebody wrote meanwhile.
    fn report(&mut self, world: &mut World, ncp: NestedControlPlane, view: &View, outcome: &Outcome) {
        let Some(live) = world.ncp.clone().filter(|live| live.uid() == ncp.uid()) else {
            return;
        };
        let basis = if live.resource_version() == ncp.resource_version() {
            ncp
        } else {
            live.clone()
        };
        let new = status(&basis, Some(&World::names()), Some(view), outcome, world.now);
        if live.status.as_ref() == Some(&new) {
            return;
        }
        let version = world.next().to_string();
        if let Some(live) = &mut world.ncp {
            live.status = Some(new);
            live.metadata.resource_version = Some(version);
            self.seen = Some(live.clone());
        }
    }
}

/// A merge patch that names the resourceVersion that it was made for.
fn patch_control_plane(world: &mut World, patch: &Value) -> Reply {
    let of = ("NestedControlPlane".to_owned(), "acme".to_owned());
    let Some(live) = world.ncp.clone() else {
        return Err(refused("patch", &of, 404, "NotFound"));
    };
    let wanted = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    if wanted.is_some() && wanted != live.resource_version().as_deref() {
        return Err(refused("patch", &of, 409, "Conflict"));
    }
    let mut value = serde_json::to_value(&live).unwrap_or_default();
    json_patch::merge(&mut value, patch);
    let version = world.next();
    value["metadata"]["resourceVersion"] = version.to_string().into();
    match serde_json::from_value::<NestedControlPlane>(value) {
        Ok(patched) => {
            world.writes += 1;
            if !patched.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
                world.violate("the control plane is worked on without its finalizer");
            }
            world.ncp = Some(patched.clone());
            Ok(Answer::ControlPlane(Box::new(patched)))
        }
        Err(_) => Err(refused("patch", &of, 422, "Invalid")),
    }
}
