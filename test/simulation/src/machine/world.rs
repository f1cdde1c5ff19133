//! The objects of a machine, and what may never happen to them.

use crate::failures::refused;
use crate::objects::Key;
use capn_api::{KubevirtMachine, cluster_api::Machine};
use capn_core::{
    api_error::ApiError,
    machine::{
        kubevirt::{VirtualMachine, VirtualMachineInstance},
        names,
        view::View,
    },
};
use fastrand::Rng;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Name of the machine, of its Machine, VM and Node.
pub(super) const NAME: &str = "acme-md-0-x1";

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Timestamp,
    /// Whether calls fail, managers die and reads are old.
    pub(super) unlucky: bool,
    pub(super) log: Vec<String>,
    pub(super) violation: Option<String>,
    pub(super) writes: u32,
    version: u64,
    pub(super) object: Option<KubevirtMachine>,
    pub(super) machine: Option<Machine>,
    pub(super) cluster: Value,
    pub(super) bootstrap: Option<Secret>,
    pub(super) user_data: Option<Secret>,
    pub(super) vm: Option<VirtualMachine>,
    pub(super) vmi: Option<VirtualMachineInstance>,
    pub(super) node: Option<Node>,
    pub(super) pods: Vec<Pod>,
    /// Whether the workload cluster does not answer.
    pub(super) silent: bool,
    /// Whether a PodDisruptionBudget holds the pods.
    pub(super) held: bool,
    /// Whether the user has cordoned the Node.
    pub(super) user_cordoned: bool,
    /// Since when the instance is asked to leave its node.
    pub(super) asked: Option<Timestamp>,
    /// Since when it was, before that was called off.
    pub(super) asked_before: Option<Timestamp>,
    /// User data that a user has deleted.
    pub(super) lost: Option<Secret>,
    /// Whether the root disk outlives the instance.
    pub(super) persistent: bool,
    /// Whether something happened that only a user can put right.
    pub(super) needs_user: bool,
    /// What is somebody else's, as it was made.
    pub(super) foreign: Option<Value>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let persistent = rng.bool();
        let volume = if persistent {
            json!({"name": "root", "dataVolume": {"name": "boot"}})
        } else {
            json!({"name": "root", "containerDisk": {"image": "example.com/worker:1"}})
        };
        let object = json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtMachine",
            "metadata": {"name": NAME, "namespace": "tenants", "uid": "own", "resourceVersion": "1",
                "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": NAME, "uid": "m"}]},
            "spec": {"virtualMachineTemplate": {"spec": {
                "runStrategy": "Always",
                "dataVolumeTemplates": if persistent { json!([{"metadata": {"name": "boot"}, "spec": {}}]) } else { json!([]) },
                "template": {"spec": {
                    "evictionStrategy": "External",
                    "domain": {"devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}},
                    "volumes": [volume],
                }},
            }}},
        });
        let machine = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": NAME, "namespace": "tenants", "uid": "m"},
            "spec": {"clusterName": "acme", "infrastructureRef": {"kind": "KubevirtMachine", "name": NAME}, "bootstrap": {
                "configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": NAME},
            }},
        });
        let cluster = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "acme", "namespace": "tenants"}, "spec": {},
            "status": {"initialization": {"infrastructureProvisioned": false, "controlPlaneInitialized": false}},
        });
        let mut world = Self {
            rng,
            now: Timestamp::UNIX_EPOCH,
            unlucky: true,
            log: Vec::new(),
            violation: None,
            writes: 0,
            version: 1,
            object: made(&object),
            machine: made(&machine),
            cluster,
            bootstrap: None,
            user_data: None,
            vm: None,
            vmi: None,
            node: None,
            pods: Vec::new(),
            silent: false,
            held: false,
            user_cordoned: false,
            asked: None,
            asked_before: None,
            lost: None,
            persistent,
            needs_user: false,
            foreign: None,
        };
        if world.rng.u8(0..8) == 0 {
            world.occupy();
        }
        world
    }

    /// The name of the VM or of its user data is taken.
    fn occupy(&mut self) {
        self.needs_user = true;
        if self.rng.bool() {
            let vm = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                "metadata": {"name": NAME, "namespace": "tenants", "uid": "theirs", "resourceVersion": "1"}, "spec": {}});
            self.vm = made(&vm);
            self.foreign = value(self.vm.as_ref());
        } else {
            let secret = json!({"type": "Opaque", "data": {},
                "metadata": {"name": format!("{NAME}-userdata"), "namespace": "tenants", "uid": "theirs", "resourceVersion": "1"}});
            self.user_data = made(&secret);
            self.foreign = value(self.user_data.as_ref());
        }
    }

    pub(super) fn say(&mut self, what: impl Into<String>) {
        self.log.push(format!("{} {}", self.now, what.into()));
    }

    pub(super) fn violate(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    pub(super) fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// What a manager finds of the machine.
    pub(super) fn view(&self, object: &KubevirtMachine) -> View {
        let owner = names::owner(object);
        let vm = self.vm.clone().filter(|vm| owner.owns(vm));
        let data = self.machine.as_ref().and_then(names::bootstrap_data);
        View {
            machine: self.machine.clone(),
            cluster: made(&self.cluster),
            cluster_name: Some("acme".into()),
            bootstrap: self.bootstrap.clone().filter(|_| data.is_some()),
            user_data: self.user_data.clone(),
            vmi: self.vmi.clone().filter(|vmi| owner.clone().indirectly().owns(vmi)),
            vm,
            namespace_allowed: true,
        }
    }

    /// Merges a patch into the KubevirtMachine.
    pub(super) fn patch(&mut self, patch: &Value) -> Result<KubevirtMachine, ApiError> {
        let Some(live) = &self.object else {
            return Err(refused("patch", &key(), 404, "NotFound"));
        };
        let wanted = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if wanted.is_some() && wanted != live.resource_version().as_deref() {
            return Err(refused("patch", &key(), 409, "Conflict"));
        }
        let patched = self.patched(live.clone(), patch);
        self.object = patched.clone();
        patched.ok_or_else(|| refused("patch", &key(), 422, "Invalid"))
    }

    /// An object with a patch merged into it, and a new resourceVersion.
    pub(super) fn patched<K: Serialize + DeserializeOwned>(&mut self, live: K, patch: &Value) -> Option<K> {
        let mut merged = serde_json::to_value(live).unwrap_or_default();
        json_patch::merge(&mut merged, patch);
        merged["metadata"]["resourceVersion"] = self.next_version().into();
        self.writes += 1;
        made(&merged)
    }

    /// Gives a new object what an API server adds.
    pub(super) fn created<K: Resource>(&mut self, mut object: K) -> K {
        let version = self.next_version();
        let meta = object.meta_mut();
        meta.uid = Some(format!("uid-{version}"));
        meta.resource_version = Some(version);
        meta.creation_timestamp = Some(Time(self.now));
        self.writes += 1;
        object
    }

    /// Marks an object as being deleted.
    pub(super) fn deleting<K: Resource>(&mut self, object: Option<K>) -> Option<K> {
        let mut object = object?;
        let version = self.next_version();
        let meta = object.meta_mut();
        meta.deletion_timestamp.get_or_insert(Time(self.now));
        meta.resource_version = Some(version);
        Some(object)
    }

    /// Whether the machine bears marks of an eviction.
    pub(super) fn is_marked(&self) -> bool {
        let marks = [names::DRAIN_UNTIL_ANNOTATION, names::CORDONED_ANNOTATION];
        let object = self.object.as_ref();
        object.is_some_and(|object| marks.iter().any(|mark| object.annotations().contains_key(*mark)))
    }

    pub(super) fn cordoned(&self) -> bool {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.unschedulable) == Some(true)
    }

    /// What belongs to the machine.
    pub(super) fn left(&self) -> Vec<&'static str> {
        let ours = |meta: &kube::core::ObjectMeta| meta.uid.as_deref() != Some("theirs");
        let vm = self
            .vm
            .as_ref()
            .filter(|vm| ours(&vm.metadata))
            .map(|_| "VirtualMachine");
        let vmi = self.vmi.as_ref().map(|_| "VirtualMachineInstance");
        let user_data = self.user_data.as_ref().filter(|secret| ours(&secret.metadata));
        let user_data = user_data.map(|_| "user data");
        [vm, vmi, user_data].into_iter().flatten().collect()
    }

    /// What is somebody else's is as it was made.
    pub(super) fn check_foreign(&mut self) {
        let Some(foreign) = &self.foreign else { return };
        let is = if foreign["kind"] == "VirtualMachine" {
            value(self.vm.as_ref())
        } else {
            value(self.user_data.as_ref())
        };
        if is.as_ref() != Some(foreign) {
            self.violate("what is somebody else's was written or deleted");
        }
    }
}

/// An object, from its JSON.
pub(super) fn made<K: DeserializeOwned>(value: &Value) -> Option<K> {
    serde_json::from_value(value.clone()).ok()
}

fn value(object: Option<&impl Serialize>) -> Option<Value> {
    serde_json::to_value(object?).ok()
}

/// The KubevirtMachine, as a call that fails names it.
pub(super) fn key() -> Key {
    ("KubevirtMachine".into(), NAME.into())
}
