//! For tests: the leaves of a spec, so that no field of it is decoration.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks that these paths are all leaves of the spec, and all there are. What lies below one of
/// them belongs to it.
pub(crate) fn are_those_of(crd: &CustomResourceDefinition, known: &BTreeSet<String>) {
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let spec = schema.pointer("/openAPIV3Schema/properties/spec").unwrap();
    let mut found = BTreeSet::new();
    walk(spec, "", known, &mut found);
    let unknown: Vec<_> = found.difference(known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        unknown.is_empty() && gone.is_empty(),
        "not in the list: {unknown:?}; no longer in the schema: {gone:?}"
    );
}

fn walk(schema: &Value, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let inner = schema.get("properties").or_else(|| schema.pointer("/items/properties"));
    match inner.and_then(Value::as_object) {
        Some(properties) if !known.contains(path) => {
            for (name, schema) in properties {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(schema, &path, known, found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}
