//! KubeVirt's refusals, in its words. Pure.
//!
//! In: an object. Out: the causes to refuse it, none when it is fine. What the stand-in itself cannot do is refused in its own
//! words, after KubeVirt's.

use serde_json::{Map, Value};

use crate::admission::review::{Cause, Request};
use crate::api::{ACCOUNT, VirtualMachineInstance, VirtualMachineInstanceSpec};
use crate::machine::{CloudInit, Machine, Volume};
use crate::vm::strategy::Strategy;
use crate::vmi::domain;

const INLINE_LIMIT: usize = 2048;
const RESERVED_LABELS: [&str; 6] = [
    "kubevirt.io/created-by",
    "kubevirt.io/migrationJobUID",
    "kubevirt.io/nodeName",
    "kubevirt.io/migrationTargetNodeName",
    "kubevirt.io/schedulable",
    "kubevirt.io/install-strategy",
];
const SOURCES: [&str; 15] = [
    "cloudInitConfigDrive",
    "cloudInitNoCloud",
    "configMap",
    "containerDisk",
    "dataVolume",
    "downwardAPI",
    "downwardMetrics",
    "emptyDisk",
    "ephemeral",
    "hostDisk",
    "memoryDump",
    "persistentVolumeClaim",
    "secret",
    "serviceAccount",
    "sysprep",
];
const BINDINGS: [&str; 8] = [
    "bridge",
    "masquerade",
    "sriov",
    "passtBinding",
    "binding",
    "slirp",
    "macvtap",
    "passt",
];

/// A `VirtualMachine` that is made or changed.
#[must_use]
pub fn vm(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let empty = Map::new();
    let template = spec.pointer("/template/spec").and_then(Value::as_object);
    if template.is_none() {
        causes.push(Cause {
            reason: "FieldValueRequired",
            message: "missing virtual machine template.".into(),
            field: "spec.template".into(),
        });
        return causes;
    }
    causes.extend(labels(
        &spec["template"]["metadata"]["labels"],
        "spec.template.metadata",
    ));
    causes.extend(instance(template.unwrap_or(&empty), "spec.template.spec"));
    causes.extend(run_strategy(spec));
    causes
}

fn run_strategy(spec: &Value) -> Option<Cause> {
    let strategy = spec.get("runStrategy").and_then(Value::as_str);
    match (spec.get("running").and_then(Value::as_bool), strategy) {
        (Some(_), Some(_)) => {
            let message = "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead";
            Some(Cause::invalid("spec.running", message.into()))
        }
        (None, None) => Some(Cause::invalid("spec.running", "RunStrategy must be specified".into())),
        (None, Some(name)) if Strategy::of(None, Some(name)).is_none() => Some(Cause::invalid(
            "spec.runStrategy",
            format!("Invalid RunStrategy ({name})"),
        )),
        (_, _) => None,
    }
}

/// A `VirtualMachineInstance` that is made.
#[must_use]
pub fn vmi(object: &Value, username: &str) -> Vec<Cause> {
    let empty = Map::new();
    let spec = object["spec"].as_object().unwrap_or(&empty);
    let mut causes = Vec::new();
    if username != ACCOUNT {
        causes.extend(labels(&object["metadata"]["labels"], "metadata"));
    }
    let machine = Machine::read(spec).unwrap_or_default();
    if machine.memory().unwrap_or_default() == 0 {
        let message = "no memory requested, at least one of 'spec.domain.memory.guest', 'spec.domain.memory.hugepages.size' or 'spec.domain.resources.requests.memory' must be set";
        causes.push(Cause {
            reason: "FieldValueRequired",
            message: message.into(),
            field: String::new(),
        });
    }
    if let Some(architecture) = machine
        .architecture
        .as_deref()
        .filter(|architecture| *architecture != "amd64")
    {
        causes.push(Cause::invalid(
            "spec.architecture",
            format!("unsupported architecture: {architecture}"),
        ));
    }
    causes.extend(instance(spec, "spec"));
    if causes.is_empty() {
        // What this stand-in cannot do; KubeVirt could.
        let vmi = VirtualMachineInstance::new("", VirtualMachineInstanceSpec { fields: spec.clone() });
        causes.extend(
            domain::domain(&vmi, &machine)
                .err()
                .map(|error| Cause::invalid("spec", error.to_string())),
        );
    }
    causes
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
fn instance(spec: &Map<String, Value>, field: &str) -> Vec<Cause> {
    let machine = match Machine::read(spec) {
        Ok(machine) => machine,
        Err(error) => return vec![Cause::invalid(field, error.to_string())],
    };
    let mut causes = Vec::new();
    for (index, disk) in machine.domain.devices.disks.iter().enumerate() {
        if !machine.volumes.iter().any(|volume| volume.name == disk.name) {
            let at = format!("{field}.domain.devices.disks[{index}].Name");
            causes.push(Cause::invalid(&at, format!("{at} '{}' not found.", disk.name)));
        }
    }
    networks(&machine, field, &mut causes);
    let raw = spec
        .get("domain")
        .and_then(|domain| domain.pointer("/devices/interfaces"))
        .and_then(Value::as_array);
    for (index, interface) in raw.into_iter().flatten().enumerate() {
        if BINDINGS
            .iter()
            .filter(|binding| interface.get(**binding).is_some_and(|value| !value.is_null()))
            .count()
            != 1
        {
            let name = interface["name"].as_str().unwrap_or_default();
            let message = format!("logical {name} interface must have exactly one binding method or binding plugin");
            causes.push(Cause::invalid(
                &format!("{field}.domain.devices.interfaces[{index}]"),
                message,
            ));
        }
    }
    let raw = spec.get("volumes").and_then(Value::as_array);
    for (index, volume) in raw.into_iter().flatten().enumerate() {
        let at = format!("{field}.volumes[{index}]");
        if SOURCES
            .iter()
            .filter(|source| volume.get(**source).is_some_and(|value| !value.is_null()))
            .count()
            != 1
        {
            causes.push(Cause::invalid(
                &at,
                format!("{at} must have exactly one source type set"),
            ));
        }
        causes.extend(
            machine
                .volumes
                .get(index)
                .into_iter()
                .flat_map(|volume| cloud_init(volume, &at)),
        );
    }
    let kind = machine.domain.machine.type_.as_str();
    if !kind.is_empty() && !kind.starts_with("q35") && !kind.starts_with("pc-q35") {
        let at = format!("{field}.domain.machine.type");
        causes.push(Cause::invalid(
            &at,
            format!("{at} is not supported: {kind} (allowed values: [q35* pc-q35*])"),
        ));
    }
    if let Some(strategy) = machine.eviction_strategy.as_deref() {
        let at = format!("{field}.evictionStrategy");
        if !["None", "LiveMigrate", "LiveMigrateIfPossible", "External"].contains(&strategy) {
            causes.push(Cause::invalid(
                &at,
                format!("{at} is set with an unrecognized option: {strategy}"),
            ));
        }
    }
    causes
}

fn networks(machine: &Machine, field: &str, causes: &mut Vec<Cause>) {
    let interfaces = &machine.domain.devices.interfaces;
    for (index, network) in machine.networks.iter().enumerate() {
        if !interfaces.iter().any(|interface| interface.name == network.name) {
            let at = format!("{field}.networks[{index}].name");
            let message = format!("{at} '{}' not found.", network.name);
            causes.push(Cause {
                reason: "FieldValueRequired",
                message,
                field: at,
            });
        }
    }
    for (index, interface) in interfaces.iter().enumerate() {
        if !machine.networks.iter().any(|network| network.name == interface.name) {
            let at = format!("{field}.domain.devices.interfaces[{index}].name");
            causes.push(Cause::invalid(&at, format!("{at} '{}' not found.", interface.name)));
        }
    }
}

fn cloud_init(volume: &Volume, at: &str) -> Vec<Cause> {
    let forms = [
        ("cloudInitNoCloud", &volume.cloud_init_no_cloud),
        ("cloudInitConfigDrive", &volume.cloud_init_config_drive),
    ];
    let mut causes = Vec::new();
    for (form, data) in forms
        .into_iter()
        .filter_map(|(form, data)| Some((form, data.as_ref()?)))
    {
        let at = format!("{at}.{form}");
        for (what, hint, inline, base64, secret) in sources(data) {
            let count = [inline.is_some(), base64.is_some(), secret]
                .into_iter()
                .filter(|set| *set)
                .count();
            if count > 1 {
                causes.push(Cause::invalid(
                    &at,
                    format!("{at} must have only one {what}source set."),
                ));
            }
            let length = inline
                .map_or(0, String::len)
                .max(base64.map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4));
            if length > INLINE_LIMIT {
                let message =
                    format!("{at} {what} exceeds {INLINE_LIMIT} byte limit. Should use {hint} for larger data.");
                causes.push(Cause::invalid(&at, message));
            }
        }
        let network =
            data.network_data.is_some() || data.network_data_base64.is_some() || data.network_data_secret_ref.is_some();
        let user = data.user_data.is_some() || data.user_data_base64.is_some() || data.secret_ref.is_some();
        if !user && !network {
            causes.push(Cause::invalid(
                &at,
                format!("{at} must have at least one userdatasource or one networkdatasource set."),
            ));
        }
    }
    causes
}

type DataSource<'a> = (&'static str, &'static str, Option<&'a String>, Option<&'a String>, bool);

fn sources(data: &CloudInit) -> [DataSource<'_>; 2] {
    fn some(text: Option<&String>) -> Option<&String> {
        text.filter(|text| !text.is_empty())
    }
    [
        (
            "userdata",
            "UserDataSecretRef",
            some(data.user_data.as_ref()),
            some(data.user_data_base64.as_ref()),
            data.secret_ref.is_some(),
        ),
        (
            "networkdata",
            "NetworkDataSecretRef",
            some(data.network_data.as_ref()),
            some(data.network_data_base64.as_ref()),
            data.network_data_secret_ref.is_some(),
        ),
    ]
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
