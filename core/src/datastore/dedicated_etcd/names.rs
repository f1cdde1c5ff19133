//! Names, labels and ports of a dedicated etcd, final from the first release on.

use crate::control_plane::names::Names;
use std::collections::BTreeMap;

/// Value of the component label on etcd's objects.
pub const ETCD: &str = "etcd";
/// Label of etcd's objects: which datastore of the control plane they belong to. Selectors and claims
/// carry it from the first day, because they cannot be changed.
pub const DATASTORE_GENERATION_LABEL: &str = "controlplane.cluster.x-k8s.io/datastore-generation";
/// The only value of [`DATASTORE_GENERATION_LABEL`] so far.
const DATASTORE_GENERATION: &str = "1";
/// Annotation of etcd's pods: the version of etcd that they run.
pub const ETCD_VERSION_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/etcd-version";

/// Port for clients.
pub const CLIENT_PORT: i32 = 2379;
/// Port for peers.
pub const PEER_PORT: i32 = 2380;
/// Port of health and metrics, without TLS.
pub const HEALTH_PORT: i32 = 2381;
/// Members that names and certificates are made for, however many there are.
pub const MAX_MEMBERS: i32 = 3;

impl Names {
    /// Secret of etcd's authority.
    pub fn etcd_ca(&self) -> String {
        self.with("etcd")
    }
    /// Secret of the authority of etcd's peers.
    pub fn etcd_peer_ca(&self) -> String {
        self.with("etcd-peer")
    }
    /// Secret with which kube-apiserver calls etcd.
    pub fn etcd_client(&self) -> String {
        self.with("apiserver-etcd-client")
    }
    /// Secret of etcd's members.
    pub fn etcd_certificates(&self) -> String {
        self.with("etcd-member")
    }
    /// etcd's StatefulSet, Service and ConfigMap.
    pub fn etcd(&self) -> String {
        self.with("etcd")
    }
    /// The Service of etcd's members among themselves.
    pub fn etcd_peers(&self) -> String {
        self.with("etcd-peer")
    }

    /// Name of the claim of an etcd member.
    pub fn claim(&self, ordinal: i32) -> String {
        self.claim_of(&self.member(ordinal))
    }

    /// Name of the claim of the etcd member of this name.
    pub fn claim_of(&self, member: &str) -> String {
        format!("data-{member}")
    }

    /// Name of an etcd member and of its pod.
    pub fn member(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.etcd())
    }

    /// Host name of an etcd member, by which its peers reach it.
    pub fn etcd_member(&self, ordinal: i32, namespace: &str) -> String {
        format!("{}.{}.{namespace}.svc", self.member(ordinal), self.etcd_peers())
    }

    /// Labels of etcd's objects, which select its pods.
    pub fn etcd_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.component(ETCD);
        labels.insert(DATASTORE_GENERATION_LABEL.to_owned(), DATASTORE_GENERATION.to_owned());
        labels
    }
}
