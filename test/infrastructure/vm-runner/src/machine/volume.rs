//! Volumes of a spec: what is behind a disk. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

/// One volume: a name and exactly one source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Disk in a container image.
    pub container_disk: Option<ContainerDisk>,
    /// cloud-init by config drive.
    pub cloud_init_config_drive: Option<CloudInit>,
    /// cloud-init by NoCloud.
    pub cloud_init_no_cloud: Option<CloudInit>,
    /// Scratch disk.
    pub empty_disk: Option<EmptyDisk>,
    /// Claim with a disk.img.
    pub persistent_volume_claim: Option<Claim>,
    /// Claim that a DataVolume fills; it has the same name.
    pub data_volume: Option<DataVolume>,
    /// Claim that is not written to.
    pub ephemeral: Option<Ephemeral>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A disk in a container image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDisk {
    /// The image.
    pub image: String,
    /// Pull policy.
    pub image_pull_policy: Option<String>,
    /// Pull secret.
    pub image_pull_secret: Option<String>,
    /// Path of the disk when it is not the one file in /disk.
    pub path: Option<String>,
}

/// User data and network data, each inline, as Base64 or in a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudInit {
    /// Secret of the user data.
    pub secret_ref: Option<Reference>,
    /// Inline.
    pub user_data: Option<String>,
    /// Inline.
    pub user_data_base64: Option<String>,
    /// Secret of the network data.
    pub network_data_secret_ref: Option<Reference>,
    /// Inline.
    pub network_data: Option<String>,
    /// Inline.
    pub network_data_base64: Option<String>,
}

/// Name of an object in the same namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Name.
    pub name: String,
}

/// A scratch disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EmptyDisk {
    /// Size.
    pub capacity: Value,
}

/// A claim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    /// Name.
    pub claim_name: String,
    /// Plugged in later, and not waited for.
    pub hotpluggable: bool,
}

/// A DataVolume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DataVolume {
    /// Name.
    pub name: String,
    /// Plugged in later, and not waited for.
    pub hotpluggable: bool,
}

/// An overlay on a claim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ephemeral {
    /// The claim.
    pub persistent_volume_claim: Claim,
}

impl Volume {
    /// The claim that the pod mounts, which has to be there before it.
    #[must_use]
    pub fn claim(&self) -> Option<&str> {
        if let Some(claim) = &self.persistent_volume_claim {
            return (!claim.hotpluggable).then_some(claim.claim_name.as_str());
        }
        if let Some(volume) = &self.data_volume {
            return (!volume.hotpluggable).then_some(volume.name.as_str());
        }
        let ephemeral = self.ephemeral.as_ref()?;
        Some(&ephemeral.persistent_volume_claim.claim_name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_that_is_plugged_in_later_is_not_waited_for() {
        for (source, claim) in [
            (json!({"persistentVolumeClaim": {"claimName": "c"}}), Some("c")),
            (
                json!({"persistentVolumeClaim": {"claimName": "c", "hotpluggable": true}}),
                None,
            ),
            (json!({"dataVolume": {"name": "d"}}), Some("d")),
            (json!({"dataVolume": {"name": "d", "hotpluggable": true}}), None),
            (
                json!({"ephemeral": {"persistentVolumeClaim": {"claimName": "e"}}}),
                Some("e"),
            ),
            (json!({"containerDisk": {"image": "i"}}), None),
        ] {
            let volume: Volume = serde_json::from_value(source.clone()).unwrap();
            assert_eq!(volume.claim(), claim, "{source}");
        }
    }
}
