//! What each Secret with leaf certificates is to hold. Pure: keys and certificates are made, and nothing is
//! written.

use super::{
    Authorities, CertificateError,
    catalog::{Format, KUBECONFIG, LeafSecret},
    data::{bytes, embedded, files, pair},
    policy::{self, IssueReason},
};
use crate::control_plane::{addresses::Addresses, desired::DesiredControlPlane};
use crate::pki::{self, Credentials, Leaf, PemPair, PkiError, Trust};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use std::collections::BTreeMap;

/// Folder where a component's Secret is mounted.
pub const CREDENTIALS: &str = "/etc/kubernetes/credentials";

/// Folder where the authorities are mounted, in `ca.crt` the one that the API server's certificate is
/// signed by.
pub const PKI: &str = "/etc/kubernetes/pki";

/// What a Secret with leaf certificates is to hold, and until when.
pub struct Decided {
    /// Keys and values of the Secret.
    pub data: BTreeMap<String, ByteString>,
    /// When the first certificate is due.
    pub renewal: Timestamp,
    /// The first pair, which is the one of a kubeconfig.
    pub first: PemPair,
    /// Certificates that were issued, and why.
    pub issued: Vec<(&'static str, IssueReason)>,
}

/// What a Secret is to hold: what it holds already, as far as that still serves.
///
/// # Errors
/// When a certificate cannot be issued.
pub fn decide(
    desired: &DesiredControlPlane,
    addresses: &Addresses,
    authorities: &Authorities,
    wanted: &LeafSecret,
    live: Option<&Secret>,
    now: Timestamp,
) -> Result<Decided, CertificateError> {
    let certificates = &desired.certificates;
    let (mut data, mut renewal, mut pairs, mut issued) = (BTreeMap::new(), Timestamp::MAX, Vec::new(), Vec::new());
    for row in wanted.leaves {
        let (spec, authority) = ((row.profile)(desired, addresses), authorities.signer(row.signer)?);
        let stored = live.and_then(|secret| match wanted.format {
            Format::Kubeconfig => embedded(secret),
            Format::Files | Format::FilesAndKubeconfig => pair(secret, row.prefix),
        });
        let checked = policy::check(stored.as_ref(), &spec, authority, certificates.renew_before, now);
        let (pair, due) = match (checked, stored) {
            (Ok(due), Some(pair)) => (pair, due),
            (checked, _) => {
                issued.extend(checked.err().map(|reason| (row.prefix, reason)));
                let pair = spec
                    .issue(authority, certificates.validity, now)
                    .map_err(CertificateError::Issue)?;
                // One that would be issued again in the next pass is not stored.
                let leaf = Leaf::read(&pair)
                    .filter(|leaf| policy::says(leaf, &spec, authority).is_ok())
                    .ok_or(CertificateError::Issue(PkiError::Certificate))?;
                (pair, leaf.renewal(certificates.renew_before))
            }
        };
        renewal = renewal.min(due);
        data.extend(files(row.prefix, &pair));
        pairs.push((pair, spec.common_name));
    }
    let mut pairs = pairs.into_iter();
    let (first, user) = pairs.next().ok_or(CertificateError::Issue(PkiError::Certificate))?;
    let cluster = desired.names.cluster();
    match (wanted.format, &addresses.published) {
        (Format::Files, _) | (Format::Kubeconfig, None) => {}
        (Format::FilesAndKubeconfig, _) => {
            let server = format!("https://{}", addresses.service(desired).authority());
            let files = Credentials::Files {
                certificate: &format!("{CREDENTIALS}/tls.crt"),
                key: &format!("{CREDENTIALS}/tls.key"),
            };
            let authority = format!("{PKI}/ca.crt");
            let text = pki::kubeconfig(cluster, &server, Trust::File(&authority), &user, files);
            data.insert(KUBECONFIG.to_owned(), bytes(&text));
        }
        (Format::Kubeconfig, Some(endpoint)) => {
            let server = format!("https://{}", endpoint.authority());
            let user = format!("{cluster}-admin");
            let trust = Trust::Embedded(authorities.trusted()?);
            let credentials = Credentials::Embedded(&first);
            let text = pki::kubeconfig(cluster, &server, trust, &user, credentials);
            data = BTreeMap::from([("value".to_owned(), bytes(&text))]);
        }
    }
    Ok(Decided {
        data,
        renewal,
        first,
        issued,
    })
}
