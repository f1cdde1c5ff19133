//! Networks and interfaces. Pure.

use serde_json::Value;

use super::read::{is_pci_address, list, present, some_text, text};
use crate::admission::review::Cause;
use crate::launch::dhcp;

const BINDINGS: [&str; 8] = [
    "bridge",
    "masquerade",
    "sriov",
    "passtBinding",
    "binding",
    "slirp",
    "macvtap",
    "passt",
];
const DISCONTINUED: [(&str, &str); 3] = [("slirp", "Slirp"), ("macvtap", "Macvtap"), ("passt", "Passt")];
const MODELS: [&str; 7] = ["e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio"];
const STATES: [&str; 3] = ["up", "down", "absent"];

/// All networks and interfaces of a spec.
pub(super) fn check(spec: &Value, field: &str) -> Vec<Cause> {
    let interfaces = list(spec, "/domain/devices/interfaces");
    let networks = list(spec, "/networks");
    let mut causes = Vec::new();
    for (index, network) in networks.iter().enumerate() {
        let at = format!("{field}.networks[{index}]");
        let name = text(network, "/name").unwrap_or_default();
        if networks[..index].iter().any(|other| other["name"] == network["name"]) {
            causes.push(Cause::at(
                &format!("{at}.name"),
                &format!("'{name}' is already the name of another network"),
            ));
        }
        if present(network, &["pod", "multus", "resourceClaim"]).len() != 1 {
            causes.push(Cause::at(&at, "must have exactly one network type"));
        }
        if !interfaces.iter().any(|interface| interface["name"] == network["name"]) {
            causes.push(Cause {
                reason: "FieldValueRequired",
                ..Cause::at(&format!("{at}.name"), &format!("'{name}' not found."))
            });
        }
    }
    let pod = |interface: &&Value| network_of(networks, interface).is_some_and(|network| network["pod"].is_object());
    if interfaces.iter().filter(pod).count() > 1 && networks.iter().filter(|n| n["pod"].is_object()).count() > 1 {
        causes.push(Cause::at(
            &format!("{field}.interfaces"),
            "has more than one interface that is connected to a pod network",
        ));
    }
    for (index, interface) in interfaces.iter().enumerate() {
        let at = format!("{field}.domain.devices.interfaces[{index}]");
        let name = text(interface, "/name").unwrap_or_default();
        if network_of(networks, interface).is_none() {
            causes.push(Cause::at(&format!("{at}.name"), &format!("'{name}' not found.")));
        }
        if interfaces[..index]
            .iter()
            .any(|other| other["name"] == interface["name"])
        {
            let what = format!("'{name}': only one interface can be connected to one specific network");
            causes.push(Cause::at(&format!("{at}.name"), &what));
        }
        causes.extend(self::interface(interface, network_of(networks, interface), name, &at));
    }
    causes
}

fn network_of<'a>(networks: &'a [Value], interface: &Value) -> Option<&'a Value> {
    networks.iter().find(|network| network["name"] == interface["name"])
}

fn interface(interface: &Value, network: Option<&Value>, name: &str, at: &str) -> Vec<Cause> {
    let mut causes = binding(interface, network, name, at);
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        let what = format!(
            "'{name}': a network interface name can only contain alphabetical characters, numbers, dashes (-) or underscores (_)"
        );
        causes.push(Cause::at(&format!("{at}.name"), &what));
    }
    if let Some(model) = some_text(interface, "/model").filter(|model| !MODELS.contains(model)) {
        let message = format!("interface {at}.name uses model {model} that is not supported.");
        causes.push(Cause::invalid(&format!("{at}.model"), message));
    }
    if let Some(mac) = some_text(interface, "/macAddress").filter(|mac| dhcp::mac(mac).is_none()) {
        let message = format!("interface {at}.name has malformed MAC address ({mac}).");
        causes.push(Cause::invalid(&format!("{at}.macAddress"), message));
    }
    if let Some(address) = some_text(interface, "/pciAddress").filter(|address| !is_pci_address(address)) {
        let message = format!("interface {at}.name has malformed PCI address ({address}).");
        causes.push(Cause::invalid(&format!("{at}.pciAddress"), message));
    }
    if let Some(state) = some_text(interface, "/state").filter(|state| !STATES.contains(state)) {
        let message = format!("logical {name} interface state value is unsupported: {state}");
        causes.push(Cause::invalid(&format!("{at}.state"), message));
    }
    causes.extend(ports(interface, at));
    causes
}

fn binding(interface: &Value, network: Option<&Value>, name: &str, at: &str) -> Vec<Cause> {
    let bindings = present(interface, &BINDINGS);
    let [binding] = bindings[..] else {
        let message = format!("logical {name} interface must have exactly one binding method or binding plugin");
        return vec![Cause::invalid(at, message)];
    };
    let mut causes = Vec::new();
    if let Some((_, word)) = DISCONTINUED.iter().find(|(key, _)| *key == binding) {
        let message = format!("{at}.{binding}: {word} network binding has been discontinued since v1.3");
        causes.push(Cause::invalid(&format!("{at}.{binding}"), message));
    }
    let pod = network.is_none_or(|network| network["pod"].is_object());
    if binding == "masquerade" && !pod {
        causes.push(Cause::at(
            &format!("{at}.masquerade"),
            "is only possible on the pod network",
        ));
    }
    if binding == "masquerade" && text(interface, "/macAddress").is_some_and(|mac| mac == "02:00:00:00:00:00") {
        let what = "02:00:00:00:00:00 is reserved by the masquerade binding";
        causes.push(Cause::at(&format!("{at}.macAddress"), what));
    }
    causes
}

fn ports(interface: &Value, at: &str) -> Vec<Cause> {
    let ports = list(interface, "/ports");
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("{at}.ports[{index}]");
        match port["port"].as_i64() {
            None | Some(0) => causes.push(Cause::at(&at, "has no port: that field is mandatory")),
            Some(1..=65535) => {}
            Some(number) => {
                causes.push(Cause::at(
                    &at,
                    &format!("{number} is no port: it must be from 1 to 65535"),
                ));
            }
        }
        let protocol = some_text(port, "/protocol");
        if let Some(protocol) = protocol.filter(|word| !["tcp", "udp"].contains(&word.to_lowercase().as_str())) {
            causes.push(Cause::at(
                &format!("{at}.protocol"),
                &format!("{protocol} is unknown: only TCP or UDP allowed"),
            ));
        }
        let Some(name) = some_text(port, "/name") else { continue };
        if ports[..index].iter().any(|other| text(other, "/name") == Some(name)) {
            causes.push(Cause::at(
                &format!("{at}.name"),
                &format!("is a duplicate name of the port: {name}"),
            ));
        }
        if !is_port_name(name) {
            causes.push(Cause::at(
                &format!("{at}.name"),
                &format!("is an invalid name of the port: {name}"),
            ));
        }
    }
    causes
}

/// Kubernetes' rule for names of ports.
fn is_port_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 15
        && name.chars().all(good)
        && name.chars().any(|c| c.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
