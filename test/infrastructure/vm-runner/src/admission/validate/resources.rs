//! CPU and memory: requests, limits, huge pages, sockets. Pure.

use serde_json::Value;

use super::read::text;
use crate::admission::review::Cause;
use crate::quantity;

/// Hardware of a spec.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for resource in ["memory", "cpu"] {
        causes.extend(requests(spec, field, resource));
    }
    causes.extend(huge_pages(spec, field));
    let cpu = &spec["domain"]["cpu"];
    let (sockets, most) = (
        cpu["sockets"].as_u64().unwrap_or(1),
        cpu["maxSockets"].as_u64().unwrap_or(0),
    );
    if most > 0 && sockets > most {
        let what = format!("{sockets} in CPU topology is greater than the maximum number of sockets allowed, {most}");
        causes.push(Cause::at(&format!("{field}.domain.cpu.sockets"), &what));
    }
    causes
}

/// As it was written, and its value.
fn amount(value: &Value) -> Option<(String, f64)> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let number = quantity::number(&text)?;
    Some((text, number))
}

fn requests(spec: &Value, field: &str, resource: &str) -> Vec<Cause> {
    let resources = &spec["domain"]["resources"];
    let path = |kind: &str| format!("{field}.domain.resources.{kind}.{resource}");
    let [request, limit] = ["requests", "limits"].map(|kind| amount(&resources[kind][resource]));
    let mut causes = Vec::new();
    for (kind, found) in [("requests", &request), ("limits", &limit)] {
        if let Some((text, _)) = found.as_ref().filter(|(_, number)| *number < 0.0) {
            let what = format!("'{text}': must be greater than or equal to 0.");
            causes.push(Cause::at(&path(kind), &what));
        }
    }
    if let (Some((request, asked)), Some((limit, most))) = (request, limit)
        && most > 0.0
        && asked > most
    {
        let what = format!("'{request}' is greater than {} '{limit}'", path("limits"));
        causes.push(Cause::at(&path("requests"), &what));
    }
    causes
}

fn huge_pages(spec: &Value, field: &str) -> Option<Cause> {
    let size = text(spec, "/domain/memory/hugepages/pageSize")?;
    let at = format!("{field}.domain.memory.hugepages.pageSize");
    let Some(page) = quantity::number(size).filter(|page| *page > 0.0) else {
        return Some(Cause::at(&at, &format!("'{size}' is no size of a page")));
    };
    let request = amount(&spec["domain"]["resources"]["requests"]["memory"]);
    let guest = amount(&spec["domain"]["memory"]["guest"]);
    let (text, memory) = request.or(guest).unwrap_or_else(|| ("0".into(), 0.0));
    (memory % page != 0.0).then(|| {
        let requests = format!("{field}.domain.resources.requests.memory");
        Cause::at(
            &requests,
            &format!("'{text}' is not a multiple of the page size {at} '{size}'"),
        )
    })
}
