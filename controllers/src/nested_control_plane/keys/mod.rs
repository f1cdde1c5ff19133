//! Private keys and certificates of a tenant. Authorities are created where they are missing and
//! never written over, so that two managers cannot replace each other's; leaves are replaced when
//! they are due or no longer say what they should, under the resourceVersion that was read.

mod data;
mod leaf;

use super::{addresses::Addresses, names, observe::Secrets, validate::Tenant};
use crate::calls::{CallError, Dependents};
use crate::pki::{self, Authority, PemPair, PkiError};
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};
use data::{embedded, files, pair};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use leaf::LeafSecret;
use std::collections::BTreeMap;
use tokio::try_join;

pub(crate) use leaf::{CREDENTIALS, api_server, decide};

/// Type of the Secrets that `kubectl create secret tls` makes.
const TLS_TYPE: &str = "kubernetes.io/tls";

/// What can be wrong with a tenant's keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    Call(CallError),
    #[error("Secret {secret} cannot be used: {source}")]
    Wrong { secret: String, source: PkiError },
    #[error(
        "Secret {secret} is gone, although the control plane has run with it: restore it from a backup; pods that run go on with the old one"
    )]
    Lost { secret: String },
    #[error(
        "Secret {secret} exists, but it belongs neither to this control plane nor, by its labels, to Cluster {cluster}: to have it used as the Cluster's authority, give it the type {SECRET_TYPE} or {TLS_TYPE} and the label {CLUSTER_NAME_LABEL}={cluster}; otherwise rename or delete it"
    )]
    Foreign { secret: String, cluster: String },
    #[error("cannot issue a certificate: {0}")]
    Issue(PkiError),
}

/// Authorities of a tenant.
#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) ca: Authority,
    pub(crate) etcd: Authority,
    pub(crate) proxy: Authority,
    pub(crate) service_account: PemPair,
}

/// What came of the leaves.
#[derive(Debug)]
pub(crate) struct Leaves {
    /// An administrator's certificate, which the manager itself uses.
    pub(crate) admin: Option<PemPair>,
    /// When the next leaf is due.
    pub(crate) renewal: Timestamp,
}

/// Reads the authorities, making those that are missing in a tenant that has never run.
pub(crate) async fn authorities(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Authorities, KeysError> {
    let names = &tenant.names;
    let authority = |name: String, live, common_name: &'static str| async move {
        let pair = ensure(dependents, tenant, &name, live, || {
            Authority::generate(common_name, now)
        })
        .await?;
        Authority::read(&pair, now).map_err(|source| wrong(tenant, &name, source))
    };
    let (ca, etcd, proxy, service_account) = try_join!(
        authority(names.ca(), &secrets.ca, "kubernetes-ca"),
        authority(names.etcd_ca(), &secrets.etcd_ca, "etcd-ca"),
        authority(names.proxy_ca(), &secrets.proxy_ca, "front-proxy-ca"),
        async {
            let name = names.service_account();
            let pair = ensure(
                dependents,
                tenant,
                &name,
                &secrets.service_account,
                pki::service_account_pair,
            )
            .await?;
            pki::check_service_account_pair(&pair).map_err(|source| wrong(tenant, &name, source))?;
            Ok(pair)
        },
    )?;
    Ok(Authorities {
        ca,
        etcd,
        proxy,
        service_account,
    })
}

/// What is said of the first stored certificate that has ended; `None` while all are valid.
pub(crate) fn expired(secrets: &Secrets, now: Timestamp) -> Option<String> {
    let ends = |secret: &Secret| {
        let files = secret.data.iter().flatten().filter(|(key, _)| key.ends_with(".crt"));
        let stored = files.filter_map(|(_, value)| String::from_utf8(value.0.clone()).ok());
        let inside = embedded(secret).map(|pair| pair.certificate);
        stored.chain(inside).filter_map(|text| pki::not_after(&text)).min()
    };
    let (end, secret) = secrets
        .all()
        .into_iter()
        .flatten()
        .filter_map(|secret| Some((ends(secret)?, secret)))
        .min_by_key(|(end, _)| *end)?;
    (end <= now).then(|| {
        let place = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
        format!("a certificate in Secret {place} ended at {end:.0} and was not renewed: see the condition Available for the cause")
    })
}

fn wrong(tenant: &Tenant, name: &str, source: PkiError) -> KeysError {
    KeysError::Wrong {
        secret: format!("{}/{name}", tenant.namespace),
        source,
    }
}

async fn ensure(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    name: &str,
    live: &Option<Secret>,
    make: impl Fn() -> Result<PemPair, PkiError>,
) -> Result<PemPair, KeysError> {
    let stored = match live {
        Some(secret) if dependents.owner().owns(secret) => {
            if !is_kept(tenant, secret) {
                let kept = kept(tenant, secret.clone());
                dependents.replace(secret, kept).await.map_err(KeysError::Call)?;
            }
            secret.clone()
        }
        Some(secret) if is_brought(tenant, secret) => secret.clone(),
        Some(_) => {
            return Err(KeysError::Foreign {
                secret: format!("{}/{name}", tenant.namespace),
                cluster: tenant.names.cluster().to_owned(),
            });
        }
        None if tenant.has_run => {
            return Err(KeysError::Lost {
                secret: format!("{}/{name}", tenant.namespace),
            });
        }
        None => {
            let pair = make().map_err(KeysError::Issue)?;
            let data = files("tls", &pair).collect();
            dependents
                .create(&secret(tenant, name, data))
                .await
                .map_err(KeysError::Call)?
        }
    };
    pair(&stored, "tls").ok_or_else(|| wrong(tenant, name, PkiError::Certificate))
}

/// Issues what is missing, wrong or due, and writes it.
pub(crate) async fn leaves(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    addresses: &Addresses,
    authorities: &Authorities,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Leaves, KeysError> {
    let names = &tenant.names;
    let write = |wanted: LeafSecret<'_>| {
        let decided = decide(tenant, authorities, &wanted, now);
        let (name, live) = (wanted.name, wanted.live.clone());
        async move {
            let decided = decided?;
            let kept = |live: &Secret| is_kept(tenant, live) && live.type_.as_deref() == Some(SECRET_TYPE);
            if decided.changed || !live.as_ref().is_some_and(kept) {
                store(dependents, tenant, &name, live, decided.data).await?;
            }
            Ok::<_, KeysError>((decided.renewal, decided.first))
        }
    };
    let admin = async {
        let Some(endpoint) = &addresses.published else {
            return Ok(None);
        };
        let server = format!("https://{}", endpoint.authority());
        write(leaf::admin(tenant, server, authorities, &secrets.kubeconfig))
            .await
            .map(Some)
    };
    let (one, two, three, four, admin) = try_join!(
        write(api_server(tenant, addresses, authorities, &secrets.api_server)),
        write(leaf::etcd_member(tenant, addresses, authorities, &secrets.etcd_member)),
        write(leaf::component(
            names.controller_manager(),
            "system:kube-controller-manager",
            authorities,
            &secrets.controller_manager,
        )),
        write(leaf::component(
            names.scheduler(),
            "system:kube-scheduler",
            authorities,
            &secrets.scheduler,
        )),
        admin,
    )?;
    let renewal = [&one, &two, &three, &four]
        .into_iter()
        .chain(&admin)
        .map(|(renewal, _)| *renewal)
        .min();
    Ok(Leaves {
        renewal: renewal.unwrap_or(now),
        admin: admin.map(|(_, pair)| pair),
    })
}

async fn store(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    name: &str,
    live: Option<Secret>,
    data: BTreeMap<String, ByteString>,
) -> Result<(), KeysError> {
    let written = match live {
        // Where somebody was faster, theirs is looked at in the next pass.
        None => dependents.create(&secret(tenant, name, data)).await.map(drop),
        // The type of a Secret cannot be changed: it is made again in the next pass.
        Some(live) if live.type_.as_deref() != Some(SECRET_TYPE) && dependents.owner().owns(&live) => {
            dependents.delete(&live).await
        }
        Some(live) => {
            let mut wanted = kept(tenant, live.clone());
            wanted.data = Some(data);
            dependents.replace(&live, wanted).await.map(drop)
        }
    };
    written.map_err(KeysError::Call)
}

/// Whether a Secret was brought as an authority of this Cluster: it says so in the way of Cluster API.
fn is_brought(tenant: &Tenant, secret: &Secret) -> bool {
    matches!(secret.type_.as_deref(), Some(SECRET_TYPE | TLS_TYPE))
        && secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str) == Some(tenant.names.cluster())
}

/// Whether a Secret of ours still carries our labels and our owner reference.
fn is_kept(tenant: &Tenant, secret: &Secret) -> bool {
    let labels = tenant.names.component(names::CERTIFICATES);
    labels
        .iter()
        .all(|(key, value)| secret.labels().get(key) == Some(value))
        && secret.owner_references().contains(&tenant.owner)
}

/// A Secret of ours with our labels and our owner reference.
fn kept(tenant: &Tenant, mut secret: Secret) -> Secret {
    secret.labels_mut().extend(tenant.names.component(names::CERTIFICATES));
    let owners = secret.owner_references_mut();
    owners.retain(|owner| owner.uid != tenant.owner.uid);
    owners.push(tenant.owner.clone());
    secret
}

fn secret(tenant: &Tenant, name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(tenant.namespace.clone()),
            labels: Some(tenant.names.component(names::CERTIFICATES)),
            owner_references: Some(vec![tenant.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
