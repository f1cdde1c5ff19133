//! What came of the actions of a pass, by what they were for.

use super::{Action, Answer, Object, Prepared, Reply};
use crate::api_error::ApiError;
use crate::control_plane::error::Error;
use capn_api::NestedControlPlane;
use std::collections::BTreeMap;

/// What an action is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Purpose {
    Stop(usize),
    Metadata,
    ApiServerService,
    DatastoreNetwork(usize),
    KeepAuthority(usize),
    MakeAuthority(usize),
    Pki,
    StartSlot,
    Leaf(usize),
    Datastore(usize),
    ApiServer,
    Controllers,
    ApiServerBudget,
    ControllersBudget,
    Prepare,
    Revision,
    OldRevision(usize),
}

/// The actions of a wave.
pub(super) type Wave = Vec<(Purpose, Action)>;

#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: Vec<Purpose>,
    replies: BTreeMap<Purpose, Reply>,
}

impl Answers {
    /// Remembers what a wave asks for, and returns its actions.
    pub(super) fn ask(&mut self, wave: Wave) -> Vec<Action> {
        let (asked, actions) = wave.into_iter().unzip();
        self.asked = asked;
        actions
    }

    /// Takes what came of the last wave, in its order.
    pub(super) fn absorb(&mut self, replies: Vec<Reply>) {
        self.replies.extend(self.asked.drain(..).zip(replies));
    }

    /// The object that an action left; `None` where there was no such action.
    pub(super) fn object<K: TryFrom<Object>>(&mut self, of: Purpose) -> Result<Option<K>, ApiError> {
        Ok(match self.replies.remove(&of).transpose()? {
            Some(Answer::Object(object)) => object.try_into().ok(),
            _ => None,
        })
    }

    /// Fails when the action did.
    pub(super) fn done(&mut self, of: Purpose) -> Result<(), ApiError> {
        self.replies.remove(&of).transpose().map(drop)
    }

    /// Fails when any action did whose answer nobody has looked at.
    pub(super) fn all_done(&mut self) -> Result<(), ApiError> {
        std::mem::take(&mut self.replies)
            .into_values()
            .try_for_each(|reply| reply.map(drop))
    }

    pub(super) fn control_plane(&mut self, of: Purpose) -> Result<Option<NestedControlPlane>, ApiError> {
        Ok(match self.replies.remove(&of).transpose()? {
            Some(Answer::ControlPlane(ncp)) => Some(*ncp),
            _ => None,
        })
    }

    /// Whether it may start; `None` where nobody asked.
    pub(super) fn start_slot(&mut self) -> Option<bool> {
        match self.replies.remove(&Purpose::StartSlot) {
            Some(Ok(Answer::StartSlot(given))) => Some(given),
            Some(_) => Some(false),
            None => None,
        }
    }

    pub(super) fn prepared(&mut self) -> Result<Option<Prepared>, Error> {
        match self.replies.remove(&Purpose::Prepare).transpose()? {
            Some(Answer::Prepared(prepared)) => Ok(Some(prepared?)),
            _ => Ok(None),
        }
    }
}
