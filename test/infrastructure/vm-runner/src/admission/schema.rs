//! What KubeVirt's webhook refuses before it reads a machine: values of another type than the API has. Pure.
//!
//! In: the schema of the CRD and an object. Out: nothing, or the first step of KubeVirt's that fails: fields and types (422),
//! then values that its Go types cannot hold (400).

use std::sync::LazyLock;

use serde_json::Value;

use crate::admission::review::{Answer, Cause};
use crate::crd;
use crate::quantity;

/// Fields of an `ObjectMeta`: the CRD leaves it to the API server, which does not look into templates.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Integers of the API that are unsigned in Go; the schema does not tell.
const UNSIGNED: [&str; 5] = ["cores", "sockets", "threads", "maxSockets", "bootOrder"];

static MACHINE: LazyLock<Value> = LazyLock::new(|| crd::schema("VirtualMachine").unwrap_or_default());

/// Refuses a `VirtualMachine` whose fields are of other types than the API has.
#[must_use]
pub fn refusal(object: &Value) -> Option<Answer> {
    let mut found = Found::default();
    walk(&MACHINE["properties"]["spec"], &object["spec"], "spec", &mut found);
    metadata(&object["spec"]["template"]["metadata"], &mut found);
    match (found.causes.is_empty(), found.malformed) {
        (false, _) => Some(Answer::Deny(found.causes)),
        (true, Some(message)) => Some(Answer::Malformed(message)),
        (true, None) => None,
    }
}

#[derive(Default)]
struct Found {
    causes: Vec<Cause>,
    malformed: Option<String>,
}

impl Found {
    fn invalid(&mut self, path: &str, what: &str) {
        self.causes.push(Cause::invalid(path, format!("{path} in body {what}")));
    }
}

fn metadata(metadata: &Value, found: &mut Found) {
    for key in metadata.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !METADATA.contains(&key.as_str()) {
            found.invalid(&format!("spec.template.metadata.{key}"), "is a forbidden property");
        }
    }
}

/// One value against its schema. Null counts as absent; paths have no indexes, as in KubeVirt's answers.
fn walk(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    if value.is_null() {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return quantity(schema, value, path, found);
    }
    let (wanted, actual) = (schema["type"].as_str().unwrap_or("object"), type_of(value));
    if wanted != actual && (wanted, actual) != ("number", "integer") {
        return found.invalid(path, &format!("must be of type {wanted}: {actual:?}"));
    }
    let field = path.rsplit('.').next().unwrap_or_default();
    if UNSIGNED.contains(&field) && value.as_i64().is_some_and(|number| number < 0) {
        found.malformed = Some(format!(
            "json: cannot unmarshal number {value} into {path}, which is of type uint32"
        ));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        found.invalid(path, &format!("should be one of [{}]", words.join(" ")));
    }
    for key in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(key).is_none_or(Value::is_null) {
            found.invalid(&format!("{path}.{key}"), "is required");
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let schema = schema["properties"].get(key).or(schema.get("additionalProperties"));
        if let Some(schema) = schema.filter(|schema| schema.is_object()) {
            walk(schema, inner, &format!("{path}.{key}"), found);
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        walk(&schema["items"], inner, path, found);
    }
}

/// A quantity has a pattern in the schema, a port has none.
fn quantity(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    let text = value.as_str().filter(|_| schema.get("pattern").is_some());
    if let Some(text) = text.filter(|text| quantity::number(text).is_none()) {
        let pattern = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";
        found.malformed = Some(format!(
            "{path}: {text:?} is no quantity; quantities must match the regular expression '{pattern}'"
        ));
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(spec: Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn types_come_before_values() {
        let good = machine(
            json!({"domain": {"devices": {}, "cpu": {"cores": 2}, "memory": {"guest": "1Gi"}},
            "readinessProbe": {"tcpSocket": {"port": 22}}, "nodeSelector": {"a": "b"}}),
        );
        assert_eq!(refusal(&good), None);
        let mut both = machine(json!({"domain": {"devices": {}, "cpu": {"cores": "2"}, "memory": {"guest": "lots"}}}));
        let Some(Answer::Deny(causes)) = refusal(&both) else {
            panic!("accepted")
        };
        assert_eq!(
            causes[0].message,
            "spec.template.spec.domain.cpu.cores in body must be of type integer: \"string\""
        );
        both["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = json!(2);
        assert!(matches!(refusal(&both), Some(Answer::Malformed(_))));
    }

    #[test]
    fn an_unknown_field_of_the_templates_metadata_is_forbidden() {
        let mut object = machine(json!({"domain": {"devices": {}}}));
        object["spec"]["template"]["metadata"] = json!({"labels": {}, "foo": "x"});
        assert!(
            matches!(refusal(&object), Some(Answer::Deny(causes)) if causes[0].field == "spec.template.metadata.foo")
        );
    }
}
