//! What is written inside a workload cluster: what kubeadm would have written for workers to join, the address of
//! the API server, and the add-ons. It is written once per change of content, and again at a slow pace. No watch and
//! no cache per workload cluster.

use super::{Access, WorkloadClusters};
use crate::runtime::api_client::{ApiClient, ApiError, Object};
use capn_core::{
    control_plane::plan::Prepared,
    workload_cluster::{Objects, PrepareError},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Field manager inside workload clusters.
const MANAGER: &str = "capn-workload-cluster";
/// Field manager of what belongs to the workload cluster after it was made.
const CREATE_ONLY: &str = "capn-create-only";
/// After so long, objects are written again although nothing changed here.
const RESYNC_PERIOD: Duration = Duration::from_secs(3600);
/// Calls to one workload cluster at the same time.
const PARALLEL: usize = 4;

/// Writes into workload clusters, known by the UID of their control planes.
#[derive(Default)]
pub(crate) struct Writer(WorkloadClusters<Known>);

#[derive(Clone)]
struct Known {
    api: ApiClient,
    create_only: ApiClient,
    written: Option<(u64, Instant)>,
    /// What has been written of content that is not written whole yet.
    progress: Arc<Mutex<HashSet<u64>>>,
}

impl Writer {
    /// Writes the objects, unless just these were written lately. Takes no longer than the budget of
    /// a pass; what was written by then is not written again by the next.
    pub(crate) async fn write(
        &self,
        uid: &str,
        access: Access<'_>,
        objects: Objects,
    ) -> Result<Prepared, PrepareError> {
        let known = self.client(uid, access).await?;
        let content = objects.content();
        if known
            .written
            .is_some_and(|(written, at)| written == content && at.elapsed() < RESYNC_PERIOD)
        {
            return Ok(Prepared::Whole);
        }
        let visit = match self.0.visit(uid) {
            Ok(visit) => visit,
            Err(wait) => return Ok(Prepared::NotNow(wait)),
        };
        let written = tokio::time::timeout_at(visit.deadline(), apply(&known, objects)).await;
        self.0.leave(uid, visit);
        written.map_err(|_| PrepareError::Slow)??;
        self.0.update(uid, |known| {
            known.written = Some((content, Instant::now()));
            known.progress = Arc::default();
        });
        Ok(Prepared::Whole)
    }

    /// Forgets a workload cluster that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }

    async fn client(&self, uid: &str, access: Access<'_>) -> Result<Known, PrepareError> {
        let mut hasher = DefaultHasher::new();
        (access.server, access.authority, &access.admin.certificate).hash(&mut hasher);
        let fingerprint = hasher.finish();
        if let Some(known) = self.0.get(uid, fingerprint) {
            return Ok(known);
        }
        let client = access.client().await.map_err(PrepareError::Client)?;
        let known = Known {
            api: ApiClient::new(client.clone(), MANAGER),
            create_only: ApiClient::new(client, CREATE_ONLY),
            written: None,
            progress: Arc::default(),
        };
        self.0.insert(uid, fingerprint, known.clone());
        Ok(known)
    }
}

impl Known {
    /// Writes an object, unless it was written since the last time that all of them were.
    async fn once<K: Object>(
        &self,
        object: &K,
        write: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<(), ApiError> {
        let mark = mark(object);
        let progress = || self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress().contains(&mark) {
            return Ok(());
        }
        write.await?;
        progress().insert(mark);
        Ok(())
    }

    async fn apply<K: Object + Send + Sync>(&self, objects: Vec<K>) -> Result<(), ApiError> {
        stream::iter(objects)
            .map(|object| async move {
                let write = async { self.api.apply_reserved(&object).await.map(drop) };
                self.once(&object, write).await
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    async fn create<K: Object>(&self, objects: Vec<K>) -> Result<(), ApiError> {
        for object in objects {
            self.once(&object, self.create_only.create_reserved(&object)).await?;
        }
        Ok(())
    }
}

fn mark<K: Object>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    K::kind(&()).hash(&mut hasher);
    text(object).hash(&mut hasher);
    hasher.finish()
}

fn text(object: &impl Serialize) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

async fn apply(known: &Known, objects: Objects) -> Result<(), ApiError> {
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
        create_only_config_maps,
        create_only_deployments,
        deployments,
        daemon_sets,
    } = objects;
    known.apply(roles).await?;
    known.apply(role_bindings).await?;
    known.apply(cluster_roles).await?;
    known.apply(cluster_role_bindings).await?;
    known.apply(vec![endpoints]).await?;
    known.apply(vec![endpoint_slice]).await?;
    known.apply(config_maps).await?;
    known.apply(service_accounts).await?;
    known.apply(services).await?;
    known.create(create_only_config_maps).await?;
    known.create(create_only_deployments).await?;
    known.apply(deployments).await?;
    known.apply(daemon_sets).await
}
