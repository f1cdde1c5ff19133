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

use crate::control_plane::names::Names;
use crate::pki::{self, Authority, PkiError};
use data::embedded;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use std::collections::BTreeMap;

pub use authority::AuthorityRow;
pub use catalog::{
    Format, LeafRow, LeafSecret, Mounted, Program, api_server_flags, authority_files, hosts, leaf_secrets, mounted,
};
pub use data::{files, pair};
pub use error::CertificateError;
pub use leaf::{CREDENTIALS, Decided, PKI, decide};
pub use policy::{IssueReason, Issued};
pub use secret::{Secrets, is_brought, is_kept, kept, secret};

/// Authorities of a control plane, and what is wrong with what was brought as such.
#[derive(Debug, Default)]
pub struct Authorities {
    /// Those that sign certificates, by the file of their row.
    signers: BTreeMap<&'static str, Authority>,
    /// What rolls the pods when an authority changes.
    pub marks: Marks,
    /// What tells each from another, to be remembered.
    pub identities: BTreeMap<String, String>,
    /// What keeps none of them from being used.
    pub faults: Vec<CertificateError>,
}

impl Authorities {
    /// The authority of this row.
    ///
    /// # Errors
    /// When there is none.
    pub fn signer(&self, row: &AuthorityRow) -> Result<&Authority, CertificateError> {
        let signer = self.signers.get(row.file);
        signer.ok_or(CertificateError::Issue(PkiError::Certificate))
    }

    /// Certificates by which the API server's is trusted, PEM.
    ///
    /// # Errors
    /// When there are none.
    pub fn trusted(&self) -> Result<&str, CertificateError> {
        self.signer(&authority::CLUSTER).map(Authority::trusted)
    }

    /// Adds the authority of a row; `signer` if it signs certificates.
    pub fn add(&mut self, row: &AuthorityRow, signer: Option<Authority>, identity: String) {
        self.signers.extend(signer.map(|signer| (row.file, signer)));
        self.identities.insert(row.file.to_owned(), identity);
    }
}

/// Stand for the authorities that pods read only when they start, by component.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<&'static str, String>);

impl Marks {
    /// The mark of the pods of this component.
    pub fn of(&self, component: &str) -> &str {
        self.0.get(component).map_or("", String::as_str)
    }
}

impl FromIterator<(&'static str, String)> for Marks {
    fn from_iter<T: IntoIterator<Item = (&'static str, String)>>(marks: T) -> Self {
        Self(marks.into_iter().collect())
    }
}

/// Names of all Secrets of a control plane.
pub fn secret_names(names: &Names) -> impl Iterator<Item = String> {
    let authorities = authority::authorities().map(|row| (row.secret)(names));
    let leaves = leaf_secrets().map(|secret| (secret.name)(names));
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
        format!(
            "a certificate in Secret {place} expired at {end:.0} and was not renewed: the condition Available says why"
        )
    })
}
