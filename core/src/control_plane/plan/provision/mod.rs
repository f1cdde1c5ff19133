//! A control plane that should be there: stops what serves data that is gone, then Services and keys, then
//! what holds their addresses, then what workers join by.

mod addresses;
mod decide;
mod report;
mod workloads;

use super::answers::{Answers, Wave};
use super::network::{Found, Network};
use super::secrets::{Chosen, Leaves, Stored};
use super::writes::Writes;
use super::{Done, Next, Reply};
use crate::certificates::{Authorities, Issued};
use crate::control_plane::{
    addresses::Addresses,
    desired::{DesiredControlPlane, ValidateError},
    error::Error,
    inputs::Inputs,
    names::Names,
    status::Outcome,
    view::View,
};
use crate::datastore::{self, Data};
use crate::ownership::Owner;
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};

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
    data: Data,
    /// The loss of the datastore was accepted just now.
    accepted: bool,
    answers: Answers,
    /// Writes that were refused while what was there before serves on.
    refused: Vec<Error>,
    /// Certificates that were issued in place of others.
    issued: Vec<Issued>,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Stop,
    Metadata,
    Network(Box<Decided>),
    Fallback(Box<Decided>, Chosen, Writes),
    Authorities(Box<Decided>, Chosen, Found, Writes),
    StartSlot(Box<Decided>, Box<Network>, Box<Authorities>, Stored),
    Leaves(Box<Ready>),
    Workloads(Box<Ready>, Leaves),
    Publish(Box<Ready>, Result<Leaves, Error>, Writes),
    Prepare(Box<Ready>, Result<Leaves, Error>, Option<Box<Deployment>>),
    Store(Box<Ready>, Result<Leaves, Error>, Option<Box<Deployment>>),
    Discard(Box<Outcome>, Vec<ControllerRevision>),
    End(Box<Outcome>),
}

/// What the control plane should be.
#[derive(Debug)]
struct Decided {
    desired: DesiredControlPlane,
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
    network: Network,
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
        let (data, accepted) = datastore::assess(&ncp, &names, &view);
        let pass = Pass {
            ncp,
            cluster,
            names,
            owner,
            view,
            now,
            data,
            accepted,
            answers: Answers::default(),
            refused: Vec::new(),
            issued: Vec::new(),
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
            return Next::Done(Box::new(Done {
                ncp: pass.ncp,
                outcome,
                issued: pass.issued,
            }));
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
            Stage::Fallback(decided, chosen, writes) => self.fallback(decided, chosen, writes),
            Stage::Authorities(decided, chosen, found, again) => self.authorities(decided, chosen, found, again),
            Stage::StartSlot(decided, network, authorities, stored) => {
                stored.check(&mut self.answers).map_err(Error::Keys)?;
                self.start_slot(*decided, *network, *authorities)
            }
            Stage::Leaves(ready) => self.leaves(ready),
            Stage::Workloads(ready, leaves) => self.workloads(ready, leaves),
            Stage::Publish(ready, leaves, writes) => self.publish(ready, leaves, writes),
            Stage::Prepare(ready, leaves, api_server) => self.prepare(ready, leaves, api_server),
            Stage::Store(ready, leaves, api_server) => self.store(*ready, leaves, api_server),
            Stage::Discard(outcome, old) => self.discard(outcome, old),
            Stage::End(outcome) => {
                self.answers.all_done()?;
                Ok(Step::End(*outcome))
            }
        }
    }
}

enum Step {
    Wave(Stage, Wave),
    End(Outcome),
}
