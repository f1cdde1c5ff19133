//! What the checks have in common: reading JSON and Kubernetes' rules for names. Pure.

use serde_json::Value;

/// The elements of a list, none when it is not there.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

/// A text, if it is there.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// A text that says something.
pub(super) fn some_text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    text(value, pointer).filter(|text| !text.is_empty())
}

/// Those of the keys that the object has a value for.
pub(super) fn present<'a>(value: &Value, keys: &[&'a str]) -> Vec<&'a str> {
    let there = |key: &&&str| value.get(**key).is_some_and(|value| !value.is_null());
    keys.iter().filter(there).copied().collect()
}

/// Why a name is no DNS label.
pub(super) fn no_label(name: &str) -> Option<&'static str> {
    if name.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!is_label(name)).then_some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    )
}

/// Why a name is no DNS subdomain.
pub(super) fn no_subdomain(name: &str) -> Option<&'static str> {
    if name.len() > 253 {
        return Some("must be no more than 253 characters");
    }
    (!name.split('.').all(is_label)).then_some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    )
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// `0000:81:01.4`.
pub(super) fn is_pci_address(text: &str) -> bool {
    let hex = |part: &str, length: usize| part.len() == length && part.chars().all(|c| c.is_ascii_hexdigit());
    let [domain, bus, slot] = text.split(':').collect::<Vec<_>>()[..] else {
        return false;
    };
    let Some((device, function)) = slot.split_once('.') else {
        return false;
    };
    hex(domain, 4)
        && hex(bus, 2)
        && hex(device, 2)
        && device.starts_with(['0', '1'])
        && function.len() == 1
        && function.chars().all(|c| ('0'..='7').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_follow_kubernetes_rules() {
        for (name, label, subdomain) in [
            ("a-1", true, true),
            ("a.b", false, true),
            ("A", false, false),
            ("-a", false, false),
            ("", false, false),
            ("a..b", false, false),
        ] {
            assert_eq!(
                (no_label(name).is_none(), no_subdomain(name).is_none()),
                (label, subdomain),
                "{name}"
            );
        }
        assert!(no_label(&"a".repeat(64)).is_some());
        assert!(is_pci_address("0000:81:01.4"));
        for bad in ["xx", "0000:81:21.4", "0000:81:01.8", "0000:81:01"] {
            assert!(!is_pci_address(bad), "{bad}");
        }
    }
}
