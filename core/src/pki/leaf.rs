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
#[derive(Clone, Debug)]
pub struct Leaf {
    /// First moment of its life.
    pub not_before: Timestamp,
    /// Last moment of its life.
    pub not_after: Timestamp,
    /// DNS names and addresses.
    pub names: BTreeSet<Host>,
    /// Whether the key that was found beside it is its own.
    pub has_its_key: bool,
    common_name: Option<String>,
    organization: Option<String>,
    der: Vec<u8>,
}

impl Leaf {
    /// Reads a leaf certificate; `None` when it is none.
    pub fn read(pair: &PemPair) -> Option<Self> {
        let der = first_certificate(&pair.certificate).ok()?;
        let (_, x509) = X509Certificate::from_der(&der).ok()?;
        let public = x509.public_key().subject_public_key.data.as_ref();
        let (life, subject) = (x509.validity(), x509.subject());
        let common_name = subject.iter_common_name().next();
        let organization = subject.iter_organization().next();
        Some(Self {
            not_before: Timestamp::from_second(life.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(life.not_after.timestamp()).ok()?,
            names: names(&x509),
            has_its_key: read_key(&pair.key).is_ok_and(|key| key.public_key_raw() == public),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            organization: organization.and_then(|name| name.as_str().ok()).map(str::to_owned),
            der: der.clone(),
        })
    }

    /// Whether this authority has signed it.
    pub fn is_signed_by(&self, authority: &Authority) -> bool {
        let Ok(signer) = first_certificate(&authority.certificate) else {
            return false;
        };
        match (X509Certificate::from_der(&self.der), X509Certificate::from_der(&signer)) {
            (Ok((_, leaf)), Ok((_, signer))) => {
                leaf.issuer().as_raw() == authority.subject && leaf.verify_signature(Some(signer.public_key())).is_ok()
            }
            _ => false,
        }
    }

    /// Whether it is for the user and group of `spec`.
    pub fn has_subject_of(&self, spec: &LeafSpec) -> bool {
        self.common_name.as_deref() == Some(spec.common_name.as_str())
            && self.organization.as_deref() == spec.organization
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
