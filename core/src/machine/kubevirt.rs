//! KubeVirt's kinds, as far as they are read and written here.

#![allow(missing_docs, reason = "fields are KubeVirt's own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// kubevirt.io/v1 VirtualMachine. The spec is passed on as a user wrote it.
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
pub struct VirtualMachineSpec(pub Map<String, Value>);

/// What KubeVirt tells of a VirtualMachine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineStatus {
    pub printable_status: String,
    pub conditions: Vec<VmCondition>,
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
pub struct VirtualMachineInstanceSpec(pub Map<String, Value>);

/// What KubeVirt tells of a VirtualMachineInstance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineInstanceStatus {
    pub phase: String,
    pub conditions: Vec<VmCondition>,
    pub interfaces: Vec<Interface>,
    /// Node of the management cluster that the instance is asked to leave.
    pub evacuation_node_name: String,
    pub phase_transition_timestamps: Vec<Transition>,
}

/// A condition of KubeVirt: no generation, and a message that can be old.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct VmCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A network interface of a guest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    pub ip_addresses: Vec<String>,
}

/// When a phase was first entered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Transition {
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_transition_timestamp: Option<Time>,
}

/// The condition of this type, if it is there.
pub fn condition<'a>(conditions: &'a [VmCondition], type_: &str) -> Option<&'a VmCondition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
