//! Keys and certificates as pure functions: no client, and the time is always given.
//!
//! Formats are Cluster API's: PEM in Secrets. Errors never hold key material.

mod authority;
mod kubeconfig;
mod leaf;

pub use authority::{Authority, not_after};
pub use kubeconfig::{Credentials, Trust, kubeconfig};
pub use leaf::{Leaf, LeafSpec, Usage};

use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    x509::SubjectPublicKeyInfo,
};

/// A certificate (or, for service accounts, a public key) and its private key, both PEM.
#[derive(Clone, Eq, PartialEq)]
pub struct PemPair {
    /// Certificate, or public key for service accounts.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair").finish_non_exhaustive()
    }
}

/// What can be wrong with a key or certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PkiError {
    /// The certificate is not PEM or not X.509.
    #[error("tls.crt does not contain a readable certificate: use a PEM-encoded X.509 certificate")]
    Certificate,
    /// The public key cannot be read.
    #[error("tls.crt does not contain a readable public key: use the PEM format that `openssl pkey -pubout` writes")]
    PublicKey,
    /// There is no key.
    #[error("tls.key is missing, and nothing can be signed without it: add the private key that belongs to tls.crt")]
    NoKey,
    /// The key cannot be read.
    #[error(
        "tls.key does not contain a readable private key: use an RSA or ECDSA key in PEM format (PKCS#1, SEC1 or PKCS#8)"
    )]
    Key,
    /// Key and certificate do not belong together.
    #[error("tls.key does not belong to tls.crt: both must be of the same pair")]
    Mismatch,
    /// The certificate may not sign others.
    #[error("tls.crt is not a certificate authority: its basic constraints must have CA:TRUE")]
    NotAnAuthority,
    /// The certificate is over.
    #[error("tls.crt expired at {0}: replace it with a valid one")]
    Expired(jiff::Timestamp),
    /// The subject cannot be written again as it stands.
    #[error("the subject of tls.crt cannot be used as issuer: use one attribute of each type, such as CN and O")]
    Subject,
    /// A name that no certificate can hold.
    #[error("{0:?} cannot be a DNS name or an IP address in a certificate")]
    Name(String),
    /// The cryptography library failed.
    #[error("the certificate could not be issued: {0}")]
    Issue(String),
}

/// Makes the key pair that signs service account tokens; the certificate field holds the public key.
pub fn service_account_pair() -> Result<PemPair, PkiError> {
    let key = generate()?;
    Ok(PemPair {
        certificate: key.public_key_pem(),
        key: key.serialize_pem(),
    })
}

/// Checks a pair that signs service account tokens: the first public key is that of the private key.
/// Others may follow, which are trusted too.
///
/// # Errors
/// When it is not, or when something cannot be read.
pub fn check_service_account_pair(pair: &PemPair) -> Result<(), PkiError> {
    let key = read_key(&pair.key)?;
    let first = public_keys(&pair.certificate)?.swap_remove(0);
    let (_, public) = SubjectPublicKeyInfo::from_der(&first).map_err(|_| PkiError::PublicKey)?;
    if public.subject_public_key.data == key.public_key_raw() {
        Ok(())
    } else {
        Err(PkiError::Mismatch)
    }
}

/// The public key of a private key, which is what makes one authority another than the next: its
/// certificate may be renewed.
///
/// # Errors
/// When the private key cannot be read.
pub fn public_key(private: &str) -> Result<Vec<u8>, PkiError> {
    read_key(private).map(|key| key.public_key_raw().to_vec())
}

/// The certificates of a PEM text, DER; at least one.
///
/// # Errors
/// When there is none, or something that is none.
pub fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let readable = |der: &[u8]| X509Certificate::from_der(der).is_ok();
    blocks::<CertificateDer<'_>>(pem, readable).ok_or(PkiError::Certificate)
}

/// The public keys of a PEM text, DER; at least one.
///
/// # Errors
/// When there is none, or something that is none.
pub fn public_keys(pem: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let readable = |der: &[u8]| SubjectPublicKeyInfo::from_der(der).is_ok();
    blocks::<SubjectPublicKeyInfoDer<'_>>(pem, readable).ok_or(PkiError::PublicKey)
}

/// What the blocks of one kind hold; none when there is no such block, or one that is not readable.
fn blocks<T: PemObject + AsRef<[u8]>>(pem: &str, readable: impl Fn(&[u8]) -> bool) -> Option<Vec<Vec<u8>>> {
    let found = T::pem_slice_iter(pem.as_bytes()).map(|block| {
        let der = block.ok()?.as_ref().to_vec();
        readable(&der).then_some(der)
    });
    let found: Vec<_> = found.collect::<Option<_>>()?;
    (!found.is_empty()).then_some(found)
}

/// Certificates as one PEM text.
pub fn certificates_pem<'a>(certificates: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    pem_text("CERTIFICATE", certificates)
}

/// Public keys as one PEM text.
pub fn public_keys_pem<'a>(keys: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    pem_text("PUBLIC KEY", keys)
}

fn pem_text<'a>(tag: &str, items: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = |der: &Vec<u8>| pem::encode_config(&pem::Pem::new(tag, der.as_slice()), config);
    items.into_iter().map(text).collect()
}

fn generate() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(issue)
}

fn read_key(pem: &str) -> Result<KeyPair, PkiError> {
    if pem.trim().is_empty() {
        return Err(PkiError::NoKey);
    }
    KeyPair::from_pem(pem).map_err(|_| PkiError::Key)
}

fn issue(error: rcgen::Error) -> PkiError {
    PkiError::Issue(error.to_string())
}

fn offset(at: jiff::Timestamp) -> Result<time::OffsetDateTime, PkiError> {
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|e| PkiError::Issue(e.to_string()))
}

#[cfg(test)]
mod tests;
