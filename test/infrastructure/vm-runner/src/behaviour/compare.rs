//! What differs between two answers, a sentence each.
//!
//! Refusals need not be in the same words, but from the same webhook, with the same code, about the same field and for the same
//! cause. Statuses are compared whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Answer;

/// All of them.
pub(super) fn differences(recorded: &Answer, ours: &Answer) -> Vec<String> {
    if recorded.code != ours.code {
        let said = if ours.message.is_empty() { "" } else { ": " };
        return vec![format!(
            "code {} instead of {}{said}{}",
            ours.code, recorded.code, ours.message
        )];
    }
    if recorded.code != 201 {
        return refusals(&recorded.message, &ours.message);
    }
    let mut all = Vec::new();
    let warned = recorded.warnings.iter().map(|warning| warning.replace('\\', ""));
    let warned: Vec<String> = warned
        .map(|warning| warning.trim_start_matches("299 - \"").trim_end_matches('"').to_owned())
        .collect();
    let warns: Vec<&str> = ours
        .warnings
        .iter()
        .map(|warning| warning.trim_end_matches('"'))
        .collect();
    if warned != warns {
        all.push(format!("warnings {warns:?} instead of {warned:?}"));
    }
    for (kind, a, b) in [
        ("VirtualMachine", &recorded.virtual_machine, &ours.virtual_machine),
        ("instance", &recorded.instance, &ours.instance),
    ] {
        for key in ["created", "ready", "printableStatus", "phase"] {
            if a[key] != b[key] {
                all.push(format!("{kind} {key} {} instead of {}", b[key], a[key]));
            }
        }
        all.extend(conditions(kind, &by_type(a), &by_type(b)));
    }
    if recorded.launcher_pods != ours.launcher_pods {
        all.push(format!(
            "{} pods instead of {}",
            ours.launcher_pods, recorded.launcher_pods
        ));
    }
    all
}

fn by_type(status: &Value) -> BTreeMap<String, Value> {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .map(|condition| {
            let type_ = condition["type"].as_str().unwrap_or_default().to_owned();
            let [status, reason, message] = ["status", "reason", "message"].map(|key| condition[key].clone());
            (type_, json!([status, reason, message]))
        })
        .collect()
}

fn conditions(kind: &str, recorded: &BTreeMap<String, Value>, ours: &BTreeMap<String, Value>) -> Vec<String> {
    let types: BTreeSet<&String> = recorded.keys().chain(ours.keys()).collect();
    types
        .into_iter()
        .filter(|type_| recorded.get(*type_) != ours.get(*type_))
        .map(|type_| {
            let show = |all: &BTreeMap<String, Value>| all.get(type_).map_or("none".to_owned(), Value::to_string);
            format!("{kind} condition {type_} {} instead of {}", show(ours), show(recorded))
        })
        .collect()
}

fn refusals(recorded: &str, ours: &str) -> Vec<String> {
    let (by, what) = split(recorded);
    let (our_by, our_what) = split(ours);
    if by != our_by {
        return vec![format!("refused by {our_by} instead of {by}")];
    }
    let mut all = Vec::new();
    let our_fields = fields(our_what);
    for field in fields(what) {
        // KubeVirt repeats itself in some paths: the field is named if one is the other's beginning.
        let same = |our: &String| our.len() * 2 > field.len() && field.starts_with(our.as_str());
        if !our_fields.iter().any(|our| our.starts_with(&field) || same(our)) {
            all.push(format!("the refusal does not name {field}: {our_what}"));
        }
    }
    let (words, our_words) = (words(what), words(our_what));
    if words.intersection(&our_words).count() * 2 < words.len() {
        all.push(format!("another cause: {our_what}"));
    }
    all
}

/// Who refused, and what they said.
fn split(message: &str) -> (&str, &str) {
    message
        .split_once(" denied the request: ")
        .unwrap_or(("the API server", message))
}

/// The fields that a text names.
fn fields(text: &str) -> BTreeSet<String> {
    let trim = |word: &str| word.trim_matches(|c: char| ".,:'\"()".contains(c)).to_lowercase();
    text.split_whitespace()
        .filter_map(|word| word.find("spec.").map(|at| trim(&word[at..])))
        .collect()
}

/// The other words of a text, without examples in brackets.
fn words(text: &str) -> BTreeSet<String> {
    let text = text.split("(e.g.").next().unwrap_or_default();
    text.split_whitespace()
        .filter(|word| !word.contains("spec."))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, webhook: &str, what: &str) -> Answer {
        Answer {
            code,
            message: format!("admission webhook \"{webhook}\" denied the request: {what}"),
            ..Answer::default()
        }
    }

    #[test]
    fn a_refusal_is_the_same_by_code_webhook_field_and_cause() {
        let recorded = refusal(
            422,
            "validator",
            "spec.a.disks[0] is set with an unrecognized bus floppy",
        );
        for (ours, same) in [
            (
                refusal(
                    422,
                    "validator",
                    "spec.a.disks[0].disk.bus is set with an unrecognized bus floppy: no",
                ),
                true,
            ),
            (
                refusal(
                    400,
                    "validator",
                    "spec.a.disks[0] is set with an unrecognized bus floppy",
                ),
                false,
            ),
            (
                refusal(422, "mutator", "spec.a.disks[0] is set with an unrecognized bus floppy"),
                false,
            ),
            (
                refusal(
                    422,
                    "validator",
                    "spec.a.disks[1] is set with an unrecognized bus floppy",
                ),
                false,
            ),
            (
                refusal(422, "validator", "spec.a.disks[0] must not have the same name"),
                false,
            ),
        ] {
            assert_eq!(differences(&recorded, &ours).is_empty(), same, "{}", ours.message);
        }
    }

    #[test]
    fn a_status_is_the_same_down_to_the_message() {
        let accepted = |message: &str, pods: usize| Answer {
            code: 201,
            instance: json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False", "message": message}]}),
            launcher_pods: pods,
            ..Answer::default()
        };
        assert_eq!(differences(&accepted("a", 1), &accepted("a", 1)), [""; 0]);
        assert_eq!(differences(&accepted("a", 1), &accepted("b", 1)).len(), 1);
        assert_eq!(
            differences(&accepted("a", 1), &accepted("a", 0)),
            ["0 pods instead of 1"]
        );
    }
}
