//! The files behind a machine's disks: overlays on container disks, scratch disks, claims, cloud-init ISOs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::domain::{CLAIMS, DISK_VARIABLE, Disk, Domain, SCRATCH, Source};
use crate::launch::cloud_init;
use crate::launch::command::{LaunchError, io, run};

/// A disk that qemu can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path.
    pub path: PathBuf,
    /// qcow2 or raw.
    pub format: String,
    /// Never written.
    pub read_only: bool,
}

#[derive(Deserialize)]
struct Info {
    format: String,
}

/// Makes every disk ready, in order.
pub async fn prepare(domain: &Domain) -> Result<Vec<File>, LaunchError> {
    let mut files = Vec::new();
    for disk in &domain.disks {
        files.push(one(domain, disk).await?);
    }
    Ok(files)
}

async fn one(domain: &Domain, disk: &Disk) -> Result<File, LaunchError> {
    let scratch = Path::new(SCRATCH);
    let overlay = scratch.join(format!("{}.qcow2", disk.name));
    let qcow2 = |path: PathBuf| File {
        path,
        format: "qcow2".into(),
        read_only: false,
    };
    match &disk.source {
        Source::ContainerDisk { path } => {
            put_overlay(&container_disk(&disk.name, path.as_deref())?, &overlay).await?;
            Ok(qcow2(overlay))
        }
        Source::CloudInit { .. } => {
            let path = cloud_init::iso(domain, disk, scratch).await?;
            Ok(File {
                path,
                format: "raw".into(),
                read_only: true,
            })
        }
        Source::EmptyDisk { capacity } => {
            run(
                "qemu-img",
                &[
                    "create",
                    "-q",
                    "-f",
                    "qcow2",
                    &overlay.display().to_string(),
                    &capacity.to_string(),
                ],
            )
            .await?;
            Ok(qcow2(overlay))
        }
        Source::Claim => claim(&disk.name).await,
        Source::EphemeralClaim => {
            put_overlay(&claim(&disk.name).await?.path, &overlay).await?;
            Ok(qcow2(overlay))
        }
    }
}

/// A file that takes what is written to a disk instead of the disk.
async fn put_overlay(backing: &Path, overlay: &Path) -> Result<(), LaunchError> {
    let (backing, target) = (backing.display().to_string(), overlay.display().to_string());
    let info = run("qemu-img", &["info", "--output=json", &backing]).await?;
    let info: Info =
        serde_json::from_slice(&info).map_err(|source| LaunchError::Json("qemu-img's answer".into(), source))?;
    let arguments = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        &backing,
        "-F",
        &info.format,
        &target,
    ];
    run("qemu-img", &arguments).await?;
    Ok(())
}

/// disk.img, made as large as the claim's file system has room when it is not there.
async fn claim(name: &str) -> Result<File, LaunchError> {
    let path = Path::new(CLAIMS).join(name).join("disk.img");
    if !path.exists() {
        let free = run("/bin/busybox", &["df", "-k", "-P", &format!("{CLAIMS}/{name}")]).await?;
        let free = String::from_utf8_lossy(&free);
        let kilobytes: u64 = free
            .lines()
            .nth(1)
            .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .unwrap_or_default();
        let size = format!("{}k", kilobytes / 100 * 95);
        run(
            "qemu-img",
            &["create", "-q", "-f", "raw", &path.display().to_string(), &size],
        )
        .await?;
    }
    Ok(File {
        path,
        format: "raw".into(),
        read_only: false,
    })
}

/// The disk in the file system of the container that carries this volume's name: the pod's containers share their processes.
fn container_disk(name: &str, path: Option<&str>) -> Result<PathBuf, LaunchError> {
    let wanted = format!("{DISK_VARIABLE}={name}");
    let proc = std::fs::read_dir("/proc").map_err(io("/proc"))?;
    let root = proc
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|process| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .ok_or_else(|| LaunchError::Pod(format!("the container of disk {name} does not run")))?
        .join("root");
    if let Some(path) = path {
        return Ok(root.join(path.trim_start_matches('/')));
    }
    let folder = root.join("disk");
    let files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map_err(io(&folder))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    match files.as_slice() {
        [file] => Ok(file.clone()),
        others => Err(LaunchError::Pod(format!(
            "the image of disk {name} has {} files in /disk, not one",
            others.len()
        ))),
    }
}
