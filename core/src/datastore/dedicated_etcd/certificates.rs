//! What the certificate tables hold for a dedicated etcd.

use super::names::{ETCD, MAX_MEMBERS};
use crate::certificates::{Format, LeafRow, LeafSecret, Program, authority::AuthorityRow, hosts};
use crate::control_plane::{
    addresses::Addresses,
    desired::DesiredControlPlane,
    names::{API_SERVER, Names},
};
use crate::host::Host;
use crate::pki::{LeafSpec, Usage};
use std::collections::BTreeSet;

/// Signs for etcd's servers and their clients.
static CLIENTS: AuthorityRow = AuthorityRow::authority("etcd-ca", Names::etcd_ca, &[API_SERVER, ETCD]);
/// Signs for etcd's members among themselves.
static PEERS: AuthorityRow = AuthorityRow::authority("etcd-peer-ca", Names::etcd_peer_ca, &[ETCD]);

/// Authorities of a dedicated etcd. Their order never changes, as that of all authorities.
pub static AUTHORITIES: [&AuthorityRow; 2] = [&CLIENTS, &PEERS];

/// File of the authority that API servers trust.
pub const TRUSTED_BY_API_SERVER: &str = "etcd-ca.crt";

/// Leaf certificates of a dedicated etcd and of its clients.
pub static LEAF_SECRETS: [LeafSecret; 2] = [
    // Under the name that Cluster API has for it.
    LeafSecret {
        name: Names::etcd_client,
        format: Format::Files,
        program: Some(Program::ApiServer),
        leaves: &[LeafRow {
            prefix: "tls",
            signer: &CLIENTS,
            profile: |_, _| LeafSpec::client("kube-apiserver-etcd-client", None),
            mounted_as: "etcd-client",
            flags: Some(["etcd-certfile", "etcd-keyfile"]),
        }],
    },
    LeafSecret {
        name: Names::etcd_certificates,
        format: Format::Files,
        program: Some(Program::Datastore),
        leaves: &[
            LeafRow {
                prefix: "server",
                signer: &CLIENTS,
                profile: member,
                mounted_as: "server",
                flags: None,
            },
            LeafRow {
                prefix: "peer",
                signer: &PEERS,
                profile: member,
                mounted_as: "peer",
                flags: None,
            },
        ],
    },
];

fn member(desired: &DesiredControlPlane, addresses: &Addresses) -> LeafSpec {
    let (service, namespace) = (desired.names.etcd(), &desired.namespace);
    let members = (0..MAX_MEMBERS).map(|ordinal| desired.names.etcd_member(ordinal, namespace));
    let mut names: BTreeSet<Host> = members.filter_map(|member| member.parse().ok()).collect();
    names.extend(hosts(&[
        "localhost",
        "127.0.0.1",
        &format!("{service}.{namespace}.svc"),
    ]));
    names.insert(addresses.datastore.into());
    LeafSpec {
        common_name: format!("{}-etcd", desired.names.cluster()),
        organization: None,
        usage: Usage::Both,
        names,
    }
}
