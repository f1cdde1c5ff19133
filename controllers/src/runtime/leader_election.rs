//! Leader election: one manager of a provider works, the others wait.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use std::time::Duration;
use tokio::time::Instant;

/// Seconds after which a Lease that was not renewed is free.
const LEASE_SECONDS: u64 = 30;
/// Seconds before that end at which it is renewed.
const GRACE_SECONDS: u64 = 20;
/// A leader that could not renew for this long steps down, well before the Lease is free.
const GIVE_UP: Duration = Duration::from_secs(15);

/// Between two looks at a Lease that another one holds.
const LOOK: Duration = Duration::from_secs(2);

/// A Lease that is held.
pub struct Leadership {
    lease: LeaseManager,
}

/// Waits until this process holds the Lease.
///
/// # Errors
/// When the Lease cannot be used at all.
pub async fn acquire(client: Client, namespace: &str, name: &str) -> Result<Leadership, LeaseManagerError> {
    let identity = identity();
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    loop {
        let lease = LeaseManagerBuilder::new(client.clone(), name)
            .with_namespace(namespace)
            .with_duration(LEASE_SECONDS)
            .with_grace(GRACE_SECONDS)
            // Both differ from process to process: the Lease's conflict detection needs it.
            .with_field_manager(&identity)
            .with_identity(&identity)
            .build()
            .await?;
        let changed = tokio::select! {
            changed = lease.changed() => changed,
            // It waits for the end of the Lease even when the holder gives it up before.
            () = given_up(&leases, name) => continue,
        };
        match changed {
            Ok(true) => return Ok(Leadership { lease }),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "lease not read, trying again");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Returns once nobody holds the Lease.
async fn given_up(leases: &Api<Lease>, name: &str) {
    loop {
        tokio::time::sleep(LOOK).await;
        let held = |lease: Lease| lease.spec.and_then(|spec| spec.holder_identity).is_some();
        if leases.get(name).await.is_ok_and(|lease| !held(lease)) {
            return;
        }
    }
}

impl Leadership {
    /// Renews the Lease; returns when it is lost.
    pub async fn keep(&self) {
        let (mut failing_since, mut failed_last) = (Instant::now(), None);
        loop {
            match self.lease.changed().await {
                Ok(true) => failed_last = None,
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "lease not renewed");
                    // `changed` says nothing while renewals succeed, so errors that lie far apart
                    // are not one outage.
                    if failed_last.is_none_or(|last: Instant| last.elapsed() > GIVE_UP) {
                        failing_since = Instant::now();
                    }
                    failed_last = Some(Instant::now());
                    if failing_since.elapsed() > GIVE_UP {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Gives the Lease up, so that another manager need not wait for its end.
    pub async fn release(self) {
        if let Err(error) = self.lease.release().await {
            tracing::warn!(%error, "lease not released");
        }
    }
}

/// Host name and a part that differs from process to process.
fn identity() -> String {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "manager".into());
    let started = jiff::Timestamp::now().as_nanosecond();
    format!("{host}_{}_{started:x}", std::process::id())
}
