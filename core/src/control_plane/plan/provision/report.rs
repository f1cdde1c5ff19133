//! What workers join by; what the pass was made from, to be stored; and how far it came.

use super::{Decided, Pass, Ready, Stage, Step};
use crate::control_plane::{
    addresses,
    desired::Given,
    error::Error,
    inputs::Inputs,
    objects,
    plan::{
        Action, Preparation, Prepared,
        answers::{Purpose, Wave},
        network::Network,
        secrets::Leaves,
    },
    status::Outcome,
    stuck::next_look,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use std::mem;

impl Pass {
    /// Writes what workers join by, while an API server serves.
    pub(super) fn prepare(
        &mut self,
        ready: Box<Ready>,
        leaves: Result<Leaves, Error>,
        api_server: Option<Box<Deployment>>,
    ) -> Result<Step, Error> {
        self.patched()?;
        let Decided { desired, stored, .. } = &ready.decided;
        let lost = addresses::lost(desired, stored.addresses, &ready.network.api_server);
        self.refused.extend(lost.map(Error::EndpointLost));
        let reachable = ready.serves && !self.refused.iter().any(Error::is_outage);
        let admin = leaves.as_ref().ok().and_then(|leaves| leaves.admin.clone());
        let prepare = match (&ready.addresses.published, admin) {
            (Some(endpoint), Some(admin)) if reachable => {
                let authority = ready.authorities.trusted().map_err(Error::Keys)?;
                Some(Action::PrepareWorkloadCluster(Box::new(Preparation {
                    server: format!("https://{}", ready.addresses.service(desired).authority()),
                    authority: authority.to_owned(),
                    admin,
                    objects: objects::inside(desired, &ready.addresses, endpoint, authority),
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
    pub(super) fn store(
        &mut self,
        mut ready: Ready,
        leaves: Result<Leaves, Error>,
        api_server: Option<Box<Deployment>>,
    ) -> Result<Step, Error> {
        let prepared = self.answers.prepared();
        let desired = &ready.decided.desired;
        let fault = self.data.fault(&desired.namespace).filter(|_| self.data.is_lost());
        let lost = fault.map(|(_, message)| Error::DatastoreLost(message));
        let invalid = ready
            .decided
            .invalid
            .take()
            .or(ready.overlap.take())
            .map(Error::Validate);
        let published = ready.addresses.published.is_some();
        let desired = &ready.decided.desired;
        let mut wave = Wave::new();
        if published && invalid.is_none() && self.refused.is_empty() {
            let Network { api_server, datastore } = &ready.network;
            let given = Given::to(&desired.endpoint, Some(api_server), *datastore);
            let (identities, revision) = (&ready.authorities.identities, desired.template_revision);
            let inputs = Inputs::of(&self.ncp, &self.cluster, given, identities, revision);
            let revision = inputs.revision(desired, &self.view.revisions);
            wave.extend(revision.map(|revision| (Purpose::Revision, Action::Create(revision.into()))));
        }
        let (prepared, unprepared) = match prepared {
            Ok(prepared) => (prepared, None),
            Err(error) => (None, Some(error)),
        };
        let (renewal, unissued) = match leaves {
            Ok(leaves) => (leaves.renewal, None),
            Err(error) => (Timestamp::MAX, Some(error)),
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
        let times = [ready.decided.rollout, next_look(&self.view), soon];
        let outcome = Box::new(Outcome::Applied {
            api_server,
            published,
            next_check: times.into_iter().flatten().fold(renewal, Timestamp::min),
            prepared: prepared == Some(Prepared::Whole),
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
    pub(super) fn discard(&mut self, outcome: Box<Outcome>, old: Vec<ControllerRevision>) -> Result<Step, Error> {
        self.answers.done(Purpose::Revision)?;
        let deletes = old.into_iter().enumerate();
        let deletes = deletes.map(|(at, old)| (Purpose::OldRevision(at), Action::Delete(old.into())));
        Ok(Step::Wave(Stage::End(outcome), deletes.collect()))
    }
}
