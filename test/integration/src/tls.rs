//! TLS for the servers that tests play.

use crate::certificates::Pair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier},
};

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|der| der.expect("a certificate"))
        .collect()
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem) {
        store.add(certificate).expect("a certificate authority");
    }
    store.into()
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a private key")
}

/// Serves as `pair`, to clients of this authority only.
pub(crate) fn acceptor(pair: &Pair, clients: &str) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(clients), provider.clone()).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(certificates(&pair.certificate), private_key(&pair.key))
        .expect("a certificate to serve with");
    TlsAcceptor::from(Arc::new(config))
}

/// Connects as `pair` to servers of this authority.
pub(crate) fn connector(pair: &Pair, authority: &str) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(certificates(&pair.certificate), private_key(&pair.key))
        .expect("a certificate to connect with");
    TlsConnector::from(Arc::new(config))
}
