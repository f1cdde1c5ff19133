//! Writes the Secrets of a control plane.

use crate::runtime::api_client::Dependents;
use capn_api::cluster_api::SECRET_TYPE;
use capn_core::control_plane::{
    certificates::{CertificateError, is_kept, kept, secret},
    desired::Tenant,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use std::collections::BTreeMap;

/// Writes a Secret of ours, unless it holds all of this already.
pub(super) async fn store(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    name: &str,
    live: Option<&Secret>,
    data: BTreeMap<String, ByteString>,
) -> Result<(), CertificateError> {
    let holds = |live: &Secret| {
        is_kept(tenant, live) && live.type_.as_deref() == Some(SECRET_TYPE) && live.data.as_ref() == Some(&data)
    };
    let written = match live {
        Some(live) if holds(live) => Ok(()),
        // Where somebody was faster, theirs is looked at in the next pass.
        None => dependents.create(&secret(tenant, name, data)).await.map(drop),
        // The type of a Secret cannot be changed: it is made again in the next pass.
        Some(live) if live.type_.as_deref() != Some(SECRET_TYPE) && dependents.owner().owns(live) => {
            dependents.delete(live).await
        }
        Some(live) => {
            let mut wanted = kept(tenant, live.clone());
            wanted.data = Some(data);
            dependents.replace(live, wanted).await.map(drop)
        }
    };
    written.map_err(CertificateError::Call)
}
