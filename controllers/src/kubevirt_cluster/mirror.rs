//! What somebody else provisions.

use crate::calls::{ApiError, Calls};
use capn_api::KubevirtCluster;

/// Mirrors what somebody else provisions into the contract's newer field, and writes nothing else.
pub(crate) async fn mirror(calls: &Calls, object: &KubevirtCluster) -> Result<(), ApiError> {
    let old = object.status.clone().unwrap_or_default();
    if !old.ready
        || old
            .initialization
            .is_some_and(|initialization| initialization.provisioned == Some(true))
    {
        return Ok(());
    }
    let mirrored = serde_json::json!({"initialization": {"provisioned": true}});
    calls.put_fields_of_status(object, &mirrored).await
}
