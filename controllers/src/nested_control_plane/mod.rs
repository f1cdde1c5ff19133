//! NestedControlPlane: a control plane as pods. `reconcile` reads as the list of steps.

mod events;
mod execute;
mod observe;

use crate::runtime::controller::{Context, ReconcileError, Scope, reference, requeue_at};
use crate::workload_cluster::Writer;
use capn_api::{NestedControlPlane, Reason, cluster_api::Cluster};
use capn_core::{
    certificates::Issued,
    cluster_api::paused,
    control_plane::{
        cluster::{OfCluster, cluster_of, control_plane_of},
        desired::ValidateError,
        diagnosis,
        error::Error,
        names::{self, Names},
        plan::{self, Deletion, Done, Next, Provision},
        start_limiter::StartLimiter,
        status::{self, Outcome},
        view::View,
    },
    datastore,
    ownership::Owner,
};
use execute::Executor;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
};
use kube::{
    Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        controller::Action,
        events::EventType,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use std::{slice, sync::Arc};
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capn-nested-control-plane";

/// What this controller works with beside the shared context.
struct State {
    workload_clusters: Writer,
    start_limiter: StartLimiter,
    all: Store<NestedControlPlane>,
}

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, max_concurrent_starts: u32, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let controller = crate::runtime::watch::controller::<NestedControlPlane>(&scope, &client);
    let state = Arc::new(State {
        workload_clusters: Writer::default(),
        start_limiter: StartLimiter::new(max_concurrent_starts),
        all: controller.store(),
    });
    let owned = watcher::Config::default().labels(names::UID_LABEL).timeout(60);
    let (by_cluster, by_pod, by_claim, by_slot) = (
        controller.store(),
        controller.store(),
        controller.store(),
        controller.store(),
    );
    let waiting = state.clone();
    let controller = controller
        .owns(scope.api::<PartialObjectMeta<Deployment>>(&client), owned.clone())
        .owns(scope.api::<PartialObjectMeta<StatefulSet>>(&client), owned.clone())
        .owns(scope.api::<PartialObjectMeta<Service>>(&client), owned.clone())
        .owns(scope.api::<PartialObjectMeta<ConfigMap>>(&client), owned.clone())
        .owns(scope.api::<PartialObjectMeta<Secret>>(&client), owned.clone())
        .watches(
            scope.api::<PartialObjectMeta<Pod>>(&client),
            owned.clone(),
            move |pod| by_uid(&by_pod, &pod),
        )
        .watches(
            scope.api::<PartialObjectMeta<PersistentVolumeClaim>>(&client),
            owned,
            move |claim| by_uid(&by_claim, &claim),
        )
        .watches_stream(
            crate::runtime::watch::changes::<Cluster>(&scope, &client),
            move |cluster: Cluster| {
                let (namespace, name) = (cluster.namespace(), cluster.name_any());
                let named = control_plane_of(&cluster).map(|control_plane| {
                    ObjectRef::new(control_plane).within(&cluster.namespace().unwrap_or_default())
                });
                find(&by_cluster, |ncp| {
                    ncp.namespace() == namespace && cluster_of(ncp).as_ref() == Some(&name)
                })
                .into_iter()
                .chain(named)
                .collect::<Vec<_>>()
            },
        )
        // Whenever one gets on, those that come next look again.
        .watches_stream(crate::runtime::watch::touched(&scope, &client), move |changed| {
            let next = waiting.start_limiter.next(&by_slot.state(), &changed, Timestamp::now());
            next.iter()
                .map(|ncp| ObjectRef::from_obj(ncp.as_ref()))
                .collect::<Vec<_>>()
        });
    crate::runtime::controller::run(controller, context, shutdown, move |ncp, context| {
        reconcile(ncp, context, state.clone())
    })
    .await;
}

/// The control plane that an object belongs to by its label.
fn by_uid<K: Resource>(store: &Store<NestedControlPlane>, object: &K) -> Vec<ObjectRef<NestedControlPlane>> {
    let Some(uid) = object.labels().get(names::UID_LABEL) else {
        return Vec::new();
    };
    find(store, |ncp| ncp.metadata.uid.as_ref() == Some(uid))
}

fn find(
    store: &Store<NestedControlPlane>,
    wanted: impl Fn(&NestedControlPlane) -> bool,
) -> Vec<ObjectRef<NestedControlPlane>> {
    let all = store.state();
    let found = all.iter().filter(|ncp| wanted(ncp));
    found.map(|ncp| ObjectRef::from_obj(ncp.as_ref())).collect()
}

/// One pass over a NestedControlPlane.
async fn reconcile(
    ncp: Arc<NestedControlPlane>,
    ctx: Arc<Context>,
    state: Arc<State>,
) -> Result<Action, ReconcileError> {
    let now = Timestamp::now();
    let mut pass = Reconciliation {
        ctx: &ctx,
        state: &state,
        owner: Owner::new(ncp.as_ref(), names::UID_LABEL),
        ncp: ncp.as_ref().clone(),
        observed: None,
        issued: Vec::new(),
        now,
    };
    let uid = ncp.uid().unwrap_or_default();
    let known = cluster_of(&ncp).map(|cluster| Names::new(&cluster, &uid));
    let (cluster, disputed) = match observe::cluster(&ctx.api, &ncp).await {
        Ok(OfCluster::Found(cluster)) => (Some(*cluster), None),
        Ok(OfCluster::Missing) => (None, None),
        Ok(OfCluster::Disputed(why)) => (None, Some(why)),
        Err(error) => {
            return pass
                .finish(known.as_ref(), Outcome::Failed(Error::Observe(error)))
                .await;
        }
    };
    let named = cluster.as_ref().map(|cluster| Names::new(&cluster.name_any(), &uid));
    let names = named.or(known);
    let outcome = if let Some(why) = paused(ncp.as_ref(), cluster.as_ref()) {
        Outcome::Paused(why)
    } else if ncp.metadata.deletion_timestamp.is_some() {
        match pass.delete(names.as_ref(), cluster.as_ref()).await {
            Ok(Some(waiting)) => Outcome::Deleting(waiting),
            Ok(None) => return Ok(Action::await_change()),
            Err(error) => Outcome::Failed(error),
        }
    } else {
        match (&names, cluster, disputed) {
            (_, _, Some(why)) => Outcome::Failed(Error::Validate(ValidateError::Disputed(why))),
            (Some(names), Some(cluster), None) => {
                let provisioned = pass.provision(names, cluster).boxed().await;
                provisioned.unwrap_or_else(Outcome::Failed)
            }
            _ => Outcome::NoCluster,
        }
    };
    pass.finish(names.as_ref(), outcome).await
}

/// A pass and what it has found so far.
struct Reconciliation<'a> {
    ctx: &'a Context,
    state: &'a State,
    /// The object, as the owner of what is written for it.
    owner: Owner,
    ncp: NestedControlPlane,
    /// None while nothing was read: then nothing of it is known, which is not the same as nothing.
    observed: Option<View>,
    /// Certificates that were issued in place of others.
    issued: Vec<Issued>,
    now: Timestamp,
}

impl Reconciliation<'_> {
    async fn observe(&self, names: &Names) -> Result<View, Error> {
        let dependents = self.ctx.api.dependents(&self.owner);
        let members = datastore::members(&self.ncp);
        let namespace = self.ncp.namespace().unwrap_or_default();
        // Boxed, as all that is large: the steps of a pass lie in each other on a thread's stack.
        observe::observe(dependents, &namespace, names, members, self.now)
            .boxed()
            .await
            .map_err(Error::Observe)
    }

    fn executor<'a>(&'a self, all: &'a [Arc<NestedControlPlane>]) -> Executor<'a> {
        Executor {
            api: &self.ctx.api,
            dependents: self.ctx.api.dependents(&self.owner),
            ncp: &self.ncp,
            workload_clusters: &self.state.workload_clusters,
            start_limiter: &self.state.start_limiter,
            all,
            now: self.now,
        }
    }

    /// Brings a control plane that should be there on its way.
    async fn provision(&mut self, names: &Names, cluster: Cluster) -> Result<Outcome, Error> {
        let all = self.state.all.state();
        if self.state.start_limiter.still_waits(&self.ncp, &all, self.now) {
            return Ok(Outcome::WaitingForStartSlot);
        }
        let view = self.observed.insert(self.observe(names).await?).clone();
        let owner = self.owner.clone();
        let mut pass = Provision::new(self.ncp.clone(), cluster, names.clone(), owner, view, self.now);
        loop {
            pass = match pass.next() {
                Next::Do(actions, waiting) => waiting.absorb(self.executor(&all).execute(actions).await),
                Next::Done(done) => {
                    let Done { ncp, outcome, issued } = *done;
                    (self.ncp, self.issued) = (ncp, issued);
                    return Ok(outcome);
                }
            };
        }
    }

    /// Deletes what belongs to a control plane; returns what is waited for, or None when the object itself
    /// is gone.
    async fn delete(&mut self, names: Option<&Names>, cluster: Option<&Cluster>) -> Result<Option<String>, Error> {
        if let Some(names) = names {
            let view = self.observed.insert(self.observe(names).await?).clone();
            let workers = match cluster {
                Some(_) => observe::workers(&self.ctx.api, &self.ncp, names)
                    .await
                    .map_err(Error::Observe)?,
                None => Vec::new(),
            };
            let Deletion {
                actions,
                waiting,
                orphaned,
            } = plan::delete(&self.ncp, &view, &workers);
            for reply in self.executor(&[]).execute(actions).await {
                reply?;
            }
            if waiting.is_some() {
                return Ok(waiting);
            }
            if orphaned {
                let note = "Deleted with --cascade=orphan: everything that was created for this control plane stays";
                let about = reference(&self.ncp);
                self.ctx.event(&about, EventType::Normal, Reason::Orphaned, note).await;
            }
        }
        self.state.workload_clusters.forget(self.owner.uid());
        crate::runtime::controller::release(self.ctx, &self.ncp, capn_api::nested_control_plane::FINALIZER)
            .await
            .map_err(Error::Apply)?;
        Ok(None)
    }

    /// Writes status and event, and says when to look again.
    async fn finish(self, names: Option<&Names>, outcome: Outcome) -> Result<Action, ReconcileError> {
        let Self {
            ctx,
            state,
            owner: _,
            ncp,
            observed,
            issued,
            now,
        } = self;
        let status = |ncp: &NestedControlPlane| status::status(ncp, names, observed.as_ref(), &outcome, now);
        // Before it is written, because that wakes those that wait for a start slot.
        state.start_limiter.release_if_settled(&ncp, &status(&ncp));
        let written = ctx.api.apply_status(&ncp, status).await;
        events::reissued(ctx, &ncp, &issued).await;
        let status = written.map_err(|error| ReconcileError::from(&error))?;
        let key = ObjectRef::from_obj(&ncp).to_string();
        let cause = observed.as_ref().and_then(diagnosis::diagnose);
        events::announce(ctx, &ncp, &status, cause.filter(|cause| cause.needs_user_action)).await;
        match &outcome {
            Outcome::Failed(error) => events::complain(ctx, &ncp, slice::from_ref(error), None, now).await,
            Outcome::Applied {
                next_check: at, errors, ..
            } => events::complain(ctx, &ncp, errors, Some(*at), now).await,
            // What is deleted may go without a word where nothing is watched.
            Outcome::Deleting(_) => Ok(requeue_at(Some(now + SignedDuration::from_secs(10)), now, &key)),
            Outcome::WaitingForStartSlot => Ok(requeue_at(Some(now + SignedDuration::from_secs(30)), now, &key)),
            Outcome::NoCluster | Outcome::Paused(_) | Outcome::WaitingForAddress => Ok(requeue_at(None, now, &key)),
        }
    }
}
