//! What somebody else provisions.

use crate::runtime::api_client::{ApiClient, ApiError};
use capn_api::KubevirtCluster;

/// Mirrors what somebody else provisions into the contract's newer field, and writes nothing else.
pub(crate) async fn mirror(api: &ApiClient, object: &KubevirtCluster) -> Result<(), ApiError> {
    let old = object.status.clone().unwrap_or_default();
    if !old.ready
        || old
            .initialization
            .is_some_and(|initialization| initialization.provisioned == Some(true))
    {
        return Ok(());
    }
    let mirrored = serde_json::json!({"initialization": {"provisioned": true}});
    api.put_fields_of_status(object, &mirrored).await
}
