//! QMP: powerdown and quit out, the reason of a shutdown in.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::launch::command::{LaunchError, io};
use crate::launch::qemu::QMP;

/// A connection to qemu.
pub struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

/// What qemu says without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Message {
    /// SHUTDOWN, RESET and so on; empty for answers.
    pub event: String,
    /// Details.
    pub data: Details,
}

/// Details of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Details {
    /// guest-shutdown, host-signal and so on.
    pub reason: String,
}

impl Monitor {
    /// Connects once qemu listens.
    pub async fn connect() -> Result<Monitor, LaunchError> {
        let (reader, writer) = UnixStream::connect(QMP).await.map_err(io(QMP))?.into_split();
        let mut monitor = Monitor {
            lines: BufReader::new(reader).lines(),
            writer,
        };
        monitor.send("qmp_capabilities").await?;
        Ok(monitor)
    }

    /// Sends a command without arguments; its answer is one of the next messages.
    pub async fn send(&mut self, command: &str) -> Result<(), LaunchError> {
        let line = format!("{}\n", json!({"execute": command}));
        self.writer.write_all(line.as_bytes()).await.map_err(io(QMP))
    }

    /// The next message; none when qemu has closed.
    pub async fn next(&mut self) -> Option<Message> {
        let line = self.lines.next_line().await.ok().flatten()?;
        Some(message(&line))
    }
}

fn message(line: &str) -> Message {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    Message::deserialize(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_says_why() {
        let told = message(
            r#"{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
        );
        assert_eq!(
            (told.event.as_str(), told.data.reason.as_str()),
            ("SHUTDOWN", "guest-shutdown")
        );
        assert_eq!(message(r#"{"return": {}}"#).event, "");
    }
}
