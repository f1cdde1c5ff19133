//! What to do about a control plane: waves of actions, each from what is known and from what came of
//! the wave before. Whoever carries them out decides nothing.

mod action;
mod answers;
mod delete;
mod network;
mod provision;
mod secrets;

pub use action::{Action, Answer, Object, Preparation, Prepared, Reply};
pub use delete::{Deletion, delete};
pub use provision::{Provision, Waiting};

use super::status::Outcome;
use capn_api::NestedControlPlane;

/// What comes next in a pass.
#[derive(Debug)]
pub enum Next {
    /// Do these, side by side. What comes of each is absorbed in their order.
    Do(Vec<Action>, Box<Waiting>),
    /// There is nothing left to do in this pass: the NestedControlPlane as it is now, and how far it came.
    Done(Box<NestedControlPlane>, Box<Outcome>),
}

#[cfg(test)]
mod tests;
