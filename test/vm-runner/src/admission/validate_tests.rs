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
fn what_only_the_stand_in_lacks_is_said_at_the_instance() {
    let mut object = machine();
    object["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] =
        json!([{"name": "default", "masquerade": {}}]);
    assert_eq!(vm(&object), []);
    let causes = vmi(&json!({"spec": object["spec"]["template"]["spec"]}), "me");
    assert!(causes[0].message.contains("stand-in"), "{causes:?}");
}
