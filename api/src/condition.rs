//! Conditions as `metav1.Condition` has them, and how one is set.

use crate::reason::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// True, False or Unknown.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A `metav1.Condition`. Decoding is lenient, because objects that an older provider stored carry
/// Cluster API's v1beta1 conditions, whose reason and message are optional.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    #[serde(default)]
    pub status: ConditionStatus,
    /// Generation of the object that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    #[serde(default = "epoch", deserialize_with = "time_or_epoch")]
    pub last_transition_time: Time,
    /// One CamelCase word for programs.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people; empty when all is as wished.
    #[serde(default)]
    pub message: String,
}

/// Whoever may write a status may write a time that is out of range here: it must not make the whole
/// object undecodable.
fn time_or_epoch<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).map_or_else(epoch, Time))
}

fn epoch() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A condition of this object, as metav1.Condition.",
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"description": "Name of the condition, CamelCase.", "type": "string", "maxLength": 316},
                "status": {"description": "True, False or Unknown.", "type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"description": "Generation that the condition was set for.", "type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"description": "When the status last changed.", "type": "string", "format": "date-time"},
                "reason": {"description": "One CamelCase word for programs.", "type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"description": "A sentence for people; may be empty.", "type": "string", "maxLength": MAX_MESSAGE_LENGTH}
            }
        })
    }
}

/// What a controller says of one condition; when it changed follows from what was there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConditionUpdate {
    /// Name of the condition.
    pub type_: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One CamelCase word for programs.
    pub reason: Cow<'static, str>,
    /// A sentence for people; empty when all is as wished.
    pub message: String,
}

/// Words that begin a sentence as they are.
const NAMES: [&str; 3] = ["etcd", "kubectl", "kubelet"];

/// A message as it is shown to users, in conditions and Events: it begins with a capital letter, unless its first
/// word is a name.
pub fn sentence(mut message: String) -> String {
    let word = message.split([' ', ',', ':']).next().unwrap_or_default();
    let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_word
        && !NAMES.contains(&word)
        && let Some(first) = message.get_mut(..1)
    {
        first.make_ascii_uppercase();
    }
    message
}

impl ConditionUpdate {
    /// An update from its parts.
    pub fn new(
        type_: &'static str,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status: status.into(),
            reason: reason.into(),
            message: sentence(message.into()),
        }
    }

    /// The same, with a reason in the words of somebody else, such as KubeVirt.
    pub fn with_reason_of_others(self, reason: Option<String>) -> Self {
        Self {
            reason: reason.map_or(self.reason, Cow::Owned),
            ..self
        }
    }

    /// The condition as it was, or Unknown when there was none.
    pub fn kept(old: &[Condition], type_: &'static str) -> Self {
        match find(old, type_) {
            Some(old) => Self {
                type_,
                status: old.status,
                reason: Cow::Owned(old.reason.clone()),
                message: old.message.clone(),
            },
            None => Self::new(
                type_,
                ConditionStatus::Unknown,
                Reason::NotYetKnown,
                "not looked at yet",
            ),
        }
    }
}

/// Longest message that the schema admits, in characters.
const MAX_MESSAGE_LENGTH: usize = 32_768;

/// The conditions that `updates` make of `old`: sorted by type, with a transition time of `now`
/// only where the status changed. A type without an update is dropped.
pub fn conditions(
    old: &[Condition],
    updates: Vec<ConditionUpdate>,
    generation: Option<i64>,
    now: Time,
) -> Vec<Condition> {
    let mut new: Vec<_> = updates
        .into_iter()
        .map(|update| {
            let since = old
                .iter()
                .find(|c| c.type_ == update.type_ && c.status == update.status)
                .map(|c| c.last_transition_time.clone());
            Condition {
                type_: update.type_.to_owned(),
                status: update.status,
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| now.clone()),
                reason: update.reason.into_owned(),
                message: fitting(update.message),
            }
        })
        .collect();
    new.sort_by(|a, b| a.type_.cmp(&b.type_));
    new
}

/// One message that is too long would keep the whole status from being written.
fn fitting(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_LENGTH) {
        message.truncate(end);
    }
    message
}

/// The condition of this type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the condition of this type is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == ConditionStatus::True)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_message_begins_as_a_sentence_does() {
        for (message, shown) in [
            ("waiting for etcd to start", "Waiting for etcd to start"),
            ("no API server is ready", "No API server is ready"),
            ("etcd is on its way", "etcd is on its way"),
            ("kube-apiserver ends", "kube-apiserver ends"),
            ("spec.version is wrong", "spec.version is wrong"),
            ("Secret a/b is gone", "Secret a/b is gone"),
            ("örtlich", "örtlich"),
            ("", ""),
        ] {
            assert_eq!(sentence(message.into()), shown);
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = conditions(
            &[],
            vec![ConditionUpdate::new("Ready", false, Reason::VMNotReady, "for a VM")],
            Some(1),
            at(1),
        );
        let same = conditions(
            &first,
            vec![ConditionUpdate::new("Ready", false, Reason::DVNotReady, "reason")],
            Some(2),
            at(2),
        );
        assert_eq!(same[0].last_transition_time, at(1));
        assert_eq!(
            (same[0].reason.as_str(), same[0].observed_generation),
            ("DVNotReady", Some(2))
        );
        let flipped = conditions(
            &same,
            vec![ConditionUpdate::new("Ready", true, Reason::Ready, "")],
            Some(2),
            at(3),
        );
        assert_eq!(flipped[0].last_transition_time, at(3));
    }

    #[test]
    fn a_v1beta1_condition_without_reason_decodes() {
        let stored = serde_json::json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "severity": "Info"});
        assert_eq!(
            serde_json::from_value::<Condition>(stored).unwrap().status,
            ConditionStatus::True
        );
    }
}
