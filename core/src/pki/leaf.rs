//! Leaf certificates: what one is for, issuing it, and when it must be replaced.

use super::authority::{Authority, BACKDATE, first_certificate};
use super::{PemPair, PkiError, generate, issue, offset, read_key};
use crate::host::Host;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use std::{collections::BTreeSet, net::IpAddr};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usage {
    /// To serve.
    Server,
    /// To connect.
    Client,
    /// Both, as etcd's members do.
    Both,
}

/// What a leaf certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeafSpec {
    /// Common name; the user, for Kubernetes clients.
    pub common_name: String,
    /// Organization; the group, for Kubernetes clients.
    pub organization: Option<&'static str>,
    /// What it may be used for.
    pub usage: Usage,
    /// DNS names and addresses.
    pub names: BTreeSet<Host>,
}

impl LeafSpec {
    /// A client certificate.
    pub fn client(common_name: &str, organization: Option<&'static str>) -> Self {
        Self {
            common_name: common_name.into(),
            organization,
            usage: Usage::Client,
            names: BTreeSet::new(),
        }
    }

    /// Issues a certificate with a new key. It never outlives its authority.
    ///
    /// # Errors
    /// When the authority has ended, a name cannot stand in a certificate, or the authority's subject
    /// cannot be written as issuer byte for byte.
    pub fn issue(&self, authority: &Authority, life: SignedDuration, now: Timestamp) -> Result<PemPair, PkiError> {
        authority.is_valid(now)?;
        let key = generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = self.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, DnValue::Utf8String(organization.into()));
        }
        params
            .distinguished_name
            .push(DnType::CommonName, DnValue::Utf8String(self.common_name.clone()));
        params.subject_alt_names = self.names.iter().map(san).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match self.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.not_before = offset(now - BACKDATE)?;
        params.not_after = offset((now + life).min(authority.not_after()))?;
        let certificate = params.signed_by(&key, &authority.issuer).map_err(issue)?;
        let (_, x509) = X509Certificate::from_der(certificate.der()).map_err(|_| PkiError::Certificate)?;
        if x509.issuer().as_raw() != authority.subject {
            return Err(PkiError::Subject);
        }
        Ok(PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn san(host: &Host) -> Result<SanType, PkiError> {
    match host {
        Host::Address(address) => Ok(SanType::IpAddress(*address)),
        Host::Name(name) => name
            .as_str()
            .try_into()
            .map(SanType::DnsName)
            .map_err(|_| PkiError::Name(name.clone())),
    }
}

/// A leaf certificate that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// First moment of its life.
    pub not_before: Timestamp,
    /// Last moment of its life.
    pub not_after: Timestamp,
}

impl Leaf {
    /// Reads a leaf and returns it when it still serves: it was signed by this authority, says
    /// what `spec` says, and its key belongs to it. Whether it is due is for [`Leaf::renewal`].
    pub fn read(pair: &PemPair, spec: &LeafSpec, authority: &Authority) -> Option<Self> {
        let der = first_certificate(&pair.certificate).ok()?;
        let (_, x509) = X509Certificate::from_der(&der).ok()?;
        let key = read_key(&pair.key).ok()?;
        let authority_der = first_certificate(&authority.certificate).ok()?;
        let (_, authority_x509) = X509Certificate::from_der(&authority_der).ok()?;
        let signed = x509.verify_signature(Some(authority_x509.public_key())).is_ok();
        let paired = x509.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
        let subject = x509.subject();
        let common_name = subject.iter_common_name().next().and_then(|cn| cn.as_str().ok());
        let organization = subject.iter_organization().next().and_then(|o| o.as_str().ok());
        let says = common_name == Some(spec.common_name.as_str())
            && organization == spec.organization
            && names(&x509) == spec.names
            && x509.issuer().as_raw() == authority.subject;
        let life = x509.validity();
        (signed && paired && says).then_some(())?;
        Some(Self {
            not_before: Timestamp::from_second(life.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(life.not_after.timestamp()).ok()?,
        })
    }

    /// When it is to be replaced: `renew_before` its end, or at two thirds of its life.
    pub fn renewal(&self, renew_before: Option<SignedDuration>) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after - renew_before.unwrap_or(life / 3).min(life / 2)
    }
}

fn names(x509: &X509Certificate<'_>) -> BTreeSet<Host> {
    let Ok(Some(extension)) = x509.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(octets) => address(octets).map(Host::Address),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(host).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}
