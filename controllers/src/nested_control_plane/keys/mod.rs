//! Private keys and certificates of a tenant. Authorities are created where they are missing and
//! never written over, so that two managers cannot replace each other's; leaves are replaced when
//! they are due or no longer say what they should, under the resourceVersion that was read.

mod authorities;
mod authority;
mod data;
mod error;
mod leaf;
mod secret;

use super::{addresses::Addresses, observe::Secrets, validate::Tenant};
use crate::calls::Dependents;
use crate::pki::{self, Authority, PemPair};
use data::embedded;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use leaf::LeafSecret;
use secret::store;
use std::collections::BTreeMap;
use tokio::try_join;

pub(crate) use authorities::authorities;
pub(crate) use error::KeysError;
pub(crate) use leaf::{CREDENTIALS, PKI, api_server, decide};

/// Authorities of a tenant, and what is wrong with what was brought as such.
#[derive(Debug)]
pub(crate) struct Authorities {
    /// Signs for the API server and its clients.
    pub(crate) ca: Authority,
    /// Signs for the API server as a proxy before others.
    pub(crate) proxy: Authority,
    /// Signs for etcd's servers and their clients.
    pub(crate) etcd: Authority,
    /// Signs for etcd's members among themselves.
    pub(crate) etcd_peers: Authority,
    pub(crate) marks: Marks,
    /// What tells each from another, to be remembered.
    pub(crate) identities: BTreeMap<String, String>,
    /// What keeps none of them from being used.
    pub(crate) faults: Vec<KeysError>,
}

/// Stand for the authorities that pods read only when they start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) api_server: String,
    pub(crate) controllers: String,
    pub(crate) etcd: String,
}

/// What came of the leaves.
#[derive(Debug)]
pub(crate) struct Leaves {
    /// An administrator's certificate, which the manager itself uses.
    pub(crate) admin: Option<PemPair>,
    /// When the next leaf is due.
    pub(crate) renewal: Timestamp,
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
        .filter_map(|secret| Some((ends(secret)?, secret)))
        .min_by_key(|(end, _)| *end)?;
    (end <= now).then(|| {
        let place = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
        format!("a certificate in Secret {place} ended at {end:.0} and was not renewed: see the condition Available for the cause")
    })
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
        let live = secrets.get(&wanted.name);
        let decided = decide(tenant, authorities, &wanted, live, now);
        let name = wanted.name;
        async move {
            let decided = decided?;
            store(dependents, tenant, &name, live, decided.data).await?;
            Ok::<_, KeysError>((decided.renewal, decided.first))
        }
    };
    let admin = async {
        let Some(endpoint) = &addresses.published else {
            return Ok(None);
        };
        let server = format!("https://{}", endpoint.authority());
        write(leaf::admin(tenant, server, authorities)).await.map(Some)
    };
    let server = addresses.service(tenant);
    let component = |name, user| write(leaf::component(name, user, &server, authorities));
    let (one, two, three, four, five, admin) = try_join!(
        write(api_server(tenant, addresses, authorities)),
        write(leaf::etcd_client(tenant, authorities)),
        write(leaf::etcd_member(tenant, addresses, authorities)),
        component(names.controller_manager(), "system:kube-controller-manager"),
        component(names.scheduler(), "system:kube-scheduler"),
        admin,
    )?;
    let renewal = [&one, &two, &three, &four, &five]
        .into_iter()
        .chain(&admin)
        .map(|(renewal, _)| *renewal)
        .min();
    Ok(Leaves {
        renewal: renewal.unwrap_or(now),
        admin: admin.map(|(_, pair)| pair),
    })
}
