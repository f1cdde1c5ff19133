//! Each refusal in KubeVirt's words.

use super::*;
use serde_json::json;

fn machine() -> Value {
    json!({"spec": {"runStrategy": "Always", "template": {"spec": {
        "domain": {"memory": {"guest": "1Gi"}, "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}],
            "interfaces": [{"name": "default", "bridge": {}}]}},
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "root", "containerDisk": {"image": "i"}}]}}}})
}

#[test]
fn a_machine_as_templates_make_it_is_accepted() {
    assert_eq!(vm(&machine()), []);
    let mut instance = json!({"spec": machine()["spec"]["template"]["spec"]});
    assert_eq!(vmi(&instance, "me"), []);
    instance["spec"]["domain"]["memory"] = json!({});
    assert!(
        vmi(&instance, "me")[0]
            .message
            .starts_with("no memory requested, at least one of")
    );
}

#[test]
fn each_mistake_is_refused_in_kubevirts_words() {
    let template = "/spec/template/spec";
    let long = "x".repeat(2049);
    for (at, value, says) in [
        (
            "/spec/running".to_owned(),
            json!(true),
            "Running and RunStrategy are mutually exclusive",
        ),
        (
            "/spec/runStrategy".to_owned(),
            Value::Null,
            "RunStrategy must be specified",
        ),
        (
            "/spec/runStrategy".to_owned(),
            json!("Never"),
            "Invalid RunStrategy (Never)",
        ),
        (
            format!("{template}/volumes"),
            json!([]),
            "spec.template.spec.domain.devices.disks[0].Name 'root' not found.",
        ),
        (
            format!("{template}/networks"),
            json!([{"name": "default", "pod": {}}, {"name": "x", "pod": {}}]),
            "spec.template.spec.networks[1].name 'x' not found.",
        ),
        (
            format!("{template}/volumes"),
            json!([{"name": "root", "containerDisk": {"image": "i"}, "emptyDisk": {"capacity": "1Gi"}}]),
            "spec.template.spec.volumes[0] must have exactly one source type set",
        ),
        (
            format!("{template}/domain/devices/interfaces"),
            json!([{"name": "default", "bridge": {}, "masquerade": {}}]),
            "logical default interface must have exactly one binding method or binding plugin",
        ),
        (
            format!("{template}/volumes"),
            json!([{"name": "root", "cloudInitNoCloud": {"userData": long}}]),
            "spec.template.spec.volumes[0].cloudInitNoCloud userdata exceeds 2048 byte limit. Should use UserDataSecretRef for larger data.",
        ),
        (
            format!("{template}/domain/machine"),
            json!({"type": "pc"}),
            "spec.template.spec.domain.machine.type is not supported: pc (allowed values: [q35* pc-q35*])",
        ),
        (
            format!("{template}/evictionStrategy"),
            json!("fantasy"),
            "spec.template.spec.evictionStrategy is set with an unrecognized option: fantasy",
        ),
        (
            "/spec/template/metadata".to_owned(),
            json!({"labels": {"kubevirt.io/nodeName": "n"}}),
            "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited",
        ),
    ] {
        let mut object = machine();
        let (parent, key) = at.rsplit_once('/').unwrap_or_default();
        object
            .pointer_mut(parent)
            .into_iter()
            .for_each(|parent| parent[key] = value.clone());
        let causes = vm(&object);
        assert!(
            causes.iter().any(|cause| cause.message.starts_with(says)),
            "{at}: {causes:?}"
        );
    }
}

#[test]
fn the_spec_of_an_instance_does_not_change() {
    let request = Request {
        object: json!({"spec": {"a": 1}}),
        old_object: json!({"spec": {"a": 2}}),
        ..Request::default()
    };
    assert_eq!(vmi_update(&request)[0].message, "update of VMI object is restricted");
}

#[test]
fn memory_has_to_be_asked_for_somewhere() {
    let mut instance = json!({"spec": machine()["spec"]["template"]["spec"]});
    for (domain, accepted) in [
        (json!({"memory": {"guest": "0"}}), true),
        (json!({"memory": {"guest": "-1Gi"}}), true),
        (json!({"resources": {"requests": {"memory": "1Gi"}}}), true),
        (json!({"resources": {"limits": {"memory": "1Gi"}}}), true),
        (json!({"resources": {"requests": {"cpu": "1"}}}), false),
    ] {
        let mut hardware = domain.clone();
        hardware["devices"] = machine()["spec"]["template"]["spec"]["domain"]["devices"].clone();
        instance["spec"]["domain"] = hardware;
        assert_eq!(vmi(&instance, "me").is_empty(), accepted, "{domain}");
    }
}

/// The fields that are refused in a template with this merged into its spec.
fn refused(changes: &Value) -> Vec<String> {
    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }
    let mut object = machine();
    merge(&mut object["spec"]["template"]["spec"], changes);
    let cut = |field: String| field.replace("spec.template.spec.", "");
    vm(&object).into_iter().map(|cause| cut(cause.field)).collect()
}

#[test]
fn each_setting_of_a_disk_has_its_words() {
    let at = "domain.devices.disks[0]";
    for (disk, field) in [
        (json!({"serial": "a b"}), "serial"),
        (json!({"serial": "x".repeat(257)}), "serial"),
        (json!({"io": "fast"}), "io"),
        (json!({"errorPolicy": "shrug"}), "errorPolicy"),
        (json!({"bootOrder": 0}), "bootOrder"),
        (
            json!({"disk": {"bus": "sata", "pciAddress": "0000:81:01.0"}}),
            "disk.pciAddress",
        ),
        (
            json!({"disk": {"bus": "virtio", "pciAddress": "81"}}),
            "disk.pciAddress",
        ),
    ] {
        let mut whole = json!({"name": "root"});
        for (key, value) in disk.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let fields = refused(&json!({"domain": {"devices": {"disks": [whole]}}}));
        assert_eq!(fields, [format!("{at}.{field}")], "{disk}");
    }
    let fine = json!([{"name": "root", "serial": "a_B-1.+", "cache": "none", "io": "native", "bootOrder": 1,
        "disk": {"bus": "virtio", "pciAddress": "0000:81:01.0"}}]);
    assert_eq!(refused(&json!({"domain": {"devices": {"disks": fine}}})), [""; 0]);
}

#[test]
fn a_boot_order_is_given_once_among_disks_and_interfaces() {
    let devices = json!({"disks": [{"name": "root", "bootOrder": 1}],
        "interfaces": [{"name": "default", "bridge": {}, "bootOrder": 1}]});
    let fields = refused(&json!({"domain": {"devices": devices}}));
    assert_eq!(fields, ["domain.devices.interfaces[0].bootOrder"]);
}

#[test]
fn each_setting_of_an_interface_is_looked_at() {
    for (interface, field) in [
        (json!({"bridge": {}, "macAddress": "02:00"}), "macAddress"),
        (
            json!({"masquerade": {}, "macAddress": "02:00:00:00:00:00"}),
            "macAddress",
        ),
        (json!({"masquerade": {}, "ports": [{"port": 65536}]}), "ports[0]"),
        (json!({"masquerade": {}, "ports": [{"name": "web"}]}), "ports[0]"),
        (
            json!({"masquerade": {}, "ports": [{"port": 1, "protocol": "ICMP"}]}),
            "ports[0].protocol",
        ),
    ] {
        let mut whole = interface.clone();
        whole["name"] = json!("default");
        let fields = refused(&json!({"domain": {"devices": {"interfaces": [whole]}}}));
        assert_eq!(fields, [format!("domain.devices.interfaces[0].{field}")], "{interface}");
    }
}

#[test]
fn a_network_is_named_once_and_of_one_type() {
    let twice = json!({"networks": [{"name": "default", "pod": {}}, {"name": "default", "pod": {}}]});
    assert_eq!(refused(&twice), ["networks[1].name"]);
    let both = json!({"networks": [{"name": "default", "pod": {}, "multus": {"networkName": "x"}}]});
    assert_eq!(refused(&both), ["networks[0]"]);
}

#[test]
fn a_probe_of_the_network_needs_one() {
    let probe = json!({"readinessProbe": {"tcpSocket": {"port": 22}}});
    assert_eq!(refused(&probe), [""; 0]);
    let elsewhere =
        json!({"readinessProbe": {"tcpSocket": {"port": 22}}, "networks": [{"name": "default", "multus": {}}]});
    assert_eq!(refused(&elsewhere), ["readinessProbe.tcpSocket"]);
    assert_eq!(
        refused(&json!({"livenessProbe": {"periodSeconds": 1}})),
        ["livenessProbe"]
    );
}
