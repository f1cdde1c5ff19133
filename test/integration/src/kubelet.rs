//! Plays what is missing around pods: the controllers of Deployments and StatefulSets, volume
//! provisioner, scheduler and kubelet. Pods that should be there are there and ready; nothing runs.

use crate::TestEnv;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::task::JoinHandle;

/// Annotation of a played pod: the template that it was made from.
const TEMPLATE: &str = "example.com/template";

/// Plays until dropped.
#[derive(Debug)]
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    /// Plays in the namespace of `env`.
    pub fn start(env: &TestEnv) -> Self {
        let player = Player {
            client: env.client.clone(),
            namespace: env.namespace.clone(),
        };
        Self(tokio::spawn(async move {
            loop {
                // Others write at the same time; what fails is tried again.
                if let Err(kube::Error::Api(status)) = Box::pin(player.play()).await
                    && status.is_invalid()
                {
                    eprintln!("the played kubelet is refused: {}", status.message);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

struct Player {
    client: Client,
    namespace: String,
}

/// What a Deployment and a StatefulSet have in common.
struct Workload {
    kind: &'static str,
    name: String,
    uid: String,
    api_version: &'static str,
    generation: Option<i64>,
    replicas: i32,
    template: PodTemplateSpec,
    /// Pods of a StatefulSet keep their names.
    stable: bool,
    /// Names of its claim templates, which are volumes of its pods.
    claims: Vec<String>,
    status: Value,
}

impl Player {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn play(&self) -> kube::Result<()> {
        let (deployments, sets) = (self.api::<Deployment>(), self.api::<StatefulSet>());
        let mut wanted = BTreeSet::new();
        for deployment in deployments.list(&Default::default()).await? {
            let spec = deployment.spec.clone().unwrap_or_default();
            let status = json!(deployment.status);
            let workload = Workload::new(&deployment, "Deployment", spec.replicas, spec.template, status);
            self.pods(&workload, &mut wanted).await?;
            self.status(&deployments, &workload).await?;
        }
        for set in sets.list(&Default::default()).await? {
            let spec = set.spec.clone().unwrap_or_default();
            let status = json!(set.status);
            let mut workload = Workload::new(&set, "StatefulSet", spec.replicas, spec.template, status);
            for claim in spec.volume_claim_templates.unwrap_or_default() {
                workload.claims.push(claim.name_any());
                self.claims(&workload, claim).await?;
            }
            self.pods(&workload, &mut wanted).await?;
            self.status(&sets, &workload).await?;
        }
        for pod in self.api::<Pod>().list(&Default::default()).await? {
            let played = pod.annotations().contains_key(TEMPLATE);
            if played && !wanted.contains(&pod.uid().unwrap_or_default()) {
                self.api::<Pod>()
                    .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                    .await?;
            }
        }
        Ok(())
    }

    async fn pods(&self, workload: &Workload, wanted: &mut BTreeSet<String>) -> kube::Result<()> {
        let pods = self.api::<Pod>();
        for ordinal in 0..workload.replicas {
            let name = workload.pod(ordinal);
            let live = match pods.get_opt(&name).await? {
                Some(pod) if pod.annotations().get(TEMPLATE) == Some(&workload.mark()) => pod,
                // Not wanted, so deleted in this pass and made anew in the next.
                Some(_) => continue,
                None => pods.create(&PostParams::default(), &workload.make(&name)).await?,
            };
            wanted.insert(live.uid().unwrap_or_default());
            let ready = live.status.and_then(|status| status.conditions).unwrap_or_default();
            if !ready.iter().any(|condition| condition.type_ == "Ready") {
                let true_ = |type_: &str| json!({"type": type_, "status": "True"});
                let status = json!({"status": {"phase": "Running",
                    "conditions": [true_("PodScheduled"), true_("PodReadyToStartContainers"), true_("Initialized"),
                        true_("ContainersReady"), true_("Ready")]}});
                pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                    .await?;
            }
        }
        Ok(())
    }

    async fn claims(&self, workload: &Workload, template: PersistentVolumeClaim) -> kube::Result<()> {
        let claims = self.api::<PersistentVolumeClaim>();
        for ordinal in 0..workload.replicas {
            let name = format!("{}-{}", template.name_any(), workload.pod(ordinal));
            if claims.get_opt(&name).await?.is_some() {
                continue;
            }
            let mut claim = template.clone();
            claim.metadata.name = Some(name.clone());
            claims.create(&PostParams::default(), &claim).await?;
            let bound = json!({"status": {"phase": "Bound"}});
            claims
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(&bound))
                .await?;
        }
        Ok(())
    }

    async fn status<K>(&self, api: &Api<K>, workload: &Workload) -> kube::Result<()>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        let count = workload.replicas;
        let status = json!({
            "observedGeneration": workload.generation, "replicas": count, "readyReplicas": count,
            "availableReplicas": count, "updatedReplicas": count,
        });
        if workload.status == status {
            return Ok(());
        }
        api.patch_status(
            &workload.name,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await?;
        Ok(())
    }
}

impl Workload {
    fn new<K: Resource<DynamicType = ()> + Serialize>(
        object: &K,
        kind: &'static str,
        replicas: Option<i32>,
        template: PodTemplateSpec,
        status: Value,
    ) -> Self {
        let meta = object.meta();
        Self {
            kind,
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            api_version: "apps/v1",
            generation: meta.generation,
            replicas: replicas.unwrap_or(1),
            template,
            stable: kind == "StatefulSet",
            claims: Vec::new(),
            status,
        }
    }

    /// Stands for the template and the workload itself.
    fn mark(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.uid, json!(self.template).to_string()).hash(&mut hasher);
        format!("{:08x}", hasher.finish() as u32)
    }

    fn pod(&self, ordinal: i32) -> String {
        if self.stable {
            format!("{}-{ordinal}", self.name)
        } else {
            format!("{}-{}-{ordinal}", self.name, self.mark())
        }
    }

    fn make(&self, name: &str) -> Pod {
        let template = self.template.metadata.clone().unwrap_or_default();
        let mut annotations = template.annotations.unwrap_or_default();
        annotations.insert(TEMPLATE.to_owned(), self.mark());
        let owner = json!([{
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        }]);
        let mut spec = self.template.spec.clone();
        if let Some(spec) = &mut spec {
            spec.node_name = Some("played".to_owned());
            spec.volumes
                .get_or_insert_default()
                .extend(self.claims.iter().map(|claim| Volume {
                    name: claim.clone(),
                    persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                        claim_name: format!("{claim}-{name}"),
                        read_only: None,
                    }),
                    ..Volume::default()
                }));
        }
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: template.labels,
                annotations: Some(annotations),
                owner_references: serde_json::from_value(owner).expect("an owner"),
                ..ObjectMeta::default()
            },
            spec,
            ..Pod::default()
        }
    }
}
