//! What only a `VirtualMachine` has: run strategy, DataVolume templates, an instance type. Pure.

use serde_json::Value;

use super::read::{list, some_text, text};
use crate::admission::review::Cause;
use crate::vm::strategy::Strategy;

/// Fields that an instance type decides.
const DECIDED: [&str; 8] = [
    "cpu.cores",
    "cpu.sockets",
    "cpu.threads",
    "memory.guest",
    "resources.requests.cpu",
    "resources.requests.memory",
    "resources.limits.cpu",
    "resources.limits.memory",
];

/// The spec of a machine, without its template's spec.
pub(super) fn check(spec: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> = run_strategy(spec).into_iter().collect();
    causes.extend(data_volumes(spec));
    causes.extend(instance_type(spec));
    causes
}

fn run_strategy(spec: &Value) -> Option<Cause> {
    let strategy = text(spec, "/runStrategy");
    let invalid = |field: &str, message: &str| Some(Cause::invalid(field, message.to_owned()));
    match (spec["running"].as_bool(), strategy) {
        (Some(_), Some(_)) => invalid(
            "spec.running",
            "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead",
        ),
        (None, None) => invalid("spec.running", "RunStrategy must be specified"),
        (None, Some("WaitAsReceiver")) => invalid(
            "spec.runStrategy",
            "Invalid RunStrategy (WaitAsReceiver): the DecentralizedLiveMigration feature gate is not enabled in the kubevirt resource",
        ),
        (None, Some(name)) if Strategy::of(None, Some(name)).is_none() => {
            invalid("spec.runStrategy", &format!("Invalid RunStrategy ({name})"))
        }
        (_, _) => None,
    }
}

fn data_volumes(spec: &Value) -> Vec<Cause> {
    let volumes = list(spec, "/template/spec/volumes");
    let mut causes = Vec::new();
    for (index, template) in list(spec, "/dataVolumeTemplates").iter().enumerate() {
        let at = format!("spec.dataVolumeTemplate[{index}]");
        let Some(name) = some_text(template, "/metadata/name") else {
            causes.push(Cause::at(
                &format!("{at}.name"),
                "must not be empty: each DataVolumeTemplate entry needs a name",
            ));
            continue;
        };
        let named = |volume: &Value, source: &str, key: &str| text(&volume[source], key) == Some(name);
        let used = volumes
            .iter()
            .any(|volume| named(volume, "dataVolume", "/name") || named(volume, "persistentVolumeClaim", "/claimName"));
        if !used {
            let what =
                "must be referenced in the VMI template's 'volumes' list: no volume uses this DataVolumeTemplate entry";
            causes.push(Cause::at(&at, what));
        }
        let target = &template["spec"];
        match (target["pvc"].is_object(), target["storage"].is_object()) {
            (true, true) => {
                let what = "has a duplicate storage definition, both target storage and target pvc defined";
                causes.push(Cause::at(&at, what));
            }
            (false, false) => causes.push(Cause::at(&at, "has neither target storage nor target pvc defined")),
            (_, _) => {}
        }
    }
    causes
}

fn instance_type(spec: &Value) -> Vec<Cause> {
    if !spec["instancetype"].is_object() {
        return Vec::new();
    }
    let domain = &spec["template"]["spec"]["domain"];
    let set = |path: &&&str| {
        let value = domain.pointer(&format!("/{}", path.replace('.', "/")));
        value.is_some_and(|value| !value.is_null() && *value != 0)
    };
    DECIDED
        .iter()
        .filter(set)
        .map(|path| {
            let at = format!("spec.template.spec.domain.{path}");
            Cause::invalid(&at, format!("VM field(s) {at} conflicts with selected instance type"))
        })
        .collect()
}
