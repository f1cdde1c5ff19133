//! Secrets of a control plane: whose they are, and how ours are written.

use super::{KeysError, error::TLS_TYPE};
use crate::calls::Dependents;
use crate::nested_control_plane::{names, validate::Tenant};
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Writes a Secret of ours, unless it holds all of this already.
pub(super) async fn store(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    name: &str,
    live: Option<&Secret>,
    data: BTreeMap<String, ByteString>,
) -> Result<(), KeysError> {
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
    written.map_err(KeysError::Call)
}

/// Whether a Secret was brought as an authority of this Cluster: it says so in the way of Cluster API.
pub(super) fn is_brought(tenant: &Tenant, secret: &Secret) -> bool {
    matches!(secret.type_.as_deref(), Some(SECRET_TYPE | TLS_TYPE))
        && secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str) == Some(tenant.names.cluster())
}

/// Whether a Secret of ours still carries our labels and our owner reference.
pub(super) fn is_kept(tenant: &Tenant, secret: &Secret) -> bool {
    let labels = tenant.names.component(names::CERTIFICATES);
    labels
        .iter()
        .all(|(key, value)| secret.labels().get(key) == Some(value))
        && secret.owner_references().contains(&tenant.owner)
}

/// A Secret of ours with our labels and our owner reference.
pub(super) fn kept(tenant: &Tenant, mut secret: Secret) -> Secret {
    secret.labels_mut().extend(tenant.names.component(names::CERTIFICATES));
    let owners = secret.owner_references_mut();
    owners.retain(|owner| owner.uid != tenant.owner.uid);
    owners.push(tenant.owner.clone());
    secret
}

/// A new Secret of ours.
pub(super) fn secret(tenant: &Tenant, name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(tenant.namespace.clone()),
            labels: Some(tenant.names.component(names::CERTIFICATES)),
            owner_references: Some(vec![tenant.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
