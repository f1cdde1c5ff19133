//! The cloud-init disk: files by form, then an ISO of them.

use std::path::Path;

use k8s_openapi::ByteString;
use serde_json::json;

use crate::domain::{CloudInitForm, Disk, Domain, SECRETS, Source};
use crate::launch::command::{LaunchError, io, run};

/// Files of a disk: path and content. Pure.
#[must_use]
pub fn files(
    form: CloudInitForm,
    domain: &Domain,
    user: Option<Vec<u8>>,
    network: Option<Vec<u8>>,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = match form {
        CloudInitForm::ConfigDrive => {
            let metadata = json!({
                "instance_id": format!("{}.{}", domain.name, domain.namespace),
                "hostname": domain.host_name,
                "uuid": domain.uuid,
            });
            vec![("openstack/latest/meta_data.json", metadata.to_string().into_bytes())]
        }
        CloudInitForm::NoCloud => {
            let metadata = json!({"instance-id": domain.uuid, "local-hostname": domain.host_name});
            vec![("meta-data", metadata.to_string().into_bytes())]
        }
    };
    let (user_path, network_path) = match form {
        CloudInitForm::ConfigDrive => ("openstack/latest/user_data", "openstack/latest/network_data.json"),
        CloudInitForm::NoCloud => ("user-data", "network-config"),
    };
    // NoCloud is recognized by both files; empty user data is none.
    let user = user.or_else(|| (form == CloudInitForm::NoCloud).then(Vec::new));
    files.extend(user.map(|user| (user_path, user)));
    files.extend(network.map(|network| (network_path, network)));
    files
}

/// Makes the ISO of one disk.
pub async fn iso(domain: &Domain, disk: &Disk, scratch: &Path) -> Result<std::path::PathBuf, LaunchError> {
    let Source::CloudInit {
        form,
        user_data,
        user_data_base64,
        network_data,
        network_data_base64,
    } = &disk.source
    else {
        return Err(LaunchError::Pod(format!("{} is no cloud-init disk", disk.name)));
    };
    let secret = |folder: &str, keys: [&str; 2]| {
        let folder = format!("{SECRETS}/{}/{folder}", disk.name);
        keys.into_iter()
            .find_map(|key| std::fs::read(format!("{folder}/{key}")).ok())
    };
    let user =
        inline(user_data.as_ref(), user_data_base64.as_ref()).or_else(|| secret("udata", ["userdata", "userData"]));
    let network = inline(network_data.as_ref(), network_data_base64.as_ref())
        .or_else(|| secret("ndata", ["networkdata", "networkData"]));
    let folder = scratch.join(format!("{}-files", disk.name));
    for (path, content) in files(*form, domain, user, network) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(io(parent))?;
        }
        tokio::fs::write(&path, content).await.map_err(io(&path))?;
    }
    let target = scratch.join(format!("{}.iso", disk.name));
    let label = match form {
        CloudInitForm::ConfigDrive => "config-2",
        CloudInitForm::NoCloud => "cidata",
    };
    let (target_text, folder_text) = (target.display().to_string(), folder.display().to_string());
    run(
        "genisoimage",
        &[
            "-quiet",
            "-joliet",
            "-rock",
            "-volid",
            label,
            "-output",
            &target_text,
            &folder_text,
        ],
    )
    .await?;
    Ok(target)
}

fn inline(text: Option<&String>, base64: Option<&String>) -> Option<Vec<u8>> {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        return Some(text.clone().into_bytes());
    }
    let base64 = base64.filter(|base64| !base64.is_empty())?;
    serde_json::from_value::<ByteString>(json!(base64))
        .ok()
        .map(|bytes| bytes.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn domain() -> Domain {
        Domain {
            name: "w-0".into(),
            namespace: "n".into(),
            host_name: "w-0".into(),
            uuid: "u".into(),
            ..Domain::default()
        }
    }

    #[test]
    fn a_config_drive_names_the_instance_by_name_and_namespace() {
        let files = files(
            CloudInitForm::ConfigDrive,
            &domain(),
            Some(b"#cloud-config".to_vec()),
            None,
        );
        let metadata: Value = serde_json::from_slice(&files[0].1).unwrap();
        assert_eq!(
            metadata,
            json!({"instance_id": "w-0.n", "hostname": "w-0", "uuid": "u"})
        );
        assert_eq!(files[1], ("openstack/latest/user_data", b"#cloud-config".to_vec()));
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn nocloud_names_the_instance_by_the_firmware_uuid() {
        let files = files(CloudInitForm::NoCloud, &domain(), None, Some(b"version: 2".to_vec()));
        let metadata: Value = serde_json::from_slice(&files[0].1).unwrap();
        assert_eq!(metadata, json!({"instance-id": "u", "local-hostname": "w-0"}));
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths, ["meta-data", "user-data", "network-config"]);
    }

    #[test]
    fn inline_data_is_text_or_base64() {
        assert_eq!(inline(None, Some(&"YWJj".into())), Some(b"abc".to_vec()));
        assert_eq!(inline(Some(&"abc".into()), None), Some(b"abc".to_vec()));
        assert_eq!(inline(Some(&String::new()), None), None);
    }
}
