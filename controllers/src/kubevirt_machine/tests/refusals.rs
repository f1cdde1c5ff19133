//! Templates that leave something to say.

use super::{template, wanted};
use crate::kubevirt_machine::build::build;
use serde_json::{Value, json};

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
