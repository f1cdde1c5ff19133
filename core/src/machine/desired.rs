//! Turns object and observed into a `Vm`, or says what is waited for.

use super::names::{self, ALLOW_VMS_LABEL, CLOUD_INIT_VOLUME};
use super::view::View;
use crate::ownership::controller_of;
use capn_api::{
    KubevirtMachine, Reason,
    cluster_api::{CLUSTER_NAME_LABEL, CONTROL_PLANE_LABEL, Cluster, Machine, SECRET_TYPE},
    kubevirt_machine::CheckStrategy,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest value of a label, and the VM's name is one.
const MAX_NAME_LENGTH: usize = 63;
/// Labels that KubeVirt refuses in a template.
const RESERVED_LABELS: [&str; 6] = [
    "kubevirt.io/created-by",
    "kubevirt.io/migrationJobUID",
    "kubevirt.io/nodeName",
    "kubevirt.io/migrationTargetNodeName",
    "kubevirt.io/schedulable",
    "kubevirt.io/install-strategy",
];

/// A VM, as it is desired.
#[derive(Clone, Debug, PartialEq)]
pub struct Vm {
    /// Name of the VM and of the machine.
    pub name: String,
    /// Namespace of the VM.
    pub namespace: String,
    /// Namespace of the machine.
    pub machine_namespace: String,
    /// UID of the machine.
    pub machine_uid: String,
    /// Name of the Cluster.
    pub cluster: String,
    /// Whether it is a machine of a control plane.
    pub control_plane: bool,
    /// Labels that users gave.
    pub labels: BTreeMap<String, String>,
    /// Annotations that users gave.
    pub annotations: BTreeMap<String, String>,
    /// Spec of the VirtualMachine, as in the template.
    pub spec: Map<String, Value>,
    /// Whether what is written on the root disk outlives the instance.
    pub root_disk_survives: bool,
    /// How it is checked that the guest has bootstrapped.
    pub check: CheckStrategy,
    /// Name, labels and content of the user data Secret; None when the bootstrap data is gone
    /// after it was used.
    pub user_data_name: String,
    /// Content of the user data Secret; None when the bootstrap data is gone after it was used.
    pub user_data: Option<UserData>,
}

/// Bootstrap data for a VM.
#[derive(Clone, Eq, PartialEq)]
pub struct UserData {
    /// Labels that users gave.
    pub labels: BTreeMap<String, String>,
    /// What cloud-init is given.
    pub content: ByteString,
}

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserData").finish_non_exhaustive()
    }
}

/// What is waited for before a VM can be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum NotYet {
    #[error("waiting for a Machine to own this object: spec.infrastructureRef of the Machine must name it")]
    Machine,
    #[error("waiting for the Cluster {0:?} of the Machine")]
    Cluster(String),
    #[error("waiting for the Cluster's infrastructure to be provisioned")]
    ClusterInfrastructure,
    #[error("waiting for the Cluster's control plane to be initialized")]
    ControlPlane,
    #[error("waiting for the Machine's bootstrap data")]
    BootstrapData,
    #[error(
        "Secret {0} with the bootstrap data of the Machine is missing or has no key \"value\": restore it, or delete the Machine so that it is replaced"
    )]
    BootstrapSecret(String),
    #[error(
        "Secret {0} is not bootstrap data of the Machine: it must have the type {SECRET_TYPE} and the label {CLUSTER_NAME_LABEL} of the Machine's Cluster, belong to the Machine's bootstrap config, and be neither a kubeconfig nor a certificate authority; correct spec.bootstrap of the Machine"
    )]
    BootstrapForeign(String),
    #[error(
        "the VirtualMachine cannot be created in namespace {to}: ask the owner of that namespace to set the label {ALLOW_VMS_LABEL}={from} on it, or remove spec.virtualMachineTemplate.metadata.namespace"
    )]
    NamespaceNotAllowed { from: String, to: String },
    #[error("spec.virtualMachineTemplate.spec is missing: set it to the spec of the VirtualMachine")]
    Template,
    #[error(
        "spec.virtualMachineTemplate has a {0} named {CLOUD_INIT_VOLUME:?}, which is reserved for the bootstrap data: rename it"
    )]
    ReservedName(&'static str),
    #[error("spec.virtualMachineTemplate has the label {0}, which is reserved for KubeVirt itself: remove it")]
    ReservedLabel(&'static str),
    #[error(
        "the name of this machine has {0} characters, but labels of the VirtualMachine can hold only {MAX_NAME_LENGTH}: use a shorter name for the object that creates this machine, such as its MachineDeployment"
    )]
    NameTooLong(usize),
    #[error(
        "spec.infraClusterSecretRef is not supported by this release: this machine and its VM are left as they are"
    )]
    ExternalInfrastructure,
    #[error(
        "VMs for control plane machines are not supported by this release: use a NestedControlPlane as spec.controlPlaneRef of the Cluster"
    )]
    ControlPlaneMachine,
}

impl NotYet {
    /// One word for programs, the Go provider's where it has one.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Machine => Reason::WaitingForMachine,
            Self::Cluster(_) => Reason::WaitingForCluster,
            Self::ClusterInfrastructure => Reason::WaitingForClusterInfrastructure,
            Self::ControlPlane => Reason::WaitingForControlPlaneAvailable,
            Self::BootstrapData | Self::BootstrapSecret(_) => Reason::WaitingForBootstrapData,
            Self::BootstrapForeign(_) => Reason::InvalidBootstrapData,
            Self::NamespaceNotAllowed { .. } => Reason::NamespaceNotAllowed,
            Self::Template | Self::ReservedName(_) | Self::ReservedLabel(_) => Reason::InvalidTemplate,
            Self::NameTooLong(_) => Reason::InvalidName,
            Self::ExternalInfrastructure | Self::ControlPlaneMachine => Reason::NotSupported,
        }
    }

    /// Whether this release cannot serve the machine at all, and leaves it as it is.
    pub fn is_not_supported(&self) -> bool {
        matches!(self, Self::ExternalInfrastructure | Self::ControlPlaneMachine)
    }

    /// Whether it stays until a user does something. A Secret that is missing may yet come, but nobody has
    /// promised it.
    pub fn needs_user_action(&self) -> bool {
        matches!(self, Self::BootstrapSecret(_)) || self.reason().needs_user_action()
    }
}

/// Checks a KubevirtMachine and what it refers to.
pub fn validate(object: &KubevirtMachine, observed: &View) -> Result<Vm, NotYet> {
    if object.spec.infra_cluster_secret_ref.is_some() {
        return Err(NotYet::ExternalInfrastructure);
    }
    let machine = observed.machine.as_ref().ok_or(NotYet::Machine)?;
    let cluster = observed
        .cluster
        .as_ref()
        .ok_or_else(|| NotYet::Cluster(machine.spec.cluster_name.clone()))?;
    let control_plane = machine.labels().contains_key(CONTROL_PLANE_LABEL);
    if control_plane {
        return Err(NotYet::ControlPlaneMachine);
    }
    let template = object.spec.virtual_machine_template.clone().unwrap_or_default();
    let spec = template.spec.filter(|spec| !spec.is_empty()).ok_or(NotYet::Template)?;
    let metadata = template.metadata.unwrap_or_default();
    let made = observed.vm.is_some() || object.spec.provider_id.is_some();
    let (from, to) = (object.namespace().unwrap_or_default(), names::vm_namespace(object));
    if !made && !observed.namespace_allowed {
        return Err(NotYet::NamespaceNotAllowed { from, to });
    }
    if let Some(refused) = refused_by_kubevirt(object, &spec, &metadata.labels).filter(|_| !made) {
        return Err(refused);
    }
    let (user_data_name, user_data) = bootstrap(object, machine, cluster, observed.bootstrap.as_ref(), made)?;
    Ok(Vm {
        name: object.name_any(),
        namespace: names::vm_namespace(object),
        machine_namespace: object.namespace().unwrap_or_default(),
        machine_uid: object.uid().unwrap_or_default(),
        cluster: cluster.name_any(),
        control_plane,
        labels: metadata.labels,
        annotations: metadata.annotations,
        root_disk_survives: root_disk_survives(&spec),
        check: object
            .spec
            .virtual_machine_bootstrap_check
            .clone()
            .unwrap_or_default()
            .check_strategy,
        spec,
        user_data_name,
        user_data,
    })
}

/// What KubeVirt or the API server would refuse because of what is added to the template.
fn refused_by_kubevirt(
    object: &KubevirtMachine,
    spec: &Map<String, Value>,
    labels: &BTreeMap<String, String>,
) -> Option<NotYet> {
    let template = spec.get("template");
    let named = |path: &str| {
        let list = template.and_then(|template| template.pointer(path)?.as_array());
        list.is_some_and(|list| list.iter().any(|item| item["name"] == CLOUD_INIT_VOLUME))
    };
    let lists = [("/spec/volumes", "volume"), ("/spec/domain/devices/disks", "disk")];
    if let Some((_, kind)) = lists.iter().find(|(path, _)| named(path)) {
        return Some(NotYet::ReservedName(kind));
    }
    let inner = template.and_then(|template| template.pointer("/metadata/labels"));
    let reserved = RESERVED_LABELS
        .iter()
        .find(|label| labels.contains_key(**label) || inner.is_some_and(|inner| inner.get(**label).is_some()));
    if let Some(label) = reserved {
        return Some(NotYet::ReservedLabel(label));
    }
    let length = object.name_any().len();
    (length > MAX_NAME_LENGTH).then_some(NotYet::NameTooLong(length))
}

/// The bootstrap data, in the order in which a Machine comes by it. A VM that is there already
/// does not wait again.
fn bootstrap(
    object: &KubevirtMachine,
    machine: &Machine,
    cluster: &Cluster,
    secret: Option<&Secret>,
    made: bool,
) -> Result<(String, Option<UserData>), NotYet> {
    let status = cluster.status.clone().unwrap_or_default().initialization;
    if !made && status.infrastructure_provisioned != Some(true) {
        return Err(NotYet::ClusterInfrastructure);
    }
    let Some(name) = names::bootstrap_data(machine) else {
        return Err(match status.control_plane_initialized {
            Some(true) => NotYet::BootstrapData,
            _ => NotYet::ControlPlane,
        });
    };
    let place = || format!("{}/{name}", object.namespace().unwrap_or_default());
    let secret = match secret {
        Some(secret) if is_bootstrap_data(secret, machine, cluster) => Some(secret),
        Some(_) if !made => return Err(NotYet::BootstrapForeign(place())),
        _ => None,
    };
    let data = secret.and_then(|secret| {
        let content = secret.data.as_ref()?.get("value")?.clone();
        Some(UserData {
            labels: secret.labels().clone(),
            content,
        })
    });
    if data.is_none() && !made {
        return Err(NotYet::BootstrapSecret(place()));
    }
    Ok((names::user_data(&name), data))
}

/// Whether a Secret is what the bootstrap provider made for this Machine, or what a user brought for
/// a Machine without one. The manager may read Secrets that the Machine's author may not.
fn is_bootstrap_data(secret: &Secret, machine: &Machine, cluster: &Cluster) -> bool {
    let (name, cluster) = (secret.name_any(), cluster.name_any());
    let reserved = ["kubeconfig", "ca", "etcd", "proxy", "sa"].map(|suffix| format!("{cluster}-{suffix}"));
    let config = machine.spec.bootstrap.config_ref.as_ref();
    let of_config = match (config, controller_of(secret)) {
        (Some(config), Some(owner)) => {
            owner.kind == config.kind
                && owner.name == config.name
                && owner.api_version.split('/').next() == Some(config.api_group.as_str())
        }
        (Some(_), None) => false,
        (None, owner) => owner.is_none(),
    };
    secret.type_.as_deref() == Some(SECRET_TYPE)
        && secret.labels().get(CLUSTER_NAME_LABEL) == Some(&cluster)
        && !reserved.contains(&name)
        && of_config
}

/// The root disk is the one that boots first, else the first; it survives on a persistent volume.
fn root_disk_survives(spec: &Map<String, Value>) -> bool {
    let list = |path: &str| {
        let spec = Value::Object(spec.clone());
        spec.pointer(path)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let disks = list("/template/spec/domain/devices/disks");
    let volumes = list("/template/spec/volumes");
    let order = |disk: &Value| disk.get("bootOrder").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let root = disks.iter().min_by_key(|disk| order(disk)).or(volumes.first());
    let name = root.and_then(|root| root.get("name"));
    let volume = volumes
        .iter()
        .find(|volume| volume.get("name") == name)
        .or(volumes.first());
    volume.is_some_and(|volume| {
        ["dataVolume", "persistentVolumeClaim"]
            .iter()
            .any(|kind| volume.get(kind).is_some())
    })
}
