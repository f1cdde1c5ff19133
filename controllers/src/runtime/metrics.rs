//! Metrics.

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{sync::LazyLock, time::Duration};

type Labels = Vec<(&'static str, String)>;

struct Metrics {
    registry: Registry,
    passes: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    undecodable: Family<Labels, Counter>,
    calls: Family<Labels, Counter>,
    call_seconds: Family<Labels, Histogram>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut registry = Registry::with_prefix("capn");
    let passes = Family::<Labels, Counter>::default();
    let seconds =
        Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]));
    let undecodable = Family::<Labels, Counter>::default();
    let calls = Family::<Labels, Counter>::default();
    let call_seconds =
        Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new([0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 10.0]));
    registry.register("calls", "Calls to API servers, by kind, verb and result", calls.clone());
    registry.register(
        "call_duration_seconds",
        "Time of a call to an API server, by kind and verb",
        call_seconds.clone(),
    );
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
        calls,
        call_seconds,
    }
});

/// Counts a pass over an object.
pub fn observe_pass(kind: &str, finished: bool, took: Duration) {
    let result = if finished { "finished" } else { "failed" };
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

/// Counts a call to an API server. `result` is ok, refused, unreachable or undecodable.
pub fn observe_call(kind: &str, verb: &'static str, result: &'static str, took: Duration) {
    let by = |name, value: &str| (name, value.to_owned());
    let of = [by("kind", kind), by("verb", verb)];
    let counted = of.iter().cloned().chain([by("result", result)]).collect();
    METRICS.calls.get_or_create(&counted).inc();
    METRICS
        .call_seconds
        .get_or_create(&of.to_vec())
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
