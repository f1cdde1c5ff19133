//! KubevirtMachine: one KubeVirt VM. `reconcile` reads as the list of steps.

mod apply;
mod build;
mod eviction;
mod instance;
mod kubevirt;
mod names;
mod node;
mod observe;
mod status;
mod validate;

#[cfg(test)]
mod tests;

use crate::calls::CallError;
use crate::controller::{Context, Scope, Unfinished, again, paused, reference};
use capn_api::{
    KubevirtMachine,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, Machine},
    kubevirt_machine::FINALIZER,
};
use eviction::Eviction;
use futures::{Stream, StreamExt};
use instance::State;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        controller::{Action, Controller},
        events::EventType,
        reflector::{ObjectRef, Store},
        watcher::{self, watcher},
    },
};
use kubevirt::{VirtualMachine, VirtualMachineInstance};
use node::{Nodes, Registration};
use observe::Observed;
use status::Outcome;
use std::{fmt::Debug, sync::Arc};
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capk-kubevirt-machine";

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let nodes = Arc::new(Nodes::default());
    let controller = Controller::new(scope.api::<KubevirtMachine>(&client), scope.ours());
    let (by_machine, by_cluster) = (controller.store(), controller.store());
    let controller = controller
        .watches_stream(
            crate::controller::changes::<Machine>(&scope, &client),
            move |machine: Machine| {
                let (namespace, name) = (machine.namespace(), machine.name_any());
                find(&by_machine, |object| {
                    object.namespace() == namespace && names::owner_machine(object).as_deref() == Some(&name)
                })
            },
        )
        .watches_stream(
            crate::controller::changes::<Cluster>(&scope, &client),
            move |cluster: Cluster| {
                let (namespace, name) = (cluster.namespace(), cluster.name_any());
                find(&by_cluster, |object| {
                    object.namespace() == namespace && object.labels().get(CLUSTER_NAME_LABEL) == Some(&name)
                })
            },
        )
        // VMs may lie in other namespaces than their machines, and KubeVirt may be missing.
        .reconcile_on(optional::<VirtualMachine>(&client))
        .reconcile_on(optional::<VirtualMachineInstance>(&client));
    crate::controller::run(controller, context, shutdown, move |object, ctx| {
        reconcile(object, ctx, nodes.clone())
    })
    .await;
}

/// A watch that never holds up the others: while its kind is not installed it only waits.
fn optional<K>(client: &Client) -> impl Stream<Item = ObjectRef<KubevirtMachine>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + serde::de::DeserializeOwned + 'static,
{
    let config = watcher::Config::default().labels(names::MACHINE_NAME_LABEL).timeout(60);
    let events = watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config)
        .default_backoff()
        .touched_objects();
    events.filter_map(|event| {
        if let Err(error) = &event {
            tracing::debug!(kind = %K::kind(&()), %error, "watch failed, is KubeVirt installed?");
        }
        std::future::ready(event.ok().and_then(|object| labelled(&object)))
    })
}

fn labelled<K: Resource>(object: &K) -> Option<ObjectRef<KubevirtMachine>> {
    let labels = object.meta().labels.as_ref()?;
    let name = labels.get(names::MACHINE_NAME_LABEL)?;
    Some(ObjectRef::new(name).within(labels.get(names::MACHINE_NAMESPACE_LABEL)?))
}

fn find(store: &Store<KubevirtMachine>, wanted: impl Fn(&KubevirtMachine) -> bool) -> Vec<ObjectRef<KubevirtMachine>> {
    store
        .state()
        .iter()
        .filter(|object| wanted(object))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// One pass over a KubevirtMachine.
async fn reconcile(object: Arc<KubevirtMachine>, ctx: Arc<Context>, nodes: Arc<Nodes>) -> Result<Action, Unfinished> {
    let now = Timestamp::now();
    let mut pass = Pass {
        ctx: &ctx,
        nodes: &nodes,
        object: object.as_ref().clone(),
        observed: Observed::default(),
    };
    let outcome = match observe::observe(&ctx.calls, &object).await {
        Err(error) => Outcome::Failed(error),
        Ok(observed) => {
            pass.observed = observed;
            if let Some(why) = paused(object.as_ref(), pass.observed.cluster.as_ref()) {
                Outcome::Paused(why)
            } else if object.metadata.deletion_timestamp.is_some() {
                match pass.delete().await {
                    Ok(Some(waiting)) => Outcome::Deleting(waiting),
                    Ok(None) => return Ok(Action::await_change()),
                    Err(error) => Outcome::Failed(error),
                }
            } else {
                pass.advance(now).await.unwrap_or_else(Outcome::Failed)
            }
        }
    };
    pass.finish(outcome, now).await
}

/// A pass and what it has found so far.
struct Pass<'a> {
    ctx: &'a Context,
    nodes: &'a Nodes,
    object: KubevirtMachine,
    observed: Observed,
}

impl Pass<'_> {
    /// The steps of a machine that shall be there.
    async fn advance(&mut self, now: Timestamp) -> Result<Outcome, CallError> {
        let calls = &self.ctx.calls;
        let wanted = match validate::validate(&self.object, &self.observed) {
            Ok(wanted) => wanted,
            Err(waiting) => return Ok(Outcome::NotYet(waiting)),
        };
        self.object = apply::hold(calls, &self.object).await?;
        let applied = match apply::apply(calls, &self.object, build::build(&wanted), &self.observed).await {
            Ok(applied) => applied,
            Err(error) if error.status().is_some() => return Ok(Outcome::NotMade(error)),
            Err(error) => return Err(error),
        };
        let state = instance::state(&self.object, &wanted, applied.vm.as_ref(), self.observed.vmi.as_ref());
        let mut registration = Registration::Waiting;
        if let State::Running { instance, .. } = &state {
            self.object = apply::record(calls, &self.object, instance).await?;
            registration = self.registration(&wanted.cluster).await?;
        }
        let eviction = self.eviction(&wanted.cluster, &state, now).await?;
        Ok(Outcome::Made {
            state,
            registration,
            eviction,
            check: wanted.check,
        })
    }

    /// The Node that Cluster API's core has matched with the machine.
    fn matched(&self) -> Option<&str> {
        let status = self.observed.machine.as_ref()?.status.as_ref()?;
        Some(&status.node_ref.as_ref()?.name)
    }

    /// Whether the Node is there. Cluster API's core says so once it has matched it; until then
    /// the tenant is asked.
    async fn registration(&self, cluster: &str) -> Result<Registration, CallError> {
        if self.matched().is_some() {
            return Ok(Registration::Done);
        }
        let namespace = self.object.namespace().unwrap_or_default();
        let name = self.object.name_any();
        let id = self.object.spec.provider_id.clone().unwrap_or_default();
        self.nodes
            .register(&self.ctx.calls, &namespace, cluster, &name, &id)
            .await
    }

    /// Goes on with an eviction from a node of the management cluster, or ends it.
    async fn eviction(&mut self, cluster: &str, state: &State, now: Timestamp) -> Result<Option<Eviction>, CallError> {
        let calls = &self.ctx.calls;
        let runs = matches!(state, State::Running { .. });
        let asked = self.observed.vmi.as_ref().and_then(eviction::asked);
        let back = runs && asked.is_none() && eviction::begun(&self.object);
        if asked.is_none() && !back {
            return Ok(None);
        }
        let tenant = self
            .nodes
            .tenant(calls, &self.object.namespace().unwrap_or_default(), cluster)
            .await?;
        let node = self.matched().map_or_else(|| self.object.name_any(), str::to_owned);
        match (asked, tenant) {
            (Some(asked), tenant) => {
                // What does not run has nothing to be drained.
                let drain = runs.then_some((tenant, node.as_str()));
                eviction::evict(calls, &mut self.object, asked, drain, now)
                    .await
                    .map(Some)
            }
            (None, Some(tenant)) => {
                eviction::settle(calls, &mut self.object, &tenant, &node).await?;
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }

    /// The steps of a machine that shall go; None when the object itself is gone. Neither Cluster
    /// nor Machine is needed.
    async fn delete(&self) -> Result<Option<String>, CallError> {
        let calls = &self.ctx.calls;
        if let Some(waiting) = apply::delete(calls, &self.object, &self.observed).await? {
            return Ok(Some(waiting));
        }
        crate::controller::release(self.ctx, &self.object, FINALIZER).await?;
        Ok(None)
    }

    /// Writes status and event, and says when to look again.
    async fn finish(self, outcome: Outcome, now: Timestamp) -> Result<Action, Unfinished> {
        let Self {
            ctx,
            nodes: _,
            object,
            observed,
        } = self;
        let status = |object: &KubevirtMachine| status::status(object, observed.vmi.as_ref(), &outcome, now);
        let written = ctx.calls.put_status(&object, status).await;
        written.map_err(|error| Unfinished::from(&error))?;
        let key = ObjectRef::from_obj(&object).to_string();
        let warn = async |reason: &str, message: &str| {
            ctx.event(&reference(&object), EventType::Warning, reason, message)
                .await;
        };
        if let Outcome::Made {
            eviction: Some(eviction),
            ..
        } = &outcome
        {
            let (reason, message) = match eviction {
                Eviction::Draining(message) => ("Draining", message),
                Eviction::InstanceDeleted(message) => ("Evicted", message),
            };
            ctx.event(&reference(&object), EventType::Normal, reason, message).await;
            // The tenant's pods are not watched.
            return Ok(again(Some(now + SignedDuration::from_secs(3)), now, &key));
        }
        match &outcome {
            Outcome::Failed(error) => return Err(Unfinished::from(error)),
            Outcome::NotMade(error) => {
                warn("VMCreateFailed", &error.to_string()).await;
                return Err(Unfinished::from(error));
            }
            Outcome::NotYet(waiting) if waiting.needs_person() => {
                warn(waiting.reason(), &waiting.to_string()).await;
                return Ok(again(Some(now + SignedDuration::from_secs(15)), now, &key));
            }
            Outcome::Made {
                state:
                    State::NotReady {
                        reason,
                        message,
                        needs_person: true,
                    },
                ..
            }
            | Outcome::Made {
                state: State::Lost { reason, message },
                ..
            } => warn(reason, message).await,
            Outcome::Made {
                state: State::Running { .. },
                registration: Registration::Waiting,
                ..
            } => {
                return Ok(again(Some(now + patience(observed.vmi.as_ref(), now)), now, &key));
            }
            Outcome::Made { .. } | Outcome::NotYet(_) | Outcome::Paused(_) => {}
            Outcome::Deleting(_) => return Ok(again(Some(now + SignedDuration::from_secs(10)), now, &key)),
        }
        // A Node that could not be uncordoned, because its tenant was not reached.
        let unsettled = eviction::begun(&object).then(|| now + SignedDuration::from_secs(15));
        Ok(again(unsettled, now, &key))
    }
}

/// How long to wait before the tenant is asked for the Node again: 1 to 15 s, longer the longer
/// the VM runs.
fn patience(vmi: Option<&VirtualMachineInstance>, now: Timestamp) -> SignedDuration {
    let since = vmi.and_then(|vmi| {
        let transitions = &vmi.status.as_ref()?.phase_transition_timestamps;
        let running = transitions.iter().find(|transition| transition.phase == "Running")?;
        running.phase_transition_timestamp.as_ref().map(|at| at.0)
    });
    let running = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    (running / 8).clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(15))
}
