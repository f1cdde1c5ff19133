//! The launcher: container compute of a launcher pod. Sets up the network and the disks, runs qemu, forwards SIGTERM as an ACPI
//! shutdown, and ends with a code that says how the machine ended.

pub mod cloud_init;
pub mod command;
pub mod dhcp;
pub mod disks;
pub mod kvm;
pub mod network;
pub mod qemu;
pub mod qmp;

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::domain::{Domain, FACTS_PREFIX, GuestInterface, RUNNING, VARIABLE};
use crate::launch::command::{LaunchError, io};
use crate::launch::dhcp::Lease;
use crate::launch::qemu::Accelerator;
use crate::launch::qmp::Monitor;

const POWERDOWN_EVERY: Duration = Duration::from_secs(5);
const QEMU_LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// How a machine ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest shut down, or was destroyed with a grace period of zero.
    Shutdown,
    /// It did not shut down within its grace period.
    Killed,
    /// qemu ended otherwise.
    Crashed,
}

impl Outcome {
    fn code(self) -> u8 {
        match self {
            Outcome::Shutdown => 0,
            Outcome::Killed => 3,
            Outcome::Crashed => 4,
        }
    }
}

/// Runs the machine that the environment describes.
pub async fn run() -> ExitCode {
    match machine().await {
        Ok(outcome) => {
            tracing::info!(?outcome, "the machine ended");
            ExitCode::from(outcome.code())
        }
        Err(error) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "cannot run the machine");
            ExitCode::from(1)
        }
    }
}

async fn machine() -> Result<Outcome, LaunchError> {
    let mut stop = signal(SignalKind::terminate()).map_err(io("SIGTERM"))?;
    let text = std::env::var(VARIABLE).map_err(|_| LaunchError::Pod(format!("{VARIABLE} is not set")))?;
    let domain: Domain = serde_json::from_str(&text).map_err(|source| LaunchError::Json(VARIABLE.into(), source))?;
    let prepared = tokio::select! {
        biased;
        _ = stop.recv() => return Ok(Outcome::Killed),
        prepared = prepare(&domain) => prepared?,
    };
    let mut child = Command::new("qemu-system-x86_64")
        .args(&prepared.arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| LaunchError::Start("qemu".into(), source))?;
    let Some(mut monitor) = connect(&mut child).await? else {
        return Ok(Outcome::Crashed);
    };
    tokio::fs::write(RUNNING, "").await.map_err(io(RUNNING))?;
    tracing::info!("the domain runs");
    watch(&domain, prepared.accelerator, &mut child, &mut monitor, &mut stop).await
}

/// What qemu is told.
struct Prepared {
    accelerator: Accelerator,
    arguments: Vec<String>,
}

/// Network, disks and accelerator.
async fn prepare(domain: &Domain) -> Result<Prepared, LaunchError> {
    let (accelerator, files, mac) = tokio::try_join!(
        async { Ok(kvm::accelerator().await) },
        disks::prepare(domain),
        network(domain)
    )?;
    Ok(Prepared {
        accelerator,
        arguments: qemu::arguments(domain, &files, accelerator, Some(&mac)),
    })
}

async fn network(domain: &Domain) -> Result<String, LaunchError> {
    let network = network::read().await?;
    network::bridge(&network, domain.queues).await?;
    let guest = domain.mac.clone().unwrap_or_else(|| network.mac.clone()).to_lowercase();
    let told = GuestInterface {
        mac: guest.clone(),
        ip: network.ip.to_string(),
    };
    let told = serde_json::to_string(&told).map_err(|source| LaunchError::Json("the interface".into(), source))?;
    // Read by the controller from this container's log.
    println!("{FACTS_PREFIX}{told}");
    let (servers, search) = dhcp::resolvers(&tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default());
    let mac = dhcp::mac(&guest).ok_or_else(|| LaunchError::Pod(format!("{guest} is no MAC")))?;
    let lease = Lease {
        mac,
        network,
        servers,
        search,
        host_name: domain.host_name.clone(),
    };
    tokio::spawn(dhcp::serve(dhcp::bind().await?, lease));
    Ok(guest)
}

/// Connects to qemu's monitor; none when qemu ends first.
async fn connect(child: &mut Child) -> Result<Option<Monitor>, LaunchError> {
    let deadline = Instant::now() + QEMU_LISTENS_WITHIN;
    loop {
        match Monitor::connect().await {
            Ok(monitor) => return Ok(Some(monitor)),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        // Between qemu's start and its socket there is nothing to wait for but time.
        tokio::select! {
            _ = child.wait() => return Ok(None),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// Until qemu ends. SIGTERM becomes an ACPI shutdown, repeated, and a kill after the grace period.
async fn watch(
    domain: &Domain,
    accelerator: Accelerator,
    child: &mut Child,
    monitor: &mut Monitor,
    stop: &mut tokio::signal::unix::Signal,
) -> Result<Outcome, LaunchError> {
    let mut reason = String::new();
    let mut closed = false;
    let mut powerdown: Option<Instant> = None;
    let mut kill: Option<Instant> = None;
    loop {
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            biased;
            message = monitor.next(), if !closed => match message {
                Some(message) if message.event == "SHUTDOWN" => reason = message.data.reason,
                // Nobody here pauses a machine: this is KVM giving up.
                Some(message) if message.event == "STOP" && accelerator == Accelerator::Kvm => {
                    tracing::error!("KVM stopped the guest; the next machine on this node is emulated");
                    kvm::remember(false).await;
                    return Ok(Outcome::Crashed);
                }
                Some(message) if !message.event.is_empty() => tracing::info!(event = message.event, "qemu"),
                Some(_) => {}
                None => closed = true,
            },
            ended = child.wait(), if closed => {
                let status = ended.map_err(io("qemu"))?;
                tracing::info!(%status, reason, "qemu ended");
                return Ok(outcome(status.success(), &reason, domain.grace));
            }
            _ = stop.recv(), if kill.is_none() => {
                tracing::info!(grace = domain.grace, "asked to stop");
                powerdown = Some(Instant::now());
                kill = Some(Instant::now() + Duration::from_secs(domain.grace));
            }
            () = sleep_until(kill.unwrap_or(far)), if kill.is_some() => {
                tracing::warn!("the guest did not shut down within its grace period");
                kill = Some(far);
                monitor.send("quit").await?;
            }
            () = sleep_until(powerdown.unwrap_or(far)), if powerdown.is_some() => {
                powerdown = Some(Instant::now() + POWERDOWN_EVERY);
                monitor.send("system_powerdown").await?;
            }
        }
    }
}

fn outcome(success: bool, reason: &str, grace: u64) -> Outcome {
    match (success, reason) {
        (true, "guest-shutdown") => Outcome::Shutdown,
        (true, "host-qmp-quit") if grace == 0 => Outcome::Shutdown,
        (true, "host-qmp-quit") => Outcome::Killed,
        (_, _) => Outcome::Crashed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guests_own_shutdown_is_a_success() {
        assert_eq!(outcome(true, "guest-shutdown", 30), Outcome::Shutdown);
        assert_eq!(outcome(true, "host-qmp-quit", 30), Outcome::Killed);
        assert_eq!(outcome(true, "host-qmp-quit", 0), Outcome::Shutdown);
        assert_eq!(outcome(true, "host-signal", 30), Outcome::Crashed);
        assert_eq!(outcome(false, "", 30), Outcome::Crashed);
    }
}
