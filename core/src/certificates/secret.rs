//! Secrets of a control plane: whose they are, and how ours look.

use super::error::TLS_TYPE;
use crate::control_plane::{desired::DesiredControlPlane, names};
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Whether a Secret was brought as an authority of this Cluster: it says so in the way of Cluster API.
pub fn is_brought(desired: &DesiredControlPlane, secret: &Secret) -> bool {
    matches!(secret.type_.as_deref(), Some(SECRET_TYPE | TLS_TYPE))
        && secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str) == Some(desired.names.cluster())
}

/// Whether a Secret of ours still carries our labels and our owner reference.
pub fn is_kept(desired: &DesiredControlPlane, secret: &Secret) -> bool {
    let labels = desired.names.component(names::CERTIFICATES);
    labels
        .iter()
        .all(|(key, value)| secret.labels().get(key) == Some(value))
        && secret.owner_references().contains(&desired.owner)
}

/// A Secret of ours with our labels and our owner reference.
pub fn kept(desired: &DesiredControlPlane, mut secret: Secret) -> Secret {
    secret.labels_mut().extend(desired.names.component(names::CERTIFICATES));
    let owners = secret.owner_references_mut();
    owners.retain(|owner| owner.uid != desired.owner.uid);
    owners.push(desired.owner.clone());
    secret
}

/// A new Secret of ours.
pub fn secret(desired: &DesiredControlPlane, name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(desired.namespace.clone()),
            labels: Some(desired.names.component(names::CERTIFICATES)),
            owner_references: Some(vec![desired.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// Secrets of a control plane by name: ours, and what has the names of ours.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

/// Names alone: what a Secret holds is told nowhere.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// The Secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<T: IntoIterator<Item = Secret>>(secrets: T) -> Self {
        let named = secrets.into_iter().map(|secret| (secret.name_any(), secret));
        Self(named.collect())
    }
}
