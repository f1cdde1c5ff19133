//! KubeVirt's kinds, as far as they are read and written here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// kubevirt.io/v1 VirtualMachine. The spec is passed on as a person wrote it.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachine",
    namespaced,
    schema = "disabled",
    status = "VirtualMachineStatus"
)]
#[serde(transparent)]
pub(crate) struct VirtualMachineSpec(pub(crate) Map<String, Value>);

/// What KubeVirt tells of a VirtualMachine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VirtualMachineStatus {
    pub(crate) printable_status: String,
    pub(crate) conditions: Vec<VmCondition>,
}

/// kubevirt.io/v1 VirtualMachineInstance.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachineInstance",
    namespaced,
    schema = "disabled",
    status = "VirtualMachineInstanceStatus"
)]
#[serde(transparent)]
pub(crate) struct VirtualMachineInstanceSpec(pub(crate) Map<String, Value>);

/// What KubeVirt tells of a VirtualMachineInstance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VirtualMachineInstanceStatus {
    pub(crate) phase: String,
    pub(crate) conditions: Vec<VmCondition>,
    pub(crate) interfaces: Vec<Interface>,
    /// Node of the management cluster that the instance is asked to leave.
    pub(crate) evacuation_node_name: String,
    pub(crate) phase_transition_timestamps: Vec<Transition>,
}

/// A condition of KubeVirt: no generation, and a message that can be old.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct VmCondition {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// A network interface of a guest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Interface {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_address: Option<String>,
    pub(crate) ip_addresses: Vec<String>,
}

/// When a phase was first entered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Transition {
    pub(crate) phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase_transition_timestamp: Option<Time>,
}

/// The condition of this type, if it is there.
pub(crate) fn condition<'a>(conditions: &'a [VmCondition], type_: &str) -> Option<&'a VmCondition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
