//! A CA and a serving certificate, made anew at each start and kept in memory only.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// rcgen failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// rustls refused it.
    #[error("cannot serve with the certificate")]
    Serve(#[from] tokio_rustls::rustls::Error),
}

/// The CA as PEM, and what serves with a certificate of it for that Service.
pub fn serving(namespace: &str) -> Result<(String, ServerConfig), CertificateError> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.distinguished_name = name("vm-runner admission CA");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let host = format!("virt-api.{namespace}.svc");
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(vec![host.clone(), format!("{host}.cluster.local")])?;
    leaf.distinguished_name = name(&host);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Named, for another crate may bring a second provider.
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok((authority.pem(), config))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
