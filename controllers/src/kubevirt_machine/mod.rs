//! KubevirtMachine: one KubeVirt VM. `reconcile` carries out what `plan` decides.

mod execute;
mod observe;

pub use capn_core::machine::view::VmNamespaces;

use crate::runtime::api_client::ApiError;
use crate::runtime::controller::{Context, ReconcileError, Scope, reference, requeue_at};
use crate::workload_cluster::Nodes;
use capn_api::{
    KubevirtMachine,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, Machine},
    kubevirt_machine::FINALIZER,
};
use capn_core::{
    cluster_api::paused,
    machine::{
        kubevirt::{VirtualMachine, VirtualMachineInstance},
        names,
        plan::{self, Deletion, Eviction, Failure, Next, Provision},
        status::{self, Outcome},
        view::View,
    },
};
use execute::Executor;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
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
    let object = object.as_ref().clone();
    let view = match observe::observe(&ctx.api, &object, &shared.vm_namespaces).await {
        Ok(view) => view,
        Err(error) => {
            let report = Report::of(object, None, Outcome::Failed(error));
            return report.publish(&ctx, now).await;
        }
    };
    let vmi = view.vmi.clone();
    let (cluster, cluster_name) = (view.cluster.clone(), view.cluster_name.clone());
    let mut executor = Executor::new(&ctx.api, &shared.nodes, cluster, cluster_name);
    let report = if let Some(why) = paused(&object, view.cluster.as_ref()) {
        Report::of(object, vmi, Outcome::Paused(why))
    } else if object.metadata.deletion_timestamp.is_some() {
        match delete(&ctx, &mut executor, &object, &view).await {
            Ok(Some(waiting)) => Report::of(object, vmi, Outcome::Deleting(waiting)),
            Ok(None) => return Ok(Action::await_change()),
            Err(error) => Report::of(object, vmi, Outcome::Failed(error)),
        }
    } else {
        let mut pass = Provision::new(object, view, now);
        let outcome = loop {
            match pass.next_action() {
                Next::Do(action) => {
                    let reply = executor.execute(pass.object(), &action).await;
                    if let Err(Failure::WorkloadCluster(why)) = &reply {
                        tracing::info!(?action, why, "not done in the workload cluster");
                    }
                    pass.absorb(&action, reply);
                }
                Next::Done(outcome) => break outcome,
            }
        };
        Report {
            eviction: pass.eviction(),
            ..Report::of(pass.object().clone(), vmi, outcome)
        }
    };
    executor.leave();
    report.publish(&ctx, now).await
}

/// Deletes what belongs to a machine; returns what is waited for, or None when the object itself is gone.
async fn delete(
    ctx: &Context,
    executor: &mut Executor<'_>,
    object: &KubevirtMachine,
    view: &View,
) -> Result<Option<String>, ApiError> {
    let Deletion { actions, waiting } = plan::delete(object, view);
    for action in actions {
        if let Err(Failure::Management(error)) = executor.execute(object, &action).await {
            return Err(error);
        }
    }
    if waiting.is_none() {
        crate::runtime::controller::release(ctx, object, FINALIZER).await?;
    }
    Ok(waiting)
}

/// What came of a pass.
struct Report {
    object: KubevirtMachine,
    vmi: Option<VirtualMachineInstance>,
    outcome: Outcome,
    eviction: Option<Eviction>,
}

impl Report {
    fn of(object: KubevirtMachine, vmi: Option<VirtualMachineInstance>, outcome: Outcome) -> Self {
        Self {
            object,
            vmi,
            outcome,
            eviction: None,
        }
    }

    /// Writes status and events, and says when to look again.
    async fn publish(self, ctx: &Context, now: Timestamp) -> Result<Action, ReconcileError> {
        let Self {
            object,
            vmi,
            outcome,
            eviction,
        } = self;
        let status = |object: &KubevirtMachine| status::status(object, vmi.as_ref(), &outcome, now);
        let written = ctx.api.apply_status(&object, status).await;
        written.map_err(|error| ReconcileError::from(&error))?;
        let about = reference(&object);
        if let Some((reason, message)) = eviction.as_ref().map(Eviction::event) {
            ctx.event(&about, EventType::Normal, reason, message).await;
        }
        if let Some((reason, message)) = plan::warning(&outcome) {
            ctx.event(&about, EventType::Warning, reason, &message).await;
        }
        if let Outcome::Failed(error) | Outcome::NotMade(error) = &outcome
            && !error.is_name_taken()
        {
            return Err(ReconcileError::from(error));
        }
        let after = plan::next_check(&object, vmi.as_ref(), &outcome, eviction.is_some(), now);
        let key = ObjectRef::from_obj(&object).to_string();
        Ok(requeue_at(after.map(|after| now + after), now, &key))
    }
}
