//! What is written inside a tenant cluster: what kubeadm would have written for workers to join,
//! the address of the API server, and the add-ons. `build` is pure; `Tenants` writes it once per
//! change of content and looks again at a slow pace. No watch and no cache per tenant.

mod build;
mod core_dns;
mod kube_proxy;
mod kubeadm;
mod rbac;

pub(crate) use build::{Facts, Objects, objects};

use crate::calls::{CallError, Calls, Cause, Object};
use crate::pki::{self, Credentials, PemPair};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Field manager inside tenants.
const MANAGER: &str = "capn-tenant";
/// Field manager of what is a tenant's own after it was made.
const SEEDER: &str = "capn-seed";
/// After so long, objects are written again although nothing changed here.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// Calls to one tenant at the same time.
const PARALLEL: usize = 4;

/// Why a tenant could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("the tenant's API server cannot be reached yet: {0}")]
    Unreachable(CallError),
    #[error("in the tenant: {0}")]
    Call(CallError),
    #[error("no client for the tenant's API server: {0}")]
    Client(String),
}

impl From<CallError> for SeedError {
    fn from(error: CallError) -> Self {
        match error.cause {
            Cause::Silent(_) => Self::Unreachable(error),
            Cause::Refused(_) | Cause::Garbled(_) => Self::Call(error),
        }
    }
}

/// How a tenant's API server is reached by the manager.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// UID of the object that the tenant belongs to.
    pub(crate) uid: &'a str,
    /// URL of the API server.
    pub(crate) server: &'a str,
    /// Its certificate authority, PEM.
    pub(crate) authority: &'a str,
    /// An administrator's certificate.
    pub(crate) admin: &'a PemPair,
}

/// Clients of tenants, one each, and what was last written through them.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<HashMap<String, Known>>);

#[derive(Clone)]
struct Known {
    access: u64,
    calls: Calls,
    seeder: Calls,
    written: Option<(u64, Instant)>,
}

impl Tenants {
    /// Writes the objects, unless just these were written lately.
    pub(crate) async fn write(&self, access: Access<'_>, objects: Objects) -> Result<(), SeedError> {
        let known = self.client(access).await?;
        let content = objects.content();
        if known
            .written
            .is_some_and(|(written, at)| written == content && at.elapsed() < LOOK_AGAIN)
        {
            return Ok(());
        }
        apply(&known.calls, &known.seeder, objects).await?;
        if let Some(known) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(access.uid)
        {
            known.written = Some((content, Instant::now()));
        }
        Ok(())
    }

    /// Forgets a tenant that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    async fn client(&self, access: Access<'_>) -> Result<Known, SeedError> {
        let mut hasher = DefaultHasher::new();
        (access.server, access.authority, &access.admin.certificate).hash(&mut hasher);
        let fingerprint = hasher.finish();
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(access.uid)
            .cloned();
        if let Some(known) = known.filter(|known| known.access == fingerprint) {
            return Ok(known);
        }
        let client = client(access)
            .await
            .map_err(|error| SeedError::Client(error.to_string()))?;
        let known = Known {
            access: fingerprint,
            calls: Calls::new(client.clone(), MANAGER),
            seeder: Calls::new(client, SEEDER),
            written: None,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(access.uid.to_owned(), known.clone());
        Ok(known)
    }
}

async fn client(access: Access<'_>) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let text = pki::kubeconfig(
        "tenant",
        access.server,
        access.authority,
        "manager",
        Credentials::Embedded(access.admin),
    );
    let kubeconfig = Kubeconfig::from_yaml(&text)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(3));
    config.read_timeout = Some(Duration::from_secs(10));
    config.reset_reader_on_write = true;
    Ok(Client::try_from(config)?)
}

async fn apply(calls: &Calls, seeder: &Calls, objects: Objects) -> Result<(), CallError> {
    let Objects {
        roles,
        role_bindings,
        cluster_roles,
        cluster_role_bindings,
        config_maps,
        endpoints,
        endpoint_slice,
        service_accounts,
        services,
        theirs,
        their_deployments,
        deployments,
        daemon_sets,
    } = objects;
    put(calls, roles).await?;
    put(calls, role_bindings).await?;
    put(calls, cluster_roles).await?;
    put(calls, cluster_role_bindings).await?;
    put(calls, vec![endpoints]).await?;
    put(calls, vec![endpoint_slice]).await?;
    put(calls, config_maps).await?;
    put(calls, service_accounts).await?;
    put(calls, services).await?;
    for config_map in theirs {
        seeder.create(&config_map).await?;
    }
    for deployment in their_deployments {
        seeder.create(&deployment).await?;
    }
    put(calls, deployments).await?;
    put(calls, daemon_sets).await
}

async fn put<K: Object + Send + Sync>(calls: &Calls, objects: Vec<K>) -> Result<(), CallError> {
    stream::iter(objects)
        .map(|object| async move { calls.put(&object, None).await.map(drop) })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
}
