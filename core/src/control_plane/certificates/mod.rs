//! Private keys and certificates of a control plane. Authorities are created where they are missing and
//! never written over, so that two managers cannot replace each other's; leaves are replaced when
//! they are due or no longer say what they should, under the resourceVersion that was read.

pub mod authority;
mod catalog;
mod data;
mod error;
mod leaf;
mod policy;
mod secret;

use super::{names::Names, view::Secrets};
use crate::pki::{self, Authority};
use data::embedded;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use std::collections::BTreeMap;

pub use catalog::{Format, LEAF_SECRETS, LeafSecret, Mounted, Program, api_server_flags, authority_files, mounted};
pub use data::{files, pair};
pub use error::CertificateError;
pub use leaf::{CREDENTIALS, Decided, PKI, decide};
pub use policy::IssueReason;
pub use secret::{is_brought, is_kept, kept, secret};

/// Authorities of a tenant, and what is wrong with what was brought as such.
#[derive(Debug)]
pub struct Authorities {
    /// Signs for the API server and its clients.
    pub ca: Authority,
    /// Signs for the API server as a proxy before others.
    pub proxy: Authority,
    /// Signs for etcd's servers and their clients.
    pub etcd: Authority,
    /// Signs for etcd's members among themselves.
    pub etcd_peers: Authority,
    /// What rolls the pods when an authority changes.
    pub marks: Marks,
    /// What tells each from another, to be remembered.
    pub identities: BTreeMap<String, String>,
    /// What keeps none of them from being used.
    pub faults: Vec<CertificateError>,
}

/// Stand for the authorities that pods read only when they start.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Of the API server's pods.
    pub api_server: String,
    /// Of the controllers' pods.
    pub controllers: String,
    /// Of etcd's pods.
    pub etcd: String,
}

/// Names of all Secrets of a control plane.
pub fn secret_names(names: &Names) -> impl Iterator<Item = String> {
    let authorities = authority::ALL.into_iter().map(|row| (row.secret)(names));
    let leaves = LEAF_SECRETS.iter().map(|secret| (secret.name)(names));
    authorities.chain([names.pki()]).chain(leaves)
}

/// What is said of the first stored certificate that has ended; `None` while all are valid.
pub fn expired(secrets: &Secrets, now: Timestamp) -> Option<String> {
    let ends = |secret: &Secret| {
        let files = secret.data.iter().flatten().filter(|(key, _)| key.ends_with(".crt"));
        let stored = files.filter_map(|(_, value)| String::from_utf8(value.0.clone()).ok());
        let inside = embedded(secret).map(|pair| pair.certificate);
        stored.chain(inside).filter_map(|text| pki::not_after(&text)).min()
    };
    let (end, secret) = secrets
        .all()
        .filter_map(|secret| Some((ends(secret)?, secret)))
        .min_by_key(|(end, _)| *end)?;
    (end <= now).then(|| {
        let place = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
        format!("a certificate in Secret {place} ended at {end:.0} and was not renewed: see the condition Available for the cause")
    })
}
