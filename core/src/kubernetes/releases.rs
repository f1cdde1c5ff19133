//! What belongs to a Kubernetes version: the images that kubeadm of that minor names.

use semver::Version;

/// Images of a Kubernetes minor, as tags of the upstream repositories.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Images {
    /// Tag of `etcd`.
    pub etcd: &'static str,
    /// Tag of `coredns/coredns`.
    pub core_dns: &'static str,
}

impl Images {
    /// Version of etcd.
    pub fn etcd_version(self) -> &'static str {
        self.etcd.split_once('-').map_or(self.etcd, |(version, _)| version)
    }
}

/// Oldest minor that is known to work.
pub const OLDEST_MINOR: u64 = 33;

/// Newest minor whose images and flags are known.
pub const NEWEST_MINOR: u64 = 36;

/// The images of a version.
pub fn images(version: &Version) -> Images {
    match version.minor {
        ..=33 => Images {
            etcd: "3.5.24-0",
            core_dns: "v1.12.0",
        },
        34 => Images {
            etcd: "3.6.5-0",
            core_dns: "v1.12.1",
        },
        35 => Images {
            etcd: "3.6.6-0",
            core_dns: "v1.13.1",
        },
        _ => Images {
            etcd: "3.6.8-0",
            core_dns: "v1.14.2",
        },
    }
}

/// Reads a version with or without its v.
pub fn parse(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// A version as Kubernetes writes it, with the v.
pub fn display(version: &Version) -> String {
    format!("v{version}")
}

/// A version as an image tag, which cannot hold a plus sign.
pub fn tag(version: &Version) -> String {
    display(version).replace('+', "_")
}
