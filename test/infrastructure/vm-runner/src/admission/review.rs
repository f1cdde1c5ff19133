//! AdmissionReview, the few fields of it that are used. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the API server sends.
#[derive(Debug, Deserialize)]
pub struct Review {
    /// The question.
    pub request: Request,
}

/// The question.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// To be repeated in the answer.
    pub uid: String,
    /// Name of the object, if it has one already.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// CREATE or UPDATE.
    pub operation: String,
    /// Who asks.
    pub user_info: User,
    /// The object.
    pub object: Value,
    /// As it was.
    pub old_object: Value,
    /// Nothing may be written.
    pub dry_run: bool,
}

/// Who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Full name.
    pub username: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Yes.
    Allow,
    /// Yes, with these warnings.
    Warn(Vec<String>),
    /// Yes, with this object instead.
    Replace(Value),
    /// No: 422, the causes joined by ", ".
    Deny(Vec<Cause>),
    /// No: 400, the object cannot be read.
    Malformed(String),
    /// No: 429.
    TooManyRequests(String),
}

impl Answer {
    fn allows(&self) -> bool {
        matches!(self, Answer::Allow | Answer::Warn(_) | Answer::Replace(_))
    }
}

/// One reason for a refusal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// FieldValueInvalid and the like.
    pub reason: &'static str,
    /// Sentence.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

impl Cause {
    /// An invalid value: what is wrong with this field.
    #[must_use]
    pub fn at(field: &str, what: &str) -> Cause {
        Cause::invalid(field, format!("{field} {what}"))
    }

    /// An invalid value.
    #[must_use]
    pub fn invalid(field: &str, message: String) -> Cause {
        Cause {
            reason: "FieldValueInvalid",
            message,
            field: field.to_owned(),
        }
    }
}

/// The answer as the API server reads it.
#[must_use]
pub fn response(request: &Request, answer: &Answer) -> Value {
    let mut response = json!({"uid": request.uid, "allowed": answer.allows()});
    match answer {
        Answer::Allow => {}
        Answer::Warn(warnings) => response["warnings"] = json!(warnings),
        Answer::Replace(object) => {
            let operations: Vec<Value> = ["metadata", "spec", "status"]
                .iter()
                .filter(|key| object.get(**key) != request.object.get(**key))
                .map(|key| match object.get(*key) {
                    Some(value) => json!({"op": "add", "path": format!("/{key}"), "value": value}),
                    None => json!({"op": "remove", "path": format!("/{key}")}),
                })
                .collect();
            if !operations.is_empty() {
                response["patchType"] = json!("JSONPatch");
                response["patch"] = json!(base64(json!(operations).to_string().as_bytes()));
            }
        }
        Answer::Deny(causes) => {
            let message = message(causes);
            response["status"] =
                json!({"code": 422, "reason": "Invalid", "message": message, "details": {"causes": causes}});
        }
        Answer::Malformed(message) => {
            response["status"] = json!({"code": 400, "reason": "BadRequest", "message": message});
        }
        Answer::TooManyRequests(message) => {
            response["status"] = json!({"code": 429, "reason": "TooManyRequests", "message": message});
        }
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// The causes in one sentence, as KubeVirt joins them.
#[must_use]
pub fn message(causes: &[Cause]) -> String {
    let messages: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
    messages.join(", ")
}

/// Base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    // k8s-openapi's byte string is the encoder that is there anyway.
    match serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_answered_with_422() {
        let causes = vec![Cause::invalid("a", "one".into()), Cause::invalid("b", "two".into())];
        let answer = response(
            &Request {
                uid: "u".into(),
                ..Request::default()
            },
            &Answer::Deny(causes),
        );
        assert_eq!(answer["response"]["status"]["message"], "one, two");
        assert_eq!(answer["response"]["status"]["code"], 422);
        assert_eq!(answer["response"]["uid"], "u");
    }

    #[test]
    fn an_unchanged_object_needs_no_patch() {
        let request = Request {
            object: json!({"spec": {"a": 1}}),
            ..Request::default()
        };
        assert!(
            response(&request, &Answer::Replace(json!({"spec": {"a": 1}})))["response"]
                .get("patch")
                .is_none()
        );
        assert!(
            response(&request, &Answer::Replace(json!({"spec": {"a": 2}})))["response"]
                .get("patch")
                .is_some()
        );
        assert_eq!(base64(b"abc"), "YWJj");
    }
}
