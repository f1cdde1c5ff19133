//! Names, labels and annotations, the same as the Go provider's.

use super::kubevirt::VirtualMachine;
use crate::cluster_api::cluster_api_owner;
use crate::ownership::Owner;
use capn_api::{
    KubevirtMachine,
    cluster_api::{CLUSTER_NAME_LABEL, Machine},
};
use kube::ResourceExt;
use serde_json::Value;
use std::collections::BTreeMap;

/// Label of a VirtualMachine with the name of its KubevirtMachine.
pub const MACHINE_NAME_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-machine-name";
/// Label of a VirtualMachine with the namespace of its KubevirtMachine.
pub const MACHINE_NAMESPACE_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-machine-namespace";
/// Label of a VirtualMachine and of its user data with the UID of the KubevirtMachine. Those of the Go
/// provider lack it.
pub const MACHINE_UID_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-machine-uid";
/// Label of a namespace whose owner lets the KubevirtMachines of another namespace have VMs in it; the
/// value is the name of that other namespace.
pub const ALLOW_VMS_LABEL: &str = "infrastructure.cluster.x-k8s.io/allow-vms-from";
/// Label of a VirtualMachine: control-plane or worker.
pub const ROLE_LABEL: &str = "cluster.x-k8s.io/role";
/// Annotation of a KubevirtMachine: UID of the instance that the guest bootstrapped in.
pub const INSTANCE_ANNOTATION: &str = "capk.cluster.x-k8s.io/bootstrapped-instance";
/// Annotation of a KubevirtMachine that is evicted: until when its Node is drained, RFC 3339.
pub const DRAIN_UNTIL_ANNOTATION: &str = "capk.cluster.x-k8s.io/vmi-deletion-grace-time";
/// Annotation of a KubevirtMachine whose Node was cordoned for an eviction.
pub const CORDONED_ANNOTATION: &str = "capk.cluster.x-k8s.io/node-cordoned";
/// Volume and disk with the bootstrap data.
pub const CLOUD_INIT_VOLUME: &str = "cloudinitvolume";

/// Namespace of the VirtualMachine.
pub fn vm_namespace(object: &KubevirtMachine) -> String {
    let template = object.spec.virtual_machine_template.as_ref();
    let asked = template.and_then(|template| template.metadata.as_ref()?.namespace.clone());
    asked
        .filter(|namespace| !namespace.is_empty())
        .or_else(|| object.namespace())
        .unwrap_or_default()
}

/// Name of the Secret with the bootstrap data, once a Machine has one.
pub fn bootstrap_data(machine: &Machine) -> Option<String> {
    let name = machine.spec.bootstrap.data_secret_name.clone();
    name.filter(|name| !name.is_empty())
}

/// Name of the Secret with the user data, from that of the bootstrap data.
pub fn user_data(bootstrap: &str) -> String {
    format!("{bootstrap}-userdata")
}

/// Name of the Secret with the user data that a VirtualMachine mounts.
pub fn mounted_user_data(vm: &VirtualMachine) -> Option<String> {
    let volumes = vm.spec.0.get("template")?.pointer("/spec/volumes")?.as_array()?;
    let volume = volumes
        .iter()
        .find(|volume| volume.get("name").and_then(Value::as_str) == Some(CLOUD_INIT_VOLUME))?;
    let secret = volume.pointer("/cloudInitConfigDrive/secretRef/name")?;
    secret.as_str().map(str::to_owned)
}

/// Provider ID of machine and Node.
pub fn provider_id(object: &KubevirtMachine) -> String {
    format!("kubevirt://{}", object.name_any())
}

/// Name of the Machine that owns this object, as the object says.
pub fn owner_machine(object: &KubevirtMachine) -> Option<String> {
    cluster_api_owner(object, "Machine").map(|owner| owner.name.clone())
}

/// Labels of what is made for a machine, the same as the Go provider's.
pub fn machine_labels(name: &str, namespace: &str) -> BTreeMap<String, String> {
    let labels = [(MACHINE_NAME_LABEL, name), (MACHINE_NAMESPACE_LABEL, namespace)];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The machine, as the owner of its VirtualMachine.
pub fn owner(object: &KubevirtMachine) -> Owner {
    let labels = machine_labels(&object.name_any(), &object.namespace().unwrap_or_default());
    Owner::new(object, MACHINE_UID_LABEL).or_labelled(labels)
}

/// The machine, as the owner of its user data. That of the Go provider is known by the Cluster, and
/// only in the machine's own namespace.
pub fn user_data_owner(object: &KubevirtMachine, cluster: Option<&str>) -> Owner {
    let owner = Owner::new(object, MACHINE_UID_LABEL);
    match cluster.filter(|_| Some(vm_namespace(object)) == object.namespace()) {
        Some(cluster) => owner.or_labelled([(CLUSTER_NAME_LABEL.to_owned(), cluster.to_owned())].into()),
        None => owner,
    }
}
