//! Logs and metrics.

use crate::args::{Args, LogFormat};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{sync::LazyLock, time::Duration};
use tracing_subscriber::EnvFilter;

/// Starts logging. kube's client stays silent: it logs answers that it cannot decode whole, Secrets
/// included, and every connection to a tenant that fails, which a pass reports itself.
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

type Labels = Vec<(&'static str, String)>;

struct Metrics {
    registry: Registry,
    passes: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    undecodable: Family<Labels, Counter>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut registry = Registry::with_prefix("capn");
    let passes = Family::<Labels, Counter>::default();
    let seconds =
        Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]));
    let undecodable = Family::<Labels, Counter>::default();
    registry.register(
        "undecodable_objects",
        "Times that an object was read which cannot be decoded, by kind",
        undecodable.clone(),
    );
    registry.register("reconcile", "Passes over objects, by kind and result", passes.clone());
    registry.register("reconcile_duration_seconds", "Time of a pass, by kind", seconds.clone());
    Metrics {
        registry,
        passes,
        seconds,
        undecodable,
    }
});

/// Counts a pass over an object.
pub fn observe_pass(kind: &str, finished: bool, took: Duration) {
    let result = if finished { "finished" } else { "unfinished" };
    let metrics = &*METRICS;
    metrics
        .passes
        .get_or_create(&vec![("kind", kind.to_string()), ("result", result.to_owned())])
        .inc();
    metrics
        .seconds
        .get_or_create(&vec![("kind", kind.to_string())])
        .observe(took.as_secs_f64());
}

/// Counts an object that cannot be decoded.
pub fn observe_undecodable(kind: &str) {
    METRICS
        .undecodable
        .get_or_create(&vec![("kind", kind.to_owned())])
        .inc();
}

/// The metrics in OpenMetrics' text format.
pub fn metrics() -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut text, &METRICS.registry);
    text
}
