//! The management cluster's API server: objects, who owns them, and what it answers.

use crate::failures::{refused, taken};
use crate::objects::{Key, content, json, key, merged, meta, meta_mut};
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_core::{
    api_error::ApiError,
    certificates::{Secrets, secret_names},
    control_plane::{
        names::{self, Names},
        plan::Object,
        view::{View, by_component},
    },
    datastore::{self, Observed, StorageProblem},
    ownership::Owner,
    with_object,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const NAMESPACE: &str = "tenants";

/// Everything that there is.
pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: Timestamp,
    pub(crate) ncp: Option<NestedControlPlane>,
    pub(crate) cluster: Cluster,
    pub(crate) objects: BTreeMap<Key, Object>,
    pub(crate) pods: BTreeMap<String, Pod>,
    /// Objects of somebody else, as they were made.
    pub(crate) foreign: BTreeMap<Key, Value>,
    /// Which data a claim holds, by its UID.
    pub(crate) data: BTreeMap<String, u32>,
    pub(crate) epochs: u32,
    /// Data that an API server has served from, and whose loss nobody has accepted.
    pub(crate) used: BTreeSet<u32>,
    /// The authority that the first API server started with.
    pub(crate) authority: Option<Vec<u8>>,
    /// Addresses that a load balancer has given to the API server's Service.
    pub(crate) balancers: Vec<String>,
    /// Cluster IPs that somebody else has taken.
    pub(crate) taken: BTreeSet<String>,
    /// Workloads that a user edited, whose templates may change therefore.
    pub(crate) edited: BTreeSet<Key>,
    /// What the pod template of a workload was last made from.
    pub(crate) made_from: BTreeMap<Key, String>,
    /// The spec that the pass of the manager that calls began with.
    pub(crate) basis: String,
    /// Whether calls still fail and managers still die.
    pub(crate) unlucky: bool,
    pub(crate) writes: u32,
    pub(crate) log: Vec<String>,
    pub(crate) violation: Option<String>,
    counter: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let members = if rng.u8(0..3) == 0 { 3 } else { 1 };
        let retained = rng.u8(0..3) == 0;
        let endpoint = if rng.u8(0..4) == 0 { "LoadBalancer" } else { "ClusterIP" };
        let cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "acme", "namespace": NAMESPACE, "uid": "cluster"},
            "spec": {"controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": "acme"}},
        }));
        let ncp = serde_json::from_value(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "acme", "namespace": NAMESPACE, "uid": "own", "generation": 1, "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"version": "v1.36.3", "replicas": 1, "endpoint": {"type": endpoint}, "datastore": {"etcd": {"replicas": members,
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": if retained { "Retain" } else { "Delete" }}}}},
        }));
        Self {
            rng,
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56),
            ncp: ncp.ok(),
            cluster: cluster.unwrap_or_default(),
            objects: BTreeMap::new(),
            pods: BTreeMap::new(),
            foreign: BTreeMap::new(),
            data: BTreeMap::new(),
            epochs: 0,
            used: BTreeSet::new(),
            authority: None,
            balancers: Vec::new(),
            taken: BTreeSet::new(),
            edited: BTreeSet::new(),
            made_from: BTreeMap::new(),
            basis: String::new(),
            unlucky: true,
            writes: 0,
            log: Vec::new(),
            violation: None,
            counter: 1,
        }
    }

    pub(crate) fn say(&mut self, what: impl Into<String>) {
        self.log.push(format!("{:.0} {}", self.now, what.into()));
    }

    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.say(format!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn names() -> Names {
        Names::new("acme", "own")
    }

    pub(crate) fn get<K: TryFrom<Object>>(&self, kind: &str, name: &str) -> Option<K> {
        let found = self.objects.get(&(kind.to_owned(), name.to_owned()))?;
        found.clone().try_into().ok()
    }

    pub(crate) fn all<K: TryFrom<Object>>(&self) -> Vec<K> {
        self.objects
            .values()
            .filter_map(|object| object.clone().try_into().ok())
            .collect()
    }

    /// Puts an object there as the API server would, with a UID of its own if it is new.
    pub(crate) fn put(&mut self, mut object: Object) -> Object {
        let (of, version) = (key(&object), self.next());
        let old = self.objects.get(&of).cloned();
        let changed = old
            .as_ref()
            .is_none_or(|old| json(old)["spec"] != json(&object)["spec"]);
        let now = self.now;
        let meta = meta_mut(&mut object);
        if meta.uid.is_none() {
            meta.uid = Some(format!("u{version}"));
            meta.creation_timestamp = Some(Time(now));
        }
        meta.namespace = Some(NAMESPACE.to_owned());
        meta.resource_version = Some(version.to_string());
        meta.generation = Some(meta.generation.unwrap_or_default() + i64::from(changed));
        if let Object::Service(service) = &mut object
            && let Some(spec) = &mut service.spec
            && spec.cluster_ip.is_none()
        {
            spec.cluster_ip = Some(format!("10.100.{}.{}", version / 250 % 250, version % 250 + 1));
        }
        self.objects.insert(of, object.clone());
        object
    }

    /// The object of this name, if an observation by label finds it.
    fn owned<K: TryFrom<Object>>(&self, owner: &Owner, kind: &str, name: &str) -> Option<K> {
        let found = self.objects.get(&(kind.to_owned(), name.to_owned()))?;
        is_ours(found, owner).then(|| found.clone().try_into().ok()).flatten()
    }

    /// A workload, which is asked for by name too while its pods are there.
    fn workload<K: TryFrom<Object>>(&self, owner: &Owner, kind: &str, name: &str, pods: &[Pod]) -> Option<K> {
        let found = self.objects.get(&(kind.to_owned(), name.to_owned()))?;
        let ours = is_ours(found, owner) || (!pods.is_empty() && Self::owns(owner, found));
        ours.then(|| found.clone().try_into().ok()).flatten()
    }

    /// What an observation finds.
    pub(crate) fn view(&self, ncp: &NestedControlPlane, owner: &Owner) -> View {
        let names = Self::names();
        let secrets: Secrets = secret_names(&names)
            .filter_map(|name| self.get::<Secret>("Secret", &name))
            .collect();
        let mut pods = by_component(
            self.pods
                .values()
                .filter(|pod| labelled(pod.labels()))
                .cloned()
                .collect(),
        );
        let all_claims: Vec<PersistentVolumeClaim> = self.all();
        let known = |claim: &PersistentVolumeClaim| {
            let members = datastore::members(ncp).iter();
            members.clone().any(|member| {
                names.claim_of(&member.name) == claim.name_any() && claim.uid().as_ref() == Some(&member.claim_uid)
            })
        };
        let claims: Vec<_> = all_claims
            .iter()
            .filter(|claim| labelled(claim.labels()) || known(claim))
            .cloned()
            .collect();
        let [api_server_pods, controllers_pods, datastore_pods] =
            [names::API_SERVER, names::CONTROLLERS, datastore::COMPONENT]
                .map(|component| pods.remove(component).unwrap_or_default());
        let stateful_set = self.workload(owner, "StatefulSet", &names.etcd(), &datastore_pods);
        let foreign_claims = match (&stateful_set, claims.is_empty()) {
            (None, true) => (0..datastore::MAX_MEMBERS)
                .map(|ordinal| names.claim(ordinal))
                .filter(|name| all_claims.iter().any(|claim| claim.name_any() == *name))
                .collect(),
            _ => Vec::new(),
        };
        let revisions = self.objects.values().filter(|found| is_ours(found, owner));
        View {
            secrets,
            api_server_service: self.owned(owner, "Service", &names.api_server_service()),
            datastore: Observed {
                stateful_set,
                config: self.owned(owner, "ConfigMap", &names.etcd()),
                service: self.owned(owner, "Service", &names.etcd()),
                peers: self.owned(owner, "Service", &names.etcd_peers()),
                budget: self.owned(owner, "PodDisruptionBudget", &names.etcd()),
                pods: datastore_pods,
                claims,
                foreign_claims,
                storage: StorageProblem::None,
            },
            api_server: self.workload(owner, "Deployment", &names.api_server(), &api_server_pods),
            controllers: self.workload(owner, "Deployment", &names.controllers(), &controllers_pods),
            revisions: revisions.filter_map(|found| found.clone().try_into().ok()).collect(),
            api_server_budget: self.owned(owner, "PodDisruptionBudget", &names.api_server()),
            controllers_budget: self.owned(owner, "PodDisruptionBudget", &names.controllers()),
            api_server_pods,
            controllers_pods,
            now: self.now,
            ..View::default()
        }
    }

    fn owns(owner: &Owner, object: &Object) -> bool {
        with_object!(object, object => owner.owns(object.as_ref()))
    }

    /// Server-side apply after the one check whether the object is ours.
    pub(crate) fn apply(&mut self, owner: &Owner, wanted: &Object, live: Option<&Object>) -> Result<Object, ApiError> {
        let of = key(wanted);
        let found = self.objects.get(&of).cloned();
        let read = live.or(found.as_ref());
        if let Some(read) = read
            && !Self::owns(owner, read)
        {
            return Err(taken("apply", &of, owner));
        }
        match (read, &found) {
            (None, _) => {
                if let Object::Service(service) = wanted
                    && let Some(address) = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_ref())
                    && self.taken.contains(address)
                {
                    return Err(refused("apply", &of, 422, "Invalid"));
                }
                self.writes += 1;
                self.watch(None, wanted);
                Ok(self.put(wanted.clone()))
            }
            (Some(read), Some(found)) if meta(read).uid == meta(found).uid => {
                let new = merged(wanted, found);
                if let (Object::Service(new), Object::Service(old)) = (&new, found) {
                    let address =
                        |service: &k8s_openapi::api::core::v1::Service| service.spec.as_ref()?.cluster_ip.clone();
                    if address(new) != address(old) {
                        return Err(refused("apply", &of, 422, "Invalid"));
                    }
                }
                if content(&new) == content(found) {
                    return Ok(found.clone());
                }
                self.writes += 1;
                self.watch(Some(found), &new);
                Ok(self.put(new))
            }
            _ => Err(refused("apply", &of, 409, "Conflict")),
        }
    }

    pub(crate) fn create(&mut self, owner: &Owner, wanted: &Object) -> Result<Object, ApiError> {
        let of = key(wanted);
        match self.objects.get(&of) {
            Some(found) if Self::owns(owner, found) => Ok(found.clone()),
            Some(_) => Err(taken("create", &of, owner)),
            None => {
                self.writes += 1;
                Ok(self.put(wanted.clone()))
            }
        }
    }

    pub(crate) fn replace(&mut self, owner: &Owner, live: &Object, wanted: &Object) -> Result<Object, ApiError> {
        let of = key(live);
        if !Self::owns(owner, live) {
            return Err(taken("update", &of, owner));
        }
        match self.objects.get(&of) {
            Some(found) if meta(found).resource_version == meta(live).resource_version => {
                self.writes += 1;
                let new = merged(wanted, found);
                Ok(self.put(new))
            }
            Some(_) => Err(refused("update", &of, 409, "Conflict")),
            None => Err(refused("update", &of, 404, "NotFound")),
        }
    }

    pub(crate) fn delete(&mut self, owner: &Owner, live: &Object) {
        let of = key(live);
        let same = self
            .objects
            .get(&of)
            .is_some_and(|found| meta(found).uid == meta(live).uid);
        if !Self::owns(owner, live) || !same {
            return;
        }
        let deleting = self
            .ncp
            .as_ref()
            .is_none_or(|ncp| ncp.metadata.deletion_timestamp.is_some());
        if !deleting && matches!(live, Object::PersistentVolumeClaim(_) | Object::StatefulSet(_)) {
            self.violate(format!("{of:?} was deleted although the control plane was not"));
        }
        self.writes += 1;
        self.objects.remove(&of);
    }

    /// Pods are replaced only for a change of the spec, of an address, of a key or of what a user edited.
    fn watch(&mut self, old: Option<&Object>, new: &Object) {
        let of = key(new);
        let template = |object: &Object| json(object)["spec"]["template"].clone();
        if template(new).is_null() {
            return;
        }
        let spec = self.basis.clone();
        let addresses: Vec<_> = self.all::<k8s_openapi::api::core::v1::Service>();
        let addresses: Vec<_> = addresses
            .iter()
            .filter_map(|service| service.spec.as_ref()?.cluster_ip.clone())
            .collect();
        let keys: Option<Secret> = self.get("Secret", &Self::names().pki());
        let keys = keys.and_then(|keys| keys.data);
        let from = format!("{spec} {addresses:?} {keys:?}");
        if let Some(old) = old {
            // Before anything was served, keys that are lost with their copies are made anew.
            let served = !self.used.is_empty();
            let same = served && self.made_from.get(&of) == Some(&from) && !self.edited.contains(&of);
            if same && template(old) != template(new) {
                let lines = |object| format!("{:#}", template(object));
                let (was, is) = (lines(old), lines(new));
                let differs = was.lines().zip(is.lines()).find(|(was, is)| was != is);
                self.violate(format!(
                    "the pods of {of:?} are replaced although nothing has changed: {differs:?}"
                ));
            }
            if json(new)["spec"]["replicas"].as_i64() < json(old)["spec"]["replicas"].as_i64() && of.0 == "StatefulSet"
            {
                self.violate("etcd was scaled down");
            }
        }
        self.edited.remove(&of);
        self.made_from.insert(of, from);
    }

    /// What is somebody else's is as it was made.
    pub(crate) fn check_foreign(&mut self) {
        let changed = self
            .foreign
            .iter()
            .find(|(of, was)| self.objects.get(*of).map(content).as_ref() != Some(*was))
            .map(|(of, _)| of.clone());
        if let Some(of) = changed {
            self.violate(format!("{of:?} of somebody else was written or deleted"));
        }
    }
}

/// Whether an object has the label of everything that belongs to the control plane.
fn labelled(labels: &BTreeMap<String, String>) -> bool {
    labels.get(names::UID_LABEL).map(String::as_str) == Some("own")
}

fn is_ours(of: &Object, owner: &Owner) -> bool {
    with_object!(of, object => labelled(object.labels()) && owner.owns(object.as_ref()))
}
