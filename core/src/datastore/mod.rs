//! Where control planes keep their data: the objects, flags and certificates that a datastore needs, whether it
//! serves, whether it still has its data, and how it is torn down. The only kind is an etcd of the control plane's
//! own. The plan of a control plane knows no kind; another one is another folder, and a choice here.

mod dedicated_etcd;

use crate::certificates::PKI;
use crate::control_plane::addresses::Addresses;
use capn_api::common::ApiEndpoint;

pub use dedicated_etcd::{
    certificates::{AUTHORITIES, LEAF_SECRETS, TRUSTED_BY_API_SERVER},
    data::{
        Bootstrap, Data, EXISTING, INITIAL_CLUSTER, INITIAL_CLUSTER_STATE, assess, initialized, is_in_use, members,
        obsolete, remember,
    },
    desired::{Desired, desired},
    health::{diagnose, health, is_starting},
    names::{ETCD as COMPONENT, MAX_MEMBERS},
    objects::{address, network, workloads},
    observed::{Observed, StorageProblem},
    teardown,
};

/// Flags of kube-apiserver that lead to the datastore. Its client certificate is in [`LEAF_SECRETS`].
pub fn api_server_flags(addresses: &Addresses) -> [(&'static str, String); 2] {
    let server = ApiEndpoint {
        host: addresses.datastore.to_string(),
        port: dedicated_etcd::names::CLIENT_PORT,
    };
    [
        ("etcd-cafile", format!("{PKI}/{TRUSTED_BY_API_SERVER}")),
        ("etcd-servers", format!("https://{}", server.authority())),
    ]
}
