//! Certificate authorities: made here, or brought by a user.

use super::{PemPair, PkiError, certificates, generate, issue, offset, read_key};
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
    pub(super) subject: Vec<u8>,
    not_after: Timestamp,
}

impl Authority {
    /// Makes a new self-signed authority, ECDSA P-256.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn generate(common_name: &str, now: Timestamp) -> Result<PemPair, PkiError> {
        Self::self_signed(&generate()?, common_name, now)
    }

    /// A certificate of this key that it signed itself.
    pub fn self_signed(key: &KeyPair, common_name: &str, now: Timestamp) -> Result<PemPair, PkiError> {
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
        let certificate = params.self_signed(key).map_err(issue)?;
        Ok(PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Reads an authority: its certificate, further ones that are trusted beside it, and its key.
    ///
    /// # Errors
    /// When the first certificate is no authority or the key does not belong to it, or when something
    /// cannot be read.
    pub fn read(pair: &PemPair) -> Result<Self, PkiError> {
        let der = first_certificate(&pair.certificate)?;
        let (_, x509) = X509Certificate::from_der(&der).map_err(|_| PkiError::Certificate)?;
        let not_after = Timestamp::from_second(x509.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        if !x509.is_ca() {
            return Err(PkiError::NotAnAuthority);
        }
        let key = read_key(&pair.key)?;
        if x509.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(PkiError::Mismatch);
        }
        let subject = x509.subject().as_raw().to_vec();
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key).map_err(|_| PkiError::Certificate)?;
        Ok(Self {
            issuer,
            certificate: pair.certificate.clone(),
            subject,
            not_after,
        })
    }

    /// Its certificate and those that are trusted beside it, PEM.
    pub fn trusted(&self) -> &str {
        &self.certificate
    }

    /// Whether it can still sign.
    ///
    /// # Errors
    /// When it has ended.
    pub fn is_valid(&self, now: Timestamp) -> Result<(), PkiError> {
        if self.not_after <= now {
            return Err(PkiError::Expired(self.not_after));
        }
        Ok(())
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

/// When the first certificate of a PEM text ends; `None` when there is none.
pub fn not_after(pem: &str) -> Option<Timestamp> {
    let der = first_certificate(pem).ok()?;
    let (_, x509) = X509Certificate::from_der(&der).ok()?;
    Timestamp::from_second(x509.validity().not_after.timestamp()).ok()
}

pub(super) fn first_certificate(pem: &str) -> Result<Vec<u8>, PkiError> {
    certificates(pem).map(|mut all| all.swap_remove(0))
}
