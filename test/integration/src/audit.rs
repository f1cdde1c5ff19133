//! The API server's audit log: who wrote what. The log is written before a request is answered,
//! so what a test has seen the effect of is in it.

use serde::Deserialize;
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

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

    /// What was written since then, whole lines only.
    fn since(&self, Mark(start): Mark) -> String {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        let bytes: Vec<u8> = read().unwrap_or_default();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(fs::metadata(&self.path).map_or(0, |metadata| metadata.len()))
    }

    /// Writes since `mark`, in their order.
    pub(crate) fn writes(&self, since: Mark) -> Vec<Write> {
        let text = self.since(since);
        let reads = ["get", "list", "watch"];
        text.lines()
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
            .collect()
    }

    /// The last lines that speak of a namespace.
    pub(crate) fn tail(&self, namespace: &str) -> String {
        let text = self.since(Mark(0));
        let place = format!("\"namespace\":\"{namespace}\"");
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&place)).collect();
        lines[lines.len().saturating_sub(500)..].join("\n")
    }
}
