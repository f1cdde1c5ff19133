//! What gives addresses, the authorities, and a start slot once the addresses are known.

use super::{Decided, Pass, Ready, Stage, Step};
use crate::certificates::Authorities;
use crate::control_plane::{
    addresses, desired,
    error::Error,
    order::started,
    plan::{
        Action,
        answers::Purpose,
        network::{self, Found, Network},
        secrets::{Basis, Chosen, Stored},
        writes::Writes,
    },
    status::Outcome,
};
use std::mem;

impl Pass {
    pub(super) fn basis<'a>(&'a self, decided: &'a Decided) -> Basis<'a> {
        Basis {
            desired: &decided.desired,
            owner: &self.owner,
            secrets: &self.view.secrets,
            used: &decided.stored.authorities,
            now: self.now,
        }
    }

    /// What gives addresses, and the authorities. Neither is cut off by what the other meets.
    pub(super) fn network(&mut self, decided: Box<Decided>) -> Result<Step, Error> {
        self.patched()?;
        let mut wave = network::wave(&decided.desired, &self.view);
        let writes = Writes::of(&wave);
        let (chosen, authorities) = self.basis(&decided).authorities();
        wave.extend(authorities);
        let next = Stage::Fallback(decided, chosen, writes);
        Ok(Step::Wave(next, wave))
    }

    pub(super) fn fallback(&mut self, decided: Box<Decided>, chosen: Chosen, writes: Writes) -> Result<Step, Error> {
        let (answers, refused) = (&mut self.answers, &mut self.refused);
        let (found, wave) = Found::first(writes, answers, &decided.desired, refused)?;
        let next = Stage::Authorities(decided, chosen, found, Writes::of(&wave));
        Ok(Step::Wave(next, wave))
    }

    pub(super) fn authorities(
        &mut self,
        decided: Box<Decided>,
        chosen: Chosen,
        found: Found,
        again: Writes,
    ) -> Result<Step, Error> {
        let mut answers = mem::take(&mut self.answers);
        let network = found.second(again, &mut answers, &mut self.refused)?;
        let (authorities, store) = self.basis(&decided).resolve(chosen, &mut answers)?;
        self.answers = answers;
        let Some(network) = network else {
            return Ok(Step::End(Outcome::WaitingForAddress));
        };
        let next = Stage::StartSlot(
            decided,
            Box::new(network),
            Box::new(authorities),
            Stored::by(store.as_ref()),
        );
        Ok(Step::Wave(
            next,
            store.into_iter().map(|store| (Purpose::Pki, store)).collect(),
        ))
    }

    /// Asks for a start slot, once the addresses are known.
    pub(super) fn start_slot(
        &mut self,
        decided: Decided,
        network: Network,
        authorities: Authorities,
    ) -> Result<Step, Error> {
        let desired = &decided.desired;
        let Some(addresses) = addresses::addresses(desired, &network.api_server, network.datastore) else {
            return Ok(Step::End(Outcome::WaitingForAddress));
        };
        let address = addresses.published.as_ref().map(|_| addresses.reached.0);
        let overlap = match desired::validate_endpoint(&desired.network, address) {
            Err(error) if !desired.has_run => return Err(error.into()),
            checked => checked.err(),
        };
        let starts = !started(desired, &self.view);
        let next = Stage::Leaves(Box::new(Ready {
            decided,
            network,
            addresses,
            authorities,
            overlap,
            serves: false,
        }));
        let ask = starts.then_some((Purpose::StartSlot, Action::AcquireStartSlot));
        Ok(Step::Wave(next, ask.into_iter().collect()))
    }
}
