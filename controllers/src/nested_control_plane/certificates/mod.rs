//! Reads and writes the Secrets of a control plane.

mod authorities;
mod secret;

pub(crate) use authorities::authorities;

use crate::runtime::api_client::Dependents;
use capn_core::{
    control_plane::{
        addresses::Addresses,
        certificates::{
            Authorities, CertificateError, LeafSecret, admin, api_server, component, decide, etcd_client, etcd_member,
        },
        desired::Tenant,
        view::Secrets,
    },
    pki::PemPair,
};
use jiff::Timestamp;
use secret::store;
use tokio::try_join;

/// What came of the leaves.
#[derive(Debug)]
pub(crate) struct Leaves {
    /// An administrator's certificate, which the manager itself uses.
    pub(crate) admin: Option<PemPair>,
    /// When the next leaf is due.
    pub(crate) renewal: Timestamp,
}

/// Issues what is missing, wrong or due, and writes it.
pub(crate) async fn leaves(
    dependents: Dependents<'_>,
    tenant: &Tenant,
    addresses: &Addresses,
    authorities: &Authorities,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Leaves, CertificateError> {
    let names = &tenant.names;
    let write = |wanted: LeafSecret<'_>| {
        let live = secrets.get(&wanted.name);
        let decided = decide(tenant, authorities, &wanted, live, now);
        let name = wanted.name;
        async move {
            let decided = decided?;
            store(dependents, tenant, &name, live, decided.data).await?;
            Ok::<_, CertificateError>((decided.renewal, decided.first))
        }
    };
    let kubeconfig = async {
        let Some(endpoint) = &addresses.published else {
            return Ok(None);
        };
        let server = format!("https://{}", endpoint.authority());
        write(admin(tenant, server, authorities)).await.map(Some)
    };
    let server = addresses.service(tenant);
    let program = |name, user| write(component(name, user, &server, authorities));
    let (one, two, three, four, five, admin) = try_join!(
        write(api_server(tenant, addresses, authorities)),
        write(etcd_client(tenant, authorities)),
        write(etcd_member(tenant, addresses, authorities)),
        program(names.controller_manager(), "system:kube-controller-manager"),
        program(names.scheduler(), "system:kube-scheduler"),
        kubeconfig,
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
