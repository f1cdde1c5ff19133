//! What is wrong with a NestedControlPlane or its Cluster.

use crate::control_plane::names::{MAX_CLUSTER_NAME_LENGTH, UID_LABEL};
use crate::control_plane::versions;
use crate::host::HostError;
use ipnet::IpNet;
use std::net::IpAddr;

/// What is wrong, where, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum ValidateError {
    #[error("spec.version {0:?} is no version: write it like v1.36.3")]
    Version(String),
    #[error(
        "spec.version {wanted} cannot be run: versions from v1.{oldest} on are supported",
        oldest = versions::OLDEST_MINOR
    )]
    TooOld { wanted: String },
    #[error(
        "spec.version {wanted} is newer than this release of the provider knows: set v1.{newest} or older, or upgrade the provider first",
        newest = versions::NEWEST_MINOR
    )]
    TooNew { wanted: String },
    #[error("spec.version cannot go from {from} back to {to}: Kubernetes has no downgrade, set {from} or newer")]
    Downgrade { from: String, to: String },
    #[error("spec.version cannot go from {from} to {to} in one step: set v1.{next} first", next = .next)]
    SkippedMinor { from: String, to: String, next: u64 },
    #[error(
        "the name of Cluster {0:?} is too long for its control plane: at most {MAX_CLUSTER_NAME_LENGTH} characters, create the Cluster under a shorter name"
    )]
    LongName(String),
    #[error(
        "the name of Cluster {0:?} cannot be that of a Service: create the Cluster under a name of lower case letters, digits and dashes that begins with a letter and has no dot"
    )]
    ClusterName(String),
    #[error("{field} is wrong: {source}")]
    Host { field: &'static str, source: HostError },
    #[error("extraVolumes {name:?} of {one} and {other} have different sources: give one of them another name")]
    VolumesDiffer {
        name: String,
        one: &'static str,
        other: &'static str,
    },
    #[error(
        "extraVolumes {name:?} of {component} has the name of a volume of the control plane's own: give it another name"
    )]
    VolumeReserved { name: String, component: &'static str },
    #[error("Cluster spec.clusterNetwork.{field} has {value:?}, which is no network: write a CIDR such as {example}")]
    Cidr {
        field: &'static str,
        value: String,
        example: &'static str,
    },
    #[error(
        "Cluster spec.clusterNetwork.{field} {ranges} is not one range, or one of IPv4 and one of IPv6: write one of each family at most"
    )]
    Families { field: &'static str, ranges: String },
    #[error(
        "Cluster spec.clusterNetwork.pods {pods} and services {services} are not of the same IP families: give both the same"
    )]
    FamiliesDiffer { pods: String, services: String },
    #[error(
        "the endpoint's address {address} is not of the family of Cluster spec.clusterNetwork.services {services}, so that Service kubernetes cannot lead to it: set endpoint.advertiseAddress to one that is, or name a range of its family first"
    )]
    EndpointFamily { address: IpAddr, services: IpNet },
    #[error("Cluster spec.clusterNetwork.services {0} is too small: write at least a /28 (IPv6: /124)")]
    SmallServices(IpNet),
    #[error(
        "Cluster spec.clusterNetwork.pods {pods} and services {services} overlap: choose networks apart from each other, such as 10.243.0.0/16 and 10.95.0.0/16"
    )]
    NetworksOverlap { pods: IpNet, services: IpNet },
    #[error(
        "the endpoint's address {address} lies in the tenant's own {what} network {network}, where workers would not reach it: create the Cluster with another spec.clusterNetwork.{what}, such as {example}"
    )]
    EndpointOverlap {
        address: IpAddr,
        what: &'static str,
        network: IpNet,
        example: &'static str,
    },
    #[error(
        "Cluster spec.clusterNetwork.{field} cannot change from {from} to {to}, because the Services, Nodes and certificates of the control plane that runs hold it: set it back, or create another Cluster"
    )]
    Changed {
        field: &'static str,
        from: String,
        to: String,
    },
    #[error("{0}")]
    Disputed(String),
    #[error(
        "PersistentVolumeClaim {claim} exists and does not belong to this control plane: delete it; or, to start with the data on it, set its label {UID_LABEL} to {uid}"
    )]
    ClaimTaken { claim: String, uid: String },
}
