//! Certificates of the environment: one authority, everybody's identity from it.

use k8s_openapi::jiff::{ToSpan, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// An authority for tests.
#[derive(Debug)]
pub(crate) struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: String,
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params
}

impl TestAuthority {
    pub(crate) fn new() -> Self {
        let mut params = params("capn-integration", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let key = KeyPair::generate().expect("no key");
        let certificate = params.self_signed(&key).expect("no certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("no key");
        let certificate = params.signed_by(&key, &self.issuer).expect("no certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate to serve under 127.0.0.1.
    pub(crate) fn server(&self) -> Pair {
        let mut params = params("capn-integration-server", None);
        params.subject_alt_names = ["127.0.0.1", "localhost"]
            .map(|name| match name.parse() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) => rcgen::SanType::DnsName(name.try_into().expect("a DNS name")),
            })
            .into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A user of a group.
    pub(crate) fn client(&self, user: &str, group: &str) -> Pair {
        let mut params = params(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }
}

/// A client certificate of this authority that began in 2020 and ends in so many days.
pub fn old_client(authority: &Pair, user: &str, group: &str, days: i64) -> Pair {
    let key = KeyPair::from_pem(&authority.key).expect("the authority's key");
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key).expect("an authority");
    let end = Zoned::now().with_time_zone(TimeZone::UTC).date() + days.days();
    let mut params = params(user, Some(group));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    let part = |number: i8| u8::try_from(number).expect("part of a date");
    params.not_after = date_time_ymd(end.year().into(), part(end.month()), part(end.day()));
    let key = KeyPair::generate().expect("no key");
    let certificate = params.signed_by(&key, &issuer).expect("no certificate");
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// A self-signed certificate that may sign nothing.
pub fn leaf() -> Pair {
    let mut params = params("no-authority", None);
    params.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().expect("no key");
    let certificate = params.self_signed(&key).expect("no certificate").pem();
    Pair {
        certificate,
        key: key.serialize_pem(),
    }
}

/// A public key and its private key, PEM, as for service account tokens.
pub fn key_pair() -> (String, String) {
    let key = KeyPair::generate().expect("no key");
    (key.public_key_pem(), key.serialize_pem())
}
