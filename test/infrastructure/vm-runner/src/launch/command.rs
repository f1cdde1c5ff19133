//! Programs that the launcher calls, with their words when they fail.

use std::path::Path;

use tokio::process::Command;

/// Why the machine cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A program cannot be started.
    #[error("cannot run {0}")]
    Start(String, #[source] std::io::Error),
    /// A program failed.
    #[error("{0} failed: {1}")]
    Program(String, String),
    /// A file or socket cannot be used.
    #[error("cannot use {0}")]
    Io(String, #[source] std::io::Error),
    /// What another program said is not understood.
    #[error("cannot understand {0}")]
    Json(String, #[source] serde_json::Error),
    /// The pod is not as it should be.
    #[error("{0}")]
    Pod(String),
}

/// Maps an I/O error to the thing it happened with.
pub fn io(what: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> LaunchError {
    let what = what.as_ref().display().to_string();
    move |source| LaunchError::Io(what, source)
}

/// Runs a program to its end and returns what it printed.
pub async fn run(program: &str, arguments: &[&str]) -> Result<Vec<u8>, LaunchError> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .map_err(|source| LaunchError::Start(program.into(), source))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LaunchError::Program(
        format!("{program} {}", arguments.join(" ")),
        words,
    ))
}
