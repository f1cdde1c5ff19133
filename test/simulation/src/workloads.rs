//! The controllers of Deployments and StatefulSets, and the kubelet.

use crate::datastore::{is_of, is_ready, runs};
use crate::world::{NAMESPACE, World};
use capn_api::nested_control_plane::EndpointType;
use capn_core::{
    certificates::pair,
    control_plane::{names, plan::Object},
    datastore,
    pki::Leaf,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, StatefulSet},
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod, PodTemplateSpec, Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use serde_json::json;

const TEMPLATE: &str = "example.com/template";

impl World {
    /// One thing that a controller or a kubelet does.
    pub(crate) fn advance(&mut self) {
        match self.rng.u8(0..3) {
            0 if self.ncp.is_none() => self.collect_garbage(),
            0 => self.deployments(),
            1 => {
                self.stateful_sets();
                self.balance();
            }
            _ => self.kubelet(),
        }
        self.serve();
    }

    /// A load balancer's controller takes its time.
    fn balance(&mut self) {
        let name = Self::names().api_server_service();
        let Some(mut service) = self.get::<Service>("Service", &name) else {
            return;
        };
        let waits = |service: &Service| {
            let status = json!(service.status);
            let balanced = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
            balanced && status.pointer("/loadBalancer/ingress").is_none()
        };
        if !waits(&service) || self.rng.u8(0..4) != 0 {
            return;
        }
        let address = format!("192.0.2.{}", self.next() % 250 + 1);
        service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": address}]}})).ok();
        self.say(format!("the load balancer gives {address}"));
        self.balancers.push(address);
        self.put(service.into());
    }

    fn make(&mut self, name: String, owner: (&str, &str, &str), template: &PodTemplateSpec) {
        let mark = mark(template);
        let mut pod: Pod =
            serde_json::from_value(json!({"metadata": template.metadata, "spec": template.spec})).unwrap_or_default();
        pod.metadata.name = Some(name.clone());
        pod.metadata.namespace = Some(NAMESPACE.into());
        pod.metadata.uid = Some(format!("pod{}", self.next()));
        pod.metadata.creation_timestamp = Some(Time(self.now));
        pod.annotations_mut().insert(TEMPLATE.into(), mark);
        let (kind, owner, uid) = owner;
        pod.metadata.owner_references = serde_json::from_value(json!([
            {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": uid, "controller": true}]))
        .ok();
        self.pods.insert(name, pod);
    }

    fn of(&self, uid: &str) -> Vec<Pod> {
        let owned = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
        self.pods.values().filter(owned).cloned().collect()
    }

    /// Pods whose workload is gone end.
    fn orphans(&mut self) {
        let uids: Vec<_> = self
            .objects
            .values()
            .filter_map(|object| crate::objects::meta(object).uid.clone())
            .collect();
        self.pods
            .retain(|_, pod| pod.owner_references().iter().all(|owner| uids.contains(&owner.uid)));
    }

    /// Objects whose owner is gone are deleted.
    fn collect_garbage(&mut self) {
        let orphaned = |object: &Object| {
            let owners = crate::objects::meta(object).owner_references.iter().flatten();
            owners.into_iter().any(|owner| owner.uid == "own")
        };
        self.objects.retain(|_, object| !orphaned(object));
    }

    fn deployments(&mut self) {
        self.orphans();
        for mut deployment in self.all::<Deployment>() {
            let Some(spec) = deployment.spec.clone() else { continue };
            let (uid, wanted) = (deployment.uid().unwrap_or_default(), spec.replicas.unwrap_or(1));
            let pods = self.of(&uid);
            let count = |pods: usize| i32::try_from(pods).unwrap_or_default();
            let (new, old): (Vec<_>, Vec<_>) = pods
                .iter()
                .partition(|pod| pod.annotations().get(TEMPLATE) == Some(&mark(&spec.template)));
            let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
            let ready_new = count(new.iter().filter(|pod| is_ready(pod)).count());
            if count(new.len()) < wanted && count(pods.len()) <= wanted {
                let name = format!("{}-{}", deployment.name_any(), self.next());
                self.make(name, ("ReplicaSet", &deployment.name_any(), &uid), &spec.template);
            } else if count(new.len()) > wanted {
                self.pods.remove(&new[0].name_any());
            } else if let Some(old) = old.first()
                && (ready > wanted || ready_new >= wanted || !is_ready(old))
            {
                self.pods.remove(&old.name_any());
            }
            let pods = self.of(&uid);
            let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
            deployment.status = Some(DeploymentStatus {
                observed_generation: deployment.metadata.generation,
                replicas: Some(count(pods.len())),
                updated_replicas: Some(count(
                    pods.iter()
                        .filter(|pod| pod.annotations().get(TEMPLATE) == Some(&mark(&spec.template)))
                        .count(),
                )),
                ready_replicas: Some(ready),
                available_replicas: Some(ready),
                ..DeploymentStatus::default()
            });
            self.objects
                .insert(("Deployment".into(), deployment.name_any()), deployment.into());
        }
    }

    fn stateful_sets(&mut self) {
        self.orphans();
        for set in self.all::<StatefulSet>() {
            let Some(spec) = set.spec.clone() else { continue };
            let uid = set.uid().unwrap_or_default();
            for ordinal in 0..spec.replicas.unwrap_or(1) {
                let name = format!("{}-{ordinal}", set.name_any());
                for template in spec.volume_claim_templates.iter().flatten() {
                    let claim = format!("{}-{name}", template.name_any());
                    if !self
                        .objects
                        .contains_key(&("PersistentVolumeClaim".into(), claim.clone()))
                    {
                        let mut claim_object: PersistentVolumeClaim = template.clone();
                        claim_object.metadata.name = Some(claim);
                        claim_object.status = Some(PersistentVolumeClaimStatus {
                            phase: Some("Bound".into()),
                            ..PersistentVolumeClaimStatus::default()
                        });
                        self.put(claim_object.into());
                    }
                }
                if !self.pods.contains_key(&name) {
                    self.make(name, ("StatefulSet", &set.name_any(), &uid), &spec.template);
                }
            }
            // One that is outdated is replaced once the others are ready.
            let pods = self.of(&uid);
            let outdated = pods
                .iter()
                .rev()
                .find(|pod| pod.annotations().get(TEMPLATE) != Some(&mark(&spec.template)));
            if let Some(outdated) = outdated
                && pods
                    .iter()
                    .all(|pod| is_ready(pod) || pod.name_any() == outdated.name_any())
            {
                self.pods.remove(&outdated.name_any());
            }
        }
    }

    fn kubelet(&mut self) {
        for name in self.pods.keys().cloned().collect::<Vec<_>>() {
            let Some(mut pod) = self.pods.get(&name).cloned() else {
                continue;
            };
            let secrets = self.has_secrets(&pod);
            let started = runs(&pod) || (secrets && (!is_of(&pod, datastore::COMPONENT) || self.start_member(&pod)));
            if started && !runs(&pod) && is_of(&pod, names::API_SERVER) {
                self.check_authority();
                self.check_names();
            }
            let ready = started
                && match () {
                    () if is_of(&pod, datastore::COMPONENT) => runs(&pod) && self.served().is_some(),
                    () if is_of(&pod, names::API_SERVER) => self.served().is_some(),
                    () => true,
                };
            let holds = |holds: bool| if holds { "True" } else { "False" };
            pod.status = serde_json::from_value(json!({
                "phase": if started { "Running" } else { "Pending" },
                "conditions": [{"type": "PodScheduled", "status": "True"},
                    {"type": "PodReadyToStartContainers", "status": holds(secrets)}, {"type": "Ready", "status": holds(ready)}],
            }))
            .ok();
            if let Some(spec) = &mut pod.spec {
                spec.node_name = Some("node".into());
            }
            self.pods.insert(name, pod);
        }
    }

    /// Whether everything that a pod mounts is there.
    fn has_secrets(&self, pod: &Pod) -> bool {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let sources = volumes.flat_map(|volume| {
            volume
                .projected
                .iter()
                .flat_map(|projected| projected.sources.iter().flatten())
        });
        let mut secrets = sources.filter_map(|source| source.secret.as_ref());
        secrets.all(|source| self.get::<Secret>("Secret", &source.name).is_some())
    }

    /// A new API server starts once its certificate contains the address of its load balancer: pods that run
    /// get another certificate a minute or two late.
    fn check_names(&mut self) {
        let endpoint = self.ncp.as_ref().and_then(|ncp| ncp.spec.endpoint.clone());
        if !self.used.is_empty() || endpoint.is_none_or(|endpoint| endpoint.type_ != EndpointType::LoadBalancer) {
            return;
        }
        let secret: Option<Secret> = self.get("Secret", &Self::names().api_server_certificates());
        let leaf = secret.and_then(|secret| Leaf::read(&pair(&secret, "apiserver")?));
        let contains = |address: &String| {
            leaf.as_ref()
                .is_some_and(|leaf| leaf.names.iter().any(|name| name.to_string() == *address))
        };
        if !self.balancers.iter().any(contains) {
            self.violate("an API server starts with a certificate without the address of its load balancer");
        }
    }

    /// The authority that API servers start with is always the same.
    fn check_authority(&mut self) {
        let pki: Option<Secret> = self.get("Secret", &Self::names().pki());
        let key = pki.and_then(|pki| pki.data?.remove("ca-signer.key")).map(|key| key.0);
        match (&self.authority, key) {
            (None, key) => self.authority = key,
            (Some(was), Some(is)) if *was != is => self.violate("an authority that was in use was replaced by another"),
            _ => {}
        }
    }
}

fn mark(template: &PodTemplateSpec) -> String {
    json!(template).to_string()
}

/// Whether pods follow this object.
pub(crate) fn is_workload(object: &Object) -> bool {
    matches!(object, Object::Deployment(_) | Object::StatefulSet(_))
}
