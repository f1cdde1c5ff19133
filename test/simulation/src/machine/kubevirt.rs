//! What KubeVirt, the guest, Cluster API's core and kubelets do.

use super::world::{NAME, World, made};
use capn_core::machine::kubevirt::VirtualMachineInstance;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

impl World {
    /// One thing happens that needs no manager.
    pub(super) fn advance(&mut self) {
        match self.rng.u8(0..8) {
            0 => self.prepare_cluster(),
            1 | 2 => self.run_vm(),
            3 => self.boot(),
            4 => self.match_node(),
            5 => self.end_pods(),
            6 => self.end(),
            _ => self.schedule_pod(),
        }
    }

    /// Core and the bootstrap provider do their part.
    fn prepare_cluster(&mut self) {
        let done = &mut self.cluster["status"]["initialization"];
        if done["infrastructureProvisioned"] == false {
            done["infrastructureProvisioned"] = true.into();
            return;
        }
        done["controlPlaneInitialized"] = true.into();
        let Some(machine) = &mut self.machine else { return };
        if machine.spec.bootstrap.data_secret_name.is_none() {
            machine.spec.bootstrap.data_secret_name = Some(NAME.into());
            self.bootstrap = bootstrap();
        }
    }

    /// The instance of a VM is created, and starts.
    fn run_vm(&mut self) {
        let Some(vm) = self.vm.clone().filter(|vm| vm.metadata.deletion_timestamp.is_none()) else {
            return;
        };
        if vm.uid().as_deref() == Some("theirs") {
            return;
        }
        match self.vmi.clone() {
            None => {
                let template = Value::Object(vm.spec.0)
                    .pointer("/template")
                    .cloned()
                    .unwrap_or_default();
                let owner = json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": NAME,
                    "uid": vm.metadata.uid, "controller": true}]);
                let vmi = made::<VirtualMachineInstance>(&json!({
                    "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
                    "metadata": {"name": NAME, "namespace": "tenants", "labels": template["metadata"]["labels"], "ownerReferences": owner},
                    "spec": template["spec"], "status": {"phase": "Scheduling"},
                }));
                self.vmi = vmi.map(|vmi| self.created(vmi));
            }
            // A guest is started with its user data.
            Some(_) if self.user_data.is_none() => {}
            Some(mut vmi) => {
                if let Some(status) = vmi.status.as_mut().filter(|status| status.phase == "Scheduling") {
                    status.phase = "Running".into();
                    status.interfaces =
                        made(&json!([{"name": "default", "ipAddress": "10.244.0.9", "ipAddresses": ["10.244.0.9"]}]))
                            .unwrap_or_default();
                    self.vmi = Some(vmi);
                }
            }
        }
    }

    fn runs(&self) -> bool {
        self.vmi.as_ref().is_some_and(capn_core::machine::diagnosis::running)
    }

    /// The guest registers its Node.
    fn boot(&mut self) {
        if self.runs() && self.node.is_none() {
            let node = made(&json!({"metadata": {"name": NAME, "resourceVersion": "1"}, "spec": {}}));
            self.node = node;
        }
    }

    /// Core matches Machine and Node.
    fn match_node(&mut self) {
        let id = self
            .node
            .as_ref()
            .and_then(|node| node.spec.as_ref()?.provider_id.clone());
        let known = self.object.as_ref().and_then(|object| object.spec.provider_id.clone());
        if let Some(machine) = self.machine.as_mut().filter(|_| id.is_some() && id == known) {
            machine.status = made(&json!({"nodeRef": {"name": NAME}}));
        }
    }

    fn schedule_pod(&mut self) {
        if self.node.is_some() && self.runs() && !self.cordoned() && self.asked.is_none() && self.pods.len() < 3 {
            let name = format!("pod-{}", self.next_version());
            let pod = made::<Pod>(
                &json!({"metadata": {"name": name, "namespace": "default"}, "status": {"phase": "Running"}}),
            );
            self.pods.extend(pod);
        }
    }

    fn end_pods(&mut self) {
        self.pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    }

    /// What is being deleted is gone.
    fn end(&mut self) {
        let deleted = |at: Option<&kube::core::ObjectMeta>| at.is_some_and(|meta| meta.deletion_timestamp.is_some());
        let vm_goes = deleted(self.vm.as_ref().map(|vm| &vm.metadata));
        if vm_goes && self.vmi.is_none() {
            self.vm = None;
        } else if deleted(self.vmi.as_ref().map(|vmi| &vmi.metadata)) {
            self.vmi = None;
            self.needs_user |= !self.persistent;
            self.asked = None;
            self.pods.clear();
        } else if vm_goes {
            let vmi = self.vmi.take();
            self.vmi = self.deleting(vmi);
        }
    }
}

/// The Secret of a bootstrap provider.
pub(super) fn bootstrap<K: serde::de::DeserializeOwned>() -> Option<K> {
    made(&json!({
        "type": "cluster.x-k8s.io/secret",
        "metadata": {"name": NAME, "namespace": "tenants", "labels": {"cluster.x-k8s.io/cluster-name": "acme"},
            "ownerReferences": [{"apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "name": NAME,
                "uid": "k", "controller": true}]},
        "data": {"value": "I2Nsb3VkLWNvbmZpZwo="},
    }))
}
