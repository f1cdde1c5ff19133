//! Certificates and keys. Authorities are created where they are missing and never written over, so
//! that two managers cannot replace each other's; leaves are replaced when they are due or no longer say
//! what they should, under the resourceVersion that was read.

use super::answers::{Answers, Purpose, Wave};
use super::{Action, Object};
use crate::api_error::{ApiError, Cause};
use crate::checksum::checksum;
use crate::control_plane::{
    addresses::Addresses,
    certificates::{
        Authorities, CertificateError, Format, LEAF_SECRETS, Marks,
        authority::{self, Decision, Fault, Origin, Row},
        decide, files, is_brought, is_kept, kept, pair, secret,
    },
    desired::Tenant,
    status::Issued,
    view::Secrets,
};
use crate::ownership::Owner;
use crate::pki::{Authority, PemPair, PkiError};
use capn_api::cluster_api::SECRET_TYPE;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, core::Status};
use std::collections::BTreeMap;

/// What the Secrets of a control plane are decided from.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) owner: &'a Owner,
    pub(super) secrets: &'a Secrets,
    /// Identities of the authorities that the control plane was last made with.
    pub(super) used: &'a BTreeMap<String, String>,
    pub(super) now: Timestamp,
}

/// Which pair of each authority is used, as far as that is known before the Secrets of new ones are there.
#[derive(Debug)]
pub(super) struct Chosen(Vec<Result<Choice, CertificateError>>);

#[derive(Debug)]
enum Choice {
    Use(PemPair, Option<CertificateError>),
    /// Another manager may be faster: what is stored then is used.
    Make,
}

impl Basis<'_> {
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

    /// The pods' copy of the authorities, if it is ours.
    fn copy(&self) -> Option<&Secret> {
        let live = self.secrets.get(&self.tenant.names.pki());
        live.filter(|copy| self.owner.owns(*copy))
    }

    /// Decides which authorities are used, makes those that are missing, and keeps ours ours.
    pub(super) fn authorities(self) -> (Chosen, Wave) {
        let (mut chosen, mut wave) = (Vec::new(), Wave::new());
        for (at, row) in authority::ALL.into_iter().enumerate() {
            let name = (row.secret)(&self.tenant.names);
            let live = self.secrets.get(&name);
            let origin = match live {
                None => Origin::Missing,
                Some(secret) if self.owner.owns(secret) || is_brought(self.tenant, secret) => Origin::of(secret),
                Some(_) => Origin::Foreign,
            };
            // Gives a Secret of ours back the labels and the owner that somebody took.
            let robbed = live.filter(|live| self.owner.owns(*live) && !is_kept(self.tenant, live));
            wave.extend(robbed.map(|live| {
                let wanted = kept(self.tenant, live.clone()).into();
                let live = live.clone().into();
                (Purpose::KeepAuthority(at), Action::Replace { live, wanted })
            }));
            let copy = self.copy().and_then(|copy| row.copied(copy));
            let used = self.used.get(row.file).map(String::as_str);
            let decision = authority::decide(row, origin, copy, used, self.tenant.has_run, self.now);
            let create = |pair: &PemPair| {
                let wanted = secret(self.tenant, &name, files("tls", pair).collect());
                (Purpose::MakeAuthority(at), Action::Create(wanted.into()))
            };
            let choice = decision.map_err(|fault| self.told(&name, fault)).and_then(|decision| {
                Ok(match decision {
                    Decision::Use(pair, fault) => Choice::Use(pair, fault.map(|fault| self.told(&name, fault))),
                    Decision::Make => {
                        wave.push(create(&row.make(self.now).map_err(CertificateError::Issue)?));
                        Choice::Make
                    }
                    Decision::Restore(pair) => {
                        wave.push(create(&pair));
                        Choice::Use(pair, None)
                    }
                })
            });
            chosen.push(choice);
        }
        (Chosen(chosen), wave)
    }

    /// The authorities in use, and the write of the pods' copy of them.
    pub(super) fn resolve(
        self,
        chosen: Chosen,
        answers: &mut Answers,
    ) -> Result<(Authorities, Option<Action>), CertificateError> {
        let mut resolved = Vec::new();
        for (at, (row, choice)) in authority::ALL.into_iter().zip(chosen.0).enumerate() {
            let name = (row.secret)(&self.tenant.names);
            answers.done(Purpose::KeepAuthority(at))?;
            let stored = answers.object::<Secret>(Purpose::MakeAuthority(at))?;
            let (pair, fault) = match choice? {
                Choice::Use(pair, fault) => (pair, fault),
                Choice::Make => {
                    let stored = stored.as_ref().and_then(|stored| pair(stored, "tls"));
                    let pair = stored.ok_or_else(|| self.told(&name, Fault::Wrong(PkiError::Certificate)))?;
                    (pair, None)
                }
            };
            resolved.push(Resolved::new(row, pair, fault).map_err(|error| self.told(&name, Fault::Wrong(error)))?);
        }
        let [ca, etcd, etcd_peers, proxy, service_account] = resolved
            .try_into()
            .map_err(|_| CertificateError::Issue(PkiError::Certificate))?;
        let marks = Marks {
            api_server: mark(&[&ca, &proxy, &etcd, &service_account]),
            controllers: mark(&[&ca, &proxy, &service_account]),
            etcd: mark(&[&etcd, &etcd_peers]),
        };
        let read = |resolved: &Resolved| Authority::read(&resolved.pair).map_err(CertificateError::Issue);
        let (signs, signs_proxy, signs_etcd, signs_peers) =
            (read(&ca)?, read(&proxy)?, read(&etcd)?, read(&etcd_peers)?);
        let (mut data, mut identities, mut faults) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for resolved in [ca, proxy, etcd, etcd_peers, service_account] {
            data.extend(resolved.files);
            identities.extend([resolved.identity]);
            faults.extend(resolved.fault);
        }
        let authorities = Authorities {
            ca: signs,
            proxy: signs_proxy,
            etcd: signs_etcd,
            etcd_peers: signs_peers,
            marks,
            identities,
            faults,
        };
        Ok((authorities, self.store(&self.tenant.names.pki(), data)))
    }

    /// Issues what is missing, wrong or due.
    pub(super) fn leaves(self, addresses: &Addresses, authorities: &Authorities) -> (Leaves, Wave) {
        let (mut leaves, mut wave) = (Leaves::default(), Wave::new());
        for (at, wanted) in LEAF_SECRETS.iter().enumerate() {
            if wanted.format == Format::Kubeconfig && addresses.published.is_none() {
                continue;
            }
            let name = (wanted.name)(&self.tenant.names);
            let live = self.secrets.get(&name);
            match decide(self.tenant, addresses, authorities, wanted, live, self.now) {
                Err(error) => leaves.fault = leaves.fault.or(Some(error)),
                Ok(decided) => {
                    let action = self.store(&name, decided.data);
                    wave.extend(action.map(|action| (Purpose::Leaf(at), action)));
                    leaves.renewal = leaves.renewal.min(decided.renewal);
                    if wanted.format == Format::Kubeconfig {
                        leaves.admin = Some(decided.first);
                    }
                    // Those that nobody has used yet are no news.
                    let issued = decided.issued.into_iter().filter(|_| self.tenant.has_run);
                    leaves.issued.extend(issued.map(|(prefix, reason)| Issued {
                        certificate: format!("{name}/{prefix}"),
                        reason,
                    }));
                }
            }
        }
        (leaves, wave)
    }

    /// The write of a Secret of ours, unless it holds all of this already.
    fn store(&self, name: &str, data: BTreeMap<String, ByteString>) -> Option<Action> {
        let live = self.secrets.get(name);
        let typed = |live: &Secret| live.type_.as_deref() == Some(SECRET_TYPE);
        match live {
            // Where somebody was faster, theirs is looked at in the next pass.
            None => Some(Action::Create(secret(self.tenant, name, data).into())),
            Some(live) if is_kept(self.tenant, live) && typed(live) && live.data.as_ref() == Some(&data) => None,
            // The type of a Secret cannot be changed: it is made again in the next pass.
            Some(live) if !typed(live) && self.owner.owns(live) => Some(Action::Delete(live.clone().into())),
            Some(live) => {
                let mut wanted = kept(self.tenant, live.clone());
                wanted.data = Some(data);
                Some(Action::Replace {
                    live: live.clone().into(),
                    wanted: wanted.into(),
                })
            }
        }
    }
}

/// What the pods' copy of the authorities is to hold, where it is created.
#[derive(Debug)]
pub(super) struct Stored(Option<Object>);

impl Stored {
    pub(super) fn by(store: Option<&Action>) -> Self {
        Self(match store {
            Some(Action::Create(wanted)) => Some(wanted.clone()),
            _ => None,
        })
    }

    /// Fails when another manager was faster and has stored other authorities: what this pass was planned
    /// from is old, and pods must not be made from it.
    pub(super) fn check(self, answers: &mut Answers) -> Result<(), CertificateError> {
        let stored = answers.object::<Secret>(Purpose::Pki)?;
        let wanted = self.0.and_then(|wanted| Secret::try_from(wanted).ok());
        match (wanted, stored) {
            (Some(wanted), Some(stored)) if wanted.data != stored.data => Err(CertificateError::Call(ApiError {
                verb: "create",
                object: format!(
                    "Secret {}/{}",
                    wanted.namespace().unwrap_or_default(),
                    wanted.name_any()
                ),
                cause: Cause::Api(Box::new(Status {
                    code: 409,
                    reason: "Conflict".into(),
                    message: "another manager has just stored other authorities".into(),
                    ..Status::default()
                })),
            })),
            _ => Ok(()),
        }
    }
}

/// What came of the leaves.
#[derive(Debug)]
pub(super) struct Leaves {
    /// An administrator's certificate, which the manager itself uses.
    pub(super) admin: Option<PemPair>,
    /// When the next leaf is due.
    pub(super) renewal: Timestamp,
    /// What was issued anew.
    pub(super) issued: Vec<Issued>,
    fault: Option<CertificateError>,
}

impl Default for Leaves {
    fn default() -> Self {
        Self {
            admin: None,
            renewal: Timestamp::MAX,
            issued: Vec::new(),
            fault: None,
        }
    }
}

impl Leaves {
    /// The leaves, once their Secrets are written.
    pub(super) fn written(mut self, answers: &mut Answers) -> Result<Self, CertificateError> {
        let failed: Vec<_> = (0..LEAF_SECRETS.len())
            .filter_map(|at| answers.done(Purpose::Leaf(at)).err())
            .collect();
        let failed = failed.into_iter().next().map(CertificateError::from);
        match self.fault.take().or(failed) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// The pair of a row that is used, with what follows from it.
struct Resolved {
    pair: PemPair,
    files: Vec<(String, ByteString)>,
    mark: String,
    identity: (String, String),
    fault: Option<CertificateError>,
}

impl Resolved {
    fn new(row: &Row, pair: PemPair, fault: Option<CertificateError>) -> Result<Self, PkiError> {
        Ok(Self {
            files: row.files(&pair)?,
            mark: row.mark(&pair)?,
            identity: (row.file.to_owned(), authority::identity(&pair)?),
            pair,
            fault,
        })
    }
}

fn mark(all: &[&Resolved]) -> String {
    checksum(all.iter().map(|resolved| resolved.mark.as_bytes()))
}
