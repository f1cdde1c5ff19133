//! The writes of a wave, and what came of them.

use super::answers::{Answers, Purpose, Wave};
use super::{Action, Object};
use crate::api_error::ApiError;
use crate::control_plane::error::Error;
use std::collections::BTreeMap;

/// Writes that were asked for.
#[derive(Debug)]
pub(super) struct Writes(Wave);

/// What writes have left.
pub(super) type Written = BTreeMap<Purpose, Object>;

impl Writes {
    /// The writes of this wave.
    pub(super) fn of(wave: &Wave) -> Self {
        Self(wave.clone())
    }

    /// What each has left, or why it failed.
    pub(super) fn replies(
        self,
        answers: &mut Answers,
        refused: &mut Vec<Error>,
    ) -> Vec<(Purpose, Action, Result<Option<Object>, ApiError>)> {
        let replies = self.0.into_iter().map(|(of, action)| {
            let reply = keep_if_refused(answers.object(of), found(&action), refused);
            (of, action, reply)
        });
        replies.collect()
    }

    /// What they have left.
    ///
    /// # Errors
    /// The first that failed.
    pub(super) fn written(self, answers: &mut Answers, refused: &mut Vec<Error>) -> Result<Written, ApiError> {
        let replies = self.replies(answers, refused).into_iter();
        let written = replies.map(|(of, _, reply)| Ok(reply?.map(|object| (of, object))));
        written.filter_map(Result::transpose).collect()
    }
}

/// What stays where a write is refused. Not what is replaced: that is no longer as it should be.
fn found(action: &Action) -> Option<&Object> {
    match action {
        Action::Apply { live, .. } => live.as_ref(),
        Action::Delete(live) => Some(live),
        _ => None,
    }
}

/// Where a write was refused, the object that is there stays: a field that cannot be changed must not
/// keep everything else from being kept alive.
fn keep_if_refused(
    reply: Result<Option<Object>, ApiError>,
    found: Option<&Object>,
    refused: &mut Vec<Error>,
) -> Result<Option<Object>, ApiError> {
    match (reply, found) {
        (Err(error), Some(found)) if error.is_invalid() || error.is_forbidden() => {
            refused.push(Error::Apply(error));
            Ok(Some(found.clone()))
        }
        (reply, _) => reply,
    }
}
