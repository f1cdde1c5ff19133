//! KubevirtMachine: one KubeVirt VM, per Cluster API's infra machine contract v1beta2. Field names
//! are those of the Go provider's v1alpha1.

use crate::common::{ObjectReference, PlacedMetadata, TemplateMetadata};
use crate::condition::Condition;
use crate::kubevirt_cluster::Initialization;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Finalizer of a KubevirtMachine, the same as the Go provider's.
pub const FINALIZER: &str = "kubevirtmachine.infrastructure.cluster.x-k8s.io";

/// Types of the conditions.
pub mod condition {
    /// The VM runs and its Node has what Cluster API needs.
    pub const READY: &str = "Ready";
    /// The VM runs.
    pub const VM_PROVISIONED: &str = "VMProvisioned";
    /// The bootstrap of the guest is done, as far as it was asked to be checked.
    pub const BOOTSTRAP_EXEC_SUCCEEDED: &str = "BootstrapExecSucceeded";
    /// KubeVirt can move the VM to another node.
    pub const VM_LIVE_MIGRATABLE: &str = "VMLiveMigratable";
    /// The object or its Cluster is paused.
    pub const PAUSED: &str = "Paused";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
}

/// One KubeVirt VM.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "KubevirtMachine",
    plural = "kubevirtmachines",
    singular = "kubevirtmachine",
    shortname = "kvm",
    category = "cluster-api",
    namespaced,
    doc = "KubevirtMachine is one KubeVirt VM that serves a Machine.",
    status = "KubevirtMachineStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",
        description = "Cluster that this machine belongs to"
    ),
    printcolumn(
        name = "Machine",
        type_ = "string",
        json_path = ".metadata.ownerReferences[?(@.kind=='Machine')].name",
        description = "Machine that this VM serves"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the VM is ready"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.addresses[?(@.type=='InternalIP')].address",
        description = "Address of the VM"
    ),
    printcolumn(
        name = "ProviderID",
        type_ = "string",
        json_path = ".spec.providerID",
        description = "Provider ID of the Node",
        priority = 10
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.providerID) || oldSelf.providerID == '' || has(self.providerID)").message("providerID cannot be removed once set"))]
pub struct KubevirtMachineSpec {
    /// Provider ID of the Node. The controller sets it.
    #[serde(default, rename = "providerID", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("oldSelf == '' || self == oldSelf").message("providerID cannot be changed once set"))]
    #[schemars(length(max = 512))]
    pub provider_id: Option<String>,
    /// Template of the VirtualMachine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_machine_template: Option<VirtualMachineTemplate>,
    /// How the controller checks that the guest has bootstrapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_machine_bootstrap_check: Option<BootstrapCheck>,
    /// Secret with the kubeconfig of the cluster in which the VM runs. Defaults to this cluster. Not supported in
    /// this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infra_cluster_secret_ref: Option<ObjectReference>,
}

/// Template of the VirtualMachine.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineTemplate {
    /// Namespace, labels and annotations of the VirtualMachine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PlacedMetadata>,
    /// Spec of the VirtualMachine (kubevirt.io/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::virtual_machine_spec")]
    pub spec: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How the controller checks that the guest has bootstrapped.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapCheck {
    /// With `ssh`, the default, the guest has bootstrapped once its Node has registered. With `none`, nothing is
    /// checked.
    #[serde(default)]
    pub check_strategy: CheckStrategy,
}

/// How to check that a guest has bootstrapped.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStrategy {
    /// Nothing is checked.
    None,
    /// The Node has registered.
    #[default]
    Ssh,
}

/// Observed state of a KubevirtMachine.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtMachineStatus {
    /// Whether the VM is ready. The same field as in the Go provider.
    #[serde(default)]
    pub ready: bool,
    /// Initialization of the object. Its fields never become false again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// Addresses of the VM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub addresses: Vec<MachineAddress>,
    /// Whether the Node has the provider ID. The same field as in the Go provider.
    #[serde(default)]
    pub nodeupdated: bool,
    /// Kept for compatibility with the Go provider. Never set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_configured: Option<bool>,
    /// Failure domain in which the VM runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<String>,
    /// Kept for compatibility with objects that the Go provider stored. This controller clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Kept for compatibility with objects that the Go provider stored. This controller clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// Conditions of the VM.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An address of a machine (Cluster API's MachineAddress).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineAddress {
    /// Type of the address.
    #[serde(rename = "type")]
    pub type_: AddressType,
    /// The address.
    #[schemars(length(min = 1, max = 256))]
    pub address: String,
}

/// Type of an address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum AddressType {
    /// Host name.
    Hostname,
    /// IP address that is reachable from outside the cluster.
    ExternalIP,
    /// IP address that is reachable from inside the cluster.
    InternalIP,
    /// DNS name that resolves outside the cluster.
    ExternalDNS,
    /// DNS name that resolves inside the cluster.
    InternalDNS,
}

/// A template for KubevirtMachines.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "KubevirtMachineTemplate",
    plural = "kubevirtmachinetemplates",
    singular = "kubevirtmachinetemplate",
    shortname = "kvmt",
    category = "cluster-api",
    namespaced,
    doc = "KubevirtMachineTemplate is what Machines' VMs are made from.",
    status = "KubevirtMachineTemplateStatus",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtMachineTemplateSpec {
    /// Template of the KubevirtMachine.
    pub template: KubevirtMachineTemplateResource,
}

/// Template of the KubevirtMachine.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtMachineTemplateResource {
    /// Labels and annotations of the KubevirtMachine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Spec of the KubevirtMachine.
    pub spec: KubevirtMachineSpec,
}

/// Observed state of a KubevirtMachineTemplate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubevirtMachineTemplateStatus {
    /// Resources of one machine, which the cluster autoscaler needs to scale from zero.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, Quantity>,
}
