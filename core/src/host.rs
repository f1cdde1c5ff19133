//! Names and addresses under which something is reached: parsed once, on the way in, and compared as
//! values.

use std::{fmt, net::IpAddr, str::FromStr};

/// A DNS name, such as `api.example.com` or `*.example.com`, or an IP address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A DNS name, in lower case and without a dot at its end.
    Name(String),
}

/// A text that is neither a DNS name nor an IP address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor an IP address")]
pub struct HostError(String);

impl Host {
    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        // An address that is not quite one is no name either.
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let names =
            name.len() <= 253 && labels.split('.').all(is_label) && !labels.rsplit('.').next().is_some_and(numeric);
        if names {
            Ok(Self::Name(name))
        } else {
            Err(HostError(text.chars().take(253).collect()))
        }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_of_a_host_is_one_value() {
        for (texts, shown) in [
            (
                &["2001:db8::1", "2001:db8:0:0:0:0:0:1", "2001:DB8::1", "[2001:db8::1]"][..],
                "2001:db8::1",
            ),
            (&["FD00::10", "fd00:0::10"], "fd00::10"),
            (&["192.0.2.1"], "192.0.2.1"),
            (
                &["API.Example.com", "api.example.com", "api.example.com."],
                "api.example.com",
            ),
            (&["*.Example.com"], "*.example.com"),
            (&["kubernetes"], "kubernetes"),
            (&["_a.b-c"], "_a.b-c"),
        ] {
            for text in texts {
                assert_eq!(text.parse::<Host>().unwrap().to_string(), shown, "{text}");
            }
        }
    }

    #[test]
    fn what_is_neither_name_nor_address_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a/b",
            "a:443",
            "192.0.2",
            "192.0.2.1.5",
            "192.0.2.256",
            "a.1",
            "*",
            "a.*",
            "*a.example.com",
            "fe80::1%eth0",
            "[api.example.com]",
            "https://a",
            "ä.example.com",
            &long,
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?} was taken");
        }
    }
}
