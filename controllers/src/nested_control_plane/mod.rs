//! NestedControlPlane: a tenant's control plane as pods. `reconcile` reads as the list of steps.

mod apply;
mod certificates;
mod events;
mod finalize;
mod observe;

use crate::runtime::controller::{Context, Scope, Unfinished, again, reference};
use crate::tenant::{Tenants, Written};
use crate::workload_cluster::Access;
use apply::Refused;
use capn_api::{NestedControlPlane, Reason, cluster_api::Cluster};
use capn_core::{
    cluster_api::paused,
    control_plane::{
        addresses::{self, Addresses, Given},
        certificates::Authorities,
        cluster::{OfCluster, cluster_of, control_plane_of},
        datastore, deletion,
        desired::{self, Tenant, ValidateError},
        diagnosis,
        error::Error,
        inputs::{self, Inputs},
        metadata::ManagedFields,
        names::{self, Names},
        objects, order,
        start_limiter::StartLimiter,
        status::{self, Outcome},
        view::View,
    },
    ownership::Owner,
};
use certificates::Leaves;
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
use std::{mem, slice, sync::Arc};
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capn-nested-control-plane";

/// What this controller works with beside the shared context.
struct Own {
    tenants: Tenants,
    start_limiter: StartLimiter,
    all: Store<NestedControlPlane>,
}

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, max_concurrent_starts: u32, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let controller = crate::runtime::watch::controller::<NestedControlPlane>(&scope, &client);
    let own = Arc::new(Own {
        tenants: Tenants::default(),
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
    let waiting = own.clone();
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
        reconcile(ncp, context, own.clone())
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
async fn reconcile(ncp: Arc<NestedControlPlane>, ctx: Arc<Context>, own: Arc<Own>) -> Result<Action, Unfinished> {
    let now = Timestamp::now();
    let mut pass = Pass {
        ctx: &ctx,
        own: &own,
        owner: Owner::new(ncp.as_ref(), names::UID_LABEL),
        ncp: ncp.as_ref().clone(),
        observed: None,
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
                let advanced = pass.advance(names, &cluster).boxed().await;
                advanced.unwrap_or_else(Outcome::Failed)
            }
            _ => Outcome::NoCluster,
        }
    };
    pass.finish(names.as_ref(), outcome).await
}

/// A pass and what it has found so far.
struct Pass<'a> {
    ctx: &'a Context,
    own: &'a Own,
    /// The object, as the owner of what is written for it.
    owner: Owner,
    ncp: NestedControlPlane,
    /// None while nothing was read: then nothing of it is known, which is not the same as nothing.
    observed: Option<View>,
    now: Timestamp,
}

impl Pass<'_> {
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

    /// The steps of a tenant that shall be there.
    async fn advance(&mut self, names: &Names, cluster: &Cluster) -> Result<Outcome, Error> {
        let api = &self.ctx.api;
        let all = self.own.all.state();
        if self.own.start_limiter.still_waits(&self.ncp, &all, self.now) {
            return Ok(Outcome::WaitingForStartSlot);
        }
        let observed = self.observed.insert(self.observe(names).await?).clone();
        let dependents = api.dependents(&self.owner);
        let (datastore, accepted) = datastore::assess(&self.ncp, names, &observed);
        let stopped =
            datastore.is_lost() || (accepted && (observed.api_server.is_some() || observed.controllers.is_some()));
        if stopped {
            // They would go on to serve what they remember.
            self.stop(&observed).await?;
        }
        let (mut tenant, invalid) = inputs::desired(&self.ncp, cluster, &observed)?;
        desired::validate_claims(&self.ncp, &observed)?;
        tenant.etcd.bootstrap = datastore.bootstrap();
        let stored = Inputs::stored(&observed.revisions).unwrap_or_default();
        let given = stored.addresses;
        let services = &observed.services;
        tenant.endpoint.given = given.missing(services.api_server.as_ref(), services.etcd.as_ref());
        let rollout = desired::rollout(&mut tenant, &observed, self.now);
        let own = ManagedFields {
            endpoint: None,
            datastore_initialized: !accepted && datastore::initialized(&self.ncp, Some(&observed)),
            obsolete: datastore::obsolete(&datastore, accepted),
        };
        self.ncp = apply::own(api, &self.ncp, names, &own).await.map_err(Error::Apply)?;
        let refused = Refused::default();
        let network = apply::network(dependents, &tenant, objects::network(&tenant), &observed, &refused);
        let secrets = &observed.secrets;
        let authorities = certificates::authorities(dependents, &tenant, secrets, &stored.authorities, self.now);
        // Neither is cut off by what the other meets.
        let (network, authorities) = tokio::join!(network.boxed(), authorities.boxed());
        let (network, mut authorities) = (network.map_err(Error::Apply)?, authorities?);
        let Some(addresses) = addresses::addresses(&tenant, &network.api_server, &network.etcd) else {
            return Ok(Outcome::WaitingForAddress);
        };
        let address = addresses.published.as_ref().map(|_| addresses.reached.0);
        let overlap = match desired::validate_endpoint(&tenant.network, address) {
            Err(error) if !tenant.has_run => return Err(error.into()),
            checked => checked.err(),
        };
        if !order::started(&tenant, &observed) && !self.own.start_limiter.try_acquire(&self.ncp, &all, self.now) {
            return Ok(Outcome::WaitingForStartSlot);
        }
        let leaves = certificates::leaves(dependents, &tenant, &addresses, &authorities, secrets, self.now)
            .boxed()
            .await;
        let (leaves, unissued) = match leaves {
            Err(error) if !tenant.has_run => return Err(error.into()),
            Err(error) => (None, Some(error)),
            Ok(leaves) => (Some(leaves), None),
        };
        let mut wanted = objects::workloads(&tenant, &addresses, &authorities.marks);
        wanted.api_server = wanted.api_server.filter(|_| !stopped);
        wanted.controllers = wanted.controllers.filter(|_| !stopped);
        wanted.etcd = wanted.etcd.filter(|_| !datastore.is_gone());
        let workloads = apply::workloads(dependents, &tenant, wanted, &observed, &refused)
            .boxed()
            .await
            .map_err(Error::Apply)?;
        let status = workloads.api_server.as_ref().and_then(|made| made.status.as_ref());
        let serves = status.is_some_and(|status| status.ready_replicas.unwrap_or(0) > 0);
        let own = ManagedFields {
            endpoint: addresses.published.clone(),
            datastore_initialized: serves,
            obsolete: Vec::new(),
        };
        self.ncp = apply::own(api, &self.ncp, names, &own).await.map_err(Error::Apply)?;
        let mut refused = refused.into_errors();
        refused.extend(addresses::lost(&tenant, given, &network.api_server).map(Error::EndpointLost));
        let seeded = match &leaves {
            Some(leaves) if serves && !refused.iter().any(Error::is_outage) => {
                self.seed(&tenant, &addresses, &authorities, leaves).await
            }
            _ => Ok(None),
        };
        let fault = datastore.fault(&tenant.namespace).filter(|_| datastore.is_lost());
        let lost = fault.map(|(_, message)| Error::DatastoreLost(message));
        let invalid = invalid.or(overlap).map(Error::Validate);
        if addresses.published.is_some() && invalid.is_none() && refused.is_empty() {
            let given = Given::to(&tenant.endpoint, Some(&network.api_server), Some(&network.etcd));
            let revision = tenant.template_revision;
            let inputs = Inputs::of(&self.ncp, cluster, given, &authorities.identities, revision);
            let stored = apply::store(dependents, &tenant, &inputs, &observed.revisions);
            stored.await.map_err(Error::Apply)?;
        }
        let (seeded, unseeded) = match seeded {
            Ok(seeded) => (seeded, None),
            Err(error) => (None, Some(error)),
        };
        let faults = mem::take(&mut authorities.faults).into_iter().chain(unissued);
        let errors = [lost, invalid, unseeded].into_iter().flatten();
        let mut errors: Vec<_> = errors.chain(faults.map(Error::Keys)).chain(refused).collect();
        errors.sort_by_key(Error::rank);
        let soon = match seeded {
            Some(Written::NotNow(wait)) => Some(self.now + wait),
            _ => None,
        };
        Ok(Outcome::Applied {
            api_server: workloads.api_server.map(Box::new),
            published: addresses.published.is_some(),
            again: [rollout, observed.due(), soon]
                .into_iter()
                .flatten()
                .fold(leaves.map_or(Timestamp::MAX, |leaves| leaves.renewal), Timestamp::min),
            seeded: matches!(seeded, Some(Written::Whole)),
            errors,
        })
    }

    /// Ends the API servers of a control plane whose data is gone, and what works through them. What is in
    /// the workload cluster is written anew when there are others.
    async fn stop(&self, observed: &View) -> Result<(), Error> {
        self.own.tenants.forget(self.owner.uid());
        let dependents = self.ctx.api.dependents(&self.owner);
        for live in observed.controllers.iter().chain(&observed.api_server) {
            dependents.delete(live).await.map_err(Error::Apply)?;
        }
        Ok(())
    }

    /// Writes what belongs into the tenant; None while its endpoint is not known.
    async fn seed(
        &self,
        tenant: &Tenant,
        addresses: &Addresses,
        authorities: &Authorities,
        leaves: &Leaves,
    ) -> Result<Option<Written>, Error> {
        let (Some(endpoint), Some(admin)) = (&addresses.published, &leaves.admin) else {
            return Ok(None);
        };
        let access = Access {
            server: &format!("https://{}", addresses.service(tenant).authority()),
            authority: authorities.ca.trusted(),
            admin,
        };
        let objects = objects::inside(tenant, addresses, endpoint, authorities.ca.trusted());
        let written = self.own.tenants.write(self.owner.uid(), access, objects).await?;
        Ok(Some(written))
    }

    /// The steps of a tenant that shall go; None when the object itself is gone.
    async fn delete(&mut self, names: Option<&Names>, cluster: Option<&Cluster>) -> Result<Option<String>, Error> {
        if let Some(names) = names {
            let observed = self.observed.insert(self.observe(names).await?).clone();
            let dependents = self.ctx.api.dependents(&self.owner);
            let waiting = finalize::finalize(dependents, &self.ncp, cluster, names, &observed).await;
            if let Some(waiting) = waiting.map_err(Error::Apply)? {
                return Ok(Some(waiting));
            }
            if deletion::orphaned(&self.ncp, &observed) {
                let note = "Deleted with --cascade=orphan: everything that was created for this control plane stays";
                self.ctx
                    .event(&reference(&self.ncp), EventType::Normal, Reason::Orphaned, note)
                    .await;
            }
        }
        self.own.tenants.forget(self.owner.uid());
        crate::runtime::controller::release(self.ctx, &self.ncp, capn_api::nested_control_plane::FINALIZER)
            .await
            .map_err(Error::Apply)?;
        Ok(None)
    }

    /// Writes status and event, and says when to look again.
    async fn finish(self, names: Option<&Names>, outcome: Outcome) -> Result<Action, Unfinished> {
        let Self {
            ctx,
            own,
            owner: _,
            ncp,
            observed,
            now,
        } = self;
        let status = |ncp: &NestedControlPlane| status::status(ncp, names, observed.as_ref(), &outcome, now);
        // Before it is written, because that wakes those that wait for a start slot.
        own.start_limiter.release_if_settled(&ncp, &status(&ncp));
        let written = ctx.api.put_status(&ncp, status).await;
        let status = written.map_err(|error| Unfinished::from(&error))?;
        let key = ObjectRef::from_obj(&ncp).to_string();
        let cause = observed.as_ref().and_then(diagnosis::diagnose);
        events::announce(ctx, &ncp, &status, cause.filter(|cause| cause.needs_user_action)).await;
        match &outcome {
            Outcome::Failed(error) => events::complain(ctx, &ncp, slice::from_ref(error), None, now).await,
            Outcome::Applied { again: at, errors, .. } => events::complain(ctx, &ncp, errors, Some(*at), now).await,
            // What is deleted may go without a word where nothing is watched.
            Outcome::Deleting(_) => Ok(again(Some(now + SignedDuration::from_secs(10)), now, &key)),
            Outcome::WaitingForStartSlot => Ok(again(Some(now + SignedDuration::from_secs(30)), now, &key)),
            Outcome::NoCluster | Outcome::Paused(_) | Outcome::WaitingForAddress => Ok(again(None, now, &key)),
        }
    }
}
