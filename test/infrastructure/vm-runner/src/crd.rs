//! The CRDs, made from KubeVirt's own OpenAPI definitions (`schema/kubevirt-v1.json`, descriptions removed).
//!
//! In: the definitions. Out: a `List` of the two CustomResourceDefinitions, with structural schemas as KubeVirt's operator
//! installs them. Never talks to a cluster: `capn-vm-runner crds > manifests/crds.json`, and a test fails when they differ.

use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("../schema/kubevirt-v1.json");
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// What in the checked-in definitions cannot become a schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The file is no JSON.
    #[error("the definitions cannot be read")]
    Read(#[from] serde_json::Error),
    /// A `$ref` leads nowhere.
    #[error("the definitions have no {0}")]
    Missing(String),
}

/// Both CRDs as one `List`, a line each.
pub fn manifest() -> Result<String, SchemaError> {
    let lines: Result<Vec<String>, serde_json::Error> = crds()?.iter().map(serde_json::to_string).collect();
    Ok(format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{}\n]}}\n",
        lines?.join(",\n")
    ))
}

/// Schema of one kind, as its CRD has it.
pub fn schema(kind: &str) -> Result<Value, SchemaError> {
    let all: Value = serde_json::from_str(SCHEMA)?;
    root(&all["definitions"], &format!("v1.{kind}"))
}

/// The two CRDs.
pub fn crds() -> Result<[Value; 2], SchemaError> {
    let all: Value = serde_json::from_str(SCHEMA)?;
    let definitions = &all["definitions"];
    let vm = crd(
        "VirtualMachine",
        &["vm", "vms"],
        root(definitions, "v1.VirtualMachine")?,
        true,
        json!([
            age(),
            {"name": "Status", "type": "string", "jsonPath": ".status.printableStatus", "description": "Human Readable Status"},
            ready(),
        ]),
    );
    let vmi = crd(
        "VirtualMachineInstance",
        &["vmi", "vmis"],
        root(definitions, "v1.VirtualMachineInstance")?,
        false,
        json!([
            age(),
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "IP", "type": "string", "jsonPath": ".status.interfaces[0].ipAddress"},
            {"name": "NodeName", "type": "string", "jsonPath": ".status.nodeName"},
            ready(),
            {"name": "Live-Migratable", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type=='LiveMigratable')].status"},
            {"name": "Paused", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type=='Paused')].status"},
        ]),
    );
    Ok([vm, vmi])
}

fn age() -> Value {
    json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
}

fn ready() -> Value {
    json!({"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"})
}

fn crd(kind: &str, short_names: &[&str], schema: Value, status: bool, columns: Value) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let mut version = json!({
        "name": "v1",
        "served": true,
        "storage": true,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    });
    // Stored as v1; what is unknown there goes when it is read.
    let mut old = json!({
        "name": "v1alpha3",
        "served": true,
        "storage": false,
        "deprecated": true,
        "deprecationWarning": "kubevirt.io/v1alpha3 is now deprecated and will be removed in a future release.",
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "additionalPrinterColumns": version["additionalPrinterColumns"],
    });
    if status {
        version["subresources"] = json!({"status": {}});
        old["subresources"] = json!({"status": {}});
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.kubevirt.io"), "labels": {"kubevirt.io": ""}},
        "spec": {
            "group": "kubevirt.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular,
                      "shortNames": short_names, "categories": ["all"]},
            "versions": [version, old],
        },
    })
}

fn root(definitions: &Value, name: &str) -> Result<Value, SchemaError> {
    let mut schema = definition(definitions, name, &mut Vec::new())?;
    schema["properties"]["metadata"] = json!({"type": "object"});
    Ok(schema)
}

fn definition(definitions: &Value, name: &str, path: &mut Vec<String>) -> Result<Value, SchemaError> {
    if name.ends_with(".ObjectMeta") {
        return Ok(json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true}));
    }
    if name.ends_with(".Quantity") {
        return Ok(
            json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": QUANTITY_PATTERN, "x-kubernetes-int-or-string": true}),
        );
    }
    if path.iter().any(|seen| seen == name) {
        return Ok(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    }
    let found = definitions
        .get(name)
        .ok_or_else(|| SchemaError::Missing(name.to_owned()))?;
    path.push(name.to_owned());
    let schema = resolve(definitions, found, path);
    path.pop();
    schema
}

/// One node of the definitions as a structural schema: references replaced, what CRDs do not know dropped.
fn resolve(definitions: &Value, node: &Value, path: &mut Vec<String>) -> Result<Value, SchemaError> {
    if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        return definition(definitions, reference.trim_start_matches("#/definitions/"), path);
    }
    let mut schema = Map::new();
    match &node["type"] {
        Value::String(single) => {
            schema.insert("type".into(), json!(single));
        }
        Value::Array(several) if several.contains(&json!("null")) => {
            schema.insert("type".into(), json!("string"));
            schema.insert("nullable".into(), json!(true));
        }
        Value::Array(_) => {
            schema.insert("x-kubernetes-int-or-string".into(), json!(true));
            schema.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
        }
        _ => {
            schema.insert("type".into(), json!("object"));
        }
    }
    for key in ["format", "nullable", "required", "enum"] {
        if let Some(value) = node.get(key) {
            schema.insert(key.into(), value.clone());
        }
    }
    for key in [
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    ] {
        if let Some(value) = node.get(key) {
            schema.insert(key.into(), value.clone());
        }
    }
    if let Some(properties) = node.get("properties").and_then(Value::as_object) {
        let resolved: Result<Map<String, Value>, SchemaError> = properties
            .iter()
            .map(|(name, property)| Ok((name.clone(), resolve(definitions, property, path)?)))
            .collect();
        schema.insert("properties".into(), Value::Object(resolved?));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = node.get(key).filter(|inner| inner.is_object()) {
            schema.insert(key.into(), resolve(definitions, inner, path)?);
        }
    }
    Ok(Value::Object(schema))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_hold_what_the_generator_makes() {
        assert!(
            include_str!("../manifests/crds.json") == manifest().unwrap(),
            "run: cargo run -p capn-vm-runner -- crds > test/infrastructure/vm-runner/manifests/crds.json"
        );
    }

    #[test]
    fn no_reference_is_left_and_every_node_has_a_type() {
        fn check(node: &Value, path: &str) {
            assert!(node.get("$ref").is_none(), "{path}");
            assert!(
                node.get("type").is_some() || node.get("x-kubernetes-int-or-string").is_some(),
                "{path}"
            );
            for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
                check(property, &format!("{path}.{name}"));
            }
            for key in ["items", "additionalProperties"] {
                if let Some(inner) = node.get(key) {
                    check(inner, &format!("{path}.{key}"));
                }
            }
        }
        for crd in crds().unwrap() {
            check(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
        }
    }

    #[test]
    fn only_virtual_machines_have_a_status_subresource() {
        let crds = crds().unwrap();
        assert!(crds[0]["spec"]["versions"][0].get("subresources").is_some());
        assert!(crds[1]["spec"]["versions"][0].get("subresources").is_none());
    }
}
