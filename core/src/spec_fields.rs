//! For tests: the leaves of a spec, so that no field of it is decoration.

use serde_json::Value;
use std::collections::BTreeSet;

/// Checks that these paths are all leaves of this kind's spec, and all there are. What lies below
/// one of them belongs to it.
pub fn are_those_of(kind: &str, known: &BTreeSet<String>) {
    let crds = [capn_api::control_plane_crds(), capn_api::infrastructure_crds()].concat();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
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
