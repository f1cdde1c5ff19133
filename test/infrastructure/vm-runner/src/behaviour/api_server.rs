//! What the API server does with an object before any webhook: fields that the CRD does not have.

use std::sync::LazyLock;

use serde_json::Value;

use crate::crd;

static CRDS: LazyLock<[Value; 2]> = LazyLock::new(|| crd::crds().unwrap());

/// An object as the webhooks see it, and what the API server says about it.
pub(super) struct Decoded {
    pub(super) object: Value,
    pub(super) unknown: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Nothing when the version is not served.
pub(super) fn decode(object: &Value) -> Option<Decoded> {
    let [vm, _] = &*CRDS;
    let version = object["apiVersion"].as_str()?.strip_prefix("kubevirt.io/")?;
    let versions = vm["spec"]["versions"].as_array().unwrap();
    let asked = versions.iter().find(|one| one["name"] == version)?;
    let stored = versions.iter().find(|one| one["storage"] == true)?;
    let mut object = object.clone();
    object["apiVersion"] = "kubevirt.io/v1".into();
    let mut unknown = Vec::new();
    prune(&stored["schema"]["openAPIV3Schema"], &mut object, "", &mut unknown);
    let warnings = asked["deprecationWarning"].as_str().map(str::to_owned);
    Some(Decoded {
        object,
        unknown,
        warnings: warnings.into_iter().collect(),
    })
}

fn prune(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true || path == "metadata" {
        return;
    }
    if let Value::Array(items) = value {
        for (index, item) in items.iter_mut().enumerate() {
            prune(&schema["items"], item, &format!("{path}[{index}]"), unknown);
        }
    }
    let Value::Object(fields) = value else { return };
    let other = schema.get("additionalProperties");
    fields.retain(|key, inner| {
        let path = format!("{path}{}{key}", if path.is_empty() { "" } else { "." });
        let known = schema["properties"].get(key).or(other);
        match known {
            Some(schema) => prune(schema, inner, &path, unknown),
            None => unknown.push(path),
        }
        known.is_some()
    });
}
