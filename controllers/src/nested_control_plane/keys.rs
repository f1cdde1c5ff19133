//! Private keys and certificates of a tenant. Authorities are created where they are missing and
//! never written over, so that two managers cannot replace each other's; leaves are replaced when
//! they are due or no longer say what they should, under the resourceVersion that was read.

use super::addresses::Addresses;
use super::names;
use super::observe::Secrets;
use super::validate::Tenant;
use crate::calls::{CallError, Calls};
use crate::pki::{self, Authority, Credentials, Leaf, LeafSpec, PemPair, PkiError, Usage};
use capn_api::cluster_api::SECRET_TYPE;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use std::collections::BTreeMap;
use tokio::try_join;

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
    calls: &Calls,
    tenant: &Tenant,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Authorities, KeysError> {
    let names = &tenant.names;
    let authority = |name: String, live, common_name: &'static str| async move {
        let pair = ensure(calls, tenant, &name, live, || Authority::generate(common_name, now)).await?;
        Authority::read(&pair, now).map_err(|source| wrong(tenant, &name, source))
    };
    let (ca, etcd, proxy, service_account) = try_join!(
        authority(names.ca(), &secrets.ca, "kubernetes-ca"),
        authority(names.etcd_ca(), &secrets.etcd_ca, "etcd-ca"),
        authority(names.proxy_ca(), &secrets.proxy_ca, "front-proxy-ca"),
        async {
            let name = names.service_account();
            let pair = ensure(
                calls,
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

fn wrong(tenant: &Tenant, name: &str, source: PkiError) -> KeysError {
    KeysError::Wrong {
        secret: format!("{}/{name}", tenant.namespace),
        source,
    }
}

async fn ensure(
    calls: &Calls,
    tenant: &Tenant,
    name: &str,
    live: &Option<Secret>,
    make: impl Fn() -> Result<PemPair, PkiError>,
) -> Result<PemPair, KeysError> {
    let stored = match live {
        Some(secret) => secret.clone(),
        None if tenant.has_run => {
            return Err(KeysError::Lost {
                secret: format!("{}/{name}", tenant.namespace),
            });
        }
        None => {
            let pair = make().map_err(KeysError::Issue)?;
            let data = files("tls", &pair).collect();
            calls
                .create(&secret(tenant, name, SECRET_TYPE, data))
                .await
                .map_err(KeysError::Call)?
        }
    };
    pair(&stored, "tls").ok_or_else(|| wrong(tenant, name, PkiError::Certificate))
}

/// A Secret with leaves: the files `<prefix>.crt` and `<prefix>.key`, or a kubeconfig around them.
pub(super) struct LeafSecret<'a> {
    name: String,
    live: &'a Option<Secret>,
    pub(super) leaves: Vec<(&'static str, LeafSpec, &'a Authority)>,
    kubeconfig: Option<Kubeconfig>,
}

enum Kubeconfig {
    /// For people and other programs: everything inside, in the key `value`.
    Embedded { server: String },
    /// For a component of the control plane: paths of the files beside it.
    Mounted { user: &'static str },
}

/// Folder where a component's Secret is mounted.
pub(crate) const CREDENTIALS: &str = "/etc/kubernetes/credentials";

/// Issues what is missing, wrong or due, and writes it.
pub(crate) async fn leaves(
    calls: &Calls,
    tenant: &Tenant,
    addresses: &Addresses,
    authorities: &Authorities,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Leaves, KeysError> {
    let names = &tenant.names;
    let Authorities { ca, etcd, .. } = authorities;
    let component = |name, live, user| LeafSecret {
        name,
        live,
        leaves: vec![("tls", LeafSpec::client(user, None), ca)],
        kubeconfig: Some(Kubeconfig::Mounted { user }),
    };
    let member = LeafSecret {
        name: names.etcd_certificates(),
        live: &secrets.etcd_member,
        leaves: vec![("tls", etcd_member(tenant, addresses), etcd)],
        kubeconfig: None,
    };
    let write = |wanted: LeafSecret<'_>| {
        let decided = decide(tenant, authorities, &wanted, now);
        let (name, live) = (wanted.name, wanted.live.clone());
        async move {
            let decided = decided?;
            if decided.changed {
                store(calls, tenant, &name, live, decided.data).await?;
            }
            Ok::<_, KeysError>((decided.renewal, decided.first))
        }
    };
    let admin = async {
        let Some(endpoint) = &addresses.published else {
            return Ok(None);
        };
        let admin = LeafSecret {
            name: names.kubeconfig(),
            live: &secrets.kubeconfig,
            leaves: vec![("tls", LeafSpec::client("kubernetes-admin", Some("system:masters")), ca)],
            kubeconfig: Some(Kubeconfig::Embedded {
                server: format!("https://{}", endpoint.authority()),
            }),
        };
        write(admin).await.map(Some)
    };
    let (one, two, three, four, admin) = try_join!(
        write(api_server(tenant, addresses, authorities, &secrets.api_server)),
        write(member),
        write(component(
            names.controller_manager(),
            &secrets.controller_manager,
            "system:kube-controller-manager"
        )),
        write(component(
            names.scheduler(),
            &secrets.scheduler,
            "system:kube-scheduler"
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

/// The Secret of the API server: what it serves with, and as whom it calls others.
pub(super) fn api_server<'a>(
    tenant: &Tenant,
    addresses: &Addresses,
    authorities: &'a Authorities,
    live: &'a Option<Secret>,
) -> LeafSecret<'a> {
    let Authorities { ca, etcd, proxy, .. } = authorities;
    let client = |name| LeafSpec::client(name, None);
    LeafSecret {
        name: tenant.names.api_server_certificates(),
        live,
        leaves: vec![
            ("apiserver", serving(tenant, addresses), ca),
            ("kubelet-client", client("kube-apiserver-kubelet-client"), ca),
            ("etcd-client", client("kube-apiserver-etcd-client"), etcd),
            ("front-proxy-client", client("front-proxy-client"), proxy),
        ],
        kubeconfig: None,
    }
}

pub(super) struct Decided {
    data: BTreeMap<String, ByteString>,
    changed: bool,
    pub(super) renewal: Timestamp,
    first: PemPair,
}

/// What a leaf Secret shall hold: what it holds already, as far as that still serves.
pub(super) fn decide(
    tenant: &Tenant,
    authorities: &Authorities,
    wanted: &LeafSecret<'_>,
    now: Timestamp,
) -> Result<Decided, KeysError> {
    let certificates = &tenant.certificates;
    let (mut data, mut renewal, mut first) = (BTreeMap::new(), Timestamp::MAX, None);
    for (prefix, spec, authority) in &wanted.leaves {
        let stored = wanted.live.as_ref().and_then(|secret| match wanted.kubeconfig {
            Some(Kubeconfig::Embedded { .. }) => embedded(secret),
            _ => pair(secret, prefix),
        });
        let kept = stored.and_then(|pair| {
            let due = Leaf::read(&pair, spec, authority)?.renewal(certificates.renew_before);
            (due > now).then_some((pair, due))
        });
        let (pair, due) = match kept {
            Some(kept) => kept,
            None => {
                let pair = spec
                    .issue(authority, certificates.validity, now)
                    .map_err(KeysError::Issue)?;
                let due = Leaf::read(&pair, spec, authority)
                    .ok_or(KeysError::Issue(PkiError::Certificate))?
                    .renewal(certificates.renew_before);
                (pair, due)
            }
        };
        renewal = renewal.min(due);
        data.extend(files(prefix, &pair));
        first.get_or_insert(pair);
    }
    let first = first.ok_or(KeysError::Issue(PkiError::Certificate))?;
    let (cluster, authority) = (tenant.names.cluster(), authorities.ca.certificate());
    match &wanted.kubeconfig {
        None => {}
        Some(Kubeconfig::Embedded { server }) => {
            let user = format!("{cluster}-admin");
            let text = pki::kubeconfig(cluster, server, authority, &user, Credentials::Embedded(&first));
            data = BTreeMap::from([("value".to_owned(), bytes(&text))]);
        }
        Some(Kubeconfig::Mounted { user }) => {
            let files = Credentials::Files {
                certificate: &format!("{CREDENTIALS}/tls.crt"),
                key: &format!("{CREDENTIALS}/tls.key"),
            };
            let text = pki::kubeconfig(cluster, "https://127.0.0.1:6443", authority, user, files);
            data.insert("kubeconfig".to_owned(), bytes(&text));
        }
    }
    let changed = wanted.live.as_ref().and_then(|secret| secret.data.as_ref()) != Some(&data);
    Ok(Decided {
        data,
        changed,
        renewal,
        first,
    })
}

async fn store(
    calls: &Calls,
    tenant: &Tenant,
    name: &str,
    live: Option<Secret>,
    data: BTreeMap<String, ByteString>,
) -> Result<(), KeysError> {
    let written = match live {
        None => {
            let made = calls.create(&secret(tenant, name, SECRET_TYPE, data.clone())).await;
            // Somebody was faster: theirs is looked at in the next pass.
            made.map(|made| made.data.as_ref() == Some(&data))
        }
        Some(mut secret) => {
            secret.data = Some(data);
            secret.labels_mut().extend(tenant.names.component(names::CERTIFICATES));
            calls.replace(&secret).await.map(|_| true)
        }
    };
    written.map(drop).map_err(KeysError::Call)
}

fn secret(tenant: &Tenant, name: &str, type_: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(tenant.namespace.clone()),
            labels: Some(tenant.names.component(names::CERTIFICATES)),
            owner_references: Some(vec![tenant.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn files(prefix: &str, pair: &PemPair) -> impl Iterator<Item = (String, ByteString)> {
    [
        (format!("{prefix}.crt"), bytes(&pair.certificate)),
        (format!("{prefix}.key"), bytes(&pair.key)),
    ]
    .into_iter()
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

/// The pair under `<prefix>.crt` and `<prefix>.key`; a missing key is an empty one.
fn pair(secret: &Secret, prefix: &str) -> Option<PemPair> {
    let text = |suffix: &str| {
        let value = secret.data.as_ref()?.get(&format!("{prefix}.{suffix}"))?;
        String::from_utf8(value.0.clone()).ok()
    };
    Some(PemPair {
        certificate: text("crt")?,
        key: text("key").unwrap_or_default(),
    })
}

/// The pair inside a kubeconfig. Nothing that it names is run or opened.
fn embedded(secret: &Secret) -> Option<PemPair> {
    let value = std::str::from_utf8(&secret.data.as_ref()?.get("value")?.0).ok()?;
    let config: serde_json::Value = serde_saphyr::from_str(value).ok()?;
    let text = |field: &str| {
        let encoded = config.pointer("/users/0/user")?.get(field)?.clone();
        String::from_utf8(serde_json::from_value::<ByteString>(encoded).ok()?.0).ok()
    };
    Some(PemPair {
        certificate: text("client-certificate-data")?,
        key: text("client-key-data")?,
    })
}

fn serving(tenant: &Tenant, addresses: &Addresses) -> LeafSpec {
    let (service, namespace) = (tenant.names.api_server_service(), &tenant.namespace);
    let domain = &tenant.network.domain;
    let mut names = addresses.hosts.clone();
    names.extend(
        [
            "localhost",
            "127.0.0.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ]
        .map(Into::into),
    );
    names.insert(format!("kubernetes.default.svc.{domain}"));
    names.insert(tenant.network.kubernetes.to_string());
    names.extend([
        service.clone(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
    ]);
    names.extend(tenant.certificates.sans.iter().cloned());
    LeafSpec {
        common_name: "kube-apiserver".into(),
        organization: None,
        usage: Usage::Server,
        names,
    }
}

fn etcd_member(tenant: &Tenant, addresses: &Addresses) -> LeafSpec {
    use super::names::ETCD_MEMBERS;
    let (service, namespace) = (tenant.names.etcd(), &tenant.namespace);
    let mut names: std::collections::BTreeSet<String> = (0..ETCD_MEMBERS)
        .map(|ordinal| tenant.names.etcd_member(ordinal, namespace))
        .collect();
    names.extend([
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        addresses.etcd.to_string(),
    ]);
    names.insert(format!("{service}.{namespace}.svc"));
    LeafSpec {
        common_name: format!("{}-etcd", tenant.names.cluster()),
        organization: None,
        usage: Usage::Both,
        names,
    }
}
