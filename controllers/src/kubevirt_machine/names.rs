//! Names, labels and annotations, the same as the Go provider's.

use super::kubevirt::VirtualMachine;
use capn_api::{KubevirtMachine, cluster_api::Machine};
use kube::ResourceExt;
use serde_json::Value;

/// Label of a VirtualMachine with the name of its KubevirtMachine.
pub(crate) const MACHINE_NAME_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-machine-name";
/// Label of a VirtualMachine with the namespace of its KubevirtMachine.
pub(crate) const MACHINE_NAMESPACE_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-machine-namespace";
/// Label of a VirtualMachine: control-plane or worker.
pub(crate) const ROLE_LABEL: &str = "cluster.x-k8s.io/role";
/// Annotation of a KubevirtMachine: UID of the instance that the guest bootstrapped in.
pub(crate) const INSTANCE_ANNOTATION: &str = "capk.cluster.x-k8s.io/bootstrapped-instance";
/// Annotation of a KubevirtMachine that is evicted: until when its Node is drained, RFC 3339.
pub(crate) const DRAIN_UNTIL_ANNOTATION: &str = "capk.cluster.x-k8s.io/vmi-deletion-grace-time";
/// Annotation of a KubevirtMachine whose Node was cordoned for an eviction.
pub(crate) const CORDONED_ANNOTATION: &str = "capk.cluster.x-k8s.io/node-cordoned";
/// Volume and disk with the bootstrap data.
pub(crate) const CLOUD_INIT_VOLUME: &str = "cloudinitvolume";

/// Namespace of the VirtualMachine.
pub(crate) fn vm_namespace(object: &KubevirtMachine) -> String {
    let template = object.spec.virtual_machine_template.as_ref();
    let asked = template.and_then(|template| template.metadata.as_ref()?.namespace.clone());
    asked
        .filter(|namespace| !namespace.is_empty())
        .or_else(|| object.namespace())
        .unwrap_or_default()
}

/// Name of the Secret with the bootstrap data, once a Machine has one.
pub(crate) fn bootstrap_data(machine: &Machine) -> Option<String> {
    let name = machine.spec.bootstrap.data_secret_name.clone();
    name.filter(|name| !name.is_empty())
}

/// Name of the Secret with the user data, from that of the bootstrap data.
pub(crate) fn user_data(bootstrap: &str) -> String {
    format!("{bootstrap}-userdata")
}

/// Name of the Secret with the user data that a VirtualMachine mounts.
pub(crate) fn mounted_user_data(vm: &VirtualMachine) -> Option<String> {
    let volumes = vm.spec.0.get("template")?.pointer("/spec/volumes")?.as_array()?;
    let volume = volumes
        .iter()
        .find(|volume| volume.get("name").and_then(Value::as_str) == Some(CLOUD_INIT_VOLUME))?;
    let secret = volume.pointer("/cloudInitConfigDrive/secretRef/name")?;
    secret.as_str().map(str::to_owned)
}

/// Provider ID of machine and Node.
pub(crate) fn provider_id(object: &KubevirtMachine) -> String {
    format!("kubevirt://{}", object.name_any())
}

/// Name of the Machine that owns this object.
pub(crate) fn owner_machine(object: &KubevirtMachine) -> Option<String> {
    let owners = object.owner_references().iter();
    let machines = owners.filter(|owner| owner.kind == "Machine" && owner.api_version.starts_with("cluster.x-k8s.io/"));
    machines.map(|owner| owner.name.clone()).next()
}
