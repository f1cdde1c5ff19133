//! The authorities of a control plane: reads them, makes those that are missing in one that has never
//! run, and keeps the copy that its pods mount.

use super::secret::store;
use crate::runtime::api_client::Dependents;
use capn_core::{
    checksum::checksum,
    control_plane::{
        certificates::{
            Authorities, CertificateError, Marks,
            authority::{self, Decision, Fault, Origin, Row},
            files, is_brought, is_kept, kept, pair, secret,
        },
        desired::Tenant,
        view::Secrets,
    },
    pki::{Authority, PemPair, PkiError},
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use std::collections::BTreeMap;
use tokio::try_join;

/// Where authorities are looked for.
#[derive(Clone, Copy)]
struct Search<'a> {
    dependents: Dependents<'a>,
    tenant: &'a Tenant,
    secrets: &'a Secrets,
    copy: Option<&'a Secret>,
    used: &'a BTreeMap<String, String>,
    now: Timestamp,
}

/// The pair of a row that is used, with what follows from it.
struct Resolved {
    pair: PemPair,
    files: Vec<(String, ByteString)>,
    mark: String,
    identity: (String, String),
    fault: Option<CertificateError>,
}

/// The authorities in use. `used` holds the identities of those that the control plane was last made
/// with.
pub(crate) async fn authorities(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    secrets: &Secrets,
    used: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Authorities, CertificateError> {
    let live = secrets.get(&tenant.names.pki());
    let search = Search {
        dependents,
        tenant,
        secrets,
        copy: live.filter(|copy| dependents.owner().owns(*copy)),
        used,
        now,
    };
    let (ca, etcd, etcd_peers, proxy, service_account) = try_join!(
        search.resolve(&authority::CLUSTER),
        search.resolve(&authority::ETCD),
        search.resolve(&authority::ETCD_PEERS),
        search.resolve(&authority::FRONT_PROXY),
        search.resolve(&authority::SERVICE_ACCOUNT),
    )?;
    let marks = Marks {
        api_server: mark(&[&ca, &proxy, &etcd, &service_account]),
        controllers: mark(&[&ca, &proxy, &service_account]),
        etcd: mark(&[&etcd, &etcd_peers]),
    };
    let read = |resolved: &Resolved| Authority::read(&resolved.pair).map_err(CertificateError::Issue);
    let (signs, signs_proxy, signs_etcd, signs_peers) = (read(&ca)?, read(&proxy)?, read(&etcd)?, read(&etcd_peers)?);
    let (mut data, mut identities, mut faults) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for resolved in [ca, proxy, etcd, etcd_peers, service_account] {
        data.extend(resolved.files);
        identities.extend([resolved.identity]);
        faults.extend(resolved.fault);
    }
    store(dependents, tenant, &tenant.names.pki(), live, data).await?;
    Ok(Authorities {
        ca: signs,
        proxy: signs_proxy,
        etcd: signs_etcd,
        etcd_peers: signs_peers,
        marks,
        identities,
        faults,
    })
}

fn mark(all: &[&Resolved]) -> String {
    checksum(all.iter().map(|resolved| resolved.mark.as_bytes()))
}

impl Search<'_> {
    async fn resolve(self, row: &Row) -> Result<Resolved, CertificateError> {
        let name = (row.secret)(&self.tenant.names);
        let live = self.secrets.get(&name);
        let origin = match live {
            None => Origin::Missing,
            Some(secret) if self.dependents.owner().owns(secret) => {
                self.keep(secret).await?;
                Origin::of(secret)
            }
            Some(secret) if is_brought(self.tenant, secret) => Origin::of(secret),
            Some(_) => Origin::Foreign,
        };
        let copy = self.copy.and_then(|copy| row.copied(copy));
        let used = self.used.get(row.file).map(String::as_str);
        let decision = authority::decide(row, origin, copy, used, self.tenant.has_run, self.now);
        let (pair, fault) = match decision.map_err(|fault| self.told(&name, fault))? {
            Decision::Use(pair, fault) => (pair, fault.map(|fault| self.told(&name, fault))),
            Decision::Make => {
                let made = row.make(self.now).map_err(CertificateError::Issue)?;
                (self.create(&name, &made).await?, None)
            }
            Decision::Restore(pair) => {
                self.create(&name, &pair).await?;
                (pair, None)
            }
        };
        let wrong = |source| self.told(&name, Fault::Wrong(source));
        Ok(Resolved {
            files: row.files(&pair).map_err(wrong)?,
            mark: row.mark(&pair).map_err(wrong)?,
            identity: (row.file.to_owned(), authority::identity(&pair).map_err(wrong)?),
            pair,
            fault,
        })
    }

    /// Gives a Secret of ours back the labels and the owner that somebody took.
    async fn keep(self, secret: &Secret) -> Result<(), CertificateError> {
        if is_kept(self.tenant, secret) {
            return Ok(());
        }
        let kept = kept(self.tenant, secret.clone());
        let replaced = self.dependents.replace(secret, kept).await;
        replaced.map(drop).map_err(CertificateError::Call)
    }

    /// Writes the Secret of an authority, and returns what it holds: another manager may have been
    /// faster.
    async fn create(self, name: &str, made: &PemPair) -> Result<PemPair, CertificateError> {
        let wanted = secret(self.tenant, name, files("tls", made).collect());
        let stored = self.dependents.create(&wanted).await.map_err(CertificateError::Call)?;
        pair(&stored, "tls").ok_or_else(|| self.told(name, Fault::Wrong(PkiError::Certificate)))
    }

    fn told(self, name: &str, fault: Fault) -> CertificateError {
        let place = |name: &str| format!("{}/{name}", self.tenant.namespace);
        let (secret, copy) = (place(name), place(&self.tenant.names.pki()));
        match fault {
            Fault::Lost => CertificateError::Lost { secret, copy },
            Fault::Changed => CertificateError::Changed { secret, copy },
            Fault::Replaced => CertificateError::Replaced { secret, copy },
            Fault::Wrong(source) => CertificateError::Wrong { secret, source },
            Fault::Foreign => CertificateError::Foreign {
                secret,
                cluster: self.tenant.names.cluster().to_owned(),
            },
        }
    }
}
