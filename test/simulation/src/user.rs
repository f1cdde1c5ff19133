//! A user who deletes, edits, and makes objects with our names.

use crate::objects::{Key, content, key, meta, meta_mut};
use crate::workloads::is_workload;
use crate::world::{NAMESPACE, World};
use capn_api::condition::find;
use capn_core::{
    control_plane::{names::ACCEPT_DATASTORE_ANNOTATION, plan::Object},
    with_object,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A version that no release supports.
pub(crate) const UNUSABLE_VERSION: &str = "v9.9.9";

impl World {
    /// Something that a user does.
    pub(crate) fn meddle(&mut self) {
        match self.rng.u8(0..20) {
            0..=6 => self.user_deletes(),
            7..=9 => self.user_takes_metadata(),
            10..=12 => self.user_changes_the_spec(),
            13 => self.user_edits_a_template(),
            14 | 15 => self.user_takes_a_name(),
            16..=18 => self.user_accepts_the_loss(),
            _ => {
                if self.rng.u8(0..3) == 0 {
                    self.user_deletes_the_control_plane();
                }
            }
        }
    }

    fn pick(&mut self) -> Option<Key> {
        let ours: Vec<_> = self
            .objects
            .keys()
            .filter(|of| !self.foreign.contains_key(*of))
            .cloned()
            .collect();
        (!ours.is_empty()).then(|| ours[self.rng.usize(0..ours.len())].clone())
    }

    fn user_deletes(&mut self) {
        if self.rng.bool() {
            let pods: Vec<_> = self.pods.keys().cloned().collect();
            if !pods.is_empty() {
                let pod = pods[self.rng.usize(0..pods.len())].clone();
                self.say(format!("the user deletes pod {pod}"));
                self.pods.remove(&pod);
            }
            return;
        }
        let claims: Vec<_> = self
            .objects
            .keys()
            .filter(|of| of.0 == "PersistentVolumeClaim")
            .cloned()
            .collect();
        let picked = if self.rng.u8(0..4) == 0 && !claims.is_empty() {
            Some(claims[self.rng.usize(0..claims.len())].clone())
        } else {
            self.pick()
        };
        let Some(of) = picked else { return };
        self.say(format!("the user deletes {of:?}"));
        let deleted = self.objects.remove(&of);
        if let Some(Object::Service(service)) = deleted
            && self.rng.u8(0..3) == 0
            && let Some(address) = service.spec.and_then(|spec| spec.cluster_ip).filter(|it| it != "None")
        {
            self.say(format!("somebody else takes {address}"));
            self.taken.insert(address);
        }
        if of.0 == "PersistentVolumeClaim" {
            // Protected until its pod is gone.
            let pod = of.1.trim_start_matches("data-").to_owned();
            self.pods.remove(&pod);
        }
    }

    fn user_takes_metadata(&mut self) {
        // Without an owner, nobody would ever collect it.
        if self.ncp.is_none() {
            return;
        }
        let Some(of) = self.pick() else { return };
        let Some(mut object) = self.objects.get(&of).cloned() else {
            return;
        };
        let owner = self.rng.bool() && of.0 != "PersistentVolumeClaim";
        self.say(format!(
            "the user takes {} of {of:?}",
            if owner { "the owner" } else { "the labels" }
        ));
        let meta = meta_mut(&mut object);
        if owner {
            meta.owner_references = None;
        } else {
            meta.labels = None;
        }
        self.put(object);
    }

    fn user_changes_the_spec(&mut self) {
        let patch = match self.rng.u8(0..4) {
            0 => json!({"version": if self.rng.bool() { "v1.36.3" } else { "v1.36.4" }}),
            1 => json!({"replicas": self.rng.i32(1..4)}),
            2 => json!({"apiServer": {"extraArgs": [{"name": "v", "value": self.rng.u8(1..4).to_string()}]}}),
            _ => json!({"version": UNUSABLE_VERSION}),
        };
        self.say(format!("the user sets spec {patch}"));
        let version = self.next().to_string();
        if let Some(ncp) = &mut self.ncp {
            let mut spec = serde_json::to_value(&ncp.spec).unwrap_or_default();
            json_patch::merge(&mut spec, &patch);
            if let Ok(spec) = serde_json::from_value(spec) {
                ncp.spec = spec;
                ncp.metadata.generation = Some(ncp.metadata.generation.unwrap_or_default() + 1);
                ncp.metadata.resource_version = Some(version);
            }
        }
    }

    fn user_edits_a_template(&mut self) {
        let workloads: Vec<_> = self
            .objects
            .values()
            .filter(|object| is_workload(object) && !self.foreign.contains_key(&key(object)))
            .cloned()
            .collect();
        if workloads.is_empty() {
            return;
        }
        let object = workloads[self.rng.usize(0..workloads.len())].clone();
        let of = key(&object);
        self.say(format!("the user edits the template of {of:?}"));
        let edited = with_object!(&object, live => {
            let mut value = serde_json::to_value(live.as_ref()).unwrap_or_default();
            value["spec"]["template"]["spec"]["containers"][0]["image"] = json!("example.com/other:1");
            like(live.as_ref(), value)
        });
        if let Some(edited) = edited {
            self.edited.insert(of);
            self.put(edited);
        }
    }

    fn user_takes_a_name(&mut self) {
        let names = Self::names();
        let metadata = |name: String| json!({"name": name, "namespace": NAMESPACE, "labels": {"team": "other"}});
        let object = match self.rng.u8(0..4) {
            0 => made::<Secret>(
                json!({"metadata": metadata(names.scheduler()), "type": "Opaque", "data": {"a": "Yg=="}}),
            ),
            1 => made::<Service>(json!({"metadata": metadata(names.etcd()), "spec": {"ports": [{"port": 1}]}})),
            2 => made::<Deployment>(json!({"metadata": metadata(names.api_server()),
                "spec": {"replicas": 0, "selector": {}, "template": {"metadata": {}, "spec": {"containers": []}}}})),
            _ => made::<ConfigMap>(json!({"metadata": metadata(names.etcd()), "data": {"a": "b"}})),
        };
        let Some(object) = object else { return };
        let of = key(&object);
        if self.objects.contains_key(&of) {
            return;
        }
        self.say(format!("somebody else makes {of:?}"));
        let made = self.put(object);
        self.foreign.insert(of, content(&made));
    }

    /// The objects of somebody else go.
    pub(crate) fn others_leave(&mut self) {
        for of in std::mem::take(&mut self.foreign).into_keys() {
            self.objects.remove(&of);
        }
    }

    pub(crate) fn user_accepts_the_loss(&mut self) {
        let Some(status) = self.ncp.as_ref().and_then(|ncp| ncp.status.clone()) else {
            return;
        };
        let Some(told) = find(&status.conditions, "Available").filter(|it| it.reason == "DatastoreLost") else {
            return;
        };
        let asks = format!("{ACCEPT_DATASTORE_ANNOTATION} to ");
        let Some((_, rest)) = told.message.split_once(&asks) else {
            return;
        };
        let token = rest.split_whitespace().next().unwrap_or_default().to_owned();
        self.say(format!("the user accepts the loss: {token}"));
        // The data that is left in old claims is given up too.
        self.used.clear();
        let version = self.next().to_string();
        if let Some(ncp) = &mut self.ncp {
            ncp.annotations_mut().insert(ACCEPT_DATASTORE_ANNOTATION.into(), token);
            ncp.metadata.resource_version = Some(version);
        }
    }

    fn user_deletes_the_control_plane(&mut self) {
        self.say("the user deletes the control plane");
        let (now, version) = (self.now, self.next().to_string());
        let held = self.ncp.as_ref().is_some_and(|ncp| !ncp.finalizers().is_empty());
        if !held {
            self.ncp = None;
        } else if let Some(ncp) = &mut self.ncp {
            ncp.metadata
                .deletion_timestamp
                .get_or_insert(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            ncp.metadata.resource_version = Some(version);
        }
    }

    /// What is left of a control plane that is gone.
    pub(crate) fn left(&self) -> Vec<Key> {
        let retained = |of: &Key| of.0 == "PersistentVolumeClaim";
        let labelled = |object: &Object| {
            let labels = meta(object).labels.clone().unwrap_or_default();
            labels.contains_key(capn_core::control_plane::names::UID_LABEL)
        };
        self.objects
            .iter()
            .filter(|(of, object)| !retained(of) && labelled(object))
            .map(|(of, _)| of.clone())
            .collect()
    }
}

/// An object of this kind from its JSON.
fn made<K: DeserializeOwned + Into<Object>>(value: Value) -> Option<Object> {
    serde_json::from_value::<K>(value).ok().map(Into::into)
}

/// The same, of the kind of `live`.
fn like<K: DeserializeOwned + Into<Object>>(_: &K, value: Value) -> Option<Object> {
    made::<K>(value)
}
