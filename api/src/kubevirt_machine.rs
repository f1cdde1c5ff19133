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
    /// Provider ID of the Node. Set by the controller.
    #[serde(default, rename = "providerID", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("oldSelf == '' || self == oldSelf").message("providerID cannot be changed once set"))]
    #[schemars(length(max = 512))]
    pub provider_id: Option<String>,
    /// The VirtualMachine to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_machine_template: Option<VirtualMachineTemplate>,
    /// How it is told that the guest has bootstrapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_machine_bootstrap_check: Option<BootstrapCheck>,
    /// Secret with the kubeconfig of the cluster that the VM runs in; this cluster by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infra_cluster_secret_ref: Option<ObjectReference>,
}

/// The VirtualMachine to make.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineTemplate {
    /// Namespace, labels and annotations of the VirtualMachine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PlacedMetadata>,
    /// Spec of the kubevirt.io/v1 VirtualMachine, as KubeVirt documents it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::virtual_machine_spec")]
    pub spec: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How it is told that the guest has bootstrapped.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapCheck {
    /// `ssh`, the default, is satisfied when the Node has registered; `none` at once.
    #[serde(default)]
    pub check_strategy: CheckStrategy,
}

/// A way to tell that a guest has bootstrapped.
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
    /// Whether the VM is ready; as the Go provider has it.
    #[serde(default)]
    pub ready: bool,
    /// What has been reached once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// Addresses of the VM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub addresses: Vec<MachineAddress>,
    /// Whether the Node carries the provider ID; as the Go provider has it.
    #[serde(default)]
    pub nodeupdated: bool,
    /// Kept for manifests of the Go provider; never set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_configured: Option<bool>,
    /// Failure domain that the VM runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<String>,
    /// Kept for objects that the Go provider stored; cleared by this controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Kept for objects that the Go provider stored; cleared by this controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// Conditions of the VM.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An address of a machine, as Cluster API's MachineAddress.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineAddress {
    /// What kind of address it is.
    #[serde(rename = "type")]
    pub type_: AddressType,
    /// The address.
    #[schemars(length(min = 1, max = 256))]
    pub address: String,
}

/// What kind an address is of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum AddressType {
    /// Host name.
    Hostname,
    /// Address reached from outside.
    ExternalIP,
    /// Address reached from inside.
    InternalIP,
    /// Name resolved outside.
    ExternalDNS,
    /// Name resolved inside.
    InternalDNS,
}

/// What Machines' VMs are made from.
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
    /// The KubevirtMachine to make.
    pub template: KubevirtMachineTemplateResource,
}

/// The KubevirtMachine to make.
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
    /// Resources of one such machine, for the cluster autoscaler to scale from zero.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, Quantity>,
}
