//! Whether KVM works here: found out by booting something, within a bound, and remembered on the node. That /dev/kvm opens says
//! nothing: with nested virtualization that is off or broken, the first vCPU hangs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::domain::NODE_FACTS;
use crate::launch::qemu::Accelerator;

const BOUND: Duration = Duration::from_secs(10);
/// Assembled from `probe.S`, which says what it does: the process ends with code 33, and nothing else does.
const BOOT_SECTOR: &[u8; 512] = include_bytes!("probe.bin");
const WORKED: i32 = 33;
/// Smaller than this, the BIOS takes it for no disk.
const DISK_SIZE: usize = 1 << 20;

/// The accelerator to use.
pub async fn accelerator() -> Accelerator {
    let works = match tokio::fs::read_to_string(answer()).await {
        Ok(text) => text.trim() == "works",
        Err(_) => {
            let works = probe().await;
            remember(works).await;
            works
        }
    };
    tracing::info!(works, "KVM");
    if works { Accelerator::Kvm } else { Accelerator::Tcg }
}

/// Notes on the node whether KVM works.
pub async fn remember(works: bool) {
    if let Err(error) = tokio::fs::write(answer(), if works { "works\n" } else { "does not work\n" }).await {
        tracing::warn!(%error, "cannot remember what was found out about KVM");
    }
}

fn answer() -> PathBuf {
    Path::new(NODE_FACTS).join("kvm")
}

async fn probe() -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let mut content = BOOT_SECTOR.to_vec();
    content.resize(DISK_SIZE, 0);
    let disk = "/run/kvm-probe";
    if tokio::fs::write(disk, content).await.is_err() {
        return false;
    }
    let drive = format!("file={disk},format=raw,if=virtio,readonly=on");
    let started = Command::new("qemu-system-x86_64")
        .args([
            "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-smp", "2", "-m", "64", "-display", "none",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=0x04",
        ])
        .args(["-drive", &drive])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = started else { return false };
    matches!(tokio::time::timeout(BOUND, child.wait()).await, Ok(Ok(status)) if status.code() == Some(WORKED))
}
