//! Secrets of a control plane: whose they are, and how ours look.

use super::error::TLS_TYPE;
use crate::control_plane::{desired::Tenant, names};
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Whether a Secret was brought as an authority of this Cluster: it says so in the way of Cluster API.
pub fn is_brought(tenant: &Tenant, secret: &Secret) -> bool {
    matches!(secret.type_.as_deref(), Some(SECRET_TYPE | TLS_TYPE))
        && secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str) == Some(tenant.names.cluster())
}

/// Whether a Secret of ours still carries our labels and our owner reference.
pub fn is_kept(tenant: &Tenant, secret: &Secret) -> bool {
    let labels = tenant.names.component(names::CERTIFICATES);
    labels
        .iter()
        .all(|(key, value)| secret.labels().get(key) == Some(value))
        && secret.owner_references().contains(&tenant.owner)
}

/// A Secret of ours with our labels and our owner reference.
pub fn kept(tenant: &Tenant, mut secret: Secret) -> Secret {
    secret.labels_mut().extend(tenant.names.component(names::CERTIFICATES));
    let owners = secret.owner_references_mut();
    owners.retain(|owner| owner.uid != tenant.owner.uid);
    owners.push(tenant.owner.clone());
    secret
}

/// A new Secret of ours.
pub fn secret(tenant: &Tenant, name: &str, data: BTreeMap<String, ByteString>) -> Secret {
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
