//! NestedControlPlane: a workload cluster's control plane as pods of the management cluster, per Cluster
//! API's control plane contract v1beta2.

mod datastore;
mod pods;
mod status;
mod template;

pub use datastore::{Datastore, EtcdDatastore, RetentionPolicy, VolumeClaimRetention, VolumeStorage};
pub use pods::{Argument, Component, EtcdPodTemplate, ExtraVolume, HostPathVolume, PodTemplate};
pub use status::{
    DatastoreMember, DatastoreStatus, EtcdStatus, Initialization, NestedControlPlaneStatus, VersionStatus, condition,
};
pub use template::{NestedControlPlaneTemplate, NestedControlPlaneTemplateResource, NestedControlPlaneTemplateSpec};

use crate::common::{ApiEndpoint, LocalSecretReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Finalizer that the controller holds until everything of the control plane is gone.
pub const FINALIZER: &str = "nestedcontrolplane.controlplane.cluster.x-k8s.io";

/// Registry of the upstream images.
pub const DEFAULT_IMAGE_REPOSITORY: &str = "registry.k8s.io";

/// Port of the API server when none is asked for.
pub const DEFAULT_PORT: i32 = 6443;

/// A Kubernetes control plane that runs as pods in the namespace of this object.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "NestedControlPlane",
    plural = "nestedcontrolplanes",
    singular = "nestedcontrolplane",
    shortname = "ncp",
    category = "cluster-api",
    namespaced,
    doc = "NestedControlPlane runs the control plane of a Cluster as pods of the management cluster.",
    status = "NestedControlPlaneStatus",
    derive = "PartialEq",
    derive = "Default",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",
        description = "Cluster that this control plane belongs to"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].status",
        description = "Whether the API server answers"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].reason",
        description = "Why it is available or not"
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Replicas asked for"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Replicas that are ready"
    ),
    printcolumn(
        name = "Up-to-date",
        type_ = "integer",
        json_path = ".status.upToDateReplicas",
        description = "Replicas of the current spec"
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.controlPlaneEndpoint.host",
        description = "Host of the API server",
        priority = 10
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".spec.version",
        description = "Kubernetes version asked for"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.endpoint) || !has(self.endpoint.type) || self.endpoint.type != 'NodePort' || (has(self.endpoint.host) && self.endpoint.host != '') || (has(self.controlPlaneEndpoint) && self.controlPlaneEndpoint.host != '')").message("endpoint.type NodePort needs endpoint.host: write the address or name under which the nodes of this cluster are reached"),
    validation = Rule::new("(has(self.endpoint) && has(self.endpoint.type) ? self.endpoint.type : 'ClusterIP') == (has(oldSelf.endpoint) && has(oldSelf.endpoint.type) ? oldSelf.endpoint.type : 'ClusterIP')").message("endpoint.type cannot be changed, because workers hold the endpoint: create a new cluster to change it"),
    validation = Rule::new("(has(self.endpoint) && has(self.endpoint.host) ? self.endpoint.host : '') == (has(oldSelf.endpoint) && has(oldSelf.endpoint.host) ? oldSelf.endpoint.host : '')").message("endpoint.host cannot be changed, because workers hold the endpoint: create a new cluster to change it"),
    validation = Rule::new("(has(self.endpoint) && has(self.endpoint.port) ? self.endpoint.port : 0) == (has(oldSelf.endpoint) && has(oldSelf.endpoint.port) ? oldSelf.endpoint.port : 0)").message("endpoint.port cannot be changed, because workers hold the endpoint: create a new cluster to change it"),
    validation = Rule::new("(has(self.datastore) && has(self.datastore.etcd) ? self.datastore.etcd.replicas : 1) == (has(oldSelf.datastore) && has(oldSelf.datastore.etcd) ? oldSelf.datastore.etcd.replicas : 1)").message("datastore.etcd.replicas cannot be changed: create the cluster with the number of members that it needs"),
    validation = Rule::new("(has(self.datastore) && has(self.datastore.etcd) && has(self.datastore.etcd.storage) && has(self.datastore.etcd.storage.storageClassName) ? self.datastore.etcd.storage.storageClassName : '') == (has(oldSelf.datastore) && has(oldSelf.datastore.etcd) && has(oldSelf.datastore.etcd.storage) && has(oldSelf.datastore.etcd.storage.storageClassName) ? oldSelf.datastore.etcd.storage.storageClassName : '')").message("datastore.etcd.storage.storageClassName cannot be changed, because the volumes are there already: create a new cluster to change it"),
    validation = Rule::new("quantity(has(self.datastore) && has(self.datastore.etcd) && has(self.datastore.etcd.storage) && has(self.datastore.etcd.storage.size) ? string(self.datastore.etcd.storage.size) : '5Gi').compareTo(quantity(has(oldSelf.datastore) && has(oldSelf.datastore.etcd) && has(oldSelf.datastore.etcd.storage) && has(oldSelf.datastore.etcd.storage.size) ? string(oldSelf.datastore.etcd.storage.size) : '5Gi')) == 0").message("datastore.etcd.storage.size cannot be changed, because the volumes are there already: create a new cluster to change it"),
    validation = Rule::new("!has(oldSelf.controlPlaneEndpoint) || oldSelf.controlPlaneEndpoint.host == '' || (has(self.controlPlaneEndpoint) && self.controlPlaneEndpoint == oldSelf.controlPlaneEndpoint)").message("controlPlaneEndpoint cannot be changed once set, because workers hold it: create a new cluster to change it")
)]
pub struct NestedControlPlaneSpec {
    /// Kubernetes version of the control plane, such as v1.36.3. The leading v is optional.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^v?(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)[.](0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?([+][0-9A-Za-z.-]+)?$')").message("version must be a semantic version: write it like v1.36.3"))]
    pub version: String,

    /// Number of API server pods and of controller pods. Defaults to 1.
    #[serde(default = "one")]
    #[x_kube(validation = Rule::new("self >= 1").message("replicas must be 1 or more: to stop a control plane, delete its Cluster"))]
    pub replicas: i32,

    /// Endpoint of the API server. The controller sets it. Set it yourself if workers should use an address of your
    /// own that leads to the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<ApiEndpoint>,

    /// How the API server is exposed. Defaults to a Service of type ClusterIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,

    /// Where the control plane stores its data. Defaults to one etcd member with a 5Gi volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<Datastore>,

    /// Settings of kube-apiserver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!has(self.extraArgs) || self.extraArgs.all(arg, arg.name != 'anonymous-auth' || arg.value in ['true', 'True', 'TRUE', 't', 'T', '1'])").message("apiServer.extraArgs cannot turn off anonymous-auth, because the kubelet's probes are anonymous: set authentication-config to a file with anonymous.conditions for the paths /livez and /readyz"))]
    pub api_server: Option<Component>,

    /// Settings of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<Component>,

    /// Settings of kube-scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Component>,

    /// Add-ons to install in the workload cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addons: Option<Addons>,

    /// Scheduling and metadata of all control plane pods, including the etcd pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// Registry and path from which Kubernetes images are pulled. Defaults to registry.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-zA-Z0-9._:/-]*[a-zA-Z0-9])?$') && !self.contains('://')").message("imageRepository must be a registry and path without scheme and trailing slash, such as registry.example.com/kubernetes"))]
    pub image_repository: Option<String>,

    /// Secrets in this namespace that hold the credentials for pulling images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalSecretReference>,

    /// Lifetime and subject alternative names of the certificates that the controller issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,

    /// Replaces the control plane pods without any other change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

fn one() -> i32 {
    1
}

/// How the API server is exposed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.type) || self.type != 'NodePort' || !has(self.port) || (self.port >= 30000 && self.port <= 32767)").message("with type NodePort, endpoint.port is the node port: write a number between 30000 and 32767, or leave it out"),
    validation = Rule::new("!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')").message("endpoint.loadBalancerClass needs endpoint.type LoadBalancer")
)]
pub struct Endpoint {
    /// Type of the API server's Service. Defaults to ClusterIP.
    #[serde(default, rename = "type")]
    pub type_: EndpointType,
    /// DNS name or IP address to publish instead of the Service's own address. Required with type NodePort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("isIP(self) || (self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$') && !self.matches('(^|[.])[0-9]+$'))").message("endpoint.host must be a DNS name such as api.example.com, or an IP address without brackets and port"))]
    pub host: Option<String>,
    /// Port to publish: the port of the Service or, with type NodePort, the node port. Defaults to 6443 or, with
    /// type NodePort, to a port that Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 65535").message("endpoint.port must be between 1 and 65535, such as 6443"))]
    pub port: Option<i32>,
    /// Annotations of the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Load balancer class of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// IP address by which pods of the workload cluster reach the API server, at the published port: the endpoint
    /// of its Service `default/kubernetes`. Defaults to the published address; if that is a DNS name, to the
    /// address of the load balancer or, without one, to the cluster IP of the Service in the management cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("isIP(self)").message("endpoint.advertiseAddress must be an IP address, such as 192.0.2.1: a name cannot stand there"))]
    #[schemars(length(max = 45))]
    pub advertise_address: Option<String>,
}

/// Type of the API server's Service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EndpointType {
    /// A cluster IP of the management cluster, which KubeVirt VMs can reach.
    #[default]
    ClusterIP,
    /// A port on every node of the management cluster.
    NodePort,
    /// An address from a load balancer of the management cluster.
    LoadBalancer,
}

/// Add-ons to install in the workload cluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addons {
    /// CoreDNS, the cluster's DNS server.
    #[serde(default, rename = "coreDNS", skip_serializing_if = "Option::is_none")]
    pub core_dns: Option<Addon>,
    /// kube-proxy, which makes Services reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<Addon>,
}

/// An add-on.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addon {
    /// Whether the controller installs and upgrades the add-on. Defaults to true. Setting it to false does not
    /// remove an add-on that is already installed.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Image to use instead of the default for the Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
}

impl Default for Addon {
    fn default() -> Self {
        Self {
            enabled: true,
            image: None,
        }
    }
}

fn yes() -> bool {
    true
}

/// Lifetime and subject alternative names of the certificates that the controller issues.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.validity) || duration(self.validity) >= duration('1h')").message("certificates.validity must be at least 1h, such as 8760h"),
    validation = Rule::new("!has(self.renewBefore) || duration(self.renewBefore) + duration(self.renewBefore) <= duration(has(self.validity) ? self.validity : '8760h')").message("certificates.renewBefore must be at most half of certificates.validity, such as 2920h for a validity of 8760h")
)]
pub struct Certificates {
    /// How long an issued certificate is valid. Defaults to 8760h. Certificate authorities are valid for ten years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = r"^([0-9]+(h|m|s))+$"))]
    pub validity: Option<kube::core::Duration>,
    /// How long before it expires a certificate is renewed. Defaults to a third of the validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = r"^([0-9]+(h|m|s))+$"))]
    pub renew_before: Option<kube::core::Duration>,
    /// Additional DNS names and IP addresses in the API server's certificate.
    #[serde(default, rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(name, isIP(name) || (name.matches('^([*][.])?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$') && !name.matches('(^|[.])[0-9]+$')))").message("certificates.certSANs must be DNS names such as api.example.com, or IP addresses without brackets and port"))]
    pub cert_sans: Vec<String>,
}

/// Replaces the control plane pods without any other change.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Replace all pods that were created before this time, as soon as it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[^.]*([.][0-9]{1,9}[^0-9.][^.]*)?$"))]
    #[x_kube(validation = Rule::new("self < timestamp('9999-01-01T00:00:00Z')").message("rollout.after must lie before the year 9999: write a time such as 2026-11-26T08:00:00Z, or leave it out"))]
    pub after: Option<Time>,
}
