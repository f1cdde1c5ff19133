//! The authorities of a control plane as a table, and which pair of each is used.
//!
//! Each has a Secret of Cluster API's format, where a user may bring one, and a copy, which pods
//! mount. Once the control plane has run, the copy keeps it alive: what becomes of the first is told.

use super::data::{bytes, pair};
use crate::checksum::checksum;
use crate::control_plane::names::{API_SERVER, CONTROLLERS, Names};
use crate::datastore;
use crate::pki::{self, Authority, PemPair, PkiError};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};

/// One authority.
pub struct AuthorityRow {
    /// What its files in the copy are called.
    pub file: &'static str,
    /// The name of its Secret.
    pub secret: fn(&Names) -> String,
    /// Common name of its certificate; none for a pair that signs service account tokens.
    common_name: Option<&'static str>,
    /// Components whose pods read it only when they start.
    pub read_by: &'static [&'static str],
}

/// Signs for the API server and its clients.
pub static CLUSTER: AuthorityRow = AuthorityRow {
    common_name: Some("kubernetes-ca"),
    ..AuthorityRow::authority("ca", Names::ca, &[API_SERVER, CONTROLLERS])
};
/// Signs for the API server as a proxy before others.
pub static FRONT_PROXY: AuthorityRow =
    AuthorityRow::authority("front-proxy-ca", Names::proxy_ca, &[API_SERVER, CONTROLLERS]);
/// Signs service account tokens.
pub static SERVICE_ACCOUNT: AuthorityRow = AuthorityRow {
    common_name: None,
    ..AuthorityRow::authority("sa", Names::service_account, &[API_SERVER, CONTROLLERS])
};

/// All of them. Their order never changes: what rolls pods is made of them in this order.
pub fn authorities() -> impl Iterator<Item = &'static AuthorityRow> {
    let datastore = datastore::AUTHORITIES;
    [&CLUSTER, &FRONT_PROXY]
        .into_iter()
        .chain(datastore)
        .chain([&SERVICE_ACCOUNT])
}

impl AuthorityRow {
    /// An authority whose certificate is named as its files are.
    pub const fn authority(file: &'static str, secret: fn(&Names) -> String, read_by: &'static [&'static str]) -> Self {
        Self {
            file,
            secret,
            common_name: Some(file),
            read_by,
        }
    }

    /// Makes a new pair.
    pub fn make(&self, now: Timestamp) -> Result<PemPair, PkiError> {
        match self.common_name {
            Some(common_name) => Authority::generate(common_name, now),
            None => pki::service_account_pair(),
        }
    }

    /// The pair with nothing but what it is: one wrapping of lines, no other text. Whether its time is
    /// over is for [`AuthorityRow::is_valid`].
    ///
    /// # Errors
    /// When its parts do not belong together or cannot be read.
    fn read(&self, pair: &PemPair) -> Result<PemPair, PkiError> {
        let certificate = if self.common_name.is_some() {
            Authority::read(pair)?;
            pki::certificates_pem(&pki::certificates(&pair.certificate)?)
        } else {
            pki::check_service_account_pair(pair)?;
            pki::public_keys_pem(&pki::public_keys(&pair.certificate)?)
        };
        Ok(PemPair {
            certificate,
            key: pair.key.clone(),
        })
    }

    fn is_valid(&self, pair: &PemPair, now: Timestamp) -> Result<(), PkiError> {
        match self.common_name {
            Some(_) => Authority::read(pair)?.is_valid(now),
            None => Ok(()),
        }
    }

    /// What signs certificates with this pair; `None` for one that signs service account tokens.
    ///
    /// # Errors
    /// When its parts do not belong together or cannot be read.
    pub fn signer(&self, pair: &PemPair) -> Result<Option<Authority>, PkiError> {
        self.common_name.map(|_| Authority::read(pair)).transpose()
    }

    /// The files of a pair in the copy: what is trusted, and what signs.
    pub fn files(&self, pair: &PemPair) -> Result<Vec<(String, ByteString)>, PkiError> {
        let file = self.file;
        Ok(match self.common_name {
            Some(_) => {
                // Where several are trusted, programs that sign demand the one that does.
                let signer = pki::certificates(&pair.certificate)?.into_iter().take(1);
                let signer = pki::certificates_pem(&signer.collect::<Vec<_>>());
                vec![
                    (format!("{file}.crt"), bytes(&pair.certificate)),
                    (format!("{file}-signer.crt"), bytes(&signer)),
                    (format!("{file}-signer.key"), bytes(&pair.key)),
                ]
            }
            None => vec![
                (format!("{file}.pub"), bytes(&pair.certificate)),
                (format!("{file}.key"), bytes(&pair.key)),
            ],
        })
    }

    /// The pair that the copy holds, if it is one.
    pub fn copied(&self, copy: &Secret) -> Option<PemPair> {
        let file = self.file;
        let (certificate, key) = match self.common_name {
            Some(_) => (format!("{file}.crt"), format!("{file}-signer.key")),
            None => (format!("{file}.pub"), format!("{file}.key")),
        };
        let text = |name: &str| String::from_utf8(copy.data.as_ref()?.get(name)?.0.clone()).ok();
        let pair = PemPair {
            certificate: text(&certificate)?,
            key: text(&key)?,
        };
        self.read(&pair).ok()
    }

    /// Stands for what is trusted: pods read it only when they start.
    pub fn mark(&self, pair: &PemPair) -> Result<String, PkiError> {
        let trusted = match self.common_name {
            Some(_) => pki::certificates(&pair.certificate)?,
            None => pki::public_keys(&pair.certificate)?,
        };
        Ok(checksum(trusted.iter().map(Vec::as_slice)))
    }
}

/// What makes an authority another than the next: its key. Its certificate may be renewed.
pub fn identity(pair: &PemPair) -> Result<String, PkiError> {
    Ok(checksum([pki::public_key(&pair.key)?.as_slice()]))
}

/// What was found where a user may bring an authority.
#[derive(Debug)]
pub enum Origin {
    /// There is no Secret of its name.
    Missing,
    /// A Secret that is neither ours nor the Cluster's.
    Foreign,
    /// A Secret; `None` when it holds no certificate at all.
    Found(Option<PemPair>),
}

impl Origin {
    /// What a Secret of ours or of the Cluster's holds.
    pub fn of(secret: &Secret) -> Self {
        Self::Found(pair(secret, "tls"))
    }
}

/// What is wrong with an authority.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// There is none any more.
    Lost,
    /// The Secret is somebody else's.
    Foreign,
    /// What it holds cannot be used.
    Wrong(PkiError),
    /// It is not the one in use.
    Changed,
    /// It is not the one that was in use, which is gone.
    Replaced,
}

/// Which pair of an authority is used.
#[derive(Debug, Eq, PartialEq)]
pub enum Decision {
    /// There is none yet.
    Make,
    /// This one, and it is written where it was taken away.
    Restore(PemPair),
    /// This one, and what is wrong beside it.
    Use(PemPair, Option<Fault>),
}

/// Decides which pair is used. `used` is the identity of the one that was, as far as that is known;
/// `has_run` says that there was one.
pub fn decide(
    row: &AuthorityRow,
    origin: Origin,
    copy: Option<PemPair>,
    used: Option<&str>,
    has_run: bool,
    now: Timestamp,
) -> Result<Decision, Fault> {
    let found = match origin {
        Origin::Missing => Err(None),
        Origin::Foreign => Err(Some(Fault::Foreign)),
        Origin::Found(pair) => {
            let read = pair.ok_or(PkiError::Certificate).and_then(|pair| row.read(&pair));
            let valid = read.and_then(|pair| row.is_valid(&pair, now).map(|()| pair));
            valid.map_err(|error| Some(Fault::Wrong(error)))
        }
    };
    if !has_run {
        return match (found, copy) {
            (Ok(pair), _) => Ok(Decision::Use(pair, None)),
            // Pods may have started with it, which is known a moment later.
            (Err(None), Some(copy)) => Ok(Decision::Restore(copy)),
            (Err(None), None) => Ok(Decision::Make),
            (Err(Some(fault)), _) => Err(fault),
        };
    }
    let identity = |pair: &PemPair| identity(pair).ok();
    let is_used = |pair: &PemPair| used.is_none() || identity(pair).as_deref() == used;
    let in_use = copy.filter(is_used);
    match (found, in_use) {
        (Ok(found), Some(in_use)) if identity(&found) != identity(&in_use) => {
            Ok(Decision::Use(in_use, Some(Fault::Changed)))
        }
        (Ok(found), None) if !is_used(&found) => Err(Fault::Replaced),
        (Ok(found), _) => Ok(Decision::Use(found, None)),
        (Err(None), Some(in_use)) => Ok(Decision::Restore(in_use)),
        (Err(None), None) => Err(Fault::Lost),
        (Err(Some(fault)), Some(in_use)) => Ok(Decision::Use(in_use, Some(fault))),
        (Err(Some(fault)), None) => Err(fault),
    }
}

#[cfg(test)]
mod tests;
