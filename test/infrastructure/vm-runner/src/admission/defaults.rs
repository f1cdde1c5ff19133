//! What KubeVirt stores on a machine and on an instance that their makers left open. Pure but for the new UUIDs it is given.

use serde_json::{Map, Value, json};

use crate::api::{ACCOUNT, CONTROLLER_FINALIZER, FOREGROUND_FINALIZER};
use crate::machine::{Machine, quantity_value};

/// Sets `object[path]` unless it is there.
fn default_at(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry((*key).to_owned()).or_insert(Value::Null);
    }
    if at.is_null() {
        *at = value;
    }
}

/// A `VirtualMachine` as it is stored.
#[must_use]
pub fn vm(mut object: Value, uuids: &[String; 2]) -> Value {
    if object.pointer("/spec/template").is_none() {
        return object;
    }
    let template = &mut object["spec"]["template"];
    default_at(
        template,
        &["metadata", "annotations", "kubevirt.io/pci-topology-version"],
        json!("v3"),
    );
    default_at(template, &["spec", "architecture"], json!("amd64"));
    let machine = machine_type(&template["spec"]);
    default_at(template, &["spec", "domain", "machine", "type"], json!(machine));
    default_at(template, &["spec", "domain", "firmware", "uuid"], json!(uuids[0]));
    default_at(template, &["spec", "domain", "firmware", "serial"], json!(uuids[1]));
    object
}

fn machine_type(spec: &Value) -> &'static str {
    match spec["architecture"].as_str() {
        Some("arm64") => "virt",
        Some("s390x") => "s390-ccw-virtio",
        _ => "q35",
    }
}

/// A `VirtualMachineInstance` as it is stored at its creation.
#[must_use]
pub fn vmi(mut object: Value, uuids: &[String; 2], now: &str) -> Value {
    let machine = object
        .get("spec")
        .and_then(Value::as_object)
        .and_then(|spec| Machine::read(spec).ok())
        .unwrap_or_default();
    let finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let missing = [CONTROLLER_FINALIZER, FOREGROUND_FINALIZER].map(|finalizer| json!(finalizer));
    let missing = missing.into_iter().filter(|finalizer| !finalizers.contains(finalizer));
    object["metadata"]["finalizers"] = json!(finalizers.iter().cloned().chain(missing).collect::<Vec<_>>());

    let spec = &mut object["spec"];
    default_at(spec, &["architecture"], json!("amd64"));
    default_at(spec, &["evictionStrategy"], json!("None"));
    let machine_type = machine_type(spec);
    default_at(spec, &["domain", "machine", "type"], json!(machine_type));
    default_at(spec, &["domain", "firmware", "uuid"], json!(uuids[0]));
    default_at(spec, &["domain", "firmware", "serial"], json!(uuids[1]));
    for key in ["cores", "sockets", "threads"] {
        default_at(spec, &["domain", "cpu", key], json!(1));
        if spec["domain"]["cpu"][key] == 0 {
            spec["domain"]["cpu"][key] = json!(1);
        }
    }
    default_at(spec, &["domain", "cpu", "model"], json!("host-model"));
    let sockets = machine.domain.cpu.sockets.unwrap_or(1);
    default_at(
        spec,
        &["domain", "cpu", "maxSockets"],
        json!(sockets.max(1).saturating_mul(4)),
    );
    let guest = machine
        .domain
        .memory
        .guest
        .clone()
        .or_else(|| machine.domain.resources.requests.get("memory").cloned());
    if let Some(guest) = &guest {
        default_at(spec, &["domain", "memory", "guest"], guest.clone());
        if let Some(bytes) = quantity_value(guest) {
            default_at(
                spec,
                &["domain", "memory", "maxGuest"],
                json!(format!("{}Mi", bytes.saturating_mul(4).div_ceil(1 << 20))),
            );
        }
    }
    disks(spec);
    network(spec);

    let topology = ["cores", "sockets", "threads"].map(|key| (key.to_owned(), spec["domain"]["cpu"][key].clone()));
    let mut status = json!({
        "phase": "Pending",
        "phaseTransitionTimestamps": [{"phase": "Pending", "phaseTransitionTimestamp": now}],
        "runtimeUser": 107,
        "guestOSInfo": {},
        "currentCPUTopology": topology.into_iter().collect::<Map<_, _>>(),
    });
    if let Some(guest) = guest {
        status["memory"] = json!({"guestAtBoot": guest, "guestCurrent": guest, "guestRequested": guest});
    }
    object["status"] = status;
    object
}

/// A disk for each volume that has none, bus sata where none is said.
fn disks(spec: &mut Value) {
    let names: Vec<Value> = spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| volume["name"].clone())
        .collect();
    default_at(spec, &["domain", "devices", "disks"], json!([]));
    let devices = &mut spec["domain"]["devices"];
    let filesystems = devices["filesystems"].as_array().cloned().unwrap_or_default();
    let Some(disks) = devices["disks"].as_array_mut() else {
        return;
    };
    for name in names {
        let used = |all: &[Value]| all.iter().any(|one| one["name"] == name);
        if !used(disks) && !used(&filesystems) {
            disks.push(json!({"name": name}));
        }
    }
    for disk in disks.iter_mut() {
        let kind = ["cdrom", "lun", "disk"]
            .into_iter()
            .find(|kind| disk[*kind].is_object())
            .unwrap_or("disk");
        default_at(disk, &[kind, "bus"], json!("sata"));
        // Looking for a key by index has left nulls, which the schema refuses.
        if let Some(disk) = disk.as_object_mut() {
            disk.retain(|_, value| !value.is_null());
        }
    }
    if let Some(devices) = devices.as_object_mut() {
        devices.retain(|_, value| !value.is_null());
    }
}

/// Interface and network `default` by bridge, when nothing is named.
fn network(spec: &mut Value) {
    let empty = |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
    let automatic = spec.pointer("/domain/devices/autoattachPodInterface") != Some(&json!(false));
    if automatic && empty(spec.pointer("/domain/devices/interfaces")) && empty(spec.get("networks")) {
        spec["domain"]["devices"]["interfaces"] = json!([{"name": "default", "bridge": {}}]);
        spec["networks"] = json!([{"name": "default", "pod": {}}]);
    }
}

/// An update of an instance: its status is KubeVirt's own, others' changes of it are undone.
#[must_use]
pub fn vmi_update(mut object: Value, old: &Value, username: &str) -> Value {
    if username != ACCOUNT {
        match old.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => {
                if let Some(object) = object.as_object_mut() {
                    object.remove("status");
                }
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids() -> [String; 2] {
        ["u-1".into(), "u-2".into()]
    }

    #[test]
    fn a_machine_gets_what_kubevirt_stores_and_keeps_what_it_says() {
        let spec = json!({"template": {"spec": {"architecture": "arm64", "domain": {"memory": {"guest": "1Gi"}}}}});
        let stored = vm(json!({"spec": spec}), &uuids());
        let template = &stored["spec"]["template"];
        assert_eq!(template["spec"]["architecture"], "arm64");
        assert_eq!(template["spec"]["domain"]["machine"]["type"], "virt");
        assert_eq!(
            template["spec"]["domain"]["firmware"],
            json!({"uuid": "u-1", "serial": "u-2"})
        );
        assert_eq!(
            template["metadata"]["annotations"]["kubevirt.io/pci-topology-version"],
            "v3"
        );
        assert!(template["spec"]["domain"].get("cpu").is_none());
    }

    #[test]
    fn an_instance_gets_cpu_memory_disks_and_a_network() {
        let spec = json!({"domain": {"cpu": {"cores": 0}, "resources": {"requests": {"memory": "1Gi"}}, "devices": {"disks": [{"name": "a", "disk": {"bus": "virtio"}}]}},
            "volumes": [{"name": "a"}, {"name": "b"}]});
        let stored = vmi(json!({"metadata": {}, "spec": spec}), &uuids(), "now");
        let domain = &stored["spec"]["domain"];
        assert_eq!(domain["memory"], json!({"guest": "1Gi", "maxGuest": "4096Mi"}));
        assert_eq!(
            domain["cpu"],
            json!({"cores": 1, "sockets": 1, "threads": 1, "model": "host-model", "maxSockets": 4})
        );
        assert_eq!(
            domain["devices"]["disks"],
            json!([{"name": "a", "disk": {"bus": "virtio"}}, {"name": "b", "disk": {"bus": "sata"}}])
        );
        assert_eq!(stored["spec"]["networks"], json!([{"name": "default", "pod": {}}]));
        assert_eq!(stored["status"]["phase"], "Pending");
        assert_eq!(stored["spec"]["evictionStrategy"], "None");
    }

    #[test]
    fn only_the_controller_changes_an_instances_status() {
        let (old, new) = (
            json!({"status": {"phase": "Running"}}),
            json!({"status": {"phase": "Failed"}}),
        );
        assert_eq!(vmi_update(new.clone(), &old, "me")["status"]["phase"], "Running");
        assert_eq!(vmi_update(new, &old, ACCOUNT)["status"]["phase"], "Failed");
    }
}
