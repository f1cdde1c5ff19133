//! Names, DNS, probes, eviction and start strategies. Pure.

use std::net::IpAddr;

use serde_json::Value;

use super::read::{list, no_label, no_subdomain, present, some_text, text};
use crate::admission::review::Cause;

const EVICTION_STRATEGIES: [&str; 4] = ["None", "LiveMigrate", "LiveMigrateIfPossible", "External"];
const PROBES: [&str; 5] = ["exec", "httpGet", "tcpSocket", "guestAgentPing", "grpc"];

/// What a spec says about the guest and its pod.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = names(spec, field);
    causes.extend(dns(spec, field));
    for kind in ["readinessProbe", "livenessProbe"] {
        causes.extend(probe(spec, kind, &format!("{field}.{kind}")));
    }
    if let Some(strategy) = text(spec, "/evictionStrategy").filter(|word| !EVICTION_STRATEGIES.contains(word)) {
        let what = format!("is set with an unrecognized option: {strategy}");
        causes.push(Cause::at(&format!("{field}.evictionStrategy"), &what));
    }
    if let Some(strategy) = text(spec, "/startStrategy").filter(|word| *word != "Paused") {
        let what = format!("is set with an unrecognized option: {strategy}");
        causes.push(Cause::at(&format!("{field}.startStrategy"), &what));
    }
    causes
}

fn names(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(why) = some_text(spec, "/hostname").and_then(no_label) {
        let what = format!("does not conform to the kubernetes DNS_LABEL rules : {why}");
        causes.push(Cause::at(&format!("{field}.hostname"), &what));
    }
    if let Some(why) = some_text(spec, "/subdomain").and_then(no_subdomain) {
        let what = format!("does not conform to the kubernetes DNS_SUBDOMAIN rules : {why}");
        causes.push(Cause::at(&format!("{field}.subdomain"), &what));
    }
    causes
}

fn dns(spec: &Value, field: &str) -> Vec<Cause> {
    let servers = list(spec, "/dnsConfig/nameservers");
    let mut causes = Vec::new();
    if text(spec, "/dnsPolicy") == Some("None") && servers.is_empty() {
        let what = "is None, so dnsConfig must be provided with at least one nameserver";
        causes.push(Cause::at(&format!("{field}.dnsPolicy"), what));
    }
    for (index, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        if server.parse::<IpAddr>().is_err() {
            let what = format!("must be a valid IP address: {server}");
            causes.push(Cause::at(&format!("{field}.dnsConfig.nameservers[{index}]"), &what));
        }
    }
    causes
}

fn probe(spec: &Value, kind: &str, at: &str) -> Option<Cause> {
    let probe = spec.get(kind).filter(|probe| probe.is_object())?;
    let [handler] = present(probe, &PROBES)[..] else {
        return Some(Cause::at(at, "must have exactly one probe type set"));
    };
    let networks = list(spec, "/networks");
    let detached = spec["domain"]["devices"]["autoattachPodInterface"] == false;
    let pod = networks.iter().any(|network| network["pod"].is_object()) || (networks.is_empty() && !detached);
    (["httpGet", "tcpSocket"].contains(&handler) && !pod).then(|| {
        Cause::at(
            &format!("{at}.{handler}"),
            "is only allowed if the pod network is attached",
        )
    })
}
