//! Tenants on the lab: made, waited for by what a person would ask, and removed.

use crate::Failure;
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    fmt::Debug,
    future::Future,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Between two looks at one tenant; small against what is measured.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// Between two looks when many start at once, so that looking does not take their processors.
pub(crate) const LOOK_AT_MANY: Duration = Duration::from_millis(500);
/// No start takes longer.
const DEADLINE: Duration = Duration::from_secs(600);
const NAMESPACE: &str = "default";
const CLASS: &str = "bench-ready";

/// Where a tenant's volume comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Volume {
    /// It is there already.
    Ready,
    /// The lab's provisioner makes it.
    Dynamic,
}

/// A tenant whose API server answers.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) name: String,
    /// From the creation of Cluster and control plane to /readyz through the admin kubeconfig.
    pub(crate) took: Duration,
    /// What a dynamic volume took of it.
    pub(crate) volume: VolumeTime,
}

/// Time that a dynamic volume takes, from its claim.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VolumeTime {
    /// Until it is bound.
    pub(crate) bound: Duration,
    /// Until the scheduler, which looks once a second, has seen that and places the pod.
    pub(crate) placed: Duration,
}

/// Makes and removes tenants.
pub(crate) struct Tenants {
    pub(crate) client: Client,
    volumes: PathBuf,
    version: String,
    /// Between two looks.
    pub(crate) look: Duration,
}

impl Tenants {
    pub(crate) async fn new(volumes: PathBuf, version: String) -> Result<Self, Failure> {
        let mut config = Config::infer().await?;
        config.default_retry = false;
        Ok(Self {
            client: Client::try_from(config)?,
            volumes,
            version,
            look: LOOK,
        })
    }

    /// Starts a tenant and waits until it answers.
    pub(crate) async fn start(&self, name: &str, volume: Volume) -> Result<Started, Failure> {
        if volume == Volume::Ready {
            self.volume(name).await?;
        }
        let storage = match volume {
            Volume::Ready => json!({"size": "1Gi", "storageClassName": CLASS}),
            Volume::Dynamic => json!({"size": "1Gi"}),
        };
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "clusterNetwork": {"pods": {"cidrBlocks": ["10.243.0.0/16"]}, "services": {"cidrBlocks": ["10.95.0.0/16"]}},
                "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": name},
            },
        }))?;
        let control_plane: NestedControlPlane = serde_json::from_value(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"version": self.version, "datastore": {"etcd": {"storage": storage}}},
        }))?;
        let begun = Instant::now();
        self.api::<Cluster>().create(&PostParams::default(), &cluster).await?;
        self.api::<NestedControlPlane>()
            .create(&PostParams::default(), &control_plane)
            .await?;
        let (took, volume) = match volume {
            Volume::Ready => (self.answers(name, begun).await?, VolumeTime::default()),
            Volume::Dynamic => tokio::try_join!(self.answers(name, begun), self.volume_time(name))?,
        };
        Ok(Started {
            name: name.to_owned(),
            took,
            volume,
        })
    }

    /// Waits for /readyz through the admin kubeconfig; how long that took.
    async fn answers(&self, name: &str, begun: Instant) -> Result<Duration, Failure> {
        // It comes long before the answer.
        let secret = until(name, self.look * 4, || async {
            Ok(self.api::<Secret>().get_opt(&format!("{name}-kubeconfig")).await?)
        })
        .await?;
        let text = secret
            .data
            .and_then(|mut data| data.remove("value"))
            .ok_or("kubeconfig Secret without value")?;
        let client = client(std::str::from_utf8(&text.0)?).await?;
        self.until(name, || async { Ok(ready(&client).await.then_some(())) })
            .await?;
        Ok(begun.elapsed())
    }

    /// How long the volume of a tenant that starts takes.
    async fn volume_time(&self, name: &str) -> Result<VolumeTime, Failure> {
        let (claims, claim) = (self.api::<PersistentVolumeClaim>(), format!("data-{name}-etcd-0"));
        self.until(name, || async { Ok(claims.get_opt(&claim).await?) }).await?;
        let begun = Instant::now();
        self.until(name, || async {
            let claim = claims.get_opt(&claim).await?;
            let phase = claim.and_then(|claim| claim.status?.phase);
            Ok((phase.as_deref() == Some("Bound")).then_some(()))
        })
        .await?;
        let bound = begun.elapsed();
        let (pods, pod) = (self.api::<Pod>(), format!("{name}-etcd-0"));
        self.until(name, || async {
            Ok(pods.get_opt(&pod).await?.and_then(|pod| pod.spec?.node_name))
        })
        .await?;
        Ok(VolumeTime {
            bound,
            placed: begun.elapsed(),
        })
    }

    /// A volume that is there before the claim.
    async fn volume(&self, name: &str) -> Result<(), Failure> {
        let path = self.volumes.join(name);
        tokio::fs::create_dir_all(&path).await?;
        tokio::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).await?;
        let volume: PersistentVolume = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": path},
                "claimRef": {"namespace": NAMESPACE, "name": format!("data-{name}-etcd-0")},
            },
        }))?;
        Api::<PersistentVolume>::all(self.client.clone())
            .create(&PostParams::default(), &volume)
            .await?;
        Ok(())
    }

    /// Containers of tenants that have restarted, and why. Waits until all pods are ready: what fails
    /// does so before.
    pub(crate) async fn restarts(&self) -> Result<Vec<String>, Failure> {
        let tenants = ListParams::default().labels(CLUSTER_NAME_LABEL);
        let pods = self
            .until("pods to be ready", || async {
                let pods = self.api::<Pod>().list(&tenants).await?;
                Ok(pods.items.iter().all(pod_ready).then_some(pods))
            })
            .await?;
        let mut restarts = Vec::new();
        for pod in pods.items {
            let name = pod.name_any();
            let status = pod.status.unwrap_or_default();
            for container in status
                .container_statuses
                .into_iter()
                .flatten()
                .filter(|container| container.restart_count > 0)
            {
                let ended = container.last_state.and_then(|last| last.terminated);
                restarts.push(format!(
                    "{name} {} {} times: {ended:?}",
                    container.name, container.restart_count
                ));
            }
        }
        Ok(restarts)
    }

    /// Deletes tenants; returns how long after their last pod's end nothing of them was left.
    pub(crate) async fn remove(&self, names: &[String]) -> Result<Duration, Failure> {
        for name in names {
            self.api::<Cluster>().delete(name, &DeleteParams::background()).await?;
        }
        let tenants = ListParams::default().labels(CLUSTER_NAME_LABEL);
        self.until("pods", || async {
            Ok(self.api::<Pod>().list(&tenants).await?.items.is_empty().then_some(()))
        })
        .await?;
        let begun = Instant::now();
        self.until("objects", || async {
            let all = ListParams::default();
            let left = self.any::<Cluster>(&all).await?
                || self.any::<NestedControlPlane>(&all).await?
                || self.any::<StatefulSet>(&tenants).await?
                || self.any::<Deployment>(&tenants).await?
                || self.any::<ReplicaSet>(&tenants).await?
                || self.any::<Service>(&tenants).await?
                || self.any::<PodDisruptionBudget>(&tenants).await?
                || self.any::<Secret>(&tenants).await?
                || self.any::<PersistentVolumeClaim>(&tenants).await?;
            Ok((!left).then_some(()))
        })
        .await?;
        let took = begun.elapsed();
        for name in names {
            let volumes = Api::<PersistentVolume>::all(self.client.clone());
            if volumes.get_opt(name).await?.is_some() {
                volumes.delete(name, &DeleteParams::default()).await?;
                tokio::fs::remove_dir_all(self.volumes.join(name)).await?;
            }
        }
        Ok(took)
    }

    async fn any<K>(&self, which: &ListParams) -> Result<bool, Failure>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Ok(!self.api::<K>().list(which).await?.items.is_empty())
    }

    async fn until<T, F: Future<Output = Result<Option<T>, Failure>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> Result<T, Failure> {
        until(what, self.look, look).await
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

fn pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A client from a kubeconfig's text.
pub(crate) async fn client(kubeconfig: &str) -> Result<Client, Failure> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(1));
    config.read_timeout = Some(Duration::from_secs(5));
    config.reset_reader_on_write = true;
    Ok(Client::try_from(config)?)
}

/// Whether an API server says that it is ready.
pub(crate) async fn ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
}

/// Looks every so often until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Result<Option<T>, Failure>>>(
    what: &str,
    every: Duration,
    look: impl Fn() -> F,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() > DEADLINE {
            return Err(format!("waited {DEADLINE:?} for {what} in vain").into());
        }
        tokio::time::sleep(every).await;
    }
}
