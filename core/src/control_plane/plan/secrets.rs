//! Certificates and keys. Authorities are created where they are missing and never written over, so
//! that two managers cannot replace each other's; leaves are replaced when they are due or no longer say
//! what they should, under the resourceVersion that was read.

use super::answers::{Answers, Purpose, Wave};
use super::{Action, Object};
use crate::api_error::{ApiError, Cause};
use crate::certificates::{
    Authorities, AuthorityRow, CertificateError, Format, Issued, Secrets,
    authority::{self, Decision, Fault, Origin},
    decide, files, is_brought, is_kept, kept, leaf_secrets, pair, secret,
};
use crate::checksum::checksum;
use crate::control_plane::{addresses::Addresses, desired::DesiredControlPlane};
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
    pub(super) desired: &'a DesiredControlPlane,
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
        let place = |name: &str| format!("{}/{name}", self.desired.namespace);
        let (secret, copy) = (place(name), place(&self.desired.names.pki()));
        match fault {
            Fault::Lost => CertificateError::Lost { secret, copy },
            Fault::Changed => CertificateError::Changed { secret, copy },
            Fault::Replaced => CertificateError::Replaced { secret, copy },
            Fault::Wrong(source) => CertificateError::Wrong { secret, source },
            Fault::Foreign => CertificateError::Foreign {
                secret,
                cluster: self.desired.names.cluster().to_owned(),
            },
        }
    }

    /// The pods' copy of the authorities, if it is ours.
    fn copy(&self) -> Option<&Secret> {
        let live = self.secrets.get(&self.desired.names.pki());
        live.filter(|copy| self.owner.owns(*copy))
    }

    /// Decides which authorities are used, makes those that are missing, and keeps ours ours.
    pub(super) fn authorities(self) -> (Chosen, Wave) {
        let (mut chosen, mut wave) = (Vec::new(), Wave::new());
        for (at, row) in authority::authorities().enumerate() {
            let name = (row.secret)(&self.desired.names);
            let live = self.secrets.get(&name);
            let origin = match live {
                None => Origin::Missing,
                Some(secret) if self.owner.owns(secret) || is_brought(self.desired, secret) => Origin::of(secret),
                Some(_) => Origin::Foreign,
            };
            // Gives a Secret of ours back the labels and the owner that somebody took.
            let robbed = live.filter(|live| self.owner.owns(*live) && !is_kept(self.desired, live));
            wave.extend(robbed.map(|live| {
                let wanted = kept(self.desired, live.clone()).into();
                let live = live.clone().into();
                (Purpose::KeepAuthority(at), Action::Replace { live, wanted })
            }));
            let copy = self.copy().and_then(|copy| row.copied(copy));
            let used = self.used.get(row.file).map(String::as_str);
            let decision = authority::decide(row, origin, copy, used, self.desired.has_run, self.now);
            let create = |pair: &PemPair| {
                let wanted = secret(self.desired, &name, files("tls", pair).collect());
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
        let (mut authorities, mut data) = (Authorities::default(), BTreeMap::new());
        let mut read_by: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (at, (row, choice)) in authority::authorities().zip(chosen.0).enumerate() {
            let name = (row.secret)(&self.desired.names);
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
            let resolved = Resolved::new(row, &pair).map_err(|error| self.told(&name, Fault::Wrong(error)))?;
            for component in row.read_by {
                read_by.entry(*component).or_default().push(resolved.mark.clone());
            }
            data.extend(resolved.files);
            authorities.add(row, resolved.signer, resolved.identity);
            authorities.faults.extend(fault);
        }
        let mark = |marks: Vec<String>| checksum(marks.iter().map(String::as_bytes));
        authorities.marks = read_by
            .into_iter()
            .map(|(component, marks)| (component, mark(marks)))
            .collect();
        Ok((authorities, self.store(&self.desired.names.pki(), data)))
    }

    /// Issues what is missing, wrong or due.
    pub(super) fn leaves(self, addresses: &Addresses, authorities: &Authorities) -> (Leaves, Wave) {
        let (mut leaves, mut wave) = (Leaves::default(), Wave::new());
        for (at, wanted) in leaf_secrets().enumerate() {
            if wanted.format == Format::Kubeconfig && addresses.published.is_none() {
                continue;
            }
            let name = (wanted.name)(&self.desired.names);
            let live = self.secrets.get(&name);
            match decide(self.desired, addresses, authorities, wanted, live, self.now) {
                Err(error) => leaves.fault = leaves.fault.or(Some(error)),
                Ok(decided) => {
                    let action = self.store(&name, decided.data);
                    wave.extend(action.map(|action| (Purpose::Leaf(at), action)));
                    leaves.renewal = leaves.renewal.min(decided.renewal);
                    if wanted.format == Format::Kubeconfig {
                        leaves.admin = Some(decided.first);
                    }
                    // Those that nobody has used yet are no news.
                    let issued = decided.issued.into_iter().filter(|_| self.desired.has_run);
                    let issued = issued.map(|(prefix, reason)| Issued {
                        certificate: format!("{name}/{prefix}"),
                        reason,
                    });
                    leaves.issued.extend(issued.map(|issued| (Purpose::Leaf(at), issued)));
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
            None => Some(Action::Create(secret(self.desired, name, data).into())),
            Some(live) if is_kept(self.desired, live) && typed(live) && live.data.as_ref() == Some(&data) => None,
            // The type of a Secret cannot be changed: it is made again in the next pass.
            Some(live) if !typed(live) && self.owner.owns(live) => Some(Action::Delete(live.clone().into())),
            Some(live) => {
                let mut wanted = kept(self.desired, live.clone());
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
    /// What was issued anew, by the write that stores it.
    issued: Vec<(Purpose, Issued)>,
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
    /// The leaves, once their Secrets are written. Those that are stored are `issued`, also where another cannot be.
    pub(super) fn written(mut self, answers: &mut Answers, issued: &mut Vec<Issued>) -> Result<Self, CertificateError> {
        let mut failed = None;
        for of in (0..leaf_secrets().count()).map(Purpose::Leaf) {
            match answers.done(of) {
                Ok(()) => {
                    let stored = self.issued.extract_if(.., |(by, _)| *by == of);
                    issued.extend(stored.map(|(_, stored)| stored));
                }
                Err(error) => failed = failed.or(Some(CertificateError::from(error))),
            }
        }
        match self.fault.take().or(failed) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// What follows from the pair of a row that is used.
struct Resolved {
    files: Vec<(String, ByteString)>,
    mark: String,
    identity: String,
    /// `None` where it signs no certificates.
    signer: Option<Authority>,
}

impl Resolved {
    fn new(row: &AuthorityRow, pair: &PemPair) -> Result<Self, PkiError> {
        Ok(Self {
            files: row.files(pair)?,
            mark: row.mark(pair)?,
            identity: authority::identity(pair)?,
            signer: row.signer(pair)?,
        })
    }
}
