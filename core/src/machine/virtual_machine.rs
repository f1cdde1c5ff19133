//! The VirtualMachine and its user data.

use super::desired::{UserData, Vm};
use super::kubevirt::{VirtualMachine, VirtualMachineSpec};
use super::names::{CLOUD_INIT_VOLUME, MACHINE_UID_LABEL, ROLE_LABEL, machine_labels};
use capn_api::cluster_api::{CLUSTER_NAME_LABEL, SECRET_TYPE};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a machine is made of.
#[derive(Clone)]
pub struct Objects {
    /// None when the bootstrap data is gone: what was made of it stays.
    pub user_data: Option<Secret>,
    /// The VirtualMachine.
    pub vm: VirtualMachine,
}

/// What its Secrets hold is told nowhere.
impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Builds them. Neither carries an ownerReference, which `clusterctl move` would follow to the
/// deletion of a running VM.
pub fn build(vm: &Vm) -> Objects {
    Objects {
        user_data: user_data(vm),
        vm: virtual_machine(vm),
    }
}

fn user_data(vm: &Vm) -> Option<Secret> {
    let data = vm.user_data.as_ref()?;
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(vm.user_data_name.clone()),
            namespace: Some(vm.namespace.clone()),
            labels: Some(user_data_labels(vm, data)),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.into()),
        data: Some(BTreeMap::from([("userdata".to_owned(), data.content.clone())])),
        ..Secret::default()
    })
}

fn virtual_machine(vm: &Vm) -> VirtualMachine {
    let labels = labels(vm);
    let mut spec = vm.spec.clone();
    own_data_volumes(&mut spec, &vm.name);
    // KubeVirt takes no VM that does not say when it runs, and a machine has to.
    let says = |key: &str| spec.get(key).is_some_and(|value| !value.is_null());
    if !says("runStrategy") && !says("running") {
        spec.insert("runStrategy".to_owned(), json!("Always"));
    }
    within(&mut spec, &["template", "metadata"], |metadata| {
        merge(metadata, "labels", &labels);
        merge(metadata, "annotations", &vm.annotations);
    });
    within(&mut spec, &["template", "spec", "domain", "devices"], |devices| {
        push(
            devices,
            "disks",
            json!({"name": CLOUD_INIT_VOLUME, "disk": {"bus": "virtio"}}),
        );
    });
    within(&mut spec, &["template", "spec"], |pod| {
        let secret = json!({"secretRef": {"name": vm.user_data_name}});
        push(
            pod,
            "volumes",
            json!({"name": CLOUD_INIT_VOLUME, "cloudInitConfigDrive": secret}),
        );
    });
    let mut made = VirtualMachine::new(&vm.name, VirtualMachineSpec(spec));
    made.metadata.namespace = Some(vm.namespace.clone());
    made.metadata.labels = Some(labels);
    made.metadata.annotations = Some(vm.annotations.clone()).filter(|annotations| !annotations.is_empty());
    made
}

/// Those of the bootstrap data, and whose user data it is.
fn user_data_labels(vm: &Vm, data: &UserData) -> BTreeMap<String, String> {
    let mut labels = data.labels.clone();
    labels.extend(ownership_labels(vm));
    labels
}

fn ownership_labels(vm: &Vm) -> BTreeMap<String, String> {
    let mut labels = machine_labels(&vm.name, &vm.machine_namespace);
    labels.insert(MACHINE_UID_LABEL.to_owned(), vm.machine_uid.clone());
    labels
}

fn labels(vm: &Vm) -> BTreeMap<String, String> {
    let role = if vm.control_plane { "control-plane" } else { "worker" };
    let mut labels = vm.labels.clone();
    let ours = [
        ("kubevirt.io/vm", &vm.name),
        ("name", &vm.name),
        (CLUSTER_NAME_LABEL, &vm.cluster),
    ];
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value.clone())));
    labels.extend(ownership_labels(vm));
    labels.insert(ROLE_LABEL.to_owned(), role.to_owned());
    labels
}

/// DataVolumes of a template get the machine's name in front, and the volumes that name them follow.
fn own_data_volumes(spec: &mut Map<String, Value>, machine: &str) {
    let mut renamed = BTreeSet::new();
    for template in spec
        .get_mut("dataVolumeTemplates")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(name) = template.pointer_mut("/metadata/name")
            && let Some(old) = name.as_str().map(str::to_owned)
        {
            *name = json!(format!("{machine}-{old}"));
            renamed.insert(old);
        }
    }
    let volumes = spec
        .get_mut("template")
        .and_then(|template| template.pointer_mut("/spec/volumes"));
    for volume in volumes.and_then(Value::as_array_mut).into_iter().flatten() {
        for path in ["/dataVolume/name", "/persistentVolumeClaim/claimName"] {
            if let Some(name) = volume.pointer_mut(path)
                && name.as_str().is_some_and(|old| renamed.contains(old))
            {
                *name = json!(format!("{machine}-{}", name.as_str().unwrap_or_default()));
            }
        }
    }
}

/// Changes the object at a path, made where it is missing.
fn within(parent: &mut Map<String, Value>, path: &[&str], change: impl FnOnce(&mut Map<String, Value>)) {
    let Some((key, rest)) = path.split_first() else {
        return change(parent);
    };
    let mut inner = match parent.remove(*key) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    within(&mut inner, rest, change);
    parent.insert((*key).to_owned(), Value::Object(inner));
}

fn merge(parent: &mut Map<String, Value>, key: &str, values: &BTreeMap<String, String>) {
    if values.is_empty() {
        return;
    }
    within(parent, &[key], |map| {
        map.extend(values.iter().map(|(key, value)| (key.clone(), json!(value))))
    });
}

fn push(parent: &mut Map<String, Value>, key: &str, item: Value) {
    match parent.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => drop(parent.insert(key.to_owned(), json!([item]))),
    }
}
