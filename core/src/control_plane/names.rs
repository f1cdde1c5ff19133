//! Names, labels and ports of a control plane's objects, final from the first release on.

use capn_api::cluster_api::CLUSTER_NAME_LABEL;
use std::collections::BTreeMap;

/// Label that tells the parts of a control plane apart.
pub const COMPONENT_LABEL: &str = "controlplane.cluster.x-k8s.io/component";
/// Value of [`COMPONENT_LABEL`] on the API server's pods.
pub const API_SERVER: &str = "apiserver";
/// Value of [`COMPONENT_LABEL`] on the pods of kube-controller-manager and kube-scheduler.
pub const CONTROLLERS: &str = "controllers";
/// Value of [`COMPONENT_LABEL`] on Secrets.
pub const CERTIFICATES: &str = "certificates";
/// Label of everything that belongs to a NestedControlPlane: its UID. A second control plane of the
/// same name shares neither Services nor volumes with the first.
pub const UID_LABEL: &str = "controlplane.cluster.x-k8s.io/control-plane-uid";
/// Annotation of control plane pods: the Kubernetes version that they serve.
pub const VERSION_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/version";
/// Annotation of control plane pods: the rollout that made them.
pub const ROLLOUT_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/rollout-after";
/// Annotation of a NestedControlPlane whose datastore has been in use: it is never started on an empty
/// one again.
pub const DATASTORE_INITIALIZED_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/datastore-initialized";
/// Annotation of a NestedControlPlane, set by a user who accepts the loss of the datastore that the
/// condition names.
pub const ACCEPT_DATASTORE_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/accept-datastore";

/// Port of the API server in its pod.
pub const API_SERVER_PORT: i32 = 6443;

/// Longest name of a Cluster: a StatefulSet's pods carry `<cluster>-etcd-<hash>` as a label.
pub const MAX_CLUSTER_NAME_LENGTH: usize = 47;

/// Names of the volumes of a control plane's pods that are not a user's.
pub const OWN_VOLUMES: [&str; 6] = [
    "api-server",
    "tmp",
    "controller-manager",
    "controller-manager-credentials",
    "scheduler",
    "scheduler-credentials",
];

/// Names and labels of the objects of one control plane.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    cluster: String,
    uid: String,
}

impl Names {
    /// Names for the control plane of this UID in the Cluster of this name.
    pub fn new(cluster: &str, uid: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// `<cluster>-<suffix>`.
    pub(crate) fn with(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.cluster)
    }

    /// Name of the Cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }
    /// Secret of the Cluster's authority.
    pub fn ca(&self) -> String {
        self.with("ca")
    }
    /// Secret of the front proxy authority.
    pub fn proxy_ca(&self) -> String {
        self.with("proxy")
    }
    /// Secret of the key that signs service account tokens.
    pub fn service_account(&self) -> String {
        self.with("sa")
    }
    /// The Secret with copies of the authorities in use, which pods mount.
    pub fn pki(&self) -> String {
        self.with("pki")
    }
    /// Secret of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> String {
        self.with("kubeconfig")
    }
    /// Secret of kube-apiserver.
    pub fn api_server_certificates(&self) -> String {
        self.with("apiserver")
    }
    /// Secret of kube-controller-manager.
    pub fn controller_manager(&self) -> String {
        self.with("controller-manager")
    }
    /// Secret of kube-scheduler.
    pub fn scheduler(&self) -> String {
        self.with("scheduler")
    }
    /// The API server's Deployment.
    pub fn api_server(&self) -> String {
        self.with(API_SERVER)
    }
    /// The Deployment of kube-controller-manager and kube-scheduler.
    pub fn controllers(&self) -> String {
        self.with(CONTROLLERS)
    }
    /// The API server's Service.
    pub fn api_server_service(&self) -> String {
        self.with("apiserver")
    }
    /// Name of a ControllerRevision with this checksum.
    pub fn revision(&self, checksum: &str) -> String {
        self.with(checksum)
    }

    /// Labels of every object of the control plane.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (CLUSTER_NAME_LABEL.to_owned(), self.cluster.clone()),
            (UID_LABEL.to_owned(), self.uid.clone()),
        ])
    }

    /// Labels of one component, which select its pods.
    pub fn component(&self, component: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert(COMPONENT_LABEL.to_owned(), component.to_owned());
        labels
    }

    /// The same as a label selector in text.
    pub fn selector(&self, component: &str) -> String {
        let labels = self.component(component);
        let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    /// A label selector for everything that belongs to the control plane.
    pub fn owned_selector(&self) -> String {
        format!("{UID_LABEL}={}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::secret_names;

    /// What follows the Cluster's name, in every name that is not made of a checksum. Cluster API and its
    /// providers have the rest.
    fn suffixes() -> Vec<String> {
        let names = Names::new("a", "uid");
        let ours = [
            names.api_server(),
            names.controllers(),
            names.api_server_service(),
            names.etcd(),
            names.etcd_peers(),
            names.member(0),
            names.claim(0).trim_start_matches("data-").to_owned(),
        ];
        let theirs = ["lb", "md-0"].map(|suffix| format!("a-{suffix}"));
        ours.into_iter()
            .chain(secret_names(&names))
            .chain(theirs)
            .map(|name| name["a-".len()..].to_owned())
            .collect()
    }

    #[test]
    fn no_object_of_a_cluster_has_the_name_of_another_clusters() {
        for one in suffixes() {
            for other in suffixes() {
                // `a-x` with the suffix `y` is `a` with the suffix `x-y`.
                let collides = one.ends_with(&format!("-{other}"));
                assert!(
                    !collides,
                    "<cluster>-{one} of one Cluster is <cluster>-{other} of another"
                );
            }
        }
    }
}
