//! KubevirtMachine: one KubeVirt VM. `reconcile` reads as the list of steps.

mod apply;
mod eviction;
mod node;
mod observe;

pub use capn_core::machine::view::VmNamespaces;

use crate::runtime::api_client::ApiError;
use crate::runtime::controller::{Context, ReconcileError, Scope, reference, requeue_at};
use capn_api::{
    KubevirtMachine, Reason,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, Machine},
    kubevirt_machine::FINALIZER,
};
use capn_core::{
    cluster_api::paused,
    machine::{
        desired,
        diagnosis::{self, State},
        kubevirt::{VirtualMachine, VirtualMachineInstance},
        names,
        status::{self, Outcome, Registration},
        view::View,
        virtual_machine,
    },
};
use eviction::{Drain, Eviction};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        controller::Action,
        events::EventType,
        reflector::{ObjectRef, Store},
        watcher::{self, watcher},
    },
};
use node::Nodes;
use std::{fmt::Debug, sync::Arc};
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capk-kubevirt-machine";

/// What this controller works with beside the shared context.
struct Shared {
    nodes: Nodes,
    vm_namespaces: VmNamespaces,
}

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, vm_namespaces: VmNamespaces, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let shared = Arc::new(Shared {
        nodes: Nodes::default(),
        vm_namespaces,
    });
    let controller = crate::runtime::watch::controller::<KubevirtMachine>(&scope, &client);
    let (by_machine, by_cluster) = (controller.store(), controller.store());
    let controller = controller
        .watches_stream(
            crate::runtime::watch::changes::<Machine>(&scope, &client),
            move |machine: Machine| {
                let (namespace, name) = (machine.namespace(), machine.name_any());
                find(&by_machine, |object| {
                    object.namespace() == namespace && names::owner_machine(object).as_deref() == Some(&name)
                })
            },
        )
        .watches_stream(
            crate::runtime::watch::changes::<Cluster>(&scope, &client),
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
    crate::runtime::controller::run(controller, context, shutdown, move |object, ctx| {
        reconcile(object, ctx, shared.clone())
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
async fn reconcile(
    object: Arc<KubevirtMachine>,
    ctx: Arc<Context>,
    shared: Arc<Shared>,
) -> Result<Action, ReconcileError> {
    let now = Timestamp::now();
    let mut pass = Reconciliation {
        ctx: &ctx,
        shared: &shared,
        object: object.as_ref().clone(),
        observed: View::default(),
        eviction: None,
    };
    let outcome = match observe::observe(&ctx.api, &object, &shared.vm_namespaces).await {
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
struct Reconciliation<'a> {
    ctx: &'a Context,
    shared: &'a Shared,
    object: KubevirtMachine,
    observed: View,
    eviction: Option<Eviction>,
}

impl Reconciliation<'_> {
    /// The steps of a machine that is wanted.
    async fn advance(&mut self, now: Timestamp) -> Result<Outcome, ApiError> {
        // First, and by what the instance says alone: a node of the management cluster waits for it.
        self.eviction = self.eviction(now).await?;
        let api = &self.ctx.api;
        let wanted = match desired::validate(&self.object, &self.observed) {
            Ok(wanted) => wanted,
            Err(waiting) => return Ok(Outcome::NotYet(waiting)),
        };
        self.object = apply::ensure_finalizer(api, &self.object).await?;
        let applied = match apply::apply(api, &self.object, virtual_machine::build(&wanted), &self.observed).await {
            Ok(applied) => applied,
            Err(error) if self.observed.vm.is_none() && (error.status().is_some() || error.is_name_taken()) => {
                return Ok(Outcome::NotMade(error));
            }
            Err(error) => return Err(error),
        };
        let state = diagnosis::state(&self.object, &wanted, applied.vm.as_ref(), self.observed.vmi.as_ref());
        let mut registration = Registration::Waiting;
        if let State::Running { instance, .. } = &state {
            self.object = apply::set_provider_id(api, &self.object, instance).await?;
            registration = self.registration().await?;
        }
        Ok(Outcome::Made {
            state,
            registration,
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
    async fn registration(&self) -> Result<Registration, ApiError> {
        if self.matched().is_some() {
            return Ok(Registration::Done);
        }
        let Some(cluster) = &self.observed.cluster else {
            return Ok(Registration::Waiting);
        };
        let name = self.object.name_any();
        let id = self.object.spec.provider_id.clone().unwrap_or_default();
        let nodes = &self.shared.nodes;
        nodes.register(&self.ctx.api, cluster, &name, &id).await
    }

    /// Goes on with an eviction from a node of the management cluster, or ends it.
    async fn eviction(&mut self, now: Timestamp) -> Result<Option<Eviction>, ApiError> {
        let api = &self.ctx.api;
        let vmi = self.observed.vmi.clone();
        let runs = vmi.as_ref().is_some_and(diagnosis::running);
        let asked = vmi.as_ref().and_then(eviction::asked);
        let back = runs && asked.is_none() && eviction::begun(&self.object);
        if asked.is_none() && !back {
            return Ok(None);
        }
        let node = self.matched().map_or_else(|| self.object.name_any(), str::to_owned);
        // What does not run has nothing to be drained.
        let tenant = match &self.observed.cluster {
            _ if !runs => Err("nothing runs".to_owned()),
            Some(cluster) => self.shared.nodes.visit(api, cluster).await?,
            None => Err("the Cluster is gone".to_owned()),
        };
        let outcome = match (asked, &tenant) {
            (Some(asked), tenant) => {
                let tenant = tenant.as_ref().map(|tenant| (tenant.api.clone(), &tenant.visit));
                let tenant = tenant.map_err(Clone::clone);
                let drain = runs.then_some(Drain { tenant, node: &node });
                let evicted = eviction::evict(api, &mut self.object, asked, drain, now).await;
                evicted.map(Some)
            }
            (None, Ok(tenant)) => {
                let settled = eviction::uncordon(api, &mut self.object, &tenant.api, &node);
                match tokio::time::timeout_at(tenant.visit.deadline(), settled).await {
                    // The Node stays cordoned until its tenant can be reached.
                    Ok(Err(error)) => {
                        tracing::info!(%error, node, "not uncordoned yet");
                        Ok(None)
                    }
                    _ => Ok(None),
                }
            }
            (None, Err(_)) => Ok(None),
        };
        if let Ok(tenant) = tenant {
            self.shared.nodes.leave(tenant);
        }
        outcome
    }

    /// The steps of a machine that is deleted; None when the object itself is gone. Neither Cluster
    /// nor Machine is needed.
    async fn delete(&self) -> Result<Option<String>, ApiError> {
        let api = &self.ctx.api;
        if let Some(reference) = &self.object.spec.infra_cluster_secret_ref {
            return Ok(Some(format!(
                "the VM runs in the cluster of Secret {}, which this release cannot reach: delete VirtualMachine {} there, then remove the finalizer {FINALIZER} from this object",
                reference.name.as_deref().unwrap_or_default(),
                self.object.name_any()
            )));
        }
        if let Some(waiting) = apply::delete(api, &self.object, &self.observed).await? {
            return Ok(Some(waiting));
        }
        crate::runtime::controller::release(self.ctx, &self.object, FINALIZER).await?;
        Ok(None)
    }

    /// Writes status and event, and says when to look again.
    async fn finish(self, outcome: Outcome, now: Timestamp) -> Result<Action, ReconcileError> {
        let Self {
            ctx,
            shared: _,
            object,
            observed,
            eviction,
        } = self;
        let status = |object: &KubevirtMachine| status::status(object, observed.vmi.as_ref(), &outcome, now);
        let written = ctx.api.apply_status(&object, status).await;
        written.map_err(|error| ReconcileError::from(&error))?;
        let key = ObjectRef::from_obj(&object).to_string();
        let about = reference(&object);
        if let Some(eviction) = &eviction {
            let (reason, message) = match eviction {
                Eviction::Draining(message) => (Reason::Draining, message),
                Eviction::InstanceDeleted(message) => (Reason::Evicted, message),
            };
            ctx.event(&about, EventType::Normal, reason, message).await;
        }
        if let Some((reason, message)) = warning(&outcome) {
            ctx.event(&about, EventType::Warning, reason, &message).await;
        }
        if let Outcome::Failed(error) | Outcome::NotMade(error) = &outcome
            && !error.is_name_taken()
        {
            return Err(ReconcileError::from(error));
        }
        let after = next_look(&object, &observed, &outcome, eviction.is_some(), now);
        Ok(requeue_at(after.map(|after| now + after), now, &key))
    }
}

/// What a user has to do something about.
fn warning(outcome: &Outcome) -> Option<(Reason, String)> {
    match outcome {
        Outcome::NotMade(error) => Some((status::not_made(error), error.to_string())),
        Outcome::NotYet(waiting) if waiting.needs_user_action() => Some((waiting.reason(), waiting.to_string())),
        Outcome::Made {
            state: State::NotReady { reason, message } | State::Lost { reason, message },
            ..
        } if reason.needs_user_action() => Some((*reason, message.clone())),
        _ => None,
    }
}

/// In what time to look again although nothing that is watched has changed.
fn next_look(
    object: &KubevirtMachine,
    observed: &View,
    outcome: &Outcome,
    evicting: bool,
    now: Timestamp,
) -> Option<SignedDuration> {
    let seconds = |count| Some(SignedDuration::from_secs(count));
    match outcome {
        // The tenant's pods are not watched.
        _ if evicting => seconds(3),
        Outcome::NotYet(waiting) if waiting.needs_user_action() => seconds(15),
        // Only a name that is taken gets here.
        Outcome::NotMade(_) => seconds(15),
        Outcome::Deleting(_) => seconds(10),
        Outcome::Made {
            state: State::Running { .. },
            registration: Registration::Waiting | Registration::Unknown(_),
            ..
        } => Some(poll_interval(observed.vmi.as_ref(), now)),
        // A Node that could not be uncordoned, because its tenant was not reached.
        _ if eviction::begun(object) => seconds(15),
        _ => None,
    }
}

/// How long to wait before the tenant is asked for the Node again: 1 to 15 s, longer the longer
/// the VM runs.
fn poll_interval(vmi: Option<&VirtualMachineInstance>, now: Timestamp) -> SignedDuration {
    let since = vmi.and_then(|vmi| {
        let transitions = &vmi.status.as_ref()?.phase_transition_timestamps;
        let running = transitions.iter().find(|transition| transition.phase == "Running")?;
        running.phase_transition_timestamp.as_ref().map(|at| at.0)
    });
    let running = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    (running / 8).clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(15))
}
