//! A control plane that should be there: stops what serves data that is gone, then Services and keys, then
//! what holds their addresses, then what workers join by.

use super::answers::{Answers, Purpose, Wave};
use super::network::{self, Found, Services};
use super::secrets::{Basis, Chosen, Leaves, Stored};
use super::{Action, Next, Object, Preparation, Prepared, Reply};
use crate::api_error::ApiError;
use crate::control_plane::{
    addresses::{self, Addresses, Given},
    certificates::Authorities,
    datastore::{self, Datastore},
    desired::{self, Tenant, ValidateError},
    error::Error,
    inputs::{self, Inputs},
    metadata::{ManagedFields, ensure_metadata},
    names::Names,
    objects,
    order::{started, waits_for_api_server, waits_for_datastore, waits_for_endpoint},
    status::{Outcome, serves},
    view::View,
};
use crate::ownership::Owner;
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    policy::v1::PodDisruptionBudget,
};
use std::mem;

/// One pass over a control plane that should be there.
#[derive(Debug)]
pub struct Provision {
    pass: Pass,
    stage: Stage,
}

/// What a pass is about, and what has come of it so far.
#[derive(Debug)]
struct Pass {
    ncp: NestedControlPlane,
    cluster: Cluster,
    names: Names,
    owner: Owner,
    view: View,
    now: Timestamp,
    datastore: Datastore,
    /// The loss of the datastore was accepted just now.
    accepted: bool,
    answers: Answers,
    /// Writes that were refused while what was there before serves on.
    refused: Vec<Error>,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Stop,
    Metadata,
    Network(Box<Decided>),
    Fallback(Box<Decided>, Chosen),
    Authorities(Box<Decided>, Chosen, Box<Found>),
    StartSlot(Box<Decided>, Box<Services>, Box<Authorities>, Stored),
    Leaves(Box<Ready>),
    Workloads(Box<Ready>, Leaves),
    Publish(Box<Ready>, Result<Leaves, Error>),
    Prepare(Box<Ready>, Result<Leaves, Error>, Option<Box<Deployment>>),
    Store(Box<Ready>, Result<Leaves, Error>, Option<Box<Deployment>>),
    Discard(Box<Outcome>, Vec<ControllerRevision>),
    End(Box<Outcome>),
}

/// What the control plane should be.
#[derive(Debug)]
struct Decided {
    tenant: Tenant,
    /// What is wrong with the spec, while the one that was applied last is kept alive.
    invalid: Option<ValidateError>,
    stored: Inputs,
    /// When a wanted rollout is due.
    rollout: Option<Timestamp>,
}

/// The same, with its addresses and authorities.
#[derive(Debug)]
struct Ready {
    decided: Decided,
    services: Services,
    addresses: Addresses,
    authorities: Authorities,
    overlap: Option<ValidateError>,
    serves: bool,
}

impl Provision {
    /// A pass over `ncp`, whose Cluster is `cluster`, from what was found.
    pub fn new(
        ncp: NestedControlPlane,
        cluster: Cluster,
        names: Names,
        owner: Owner,
        view: View,
        now: Timestamp,
    ) -> Self {
        let (datastore, accepted) = datastore::assess(&ncp, &names, &view);
        let pass = Pass {
            ncp,
            cluster,
            names,
            owner,
            view,
            now,
            datastore,
            accepted,
            answers: Answers::default(),
            refused: Vec::new(),
        };
        Self {
            pass,
            stage: Stage::Stop,
        }
    }

    /// What comes next.
    pub fn next(self) -> Next {
        let Self { mut pass, mut stage } = self;
        loop {
            let outcome = match pass.step(stage) {
                Ok(Step::Wave(next, wave)) if wave.is_empty() => {
                    stage = next;
                    continue;
                }
                Ok(Step::Wave(stage, wave)) => {
                    let actions = pass.answers.ask(wave);
                    return Next::Do(actions, Box::new(Waiting(Self { pass, stage })));
                }
                Ok(Step::End(outcome)) => outcome,
                Err(error) => Outcome::Failed(error),
            };
            return Next::Done(Box::new(pass.ncp), Box::new(outcome));
        }
    }
}

/// A pass whose actions are being carried out.
#[derive(Debug)]
pub struct Waiting(Provision);

impl Waiting {
    /// Takes what came of the actions, in their order.
    #[must_use]
    pub fn absorb(mut self, replies: Vec<Reply>) -> Provision {
        self.0.pass.answers.absorb(replies);
        self.0
    }
}

impl Pass {
    fn step(&mut self, stage: Stage) -> Result<Step, Error> {
        match stage {
            Stage::Stop => Ok(self.stop()),
            Stage::Metadata => self.decide(),
            Stage::Network(decided) => self.network(decided),
            Stage::Fallback(decided, chosen) => self.fallback(decided, chosen),
            Stage::Authorities(decided, chosen, found) => self.authorities(decided, chosen, *found),
            Stage::StartSlot(decided, services, authorities, stored) => {
                stored.check(&mut self.answers).map_err(Error::Keys)?;
                self.start_slot(*decided, *services, *authorities)
            }
            Stage::Leaves(ready) => self.leaves(ready),
            Stage::Workloads(ready, leaves) => self.workloads(ready, leaves),
            Stage::Publish(ready, leaves) => self.publish(ready, leaves),
            Stage::Prepare(ready, leaves, api_server) => self.prepare(ready, leaves, api_server),
            Stage::Store(ready, leaves, api_server) => self.store(*ready, leaves, api_server),
            Stage::Discard(outcome, old) => self.discard(outcome, old),
            Stage::End(outcome) => {
                self.answers.all_done()?;
                Ok(Step::End(*outcome))
            }
        }
    }

    fn is_stopped(&self) -> bool {
        let runs = self.view.api_server.is_some() || self.view.controllers.is_some();
        self.datastore.is_lost() || (self.accepted && runs)
    }

    /// Ends the API servers of a control plane whose data is gone, and what works through them: they would go
    /// on to serve what they remember.
    fn stop(&mut self) -> Step {
        let next = Stage::Metadata;
        if !self.is_stopped() {
            return Step::Wave(next, Wave::new());
        }
        let running = self.view.controllers.iter().chain(&self.view.api_server);
        let deletes = running.map(|live| Action::Delete(live.clone().into()));
        let all = [Action::ForgetWorkloadCluster].into_iter().chain(deletes);
        Step::Wave(
            next,
            all.enumerate()
                .map(|(at, action)| (Purpose::Stop(at), action))
                .collect(),
        )
    }

    /// Whether the datastore is in use: an API server serves, and it is recorded who serves it, so that a loss
    /// can be told.
    fn is_in_use(&self) -> bool {
        let serves = self.view.api_server.as_ref().is_some_and(serves);
        datastore::initialized(&self.ncp, Some(&self.view)) || (serves && !datastore::members(&self.ncp).is_empty())
    }

    /// Decides what the control plane should be, and takes hold of the object.
    fn decide(&mut self) -> Result<Step, Error> {
        self.answers.all_done()?;
        let stored = Inputs::stored(&self.view.revisions);
        let (mut tenant, invalid) = inputs::desired(&self.ncp, &self.cluster, &self.view, stored.as_ref())?;
        desired::validate_claims(&self.ncp, &self.view)?;
        tenant.etcd.bootstrap = self.datastore.bootstrap();
        let stored = stored.unwrap_or_default();
        let services = &self.view.services;
        tenant.endpoint.given = stored
            .addresses
            .missing(services.api_server.as_ref(), services.etcd.as_ref());
        let rollout = desired::rollout(&mut tenant, &self.view, self.now);
        let fields = ManagedFields {
            endpoint: None,
            datastore_initialized: !self.accepted && self.is_in_use(),
            obsolete: datastore::obsolete(&self.datastore, self.accepted),
        };
        let next = Stage::Network(Box::new(Decided {
            tenant,
            invalid,
            stored,
            rollout,
        }));
        Ok(Step::Wave(next, self.patch(&fields)))
    }

    fn patch(&self, fields: &ManagedFields) -> Wave {
        let patch = ensure_metadata(&self.ncp, &self.names, fields);
        let patch = patch.into_iter().map(|patch| (Purpose::Metadata, Action::Patch(patch)));
        patch.collect()
    }

    fn patched(&mut self) -> Result<(), Error> {
        if let Some(ncp) = self.answers.control_plane(Purpose::Metadata)? {
            self.ncp = ncp;
        }
        Ok(())
    }

    fn basis<'a>(&'a self, decided: &'a Decided) -> Basis<'a> {
        Basis {
            tenant: &decided.tenant,
            owner: &self.owner,
            secrets: &self.view.secrets,
            used: &decided.stored.authorities,
            now: self.now,
        }
    }

    /// What gives addresses, and the authorities. Neither is cut off by what the other meets.
    fn network(&mut self, decided: Box<Decided>) -> Result<Step, Error> {
        self.patched()?;
        let mut wave = network::wave(&decided.tenant, &self.view);
        let (chosen, authorities) = self.basis(&decided).authorities();
        wave.extend(authorities);
        let next = Stage::Fallback(decided, chosen);
        Ok(Step::Wave(next, wave))
    }

    fn fallback(&mut self, decided: Box<Decided>, chosen: Chosen) -> Result<Step, Error> {
        let (answers, refused) = (&mut self.answers, &mut self.refused);
        let (found, wave) = Found::first(answers, &decided.tenant, &self.view, refused)?;
        let next = Stage::Authorities(decided, chosen, Box::new(found));
        Ok(Step::Wave(next, wave))
    }

    fn authorities(&mut self, decided: Box<Decided>, chosen: Chosen, found: Found) -> Result<Step, Error> {
        let mut answers = mem::take(&mut self.answers);
        let services = found.second(&mut answers)?;
        let (authorities, store) = self.basis(&decided).resolve(chosen, &mut answers)?;
        self.answers = answers;
        let Some(services) = services else {
            return Ok(Step::End(Outcome::WaitingForAddress));
        };
        let next = Stage::StartSlot(
            decided,
            Box::new(services),
            Box::new(authorities),
            Stored::by(store.as_ref()),
        );
        Ok(Step::Wave(
            next,
            store.into_iter().map(|store| (Purpose::Pki, store)).collect(),
        ))
    }

    /// Asks for a start slot, once the addresses are known.
    fn start_slot(&mut self, decided: Decided, services: Services, authorities: Authorities) -> Result<Step, Error> {
        let tenant = &decided.tenant;
        let Some(addresses) = addresses::addresses(tenant, &services.api_server, &services.etcd) else {
            return Ok(Step::End(Outcome::WaitingForAddress));
        };
        let address = addresses.published.as_ref().map(|_| addresses.reached.0);
        let overlap = match desired::validate_endpoint(&tenant.network, address) {
            Err(error) if !tenant.has_run => return Err(error.into()),
            checked => checked.err(),
        };
        let starts = !started(tenant, &self.view);
        let next = Stage::Leaves(Box::new(Ready {
            decided,
            services,
            addresses,
            authorities,
            overlap,
            serves: false,
        }));
        let ask = starts.then_some((Purpose::StartSlot, Action::AcquireStartSlot));
        Ok(Step::Wave(next, ask.into_iter().collect()))
    }

    fn leaves(&mut self, ready: Box<Ready>) -> Result<Step, Error> {
        if self.answers.start_slot() == Some(false) {
            return Ok(Step::End(Outcome::WaitingForStartSlot));
        }
        let (leaves, wave) = self.basis(&ready.decided).leaves(&ready.addresses, &ready.authorities);
        let next = Stage::Workloads(ready, leaves);
        Ok(Step::Wave(next, wave))
    }

    /// What holds the addresses, once the Secrets that pods mount are there.
    fn workloads(&mut self, ready: Box<Ready>, leaves: Leaves) -> Result<Step, Error> {
        let leaves = leaves.written(&mut self.answers).map_err(Error::Keys);
        let tenant = &ready.decided.tenant;
        let leaves = match leaves {
            Err(error) if !tenant.has_run => return Err(error),
            leaves => leaves,
        };
        let view = &self.view;
        let objects::Workloads {
            etcd,
            api_server,
            controllers,
            etcd_budget,
            api_server_budget,
            controllers_budget,
        } = objects::workloads(tenant, &ready.addresses, &ready.authorities.marks);
        let (stopped, gone) = (self.is_stopped(), self.datastore.is_gone());
        let etcd = etcd.filter(|_| !gone);
        let waits = waits_for_datastore(tenant, view) || waits_for_endpoint(tenant, &ready.addresses, view);
        let api_server = api_server.filter(|_| !stopped && !waits);
        let controllers = controllers.filter(|_| !stopped && !waits_for_api_server(tenant, view));
        let wave = [
            apply(Purpose::Etcd, etcd, &view.etcd),
            apply(Purpose::ApiServer, api_server, &view.api_server),
            apply(Purpose::Controllers, controllers, &view.controllers),
            apply_or_delete(Purpose::EtcdBudget, etcd_budget, &view.etcd_budget),
            apply_or_delete(Purpose::ApiServerBudget, api_server_budget, &view.api_server_budget),
            apply_or_delete(Purpose::ControllersBudget, controllers_budget, &view.controllers_budget),
        ];
        let next = Stage::Publish(ready, leaves);
        Ok(Step::Wave(next, wave.into_iter().flatten().collect()))
    }

    /// Publishes the endpoint.
    fn publish(&mut self, mut ready: Box<Ready>, leaves: Result<Leaves, Error>) -> Result<Step, Error> {
        let (answers, view, refused) = (&mut self.answers, &self.view, &mut self.refused);
        let etcd = answers.object::<StatefulSet>(Purpose::Etcd);
        keep_if_refused(etcd, view.etcd.as_ref(), refused)?;
        let api_server = answers.object::<Deployment>(Purpose::ApiServer);
        let api_server = keep_if_refused(api_server, view.api_server.as_ref(), refused)?;
        let controllers = answers.object::<Deployment>(Purpose::Controllers);
        keep_if_refused(controllers, view.controllers.as_ref(), refused)?;
        for (of, live) in [
            (Purpose::EtcdBudget, &view.etcd_budget),
            (Purpose::ApiServerBudget, &view.api_server_budget),
            (Purpose::ControllersBudget, &view.controllers_budget),
        ] {
            keep_if_refused(answers.object::<PodDisruptionBudget>(of), live.as_ref(), refused)?;
        }
        // As it was found, which is what the mark of a datastore in use follows.
        ready.serves = !self.is_stopped() && self.view.api_server.as_ref().is_some_and(serves);
        let fields = ManagedFields {
            endpoint: ready.addresses.published.clone(),
            ..ManagedFields::default()
        };
        let next = Stage::Prepare(ready, leaves, api_server.map(Box::new));
        Ok(Step::Wave(next, self.patch(&fields)))
    }

    /// Writes what workers join by, while an API server serves.
    fn prepare(
        &mut self,
        ready: Box<Ready>,
        leaves: Result<Leaves, Error>,
        api_server: Option<Box<Deployment>>,
    ) -> Result<Step, Error> {
        self.patched()?;
        let Decided { tenant, stored, .. } = &ready.decided;
        let lost = addresses::lost(tenant, stored.addresses, &ready.services.api_server);
        self.refused.extend(lost.map(Error::EndpointLost));
        let reachable = ready.serves && !self.refused.iter().any(Error::is_outage);
        let admin = leaves.as_ref().ok().and_then(|leaves| leaves.admin.clone());
        let prepare = match (&ready.addresses.published, admin) {
            (Some(endpoint), Some(admin)) if reachable => {
                let authority = ready.authorities.ca.trusted();
                Some(Action::PrepareWorkloadCluster(Box::new(Preparation {
                    server: format!("https://{}", ready.addresses.service(tenant).authority()),
                    authority: authority.to_owned(),
                    admin,
                    objects: objects::inside(tenant, &ready.addresses, endpoint, authority),
                })))
            }
            _ => None,
        };
        let next = Stage::Store(ready, leaves, api_server);
        Ok(Step::Wave(
            next,
            prepare.into_iter().map(|prepare| (Purpose::Prepare, prepare)).collect(),
        ))
    }

    /// Stores what was applied, and says how far the pass came.
    fn store(
        &mut self,
        mut ready: Ready,
        leaves: Result<Leaves, Error>,
        api_server: Option<Box<Deployment>>,
    ) -> Result<Step, Error> {
        let prepared = self.answers.prepared();
        let tenant = &ready.decided.tenant;
        let fault = self
            .datastore
            .fault(&tenant.namespace)
            .filter(|_| self.datastore.is_lost());
        let lost = fault.map(|(_, message)| Error::DatastoreLost(message));
        let invalid = ready
            .decided
            .invalid
            .take()
            .or(ready.overlap.take())
            .map(Error::Validate);
        let published = ready.addresses.published.is_some();
        let tenant = &ready.decided.tenant;
        let mut wave = Wave::new();
        if published && invalid.is_none() && self.refused.is_empty() {
            let Services { api_server, etcd } = &ready.services;
            let given = Given::to(&tenant.endpoint, Some(api_server), Some(etcd));
            let (identities, revision) = (&ready.authorities.identities, tenant.template_revision);
            let inputs = Inputs::of(&self.ncp, &self.cluster, given, identities, revision);
            let revision = inputs.revision(tenant, &self.view.revisions);
            wave.extend(revision.map(|revision| (Purpose::Revision, Action::Create(revision.into()))));
        }
        let (prepared, unprepared) = match prepared {
            Ok(prepared) => (prepared, None),
            Err(error) => (None, Some(error)),
        };
        let (renewal, issued, unissued) = match leaves {
            Ok(leaves) => (leaves.renewal, leaves.issued, None),
            Err(error) => (Timestamp::MAX, Vec::new(), Some(error)),
        };
        let faults = mem::take(&mut ready.authorities.faults).into_iter().map(Error::Keys);
        let mut errors: Vec<_> = [lost, invalid, unprepared, unissued].into_iter().flatten().collect();
        errors.extend(faults);
        errors.append(&mut self.refused);
        errors.sort_by_key(Error::rank);
        let soon = match prepared {
            Some(Prepared::NotNow(wait)) => Some(self.now + wait),
            _ => None,
        };
        let times = [ready.decided.rollout, self.view.due(), soon];
        let outcome = Box::new(Outcome::Applied {
            api_server,
            published,
            next_check: times.into_iter().flatten().fold(renewal, Timestamp::min),
            seeded: prepared == Some(Prepared::Whole),
            issued,
            errors,
        });
        // Where nothing is stored, what was stored before stays.
        let old = if wave.is_empty() {
            Vec::new()
        } else {
            mem::take(&mut self.view.revisions)
        };
        Ok(Step::Wave(Stage::Discard(outcome, old), wave))
    }

    /// Removes what was stored before.
    fn discard(&mut self, outcome: Box<Outcome>, old: Vec<ControllerRevision>) -> Result<Step, Error> {
        self.answers.done(Purpose::Revision)?;
        let deletes = old.into_iter().enumerate();
        let deletes = deletes.map(|(at, old)| (Purpose::OldRevision(at), Action::Delete(old.into())));
        Ok(Step::Wave(Stage::End(outcome), deletes.collect()))
    }
}

enum Step {
    Wave(Stage, Wave),
    End(Outcome),
}

fn apply<K: Clone + Into<Object>>(of: Purpose, wanted: Option<K>, live: &Option<K>) -> Option<(Purpose, Action)> {
    let wanted = wanted?.into();
    let live = live.clone().map(Into::into);
    Some((of, Action::Apply { wanted, live }))
}

fn apply_or_delete<K: Clone + Into<Object>>(
    of: Purpose,
    wanted: Option<K>,
    live: &Option<K>,
) -> Option<(Purpose, Action)> {
    match (&wanted, live) {
        (None, Some(live)) => Some((of, Action::Delete(live.clone().into()))),
        _ => apply(of, wanted, live),
    }
}

/// Where a write was refused, the object that is there stays: a field that cannot be changed must not
/// keep everything else from being kept alive.
pub(super) fn keep_if_refused<K: Clone>(
    reply: Result<Option<K>, ApiError>,
    live: Option<&K>,
    refused: &mut Vec<Error>,
) -> Result<Option<K>, ApiError> {
    match (reply, live) {
        (Err(error), Some(live)) if error.is_invalid() || error.is_forbidden() => {
            refused.push(Error::Apply(error));
            Ok(Some(live.clone()))
        }
        (reply, _) => reply,
    }
}
