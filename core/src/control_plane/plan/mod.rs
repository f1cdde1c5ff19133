//! What to do about a control plane: waves of actions, each from what is known and from what came of
//! the wave before. Whoever carries them out decides nothing.

mod answers;
mod delete;
mod network;
mod provision;
mod secrets;
mod writes;

pub use delete::{Deletion, delete};
pub use provision::{Provision, Waiting};

pub use super::action::{Action, Answer, Object, Preparation, Prepared, Reply};

use super::status::Outcome;
use crate::certificates::Issued;
use capn_api::NestedControlPlane;

/// What comes next in a pass.
#[derive(Debug)]
pub enum Next {
    /// Do these, side by side. What comes of each is absorbed in their order.
    Do(Vec<Action>, Box<Waiting>),
    /// There is nothing left to do in this pass.
    Done(Box<Done>),
}

/// What a pass has left.
#[derive(Debug)]
pub struct Done {
    /// The NestedControlPlane as it is now.
    pub ncp: NestedControlPlane,
    /// How far the pass came.
    pub outcome: Outcome,
    /// Certificates that were issued in place of others, however far it came.
    pub issued: Vec<Issued>,
}

#[cfg(test)]
mod tests;
