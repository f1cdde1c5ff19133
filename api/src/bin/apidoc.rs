//! Writes the API reference to the file given as the first argument, from the CRDs themselves.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use std::{env, error::Error, fmt::Write, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::args()
        .nth(1)
        .ok_or("usage: apidoc FILE, such as apidoc docs/reference.md")?;
    let mut text = String::from(
        "# API reference\n\nMade from the CRDs by `make generate`. Fields without a table of their own are Kubernetes' own types.\n",
    );
    for crd in capn_api::control_plane_crds()
        .iter()
        .chain(&capn_api::infrastructure_crds())
    {
        kind(&mut text, crd)?;
    }
    Ok(fs::write(target, text)?)
}

fn kind(text: &mut String, crd: &CustomResourceDefinition) -> Result<(), Box<dyn Error>> {
    let names = &crd.spec.names;
    let version = crd.spec.versions.first().ok_or("a CRD without versions")?;
    writeln!(text, "\n## {}\n", names.kind)?;
    let short = names
        .short_names
        .iter()
        .flatten()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    writeln!(text, "`{}/{}`, short name {short}.\n", crd.spec.group, version.name)?;
    writeln!(text, "| Field | Type | Meaning |\n|---|---|---|")?;
    let schema = serde_json::to_value(&version.schema)?;
    for part in ["spec", "status"] {
        if let Some(schema) = schema.pointer(&format!("/openAPIV3Schema/properties/{part}")) {
            fields(text, schema, part)?;
        }
    }
    Ok(())
}

fn fields(text: &mut String, schema: &Value, path: &str) -> Result<(), Box<dyn Error>> {
    let inner = schema.get("items").unwrap_or(schema);
    let required: Vec<_> = inner
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    for (name, field) in inner.get("properties").and_then(Value::as_object).into_iter().flatten() {
        // Below Kubernetes' own types nothing is described.
        let Some(description) = field.get("description").and_then(Value::as_str) else {
            continue;
        };
        let list = if field.get("items").is_some() { "[]" } else { "" };
        let type_ = field
            .pointer("/items/type")
            .or(field.get("type"))
            .and_then(Value::as_str)
            .unwrap_or("any");
        let mut notes = Vec::new();
        if required.iter().any(|required| *required == name) {
            notes.push("required".to_owned());
        }
        if let Some(values) = field.get("enum").and_then(Value::as_array) {
            notes.push(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "));
        }
        notes.extend(field.get("default").map(|default| format!("default {default}")));
        let notes = if notes.is_empty() {
            String::new()
        } else {
            format!(" ({})", notes.join("; "))
        };
        let description = description.replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| `{path}.{name}{list}` | {type_}{notes} | {description} |")?;
        fields(text, field, &format!("{path}.{name}{list}"))?;
    }
    Ok(())
}
