//! The API server's audit log: who wrote what. The log is written before a request is answered,
//! so what a test has seen the effect of is in it.

use serde::Deserialize;
use std::{fs, path::PathBuf};

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// A write that was tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// User that wrote.
    pub user: String,
    /// Such as create, update, patch or delete.
    pub verb: String,
    /// `resource` or `resource/subresource`.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
}

#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) path: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Audit {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn text(&self) -> String {
        fs::read(&self.path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.text().rfind('\n').map_or(0, |end| end + 1))
    }

    /// Writes since `mark`, in their order. Events and Leases say nothing of the world and are left out.
    pub(crate) fn writes(&self, since: Mark) -> Vec<Write> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let reads = ["get", "list", "watch"];
        complete
            .get(since.0..)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .filter(|line| !reads.contains(&line.verb.as_str()))
            .filter_map(|line| {
                let object = line.object_ref?;
                let resource = match object.subresource.as_str() {
                    "" => object.resource,
                    subresource => format!("{}/{subresource}", object.resource),
                };
                Some(Write {
                    user: line.user.username,
                    verb: line.verb,
                    resource,
                    namespace: object.namespace,
                    name: object.name,
                    code: line.response_status.map_or(0, |status| status.code),
                })
            })
            .filter(|write| write.resource != "events" && write.resource != "leases")
            .collect()
    }

    /// The last lines that speak of a namespace.
    pub(crate) fn tail(&self, namespace: &str) -> String {
        let text = self.text();
        let place = format!("\"namespace\":\"{namespace}\"");
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&place)).collect();
        lines[lines.len().saturating_sub(500)..].join("\n")
    }
}
