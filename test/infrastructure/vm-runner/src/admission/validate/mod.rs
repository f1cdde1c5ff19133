//! KubeVirt's refusals. Pure.
//!
//! In: an object. Out: the causes to refuse it, none when it is fine. Each names the field and what is wrong with it, as
//! KubeVirt's do; `behaviour` compares them with recorded answers. One concern a file.

mod disks;
mod firmware;
mod guest;
mod networks;
mod read;
mod resources;
mod templates;
mod volumes;

use serde_json::Value;

use crate::admission::review::{Cause, Request};
use crate::api::ACCOUNT;

const RESERVED_LABELS: [&str; 6] = [
    "kubevirt.io/created-by",
    "kubevirt.io/migrationJobUID",
    "kubevirt.io/nodeName",
    "kubevirt.io/migrationTargetNodeName",
    "kubevirt.io/schedulable",
    "kubevirt.io/install-strategy",
];
const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "s390x"];

/// A `VirtualMachine` that is made or changed.
#[must_use]
pub fn vm(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let Some(template) = spec.pointer("/template/spec").filter(|template| template.is_object()) else {
        return vec![Cause {
            reason: "FieldValueRequired",
            message: "missing virtual machine template.".into(),
            field: "spec.template".into(),
        }];
    };
    let mut causes: Vec<Cause> = labels(&spec["template"]["metadata"]["labels"], "spec.template.metadata")
        .into_iter()
        .collect();
    causes.extend(instance(template, "spec.template.spec"));
    causes.extend(templates::check(spec));
    causes
}

/// What is accepted but told.
#[must_use]
pub fn warnings(object: &Value) -> Vec<String> {
    let running = object["spec"]["running"].is_boolean();
    running
        .then(|| "spec.running is deprecated, please use spec.runStrategy instead.".to_owned())
        .into_iter()
        .collect()
}

/// A `VirtualMachineInstance` that is made.
#[must_use]
pub fn vmi(object: &Value, username: &str) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    if username != ACCOUNT {
        causes.extend(labels(&object["metadata"]["labels"], "metadata"));
    }
    causes.extend(no_memory(spec));
    let architecture = spec["architecture"].as_str();
    if let Some(architecture) = architecture.filter(|architecture| !ARCHITECTURES.contains(architecture)) {
        let message = format!("unsupported architecture: {architecture}");
        causes.push(Cause::invalid("spec.architecture", message));
    }
    causes.extend(instance(spec, "spec"));
    causes
}

/// Memory has to be asked for; how much is not looked at.
fn no_memory(spec: &Value) -> Option<Cause> {
    let paths = [
        "/memory/guest",
        "/memory/hugepages/pageSize",
        "/resources/requests/memory",
        "/resources/limits/memory",
    ];
    let domain = &spec["domain"];
    let asked = paths
        .iter()
        .any(|path| domain.pointer(path).is_some_and(|value| !value.is_null()));
    (!asked).then(|| Cause {
        reason: "FieldValueRequired",
        message: "no memory requested, at least one of 'spec.domain.memory.guest', 'spec.domain.memory.hugepages.pageSize' or 'spec.domain.resources.requests.memory' must be set".into(),
        field: String::new(),
    })
}

/// A `VirtualMachineInstance` that is changed.
#[must_use]
pub fn vmi_update(request: &Request) -> Vec<Cause> {
    if request.user_info.username == ACCOUNT {
        return Vec::new();
    }
    let reserved = |object: &Value| -> Vec<Value> {
        RESERVED_LABELS
            .iter()
            .map(|label| object["metadata"]["labels"][*label].clone())
            .collect()
    };
    let mut causes = Vec::new();
    if request.object.get("spec") != request.old_object.get("spec") {
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            message: "update of VMI object is restricted".into(),
            field: String::new(),
        });
    }
    if reserved(&request.object) != reserved(&request.old_object) {
        let message = "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            message: message.into(),
            field: String::new(),
        });
    }
    causes
}

fn labels(labels: &Value, field: &str) -> Option<Cause> {
    let reserved = RESERVED_LABELS.iter().any(|label| labels.get(*label).is_some());
    let message = "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
    reserved.then(|| Cause {
        reason: "FieldValueNotSupported",
        message: message.into(),
        field: format!("{field}.labels"),
    })
}

/// What holds for a template and for an instance.
fn instance(spec: &Value, field: &str) -> Vec<Cause> {
    [
        disks::check,
        volumes::check,
        networks::check,
        resources::check,
        guest::check,
        firmware::check,
    ]
    .iter()
    .flat_map(|check| check(spec, field))
    .collect()
}

#[cfg(test)]
mod tests;
