//! Templates that KubeVirt would refuse, or that leave something to say.

use super::{object, observed, template, wanted};
use crate::machine::{desired::validate, virtual_machine::build};
use capn_api::KubevirtMachine;
use serde_json::{Value, json};

#[test]
fn what_kubevirt_would_refuse_is_said_before_it_is_asked() {
    let named = |path: &str, value: Value| {
        let mut object = serde_json::to_value(object(template())).unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        serde_json::from_value::<KubevirtMachine>(object).unwrap()
    };
    let template = "/spec/virtualMachineTemplate";
    let spec = format!("{template}/spec/template/spec");
    let long = "w".repeat(64);
    for (object, reason, says) in [
        (
            named(&format!("{spec}/volumes/0/name"), json!("cloudinitvolume")),
            "InvalidTemplate",
            "a volume named \"cloudinitvolume\"",
        ),
        (
            named(&format!("{spec}/domain/devices/disks/0/name"), json!("cloudinitvolume")),
            "InvalidTemplate",
            "a disk named \"cloudinitvolume\"",
        ),
        (
            named(
                &format!("{template}/metadata/labels"),
                json!({"kubevirt.io/created-by": "x"}),
            ),
            "InvalidTemplate",
            "label kubevirt.io/created-by",
        ),
        (
            named(
                &format!("{template}/spec/template/metadata"),
                json!({"labels": {"kubevirt.io/nodeName": "x"}}),
            ),
            "InvalidTemplate",
            "label kubevirt.io/nodeName",
        ),
        (named("/metadata/name", json!(long)), "InvalidName", "64 characters"),
    ] {
        let refused = validate(&object, &observed()).expect_err(says);
        assert_eq!(refused.reason().as_str(), reason, "{refused}");
        assert!(
            refused.needs_user_action() && refused.to_string().contains(says),
            "{refused}"
        );
        // A VM that is there is not given up.
        let mut made = object;
        made.spec.provider_id = Some("kubevirt://acme-md-0-x1".into());
        assert!(validate(&made, &observed()).is_ok(), "{says}");
    }
    for object in [
        named("/metadata/name", json!("w".repeat(63))),
        named(
            &format!("{template}/metadata/labels"),
            json!({"kubevirt.io/domain": "x", "kubevirt.io/vm": "y"}),
        ),
    ] {
        assert!(validate(&object, &observed()).is_ok());
    }
}

#[test]
fn a_template_that_does_not_say_when_to_run_always_runs() {
    for (key, value, strategy) in [
        ("runStrategy", Value::Null, json!("Always")),
        ("runStrategy", json!("Manual"), json!("Manual")),
        ("running", json!(true), Value::Null),
        ("running", json!(false), Value::Null),
        ("running", Value::Null, json!("Always")),
    ] {
        let mut template = template();
        template["spec"].as_object_mut().unwrap().remove("runStrategy");
        template["spec"][key] = value.clone();
        let vm = serde_json::to_value(build(&wanted(template)).vm).unwrap();
        assert_eq!(vm["spec"]["runStrategy"], strategy, "{key}: {value}");
    }
}
