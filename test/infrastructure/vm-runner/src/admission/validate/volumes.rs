//! Volumes: names, one source each, and what is wrong with a source. Pure.

use serde_json::Value;

use super::read::{list, no_label, present, some_text};
use crate::admission::review::Cause;

const INLINE_LIMIT: usize = 2048;
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

/// All volumes of a spec.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let volumes = list(spec, "/volumes");
    let mut causes = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("{field}.volumes[{index}]");
        let name = volume["name"].as_str().unwrap_or_default();
        if let Some(first) = volumes[..index]
            .iter()
            .position(|other| other["name"] == volume["name"])
        {
            let message = format!("{at} and {field}.volumes[{first}] must not have the same name '{name}'");
            causes.push(Cause::invalid(&format!("{at}.name"), message));
        }
        if let Some(why) = no_label(name) {
            causes.push(Cause::at(&format!("{at}.name"), &format!("'{name}': {why}")));
        }
        causes.extend(source(volume, &at));
    }
    causes
}

fn source(volume: &Value, at: &str) -> Vec<Cause> {
    let [kind] = present(volume, &SOURCES)[..] else {
        return vec![Cause::at(at, "must have exactly one source type set")];
    };
    let (source, at) = (&volume[kind], format!("{at}.{kind}"));
    match kind {
        "containerDisk" => some_text(source, "/path")
            .filter(|path| !path.starts_with('/') || path.split('/').any(|part| part == ".." || part == "."))
            .map(|path| {
                let what = format!("must have an absolute path to a file without relative components, not '{path}'");
                Cause::at(&at, &what)
            })
            .into_iter()
            .collect(),
        "hostDisk" => vec![Cause::at(
            &at,
            "is not possible: the HostDisk feature gate is not enabled",
        )],
        "cloudInitNoCloud" | "cloudInitConfigDrive" => cloud_init(source, kind, &at),
        _ => Vec::new(),
    }
}

/// One kind of cloud-init data: its word, the inline field, and the field for a Secret.
struct Data {
    word: &'static str,
    inline: &'static str,
    secret: &'static str,
    hint: &'static str,
}

const DATA: [Data; 2] = [
    Data {
        word: "userdata",
        inline: "userData",
        secret: "secretRef",
        hint: "UserDataSecretRef",
    },
    Data {
        word: "networkdata",
        inline: "networkData",
        secret: "networkDataSecretRef",
        hint: "NetworkDataSecretRef",
    },
];

fn cloud_init(source: &Value, kind: &str, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut any = false;
    for data in &DATA {
        let inline = some_text(source, &format!("/{}", data.inline));
        let base64 = some_text(source, &format!("/{}Base64", data.inline));
        let secret = source.get(data.secret).is_some_and(|secret| !secret.is_null());
        let count = [inline.is_some(), base64.is_some(), secret]
            .into_iter()
            .filter(|set| *set)
            .count();
        any |= count > 0;
        if count > 1 {
            causes.push(Cause::at(at, &format!("must have only one {}source set.", data.word)));
        }
        let decoded = base64.map(decoded_length);
        if decoded == Some(None) {
            let field = format!("{at}.{}Base64", data.inline);
            causes.push(Cause::at(&field, &format!("({kind}) is not a valid base64 value.")));
        }
        let length = inline.map_or(0, str::len).max(decoded.flatten().unwrap_or_default());
        if length > INLINE_LIMIT {
            let (word, hint) = (data.word, data.hint);
            let what = format!("{word} exceeds {INLINE_LIMIT} byte limit. Should use {hint} for larger data.");
            causes.push(Cause::at(at, &what));
        }
    }
    if !any {
        causes.push(Cause::at(
            at,
            "must have at least one userdatasource or one networkdatasource set.",
        ));
    }
    causes
}

/// Length of what is encoded; nothing when it is no Base64.
fn decoded_length(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let data = text.trim_end_matches('=');
    let good = data.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/');
    (good && text.len().is_multiple_of(4) && text.len() - data.len() <= 2).then_some(data.len() * 3 / 4)
}
