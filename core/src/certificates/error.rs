//! What can be wrong with the keys of a control plane.

use crate::api_error::ApiError;
use crate::pki::PkiError;
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};

/// Type of the Secrets that `kubectl create secret tls` makes.
pub(super) const TLS_TYPE: &str = "kubernetes.io/tls";

/// What can be wrong with a control plane's keys. Secrets are named as `<namespace>/<name>`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum CertificateError {
    #[error(transparent)]
    Call(#[from] ApiError),
    #[error("Secret {secret} cannot be used: {source}")]
    Wrong { secret: String, source: PkiError },
    #[error(
        "Secret {secret} and its copy in Secret {copy} are missing, but the control plane already depends on them. Restore the Secret from a backup; running pods keep using what they have mounted"
    )]
    Lost { secret: String, copy: String },
    #[error(
        "Secret {secret} holds a key pair other than the one in use. Replacing it is not supported, so the old one stays in use: delete the Secret, and it is restored from its copy in Secret {copy}"
    )]
    Changed { secret: String, copy: String },
    #[error(
        "Secret {secret} holds a key pair other than the one in use, and the copy in Secret {copy} is missing. Restore the Secret from a backup; running pods keep using what they have mounted"
    )]
    Replaced { secret: String, copy: String },
    #[error(
        "Secret {secret} exists, but it belongs neither to this control plane nor, by its labels, to Cluster {cluster}: to use what it holds for this Cluster, give it the type {SECRET_TYPE} or {TLS_TYPE} and the label {CLUSTER_NAME_LABEL}={cluster}; otherwise rename or delete it"
    )]
    Foreign { secret: String, cluster: String },
    #[error("cannot issue a certificate: {0}")]
    Issue(PkiError),
}
