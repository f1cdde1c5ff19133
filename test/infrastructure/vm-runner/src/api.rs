//! KubeVirt's kinds, as far as this stand-in reads or writes them. Specs keep every field that is not named here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Finalizer of a `VirtualMachine`, and one of the two of its instance.
pub const CONTROLLER_FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";
/// Finalizer of a `VirtualMachineInstance`: held until the domain is gone.
pub const FOREGROUND_FINALIZER: &str = "kubevirt.io/foregroundDeleteVirtualMachine";
/// Label of the node a machine runs on, on the instance and its pod.
pub const NODE_LABEL: &str = "kubevirt.io/nodeName";
/// Label of a launcher pod: UID of its instance.
pub const CREATED_BY_LABEL: &str = "kubevirt.io/created-by";
/// Annotation of a launcher pod: name of its instance.
pub const DOMAIN_ANNOTATION: &str = "kubevirt.io/domain";
/// Annotation of an instance: generation of the `VirtualMachine` it was started from.
pub const GENERATION_ANNOTATION: &str = "kubevirt.io/vm-generation";
/// The controller's own account: only it writes an instance's status.
pub const ACCOUNT: &str = "system:serviceaccount:kubevirt:virt-controller";

/// Spec of a `VirtualMachine`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachine",
    plural = "virtualmachines",
    namespaced,
    status = "VirtualMachineStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineSpec {
    /// Old form of the run strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Name of a run strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_strategy: Option<String>,
    /// What the instance is made from.
    #[serde(default)]
    pub template: Template,
    /// Disks to import first, which this stand-in cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_volume_templates: Vec<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Template of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Labels and annotations for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Spec of the instance.
    #[serde(default)]
    pub spec: Map<String, Value>,
}

/// The part of an `ObjectMeta` that an instance takes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Everything else, creationTimestamp first of all.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Status of a `VirtualMachine`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineStatus {
    /// An instance exists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// The instance is ready.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// One word for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printable_status: Option<String>,
    /// The strategy under which the latest instance was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_strategy: Option<String>,
    /// Generation that the instance was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Current generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_generation: Option<i64>,
    /// Conditions, the instance's among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Back-off after instances that never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_failure: Option<StartFailure>,
    /// Queued starts and stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state_change_requests: Vec<StateChangeRequest>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Instances that ended without ever running.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartFailure {
    /// How many in a row.
    pub consecutive_fail_count: u32,
    /// The last of them.
    #[serde(rename = "lastFailedVMIUID")]
    pub last_failed_vmi_uid: String,
    /// No start before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_timestamp: Option<Timestamp>,
}

/// A queued start or stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateChangeRequest {
    /// `Start` or `Stop`.
    pub action: String,
    /// The instance to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// KubeVirt's condition: no observedGeneration, a probe time that is usually null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Name.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Always serialized, null.
    pub last_probe_time: Option<Timestamp>,
    /// When status last changed.
    pub last_transition_time: Option<Timestamp>,
    /// Word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Spec of a `VirtualMachineInstance`: kept as it came; `crate::machine` reads it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachineInstance",
    plural = "virtualmachineinstances",
    namespaced,
    status = "VirtualMachineInstanceStatus",
    schema = "disabled"
)]
#[serde(transparent)]
pub struct VirtualMachineInstanceSpec {
    /// Every field.
    pub fields: Map<String, Value>,
}

/// Status of a `VirtualMachineInstance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineInstanceStatus {
    /// Where it is in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// First entry into each phase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phase_transition_timestamps: Vec<PhaseTransition>,
    /// Node, once scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Pod UID to node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub active_pods: BTreeMap<String, String>,
    /// The pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<String>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Interfaces, pod network first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceStatus>,
    /// Volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_status: Vec<VolumeStatus>,
    /// Image of container compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launcher_container_image_version: Option<String>,
    /// `BlockMigration` with a container disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration_method: Option<String>,
    /// Set by an eviction with strategy External.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evacuation_node_name: Option<String>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Phase of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Accepted.
    Pending,
    /// Has a pod.
    Scheduling,
    /// The pod runs.
    Scheduled,
    /// The domain runs.
    Running,
    /// The guest shut down.
    Succeeded,
    /// Crash, kill, loss.
    Failed,
    /// Any other word.
    #[serde(other)]
    Unknown,
}

impl Phase {
    /// Over for good.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// First entry into a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTransition {
    /// The phase.
    pub phase: Phase,
    /// When.
    pub phase_transition_timestamp: Timestamp,
}

/// One interface of a guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceStatus {
    /// Name in the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// First address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// All addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
    /// The guest's MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// NIC of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_interface_name: Option<String>,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info_source: Option<String>,
    /// Queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_count: Option<u32>,
    /// up or down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<String>,
}

/// One volume of a guest; its target is always serialized.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeStatus {
    /// Name in the spec.
    pub name: String,
    /// Device of the guest.
    pub target: String,
    /// Everything else, kept.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
