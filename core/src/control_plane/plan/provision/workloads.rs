//! Leaf certificates, what holds the addresses, and the endpoint.

use super::{Pass, Ready, Stage, Step};
use crate::control_plane::{
    error::Error,
    metadata::ManagedFields,
    objects,
    order::{waits_for_api_server, waits_for_datastore, waits_for_endpoint},
    plan::{
        Action, Object,
        answers::{Purpose, Wave},
        secrets::Leaves,
        writes::Writes,
    },
    status::{Outcome, serves},
};
use crate::datastore;

impl Pass {
    pub(super) fn leaves(&mut self, ready: Box<Ready>) -> Result<Step, Error> {
        if self.answers.start_slot() == Some(false) {
            return Ok(Step::End(Outcome::WaitingForStartSlot));
        }
        let (leaves, wave) = self.basis(&ready.decided).leaves(&ready.addresses, &ready.authorities);
        let next = Stage::Workloads(ready, leaves);
        Ok(Step::Wave(next, wave))
    }

    /// What holds the addresses, once the Secrets that pods mount are there.
    pub(super) fn workloads(&mut self, ready: Box<Ready>, leaves: Leaves) -> Result<Step, Error> {
        let leaves = leaves.written(&mut self.answers, &mut self.issued).map_err(Error::Keys);
        let desired = &ready.decided.desired;
        let leaves = match leaves {
            Err(error) if !desired.has_run => return Err(error),
            leaves => leaves,
        };
        let (view, marks) = (&self.view, &ready.authorities.marks);
        let objects::Workloads {
            api_server,
            controllers,
            api_server_budget,
            controllers_budget,
        } = objects::workloads(desired, &ready.addresses, marks);
        let datastore = datastore::workloads(desired, &self.data, marks, view)
            .into_iter()
            .enumerate();
        let mut wave: Wave = datastore.map(|(at, action)| (Purpose::Datastore(at), action)).collect();
        let stopped = self.is_stopped();
        let waits = waits_for_datastore(desired, view) || waits_for_endpoint(desired, &ready.addresses, view);
        if !stopped && !waits {
            wave.push((Purpose::ApiServer, Action::apply(api_server, &view.api_server)));
        }
        if !stopped && !waits_for_api_server(desired, view) {
            wave.push((Purpose::Controllers, Action::apply(controllers, &view.controllers)));
        }
        let budget = |of, wanted, live| Action::apply_or_delete(wanted, live).map(|action| (of, action));
        wave.extend(budget(
            Purpose::ApiServerBudget,
            api_server_budget,
            &view.api_server_budget,
        ));
        wave.extend(budget(
            Purpose::ControllersBudget,
            controllers_budget,
            &view.controllers_budget,
        ));
        let next = Stage::Publish(ready, leaves, Writes::of(&wave));
        Ok(Step::Wave(next, wave))
    }

    /// Publishes the endpoint.
    pub(super) fn publish(
        &mut self,
        mut ready: Box<Ready>,
        leaves: Result<Leaves, Error>,
        writes: Writes,
    ) -> Result<Step, Error> {
        let mut written = writes.written(&mut self.answers, &mut self.refused)?;
        let api_server = match written.remove(&Purpose::ApiServer) {
            Some(Object::Deployment(api_server)) => Some(api_server),
            _ => None,
        };
        // As it was found, which is what the mark of a datastore in use follows.
        ready.serves = !self.is_stopped() && self.view.api_server.as_ref().is_some_and(serves);
        let fields = ManagedFields {
            endpoint: ready.addresses.published.clone(),
            ..ManagedFields::default()
        };
        let next = Stage::Prepare(ready, leaves, api_server);
        Ok(Step::Wave(next, self.patch(&fields)))
    }
}
