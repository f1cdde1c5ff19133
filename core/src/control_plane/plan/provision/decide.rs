//! What the control plane should be; and first, the end of what serves data that is gone.

use super::{Decided, Pass, Stage, Step};
use crate::control_plane::{
    desired,
    error::Error,
    inputs::{self, Inputs},
    metadata::{ManagedFields, ensure_metadata},
    plan::{
        Action,
        answers::{Purpose, Wave},
    },
    status::serves,
};
use crate::datastore;

impl Pass {
    pub(super) fn is_stopped(&self) -> bool {
        let runs = self.view.api_server.is_some() || self.view.controllers.is_some();
        self.data.is_lost() || (self.accepted && runs)
    }

    /// Ends the API servers of a control plane whose data is gone, and what works through them: they would go
    /// on to serve what they remember.
    pub(super) fn stop(&mut self) -> Step {
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

    /// Decides what the control plane should be, and takes hold of the object.
    pub(super) fn decide(&mut self) -> Result<Step, Error> {
        self.answers.all_done()?;
        let stored = Inputs::stored(&self.view.revisions);
        let (mut desired, invalid) = inputs::desired(&self.ncp, &self.cluster, &self.view, stored.as_ref())?;
        desired::validate_claims(&self.ncp, &self.view)?;
        desired.datastore.bootstrap = self.data.bootstrap();
        let stored = stored.unwrap_or_default();
        let (api_server, datastore) = (&self.view.api_server_service, &self.view.datastore.service);
        desired.endpoint.given = stored.addresses.missing(api_server.as_ref(), datastore.as_ref());
        let rollout = desired::rollout(&mut desired, &self.view, self.now);
        let serves = self.view.api_server.as_ref().is_some_and(serves);
        let fields = ManagedFields {
            endpoint: None,
            datastore_initialized: !self.accepted && datastore::is_in_use(&self.ncp, &self.view, serves),
            obsolete: datastore::obsolete(&self.data, self.accepted),
        };
        let next = Stage::Network(Box::new(Decided {
            desired,
            invalid,
            stored,
            rollout,
        }));
        Ok(Step::Wave(next, self.patch(&fields)))
    }

    pub(super) fn patch(&self, fields: &ManagedFields) -> Wave {
        let patch = ensure_metadata(&self.ncp, &self.names, fields);
        let patch = patch.into_iter().map(|patch| (Purpose::Metadata, Action::Patch(patch)));
        patch.collect()
    }

    pub(super) fn patched(&mut self) -> Result<(), Error> {
        if let Some(ncp) = self.answers.control_plane(Purpose::Metadata)? {
            self.ncp = ncp;
        }
        Ok(())
    }
}
