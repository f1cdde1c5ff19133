//! What can be wrong with the keys of a control plane.

use crate::api_error::ApiError;
use crate::pki::PkiError;
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};

/// Type of the Secrets that `kubectl create secret tls` makes.
pub(super) const TLS_TYPE: &str = "kubernetes.io/tls";

/// What can be wrong with a tenant's keys. Secrets are named as `<namespace>/<name>`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum CertificateError {
    #[error(transparent)]
    Call(#[from] ApiError),
    #[error("Secret {secret} cannot be used: {source}")]
    Wrong { secret: String, source: PkiError },
    #[error(
        "Secret {secret} is gone, although the control plane has run with it, and so is its copy in Secret {copy}: restore it from a backup; pods that run go on with the old one"
    )]
    Lost { secret: String, copy: String },
    #[error(
        "Secret {secret} holds another authority than the one in use, which stays in use: replacing it is not supported yet; delete the Secret and it is written again from its copy in Secret {copy}"
    )]
    Changed { secret: String, copy: String },
    #[error(
        "Secret {secret} holds another authority than the one that the control plane has run with, and the copy in Secret {copy} is gone: restore it from a backup; pods that run go on with the old one"
    )]
    Replaced { secret: String, copy: String },
    #[error(
        "Secret {secret} exists, but it belongs neither to this control plane nor, by its labels, to Cluster {cluster}: to have it used as the Cluster's authority, give it the type {SECRET_TYPE} or {TLS_TYPE} and the label {CLUSTER_NAME_LABEL}={cluster}; otherwise rename or delete it"
    )]
    Foreign { secret: String, cluster: String },
    #[error("cannot issue a certificate: {0}")]
    Issue(PkiError),
}
