//! Why a workload cluster could not be prepared.

use crate::api_error::{ApiError, Cause};
use std::time::Duration;

/// How long a pass may call one workload cluster.
pub const BUDGET: Duration = Duration::from_secs(10);

/// Why a workload cluster could not be prepared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum PrepareError {
    #[error("the workload cluster's API server cannot be reached yet: {0}")]
    Unreachable(ApiError),
    #[error("in the workload cluster: {0}")]
    Call(ApiError),
    #[error("no client for the workload cluster's API server: {0}")]
    Client(String),
    #[error("the workload cluster's API server responds too slowly: its objects could not be written within {} s", BUDGET.as_secs())]
    Slow,
}

impl From<ApiError> for PrepareError {
    fn from(error: ApiError) -> Self {
        match error.cause {
            Cause::Unreachable(_) => Self::Unreachable(error),
            Cause::Api(_) | Cause::Decode(_) | Cause::NameTaken { .. } => Self::Call(error),
        }
    }
}
