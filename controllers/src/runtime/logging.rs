//! Logs.

use crate::args::{Args, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging. kube's client stays silent: it logs answers that it cannot decode whole, Secrets
/// included, and every connection to a workload cluster that fails, which a pass reports itself.
pub fn init(args: &Args) {
    let filter = format!("{},kube_client::client=off,hyper=warn,rustls=warn", args.log_level);
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info,kube_client::client=off"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
}
