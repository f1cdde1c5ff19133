//! What each Secret with leaves shall hold. Pure: keys and certificates are made, and nothing is
//! written.

use super::{
    Authorities, CertificateError,
    data::{bytes, embedded, files, pair},
};
use crate::control_plane::{addresses::Addresses, desired::Tenant, names::ETCD_MEMBERS};
use crate::host::Host;
use crate::pki::{self, Authority, Credentials, Leaf, LeafSpec, PemPair, PkiError, Trust, Usage};
use capn_api::common::ApiEndpoint;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use std::collections::{BTreeMap, BTreeSet};

/// A Secret with leaves: the files `<prefix>.crt` and `<prefix>.key`, or a kubeconfig around them.
pub struct LeafSecret<'a> {
    /// Name of the Secret.
    pub name: String,
    /// Prefix of the files, what the certificate says, and who signs it.
    pub leaves: Vec<(&'static str, LeafSpec, &'a Authority)>,
    kubeconfig: Option<Kubeconfig>,
}

enum Kubeconfig {
    /// For people and other programs: everything inside, in the key `value`.
    Embedded { server: String },
    /// For a component of the control plane: paths of the files beside it.
    Mounted { user: &'static str, server: String },
}

/// Folder where a component's Secret is mounted.
pub const CREDENTIALS: &str = "/etc/kubernetes/credentials";

/// Folder where the authorities are mounted, in `ca.crt` the one that the API server's certificate is
/// signed by.
pub const PKI: &str = "/etc/kubernetes/pki";

/// The Secret of the API server: what it serves with, and as whom it calls others.
pub fn api_server<'a>(tenant: &Tenant, addresses: &Addresses, authorities: &'a Authorities) -> LeafSecret<'a> {
    let Authorities { ca, proxy, .. } = authorities;
    let client = |name| LeafSpec::client(name, None);
    LeafSecret {
        name: tenant.names.api_server_certificates(),
        leaves: vec![
            ("apiserver", serving(tenant, addresses), ca),
            ("kubelet-client", client("kube-apiserver-kubelet-client"), ca),
            ("front-proxy-client", client("front-proxy-client"), proxy),
        ],
        kubeconfig: None,
    }
}

/// The Secret with which the API server calls etcd, under the name that Cluster API has for it.
pub fn etcd_client<'a>(tenant: &Tenant, authorities: &'a Authorities) -> LeafSecret<'a> {
    let user = LeafSpec::client("kube-apiserver-etcd-client", None);
    LeafSecret {
        name: tenant.names.etcd_client(),
        leaves: vec![("tls", user, &authorities.etcd)],
        kubeconfig: None,
    }
}

/// The Secret of etcd's members.
pub fn etcd_member<'a>(tenant: &Tenant, addresses: &Addresses, authorities: &'a Authorities) -> LeafSecret<'a> {
    LeafSecret {
        name: tenant.names.etcd_certificates(),
        leaves: vec![
            ("server", member(tenant, addresses), &authorities.etcd),
            ("peer", member(tenant, addresses), &authorities.etcd_peers),
        ],
        kubeconfig: None,
    }
}

/// The Secret of a component that calls the API servers at this endpoint as this user.
pub fn component<'a>(
    name: String,
    user: &'static str,
    server: &ApiEndpoint,
    authorities: &'a Authorities,
) -> LeafSecret<'a> {
    LeafSecret {
        name,
        leaves: vec![("tls", LeafSpec::client(user, None), &authorities.ca)],
        kubeconfig: Some(Kubeconfig::Mounted {
            user,
            server: format!("https://{}", server.authority()),
        }),
    }
}

/// The Secret with an administrator's kubeconfig for this server.
pub fn admin<'a>(tenant: &Tenant, server: String, authorities: &'a Authorities) -> LeafSecret<'a> {
    let user = LeafSpec::client("kubernetes-admin", Some("system:masters"));
    LeafSecret {
        name: tenant.names.kubeconfig(),
        leaves: vec![("tls", user, &authorities.ca)],
        kubeconfig: Some(Kubeconfig::Embedded { server }),
    }
}

/// What a leaf Secret shall hold, and until when.
pub struct Decided {
    /// Keys and values of the Secret.
    pub data: BTreeMap<String, ByteString>,
    /// When the first leaf is due.
    pub renewal: Timestamp,
    /// The first pair, which is the one of a kubeconfig.
    pub first: PemPair,
}

/// What a leaf Secret shall hold: what it holds already, as far as that still serves.
pub fn decide(
    tenant: &Tenant,
    authorities: &Authorities,
    wanted: &LeafSecret<'_>,
    live: Option<&Secret>,
    now: Timestamp,
) -> Result<Decided, CertificateError> {
    let certificates = &tenant.certificates;
    let (mut data, mut renewal, mut first) = (BTreeMap::new(), Timestamp::MAX, None);
    for (prefix, spec, authority) in &wanted.leaves {
        let stored = live.and_then(|secret| match wanted.kubeconfig {
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
                    .map_err(CertificateError::Issue)?;
                let due = Leaf::read(&pair, spec, authority)
                    .ok_or(CertificateError::Issue(PkiError::Certificate))?
                    .renewal(certificates.renew_before);
                (pair, due)
            }
        };
        renewal = renewal.min(due);
        data.extend(files(prefix, &pair));
        first.get_or_insert(pair);
    }
    let first = first.ok_or(CertificateError::Issue(PkiError::Certificate))?;
    let cluster = tenant.names.cluster();
    match &wanted.kubeconfig {
        None => {}
        Some(Kubeconfig::Embedded { server }) => {
            let user = format!("{cluster}-admin");
            let trust = Trust::Embedded(authorities.ca.trusted());
            let text = pki::kubeconfig(cluster, server, trust, &user, Credentials::Embedded(&first));
            data = BTreeMap::from([("value".to_owned(), bytes(&text))]);
        }
        Some(Kubeconfig::Mounted { user, server }) => {
            let files = Credentials::Files {
                certificate: &format!("{CREDENTIALS}/tls.crt"),
                key: &format!("{CREDENTIALS}/tls.key"),
            };
            let authority = format!("{PKI}/ca.crt");
            let trust = Trust::File(&authority);
            let text = pki::kubeconfig(cluster, server, trust, user, files);
            data.insert("kubeconfig".to_owned(), bytes(&text));
        }
    }
    Ok(Decided { data, renewal, first })
}

fn serving(tenant: &Tenant, addresses: &Addresses) -> LeafSpec {
    let (service, namespace) = (tenant.names.api_server_service(), &tenant.namespace);
    let domain = &tenant.network.domain;
    let mut names = addresses.hosts.clone();
    names.extend(hosts(&[
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        &format!("kubernetes.default.svc.{domain}"),
        &service,
        &format!("{service}.{namespace}"),
        &format!("{service}.{namespace}.svc"),
    ]));
    names.insert(tenant.network.kubernetes.into());
    names.extend(tenant.certificates.sans.iter().cloned());
    LeafSpec {
        common_name: "kube-apiserver".into(),
        organization: None,
        usage: Usage::Server,
        names,
    }
}

fn member(tenant: &Tenant, addresses: &Addresses) -> LeafSpec {
    let (service, namespace) = (tenant.names.etcd(), &tenant.namespace);
    let members = (0..ETCD_MEMBERS).map(|ordinal| tenant.names.etcd_member(ordinal, namespace));
    let mut names: BTreeSet<Host> = members.filter_map(|member| member.parse().ok()).collect();
    names.extend(hosts(&[
        "localhost",
        "127.0.0.1",
        &format!("{service}.{namespace}.svc"),
    ]));
    names.insert(addresses.etcd.into());
    LeafSpec {
        common_name: format!("{}-etcd", tenant.names.cluster()),
        organization: None,
        usage: Usage::Both,
        names,
    }
}

/// Names that are ours, and well written therefore.
fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
