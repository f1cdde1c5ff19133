//! Why calls fail in a history.

use crate::objects::Key;
use crate::world::NAMESPACE;
use capn_core::{
    api_error::{ApiError, Cause},
    ownership::Owner,
};
use kube::core::Status;

fn failed(verb: &'static str, object: &Key, cause: Cause) -> ApiError {
    ApiError {
        verb,
        object: format!("{} {NAMESPACE}/{}", object.0, object.1),
        cause,
    }
}

/// The API server refuses it.
pub(crate) fn refused(verb: &'static str, object: &Key, code: u16, reason: &str) -> ApiError {
    let status = Status {
        code,
        reason: reason.into(),
        message: reason.into(),
        ..Status::default()
    };
    failed(verb, object, Cause::Api(Box::new(status)))
}

/// No answer came.
pub(crate) fn silent(verb: &'static str, object: &Key) -> ApiError {
    failed(verb, object, Cause::Unreachable("timed out".into()))
}

/// The name is somebody else's.
pub(crate) fn taken(verb: &'static str, object: &Key, owner: &Owner) -> ApiError {
    let owner = owner.to_string();
    failed(verb, object, Cause::NameTaken { owner })
}
