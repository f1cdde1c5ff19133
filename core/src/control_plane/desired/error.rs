//! What is wrong with a NestedControlPlane or its Cluster.

use crate::control_plane::names::{MAX_CLUSTER_NAME_LENGTH, UID_LABEL};
use crate::host::HostError;
use crate::kubernetes::releases;
use ipnet::IpNet;
use std::net::IpAddr;

/// What is wrong, where, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum ValidateError {
    #[error("spec.version {0:?} is not a version: set one such as v1.36.3")]
    Version(String),
    #[error(
        "spec.version {wanted} is not supported: set a version from v1.{oldest} to v1.{newest}",
        oldest = releases::OLDEST_MINOR,
        newest = releases::NEWEST_MINOR
    )]
    TooOld { wanted: String },
    #[error(
        "spec.version {wanted} is newer than this release of the provider supports: set v1.{newest} or older, or upgrade the provider first",
        newest = releases::NEWEST_MINOR
    )]
    TooNew { wanted: String },
    #[error(
        "spec.version cannot change from {from} to {to}, because Kubernetes does not support downgrades: set {from} or newer"
    )]
    Downgrade { from: String, to: String },
    #[error("spec.version cannot change from {from} to {to} in one step, because Kubernetes does not support skipping a minor version: set v1.{next} first", next = .next)]
    SkippedMinor { from: String, to: String, next: u64 },
    #[error(
        "the name of Cluster {0:?} is too long: its control plane needs a name of at most {MAX_CLUSTER_NAME_LENGTH} characters. Create the Cluster under a shorter name"
    )]
    LongName(String),
    #[error(
        "the name of Cluster {0:?} cannot be used in the name of a Service. Create the Cluster under a name that starts with a letter and consists of lower case letters, digits and dashes, without a dot"
    )]
    ClusterName(String),
    #[error("{field} is invalid: {source}")]
    Host { field: &'static str, source: HostError },
    #[error("extraVolumes {name:?} of {one} and {other} have different sources: rename one of them")]
    VolumesDiffer {
        name: String,
        one: &'static str,
        other: &'static str,
    },
    #[error("extraVolumes {name:?} of {component} has a name that the control plane uses itself: use another name")]
    VolumeReserved { name: String, component: &'static str },
    #[error("Cluster spec.clusterNetwork.{field} has {value:?}, which is not a CIDR: set one such as {example}")]
    Cidr {
        field: &'static str,
        value: String,
        example: &'static str,
    },
    #[error("Cluster spec.clusterNetwork.{field} {ranges} must be a single range, or one IPv4 and one IPv6 range")]
    Families { field: &'static str, ranges: String },
    #[error(
        "Cluster spec.clusterNetwork.pods {pods} and services {services} have different IP families: use the same families for both"
    )]
    FamiliesDiffer { pods: String, services: String },
    #[error(
        "the IP family of the endpoint's address {address} is not that of Cluster spec.clusterNetwork.services {services}, so Service kubernetes cannot point to it: set endpoint.advertiseAddress to an address of that family, or list a services range of the endpoint's family first"
    )]
    EndpointFamily { address: IpAddr, services: IpNet },
    #[error("Cluster spec.clusterNetwork.services {0} is too small: use at least a /28 (IPv6: /124)")]
    SmallServices(IpNet),
    #[error(
        "Cluster spec.clusterNetwork.pods {pods} and services {services} overlap: use separate ranges, such as 10.243.0.0/16 and 10.95.0.0/16"
    )]
    NetworksOverlap { pods: IpNet, services: IpNet },
    #[error(
        "the endpoint's address {address} is inside the workload cluster's own {what} network {network}, so workers could not reach it: create the Cluster with another spec.clusterNetwork.{what}, such as {example}"
    )]
    EndpointOverlap {
        address: IpAddr,
        what: &'static str,
        network: IpNet,
        example: &'static str,
    },
    #[error(
        "Cluster spec.clusterNetwork.{field} cannot change from {from} to {to}, because Services, Nodes and certificates of the running control plane depend on it: set it back, or create another Cluster"
    )]
    Changed {
        field: &'static str,
        from: String,
        to: String,
    },
    #[error("{0}")]
    Disputed(String),
    #[error(
        "PersistentVolumeClaim {claim} exists and does not belong to this control plane: delete it or, to start with the data on it, set its label {UID_LABEL} to {uid}"
    )]
    ClaimTaken { claim: String, uid: String },
}
