//! Certificate authorities: made here, or brought by a person.

use super::{PemPair, PkiError, generate, issue, offset, read_key};
use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Life of an authority that is made here.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 3652);

/// Clocks of nodes differ: what is issued is valid from this much before now.
pub(super) const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A certificate authority that can sign.
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: String,
    der: Vec<u8>,
    pub(super) subject: Vec<u8>,
    not_after: Timestamp,
}

impl Authority {
    /// Makes a new self-signed authority, ECDSA P-256.
    pub fn generate(common_name: &str, now: Timestamp) -> Result<PemPair, PkiError> {
        let key = generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.not_before = offset(now - BACKDATE)?;
        params.not_after = offset(now + LIFE)?;
        let certificate = params.self_signed(&key).map_err(issue)?;
        Ok(PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Reads an authority and checks that it can sign now.
    ///
    /// # Errors
    /// When the pair does not match, is no authority, has ended, or cannot be read.
    pub fn read(pair: &PemPair, now: Timestamp) -> Result<Self, PkiError> {
        let der = first_certificate(&pair.certificate)?;
        let (_, x509) = X509Certificate::from_der(&der).map_err(|_| PkiError::Certificate)?;
        let not_after = Timestamp::from_second(x509.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        if !x509.is_ca() {
            return Err(PkiError::NotAnAuthority);
        }
        if not_after <= now {
            return Err(PkiError::Expired(not_after));
        }
        let key = read_key(&pair.key)?;
        let public_key = x509.public_key().subject_public_key.data.to_vec();
        if public_key != key.public_key_raw() {
            return Err(PkiError::Mismatch);
        }
        let subject = x509.subject().as_raw().to_vec();
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key).map_err(|_| PkiError::Certificate)?;
        Ok(Self {
            issuer,
            certificate: pair.certificate.clone(),
            subject,
            not_after,
            der,
        })
    }

    /// The certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When the authority ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// DER of the first certificate in a PEM text.
/// When the first certificate of a PEM text ends; `None` when there is none.
pub fn not_after(pem: &str) -> Option<Timestamp> {
    let der = first_certificate(pem).ok()?;
    let (_, x509) = X509Certificate::from_der(&der).ok()?;
    Timestamp::from_second(x509.validity().not_after.timestamp()).ok()
}

pub(super) fn first_certificate(pem: &str) -> Result<Vec<u8>, PkiError> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map(|der| der.to_vec())
        .map_err(|_| PkiError::Certificate)
}
